"""The garbage collector of a worker's process."""

from __future__ import annotations

import subprocess
import sys

SETTLED = """
import gc
from evmbilling.working import settle_collector
before = gc.get_threshold()[0]
settle_collector()
ring = []
ring.append(ring)
del ring
print(gc.get_freeze_count() > 1000, gc.get_threshold()[0] > before, gc.isenabled(), gc.collect() > 0)
"""


def test_what_is_loaded_is_left_alone_and_new_rings_are_still_found():
    said = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True"] * 4
