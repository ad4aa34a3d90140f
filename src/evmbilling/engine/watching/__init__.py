"""What an operator and a monitor look at."""
