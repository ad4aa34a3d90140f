"""Reading chains: blocks become evidence, and evidence is taken back."""
