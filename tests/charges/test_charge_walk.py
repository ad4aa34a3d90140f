"""Charges in flight beside everything else, in any order: an oracle adds up what is left."""

from __future__ import annotations

import os

import pytest
from charge_bench import OnFake
from charge_walk import Walk

LONG = int(os.environ.get("EVMBILLING_WALKS") or 0)
"""How many further walks there are: `EVMBILLING_WALKS=300`."""


@pytest.mark.parametrize("seed", [4002, 4004, 4008, 4013, 4016, *range(LONG)])
def test_nothing_is_taken_for_nothing_and_nothing_waits_for_ever(simple: OnFake, seed: int) -> None:
    """The first seeds are some of those with which it failed once."""
    walk = Walk(simple, seed)
    try:
        walk.walk(45)
        walk.check()
    except AssertionError as error:
        error.add_note(" ".join(walk.trail))
        raise
