"""Ethereum and its kin: the payment provider, the chain source, and the JSON-RPC underneath."""
