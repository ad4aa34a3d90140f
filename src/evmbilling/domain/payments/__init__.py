"""Payments: whose money is what, and what it means."""
