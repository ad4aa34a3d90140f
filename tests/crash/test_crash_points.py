"""SIGKILL at the places of checkout, payment, effect, delivery and refund: the books end as if nobody had died."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import forks

DRIVER = Path(__file__).with_name("crash_driver.py")
EVERY = "EVMBILLING_CRASH_EVERY"
"""Set by ``nox -s crash``: each n-th place, around statements and questions to the node as well."""
COARSE = {"sqlite": (1, 40), "postgres": (7, 48)}
"""The first place and the distance to the next: those that are left out die by name in test_worker_kinds.py."""
LONGEST = 24 * 3600
"""Seconds: ``nox -s crash`` takes all places."""
WHOLE = {"entries": 4, "receipts": 1, "refunds": 1, "events": 7, "deliveries": 7}
"""What the script leaves at the end, so that equal books are not empty ones."""


def lives(database: str, folder: Path, first: int, every: int, *, fine: bool) -> list[dict[str, Any]]:
    """Kill a process at every n-th place; return where, and the books when another one had finished."""
    done = forks.program(DRIVER, database, folder, first, every, "1" if fine else "0", seconds=LONGEST)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.fault("D16", "W18")
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_d16_w18_killed_anywhere_and_started_again_the_books_are_those_of_no_crash(database, place, tmp_path):
    asked = os.environ.get(EVERY)
    first, every = (1, int(asked)) if asked else COARSE[database]
    calm, *killed = lives(place, tmp_path, first, every, fine=asked is not None)
    assert {name: len(calm["books"][name]) for name in WHOLE} == WHOLE
    assert (calm["books"]["wrong"], calm["books"]["told wrongly"]) == ([], [])
    assert len(killed) > 3
    assert [life["killed"] for life in killed] == [True] * (len(killed) - 1) + [False]
    assert {
        life["at"]: _changed(calm["books"], life["books"]) for life in killed if life["books"] != calm["books"]
    } == {}


def _changed(calm: dict[str, Any], books: dict[str, Any]) -> dict[str, Any]:
    return {name: {"found": books[name], "expected": rows} for name, rows in calm.items() if books[name] != rows}
