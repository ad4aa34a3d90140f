"""What is sold and through which contracts."""
