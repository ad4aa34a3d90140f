"""evmbilling: a billing engine for Python applications that are paid on EVM chains."""
