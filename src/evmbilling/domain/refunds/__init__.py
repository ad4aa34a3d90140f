"""Refunds, and what they end."""
