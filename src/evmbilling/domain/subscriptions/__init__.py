"""Subscriptions: their calendar, terms, states and access, all folded from facts."""
