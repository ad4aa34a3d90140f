"""How orders are paid, and money goes back."""
