"""Calls, values and events by the Solidity ABI."""
