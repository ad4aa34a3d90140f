"""Mandates and charges under them."""
