"""Reads: the roles of the storage port, one module each."""
