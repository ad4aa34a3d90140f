"""Products of parameters of which the usual run takes a sample: the rest is for ``nox -s everything``.

A test that crosses parameters which have nothing to do with each other, say eight drivers with four orders of the
same steps, says ``@pytest.mark.sampled(strength=2)``: any two values of different parameters then meet in some
combination that runs, and each value of ``strength=1`` is in one. The sample is the same in every run. The
combinations outside get the mark ``exhaustive`` and are deselected, as is a test that carries that mark itself; the
summary says how many there were.

Storages and hosts are twins: that memory, SQLite and PostgreSQL answer alike is shown by the suite of storages, whose
every clause runs on all three (of a long list of values, ``in_turn`` there, each database has its half) as do the tests
of the other folders in ``BOTH`` on both databases; that FastAPI and Flask send the same bytes is shown by the tests
that ask both at once (``test_routes``, ``test_hostile``, ``test_fuzz``). So any other test that would run on several,
and demonstrates no fault row, takes one of them in the usual run, by its name; its cases take them in turn, and
PostgreSQL, which costs twice what SQLite does, half as often as each other storage.
A test of a fault row runs on every host and on both databases, and not in memory then; when it has as many cases as
there are of them, these take turns: the row and the test itself run on both. So do, in ``SUITES``, which is about the
databases, the cases of any test that has as many; one that is about what we do there, and not about the database,
carries ``in_turn`` and takes one. So does, in any folder, a test of a fault row that no database decides: the row's
cases then take turns, on the two databases. A class may stand for its ``database``.
A test of a promise that is given for each database, wherever it stands and however many cases it has, carries
``both_databases``: each of its cases runs on SQLite and on PostgreSQL.

Properties have fewer examples in the usual run, the same ones each time: ``@settings(max_examples=examples(200))``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.internal import charmap
from hypothesis.internal.conjecture import providers

TWINS = ((("memory",), ("sqlite",), ("postgres", "postgresql")), (("fastapi",), ("flask",)))
"""Words among the ids of a test's parameters, for one and the others: storages, and hosts."""
STORAGES = TWINS[0][0][0]
BOTH = {"joining", "moving", "crash", "benchmarks", "storage/suite"}
"""Here the difference between the two is what is asked."""
SUITES = {"storage/sqlalchemy"}
_TWIN = {word: (sides[0][0], side) for sides in TWINS for side, words in enumerate(sides) for word in words}

Place = tuple[tuple[int, str], ...]
"""Values that meet: which of the parametrizations, and the id of its value."""


EVERYTHING = bool(os.environ.get("EVMBILLING_EVERYTHING"))
"""Set by ``nox -s everything``."""


def examples(number: int) -> int:
    """So many examples of a property, or a sixth of them in the usual run, but ten where there are as many."""
    return number if EVERYTHING else min(number, max(number // 6, 10))


def share(values: Sequence[Any], among: str) -> Sequence[Any]:
    """Return all of these values, or a quarter of them in the usual run: another one at each place that is named.

    For values that every place of many is tried with: each value is then tried at a quarter of the places.
    """
    if EVERYTHING:
        return values
    first = hashlib.sha256(among.encode()).digest()[0]
    return [value for number, value in enumerate(values) if number % 4 == first % 4]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Deselected(), "evmbilling-deselected")
    # Two shared cores make a deadline a measurement of the neighbours.
    settings.register_profile("project", deadline=None, max_examples=examples(100), derandomize=not EVERYTHING)
    settings.load_profile("project")
    if not EVERYTHING:
        _know_no_constants()


def _know_no_constants() -> None:
    """Have examples that depend on the property alone, and not on the constants in the modules a worker has loaded.

    Reading those in takes each worker seconds before its first test; the whole run does it.
    """
    if hasattr(providers, "_get_local_constants") and hasattr(providers, "_local_constants"):
        providers._get_local_constants = lambda: providers._local_constants


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Write down for all workers what each would find out in two seconds in a fresh clone.

    Every character but the surrogates has a place in UTF-8.
    """
    file = Path(charmap.charmap_file("codec-v2-utf-8"))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = file.with_suffix(f".{os.getpid()}")
        whole.write_bytes(gzip.compress(json.dumps([[[0, 0xD7FF], [0xE000, sys.maxunicode]], []]).encode()))
        whole.replace(file)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is outside the samples."""
    products: defaultdict[tuple[str, int], dict[str, pytest.Item]] = defaultdict(dict)
    for item in items:
        copied = getattr(getattr(item, "cls", None), "few_cases", False)  # an example of what is held to all of it
        if item.get_closest_marker("exhaustive") and item.get_closest_marker("fault") and not copied:
            raise pytest.UsageError(f"a test of a fault row is in every run: {item.nodeid}")
        mark = item.get_closest_marker("sampled")
        if mark is not None and hasattr(item, "callspec"):
            strength = max(mark.kwargs["strength"], 2 if item.get_closest_marker("fault") else 1)
            products[item.nodeid.partition("[")[0], strength][item.nodeid] = item
    for (_, strength), product in products.items():
        needed = sample({name: item.callspec._idlist for name, item in product.items()}, strength)
        for name in product.keys() - needed:
            product[name].add_marker(pytest.mark.exhaustive)
    for left_out in _second_twins(items):
        left_out.add_marker(pytest.mark.exhaustive)


def _second_twins(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Find what runs on another storage, or the other host, already."""
    functions: defaultdict[tuple[str, str], defaultdict[tuple[str, ...], dict[int, pytest.Item]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for item in items:
        place = _place(item)
        if place is not None and not item.get_closest_marker("exhaustive"):
            function, kind, side, others = place
            functions[function, kind][others][side] = item
    for (function, kind), cases in functions.items():
        folder = function.partition("::")[0].rpartition("/")[0].removeprefix("tests/")
        in_turn = _marked("in_turn", cases.values())
        twins = [sides for _, sides in sorted(cases.items(), key=_apart if folder in BOTH else None) if len(sides) > 1]
        if (folder in BOTH and not in_turn) or not twins:
            continue
        everywhere = folder in SUITES and not in_turn
        first = hashlib.sha256(function.encode()).digest()[0]
        for turn, sides in enumerate(twins, first + 1):
            both = kind == STORAGES and _marked("both_databases", [sides])
            rivals = sorted(_enough(sides, kind) if both or (_is_row(sides) and folder not in SUITES) else sides)
            equal = everywhere or folder in BOTH or (_is_row(sides) and not in_turn)
            each = both or (equal and len(twins) < len(rivals))
            turns = rivals if equal or kind != STORAGES else [*rivals[:-1] * 2, rivals[-1]]  # the last is the dearest
            stays = rivals if each else [turns[turn % len(turns)]]
            yield from (item for side, item in sides.items() if side not in stays)


def _apart(case: tuple[tuple[str, ...], object]) -> str:
    """Return what puts cases in an order that is none of their values'."""
    return hashlib.sha256("-".join(case[0]).encode()).hexdigest()


def _marked(mark: str, cases: Iterable[Mapping[int, pytest.Item]]) -> bool:
    return any(item.get_closest_marker(mark) for sides in cases for item in sides.values())


def _is_row(sides: Mapping[int, pytest.Item]) -> bool:
    return _marked("fault", [sides])


def _enough(sides: Mapping[int, pytest.Item], kind: str) -> set[int]:
    """Return the twins of which each runs: both hosts, both databases, memory where one is not there."""
    return set(sides) - {0} if kind == STORAGES and {1, 2} <= set(sides) else set(sides)


def _place(item: pytest.Item) -> tuple[str, str, int, tuple[str, ...]] | None:
    """Return a test's name, which twins it is about, which of the two it takes, and the ids of its other parameters."""
    ids = tuple(item.callspec._idlist) if hasattr(item, "callspec") else ()
    function = item.nodeid.partition("[")[0]
    own = getattr(item.cls, "database", None) if isinstance(item, pytest.Function) else None
    if own in _TWIN:  # a class a database: the class does not tell its tests from their twins
        return function.replace(f"::{item.cls.__name__}::", "::"), *_TWIN[own], ids
    word = next((one for one in ids if one in _TWIN), None)
    if word is None:
        return None
    at = ids.index(word)
    return function, *_TWIN[word], (*ids[:at], *ids[at + 1 :])


def sample(product: Mapping[str, Sequence[str]], strength: int) -> set[str]:
    """Choose combinations in which all values of any ``strength`` parameters meet that meet in the whole product.

    Args:
        product: the values of a combination, one for each parameter, by the combination's name.
        strength: of how many parameters at once; of all when there are fewer.

    """
    names = sorted(product, key=lambda name: hashlib.sha256(name.encode()).digest())
    meetings = {name: _meetings(product[name], strength) for name in names}
    missing = set[Place]().union(*meetings.values())
    chosen = set[str]()
    while missing:
        best = max(names, key=lambda name: len(meetings[name] & missing))
        chosen.add(best)
        missing -= meetings[best]
    return chosen


def _meetings(values: Sequence[str], strength: int) -> set[Place]:
    return set(combinations(enumerate(values), min(strength, len(values))))


class Deselected:
    """Says how many were left out; under xdist only the workers know."""

    def __init__(self) -> None:
        self._count = 0

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._count += len([item for item in items if item.get_closest_marker("exhaustive")])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["exhaustive"] = self._count

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._count = max(self._count, getattr(node, "workeroutput", {}).get("exhaustive", 0))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._count:
            terminalreporter.write_line(f"{self._count} deselected: nox -s everything runs them too")
