"""Logs that were made ready before they are recorded: the same logs, recorded with less work and no other outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.ports.storage import Storage
from evmbilling.testing.conformance.storage import records as b

Logs = Sequence[ChainLog]
COUNTS = {"few": 3, "many": 600}
"""A database may make only long lists ready, because short ones cost it nothing."""
ALL = 10_000
FORMS: dict[str, Callable[[Logs], Logs]] = {"records": tuple, "columns": lambda logs: LogColumns.of(b.CHAIN, logs)}
"""As a source may give them."""
NUMBERS = range(9, 13)


def logs_of(count: int) -> list[ChainLog]:
    """Return logs of as many transactions, in blocks from 9 on."""
    return [b.log(9 + number // 200, number + 1, log_index=number % 200) for number in range(count)]


def recording(logs: Logs, numbers: Sequence[int] = NUMBERS) -> d.RecordEvidence:
    """Decide to record logs with the cursor at the last of some blocks."""
    headers = tuple(map(b.header, numbers))
    return d.RecordEvidence(cursor=b.cursor(numbers[-1]), headers=headers, logs=logs, keep_from=0)


def settled(storage: Storage) -> list[Any]:
    """Look at everything that is due, and wait for nothing more; return it."""
    with storage.unit() as unit:
        items = unit.claim_items(b.CHAIN, b.cursor(), b.T0, ALL)
        unit.apply([d.StoreItem(attrs.evolve(item, wait="never", reason=None)) for item in items])
    return sorted(items, key=lambda item: item.identity.tx_hash)


def new(logs: Logs, ready: Callable[[Logs], Logs]) -> list[d.Decision]:
    """Nothing of it is there yet."""
    return [recording(ready(logs))]


def again(logs: Logs, ready: Callable[[Logs], Logs]) -> list[d.Decision]:
    """All of it is there already: the same value, as the same list made ready anew, and with one log more."""
    told = ready(logs[:-1])
    return [recording(told), recording(told), recording(ready(logs))]


def moved(logs: Logs, ready: Callable[[Logs], Logs]) -> list[d.Decision]:
    """One transaction was in another block before, which a reorganisation took away."""
    before = b.log(20, 1, log_index=0)
    return [recording([before], [20]), d.Rewind(cursor=b.cursor(8)), recording(ready(logs))]


def returned(logs: Logs, ready: Callable[[Logs], Logs]) -> list[d.Decision]:
    """All of it was taken away, and its blocks came back."""
    return [recording(logs), d.Rewind(cursor=b.cursor(8)), recording(ready(logs))]


STORIES = (new, again, moved, returned)


def told(storage: Storage, story: Sequence[d.Decision], logs: Logs) -> list[Any]:
    """Return what an empty storage holds after each of these decisions, and what a reorganisation leaves of it."""
    found: list[Any] = []
    for decision in story:
        b.write(storage, decision)
        found.append(held(storage))
    (canonical, *_), items = found[-1]
    assert canonical == logs
    assert {item.identity for item in items} == {log.identity for log in logs}
    b.write(storage, d.Rewind(cursor=b.cursor(9)))
    found.append(held(storage))
    orphans = storage.prune("chain_logs", b.at(10**9), ALL)
    return [*found, orphans]


def held(storage: Storage) -> tuple[Any, list[Any]]:
    """Return the logs, the blocks and the cursor of a chain, and the items that were due, which wait no more."""
    with b.looking(storage) as unit:
        logs, blocks = list(unit.logs_between(b.CHAIN, 0, 99)), list(unit.log_blocks(b.CHAIN, below=99))
        seen = logs, blocks, list(unit.window(b.CHAIN)), unit.cursor(b.CHAIN)
    return seen, settled(storage)


class PreparedChecks:
    """Logs that were made ready: the same logs, recorded with no other outcome."""

    clause = 8

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("count", [0, *COUNTS.values()])
    def test_logs_that_were_made_ready_are_the_same_logs(self, storage: Storage, count: int, form: str) -> None:
        logs = logs_of(count)
        ready = storage.prepare(FORMS[form](logs) if logs else ())
        assert (len(ready), list(ready), list(ready)) == (count, logs, logs)
        assert [ready[place] for place in range(count)] == logs
        assert list(ready[1:-1]) == logs[1:-1]
        assert list(storage.prepare(ready)) == logs

    @pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
    @pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
    def test_what_was_made_ready_is_recorded_as_the_logs_themselves_are(
        self, new_storage: Callable[[], Storage], story: Any, count: int
    ) -> None:
        logs = logs_of(count)
        expected = told(new_storage(), story(logs, tuple), logs)
        for form in FORMS.values():
            storage = new_storage()

            def ready(given: Logs, storage: Storage = storage, form: Callable[[Logs], Logs] = form) -> Logs:
                return storage.prepare(form(given))

            assert told(storage, story(logs, ready), logs) == expected

    @pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS)
    def test_what_was_made_ready_outlives_a_unit_that_failed(self, storage: Storage, count: int) -> None:
        logs = logs_of(count)
        ready = storage.prepare(LogColumns.of(b.CHAIN, logs))
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is given up
                unit.apply([recording(ready)])
                raise ZeroDivisionError
            with b.looking(storage) as unit:
                assert list(unit.logs_between(b.CHAIN, 0, 99)) == []
        b.write(storage, recording(ready))
        with b.looking(storage) as unit:
            assert list(unit.logs_between(b.CHAIN, 0, 99)) == logs
        assert {item.identity for item in settled(storage)} == {log.identity for log in logs}

    def test_logs_are_made_ready_beside_a_unit_that_writes(self, storage: Storage) -> None:
        """The reader of a chain does so, in another thread, while the range before is written."""
        logs = logs_of(COUNTS["many"])
        with ThreadPoolExecutor(1) as pool, storage.unit() as unit:
            unit.apply([recording(logs[:200], [9])])
            ready = pool.submit(storage.prepare, logs[200:]).result()
        with storage.unit() as unit:
            unit.apply([recording(ready, [10, 11])])
            assert list(unit.logs_between(b.CHAIN, 0, 99)) == logs
