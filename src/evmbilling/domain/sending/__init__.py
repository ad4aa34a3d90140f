"""Our own transactions."""
