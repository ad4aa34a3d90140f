"""Sending our own transactions, each at most once."""
