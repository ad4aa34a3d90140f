"""Storage in the memory of one process: for tests, simulations and trying things out. Nothing survives the process."""

from __future__ import annotations

from evmbilling.adapters.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
