"""Selling: checkouts, orders, and where they are paid."""
