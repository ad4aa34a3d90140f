"""Mandates on chain."""
