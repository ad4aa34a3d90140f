"""Rows and records, written out plainly: one function each way per record."""
