"""Writes: lists of decisions, grouped, each group one statement with many rows."""
