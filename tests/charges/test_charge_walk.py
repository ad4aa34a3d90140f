"""Charges in flight beside everything else, in any order: an oracle adds up what is left."""

from __future__ import annotations

import os

import pytest
from charge_bench import OnFake
from charge_walk import Walk

LONG = int(os.environ.get("EVMBILLING_WALKS") or 0)
"""How many further walks there are: `EVMBILLING_WALKS=300`."""


@pytest.mark.parametrize("seed", [*range(4), *range(1000, 1000 + LONG)])
def test_nothing_is_taken_for_nothing_and_nothing_waits_for_ever(simple: OnFake, seed: int) -> None:
    walk = Walk(simple, seed)
    try:
        walk.walk(25)
        walk.check()
    except AssertionError as error:
        error.add_note(" ".join(walk.trail))
        raise
