"""Verification: everything that is stored, proved from evidence or named."""
