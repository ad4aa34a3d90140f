"""Mandates and what is pulled under them."""
