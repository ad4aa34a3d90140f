"""Refunds: from the wish to what the chain shows of them."""
