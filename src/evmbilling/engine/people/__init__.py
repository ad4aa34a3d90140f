"""What concerns one user."""
