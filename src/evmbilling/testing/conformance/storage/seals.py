"""Seals: every append-only row is found once it is committed, whenever that is, and is covered by one link."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.books.seals import SealItem
from evmbilling.errors import AlreadyExists
from evmbilling.testing.conformance.crowds import elsewhere
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

TABLES = {"audit", "ledger_entries", "outbox", "receipt_entries", "subscription_changes"}

APPENDED = (
    d.RecordAudit(b.audit()),
    d.PostEntry(b.posting()),
    d.Publish(b.event()),
    d.AppendEntry(b.entry()),
    d.RecordChange(b.change()),
)


def unsealed(storage: Any, limit: Any = 100) -> Any:
    with b.looking(storage) as unit:
        return list(unit.unsealed_rows(limit))


def seal_all(storage: Any, number: Any = 1, limit: Any = 100) -> Any:
    """Cover what is open, as the sealer does; return what was covered."""
    with storage.unit() as unit:
        rows = list(unit.unsealed_rows(limit))
        items = tuple(b.seal_item(row, number) for row in rows)
        unit.apply([d.AddSeal(b.seal(number, rows=len(items)), items)])
    return rows


CHANGED = [
    pytest.param(lambda **own: d.RecordAudit(b.audit(**own)), {"actor": "x"}, id="audit-actor"),
    pytest.param(lambda **own: d.RecordAudit(b.audit(**own)), {"changes": {"name": ["Pro", None]}}, id="audit-changes"),
    pytest.param(lambda **own: d.RecordAudit(b.audit(**own)), {"recorded_at": b.at(1.000001)}, id="audit-time"),
    pytest.param(lambda **own: d.PostEntry(b.posting(**own)), {"lines": b.received(19_990_001)}, id="ledger-amount"),
    pytest.param(
        lambda **own: d.PostEntry(b.posting(**own)),
        {"lines": tuple(reversed(b.received(19_990_000)))},
        id="ledger-order",
    ),
    pytest.param(lambda **own: d.PostEntry(b.posting(**own)), {"asset": b.asset(decimals=18)}, id="ledger-asset"),
    pytest.param(lambda **own: d.PostEntry(b.posting(**own)), {"identity": None}, id="ledger-identity"),
    pytest.param(lambda **own: d.PostEntry(b.posting(**own)), {"occurred_at": b.at(59)}, id="ledger-time"),
    pytest.param(lambda **own: d.Publish(b.event(**own)), {"data": {"amount": "1"}}, id="event-data"),
    pytest.param(lambda **own: d.AppendEntry(b.entry(**own)), {"amount": 19_990_001}, id="journal-amount"),
    pytest.param(lambda **own: d.AppendEntry(b.entry(**own)), {"kind": "final"}, id="journal-kind"),
    pytest.param(lambda **own: d.RecordChange(b.change(**own)), {"kind": "pause"}, id="change-kind"),
]


class SealsChecks(StorageKit):
    """Seals: every append-only row is found once it is committed, whenever that is, and is covered by one link."""

    clause = 13

    def test_every_append_only_row_waits_for_its_seal(self, storage: Any) -> None:
        b.write(b.seeded(storage), *APPENDED)
        rows = unsealed(storage)
        assert {row.table for row in rows} == TABLES
        assert len({(row.table, row.key) for row in rows}) == len(rows)
        assert len({row.digest for row in rows}) == len(rows)
        with b.looking(storage) as unit:
            for row in rows:
                assert unit.sealed_rows(row.table, [row.key, row.key]) == {row.key: row}
        assert len(unsealed(storage, limit=2)) == 2

    def test_a_link_and_its_rows_come_back(self, storage: Any) -> None:
        b.write(b.seeded(storage), *APPENDED)
        first = seal_all(storage, 1, limit=2)
        second = seal_all(storage, 2)
        assert unsealed(storage) == []
        assert {(row.table, row.key) for row in first}.isdisjoint((row.table, row.key) for row in second)
        with b.looking(storage) as unit:
            assert unit.last_seal() == b.seal(2, rows=len(second))
            assert list(unit.seals()) == [b.seal(1, rows=2), b.seal(2, rows=len(second))]
            assert list(unit.seals(after=1)) == [b.seal(2, rows=len(second))]
            assert list(unit.seals(limit=1)) == [b.seal(1, rows=2)]
            for number, rows in ((1, first), (2, second)):
                items = [b.seal_item(row, number) for row in rows]
                assert list(unit.seal_items(number)) == sorted(items, key=lambda item: (item.table, item.key))
            assert list(unit.seal_items(3)) == []

    def test_before_the_first_link_there_is_none(self, storage: Any) -> None:
        with b.looking(storage) as unit:
            assert unit.last_seal() is None
            assert list(unit.seals()) == list(unit.unsealed_rows(10)) == []
            assert unit.sealed_rows("audit", ["x"]) == unit.sealed_rows("audit", []) == {}
            assert unit.unsealed_before(b.at(10**9)) == 0

    @pytest.mark.parametrize(
        "again",
        [
            pytest.param(lambda row: d.AddSeal(b.seal(1, mac=b.word(9)), ()), id="number"),
            pytest.param(lambda row: d.AddSeal(b.seal(2), (b.seal_item(row, 2),)), id="row"),
            pytest.param(
                lambda row: d.AddSeal(b.seal(2), (SealItem(table="audit", key="x", digest=b.word(1), seal=2),) * 2),
                id="row-twice",
            ),
        ],
    )
    def test_a_number_and_a_row_are_sealed_once(self, storage: Any, again: Any) -> None:
        b.write(storage, d.RecordAudit(b.audit()))
        (row,) = seal_all(storage)
        with pytest.raises(AlreadyExists):
            b.write(storage, d.RecordAudit(b.audit(2)), again(row))
        with b.looking(storage) as unit:
            assert list(unit.seals()) == [b.seal(1)]
            assert list(unit.seal_items(1)) == [b.seal_item(row)]
            assert [entry.audit_id for entry in unit.audit()] == [b.ident(1)]

    def test_a_seal_that_is_rolled_back_covers_nothing(self, storage: Any) -> None:
        b.write(storage, d.RecordAudit(b.audit()))
        (row,) = unsealed(storage)
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            unit.apply([d.AddSeal(b.seal(), (b.seal_item(row),))])
            assert list(unit.unsealed_rows(5)) == []
            raise ZeroDivisionError
        assert unsealed(storage) == [row]

    @pytest.mark.fault("D28")
    def test_d28_rows_that_commit_out_of_order_are_found(self, storage: Any) -> None:
        b.seed(storage)
        early, late = b.audit(1), b.audit(2)

        @contextmanager
        def slow() -> Iterator[Any]:
            with storage.unit() as unit:
                unit.apply([d.RecordAudit(early)])
                yield unit

        if not self.concurrent_writers:
            b.write(storage, d.RecordAudit(late))
            assert [row.key for row in seal_all(storage, 1)] == [late.audit_id]
            b.write(storage, d.RecordAudit(early))
        else:
            with elsewhere(slow):
                b.write(storage, d.RecordAudit(late))
                assert [row.key for row in seal_all(storage, 1)] == [late.audit_id]
                assert unsealed(storage) == []
        assert [row.key for row in seal_all(storage, 2)] == [early.audit_id]
        assert unsealed(storage) == []

    def test_the_lag_counts_ledger_and_audit_rows_before_an_instant(self, storage: Any) -> None:
        b.write(b.seeded(storage), *APPENDED, d.RecordAudit(b.audit(200)))
        with b.looking(storage) as unit:
            counts = [unit.unsealed_before(b.at(second)) for second in (1, 1.000001, 61, 61.000001, 200, 201)]
        assert counts == [0, 1, 1, 2, 2, 3]
        seal_all(storage)
        with b.looking(storage) as unit:
            assert unit.unsealed_before(b.at(10**6)) == 0

    @pytest.mark.parametrize(("decide", "difference"), CHANGED)
    def test_a_row_that_differs_in_one_column_has_another_digest(
        self, new_storage: Any, decide: Any, difference: Any
    ) -> None:
        rows = []
        for changes in ({}, difference):
            storage = b.seeded(new_storage())
            b.write(storage, decide(**changes))
            rows.append(unsealed(storage))
        (whole,), (changed,) = rows
        assert (whole.table, whole.key) == (changed.table, changed.key)
        assert whole.content != changed.content
        assert whole.digest != changed.digest

    def test_the_content_of_a_row_is_the_same_whenever_it_is_read(self, storage: Any) -> None:
        b.write(b.seeded(storage), *APPENDED)
        before = {(row.table, row.key): row for row in unsealed(storage)}
        seal_all(storage)
        b.write(storage, d.RecordAudit(b.audit(2)), d.OpenDeliveries(b.ident(1), (b.delivery(),)))
        with b.looking(storage) as unit:
            for (table, key), row in before.items():
                assert unit.sealed_rows(table, [key]) == {key: row}

    @pytest.mark.parametrize("table", ["orders", "customers", "seals", "", "audit; DROP TABLE x"])
    def test_only_append_only_tables_are_sealed(self, storage: Any, table: Any) -> None:
        b.seeded(storage)
        with b.looking(storage) as unit:
            assert unit.sealed_rows(table, [b.ident(1), b.ALICE]) == {}

    @pytest.mark.parametrize("key", ["", "x", "x:y", "x:1", "::", "%", "1", "x:" + "9" * 30])
    @pytest.mark.parametrize("table", sorted(TABLES))
    def test_a_key_of_no_row_finds_nothing(self, storage: Any, table: Any, key: Any) -> None:
        b.write(b.seeded(storage), *APPENDED)
        with b.looking(storage) as unit:
            assert unit.sealed_rows(table, [key]) == {}
