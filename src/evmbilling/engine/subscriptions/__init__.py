"""Subscriptions: what time and their owners make of them."""
