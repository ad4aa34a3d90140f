"""Each call to the database fails once: nothing is half written, and the storage works on."""

from __future__ import annotations

from typing import Any

import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import StorageError
from evmbilling.testing.conformance.base import needs
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

WRITES = (
    d.OpenOrder(b.order()),
    d.BindKey(b.key_record()),
    d.StoreReceipt(b.receipt()),
    d.AppendEntry(b.entry()),
    d.Publish(b.event()),
    d.PostEntry(b.posting()),
    d.RecordAudit(b.audit()),
)
MOST = 200
"""No unit of these tests makes so many calls."""


def rows(storage: Any) -> list[Any]:
    """Return what WRITES writes."""
    with b.looking(storage) as unit:
        return [
            *filter(None, [unit.customer("user-new"), unit.order(b.ident(1)), unit.key("checkout", b.ALICE, "k-1")]),
            *unit.unmatched_receipts(),
            *unit.entries(b.ident(1)),
            *unit.events(),
            *unit.ledger_entries(),
            *unit.all_balances(),
            *unit.audit(),
        ]


class BrokenChecks(StorageKit):
    """A call that fails is one of our errors, and the unit never happened."""

    clause = 16

    def until_it_works(self, storage: Any, broken_call: Any, work: Any, before: Any) -> Any:
        """Let the first call fail, then the second, and so on; return what the work returns when none does."""
        for number in range(1, MOST):
            with broken_call(number) as fault:
                try:
                    result = work()
                except StorageError:
                    assert fault.met, "a StorageError though no call failed"
                else:
                    if not fault.met:
                        assert number > 1, "broken_call met no call at all"
                        return result
                    pytest.fail(f"call {number} failed, and nobody was told")
            assert before(), f"call {number} failed, and something was written"
            if "pool" in self.capabilities:
                assert self.connections_in_use(storage) == 0, f"call {number} failed, and a connection was kept"
        raise AssertionError("broken_call never ends")

    @needs("breakable")
    def test_a_unit_whose_nth_call_fails_never_happened(self, storage: Any, broken_call: Any) -> None:
        b.seed(storage)

        def work() -> None:
            with storage.unit() as unit:
                unit.lock_customer(b.customer("user-new"))
                for decision in WRITES:
                    unit.apply([decision])

        self.until_it_works(storage, broken_call, work, lambda: rows(storage) == [])
        assert len(rows(storage)) == 9

    @needs("breakable")
    def test_a_list_whose_nth_call_fails_never_happened(self, storage: Any, broken_call: Any) -> None:
        b.seed(storage)
        self.until_it_works(storage, broken_call, lambda: b.write(storage, *WRITES), lambda: rows(storage) == [])
        assert len(rows(storage)) == 8

    @needs("breakable")
    def test_a_read_whose_nth_call_fails_says_so(self, storage: Any, broken_call: Any) -> None:
        b.seed(storage, *WRITES)
        found = self.until_it_works(storage, broken_call, lambda: rows(storage), lambda: True)
        assert found == rows(storage)

    @needs("breakable")
    def test_a_lease_whose_nth_call_fails_is_not_taken(self, storage: Any, broken_call: Any) -> None:
        def work() -> Any:
            return storage.acquire_lease("x", "a", 60)

        lease = self.until_it_works(storage, broken_call, work, lambda: list(storage.leases()) == [])
        assert [held.fence for held in storage.leases()] == [lease.fence] == [1]
