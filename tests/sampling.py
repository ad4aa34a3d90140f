"""Products of parameters of which the usual run takes a sample: the rest is for ``nox -s everything``.

A test that crosses parameters which have nothing to do with each other, say eight drivers with four orders of the
same steps, says ``@pytest.mark.sampled(strength=2)``: any two values of different parameters then meet in some
combination that runs, and each value of ``strength=1`` is in one. The sample is the same in every run. The
combinations outside get the mark ``exhaustive`` and are deselected, as is a test that carries that mark itself; the
summary says how many there were.

The engine's use cases run on every storage, and that SQLite and PostgreSQL answer alike is shown by the suite of
storages. So a test in ``ENGINE`` that demonstrates no fault row takes one of the two databases in the usual run, by
its name, as does each case of a test with many cases in ``SUITE``, where each storage is a class that names its
``database``.

Properties have fewer examples in the usual run, the same ones each time: ``@settings(max_examples=examples(200))``.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import settings

ENGINE = {
    *("analytics", "engine", "ledger", "mandates", "messages", "people", "reader", "refunds", "relayer"),
    *("subscriptions", "tracing", "treasury", "webhooks"),
}
SUITE = "storage/suite"
DATABASES = {"sqlite": 0, "postgres": 1, "postgresql": 1}
MANY = 4
"""So many cases of one test meet both databases."""

Place = tuple[tuple[int, str], ...]
"""Values that meet: which of the parametrizations, and the id of its value."""


EVERYTHING = bool(os.environ.get("EVMBILLING_EVERYTHING"))
"""Set by ``nox -s everything``."""


def examples(number: int) -> int:
    """So many examples of a property, or a quarter of them in the usual run."""
    return number if EVERYTHING else max(number // 4, 10)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Deselected(), "evmbilling-deselected")
    # Two shared cores make a deadline a measurement of the neighbours.
    settings.register_profile("project", deadline=None, max_examples=examples(100), derandomize=not EVERYTHING)
    settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is outside the samples."""
    products: defaultdict[tuple[str, int], dict[str, pytest.Item]] = defaultdict(dict)
    for item in items:
        if item.get_closest_marker("exhaustive") and item.get_closest_marker("fault"):
            raise pytest.UsageError(f"a test of a fault row is in every run: {item.nodeid}")
        mark = item.get_closest_marker("sampled")
        if mark is not None and hasattr(item, "callspec"):
            strength = max(mark.kwargs["strength"], 2 if item.get_closest_marker("fault") else 1)
            products[item.nodeid.partition("[")[0], strength][item.nodeid] = item
    for (_, strength), product in products.items():
        needed = sample({name: item.callspec._idlist for name, item in product.items()}, strength)
        for name in product.keys() - needed:
            product[name].add_marker(pytest.mark.exhaustive)
    for twins in _on_both_databases(items):
        name = twins[0].nodeid.encode()
        twins[hashlib.sha256(name).digest()[0] % 2].add_marker(pytest.mark.exhaustive)


def _on_both_databases(items: Sequence[pytest.Item]) -> Iterator[Sequence[pytest.Item]]:
    """Find the tests of which one database is enough: each on SQLite and on PostgreSQL."""
    functions: defaultdict[str, defaultdict[tuple[str, ...], dict[int, pytest.Item]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for item in items:
        ids = item.callspec._idlist if hasattr(item, "callspec") else ()
        own = getattr(item.cls, "database", None) if isinstance(item, pytest.Function) else None
        database = own or next((one for one in ids if one in DATABASES), None)
        if database not in DATABASES or item.get_closest_marker("fault") or item.get_closest_marker("exhaustive"):
            continue
        others = tuple(one for one in ids if one != database)
        function = item.nodeid.partition("[")[0]
        if own is not None:  # a class a database: the class does not tell its tests from their twins
            function = function.replace(f"::{item.cls.__name__}::", "::")
        functions[function][others][DATABASES[database]] = item
    for function, cases in functions.items():
        folder = function.partition("::")[0].rpartition("/")[0].removeprefix("tests/")
        if folder in ENGINE or (folder == SUITE and len(cases) >= MANY):
            yield from ((twins[0], twins[1]) for twins in cases.values() if len(twins) == len({*DATABASES.values()}))


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
