"""What is read of a chain, and of its nodes."""
