"""Contracts that are bound by configuration."""
