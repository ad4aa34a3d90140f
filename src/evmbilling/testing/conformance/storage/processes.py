"""Many processes on one database: no update is lost, one of many wins, and who is killed leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import Conflict, LeaseLost
from evmbilling.testing.conformance.base import needs
from evmbilling.testing.conformance.crowds import again
from evmbilling.testing.conformance.processes import held_by_a_process, in_processes
from evmbilling.testing.conformance.storage import records as b

TURNS = 8


def count_up(storage: Any, _: int) -> None:
    """Raise a customer's counter some times."""

    def bump() -> None:
        with storage.unit() as unit:
            stored = unit.lock_customer(b.customer())
            more = attrs.evolve(stored, event_seq=stored.event_seq + 1, version=stored.version + 1)
            unit.apply([d.StoreCustomer(more)])

    for _ in range(TURNS):
        again(bump)


def credit(storage: Any, number: int) -> str | None:
    """Credit one movement on chain; return the receipt if this process was the one."""
    receipt = b.receipt(10 + number, identity=b.identity(1))
    try:
        again(lambda: b.write(storage, d.StoreReceipt(receipt), d.Publish(b.event(10 + number))))
    except Conflict:
        return None
    return receipt.receipt_id


def take_and_record(storage: Any, number: int) -> int | None:
    """Take the reader's lease and write evidence under its fence; return the fence."""
    lease = again(lambda: storage.acquire_lease("reader:1", f"process-{number}", 60))
    if lease is None:
        return None
    cursor = b.cursor(100, fence=lease.fence)
    try:
        again(lambda: b.write(storage, d.RecordEvidence(cursor=cursor, headers=(b.header(100),), logs=(), keep_from=0)))
    except LeaseLost:
        return -1
    return int(lease.fence)


def consume_all(storage: Any, _: int) -> int:
    """Use as much of a quota as one gets, one by one."""
    taken = 0
    while True:

        def one() -> Any:
            with storage.unit() as unit:
                return unit.consume(b.window(allowed=20), 1)

        if again(one) is None:
            return taken
        taken += 1


def write_one(storage: Any, number: int) -> None:
    """Append an event."""
    b.write(storage, d.Publish(b.event(50 + number)))


def hold(storage: Any, there: Callable[[], None]) -> None:
    """Write within a unit that never ends."""
    with storage.unit() as unit:
        unit.lock_customer(b.customer())
        unit.apply([d.OpenOrder(b.order(9)), d.Publish(b.event(9))])
        there()


class ProcessesChecks:
    """What holds between threads holds between processes."""

    clause = 14

    @needs("many_processes")
    def test_processes_lose_no_update_of_a_customer(self, storage: Any, reopen: Any) -> None:
        b.seed(storage)
        in_processes(reopen, count_up)
        with b.looking(storage) as unit:
            assert unit.customer(b.ALICE).event_seq == 3 * TURNS

    @needs("many_processes")
    @pytest.mark.fault("C14")
    def test_c14_one_of_many_processes_credits_a_movement(self, storage: Any, reopen: Any) -> None:
        b.seed(storage)
        (credited,) = filter(None, in_processes(reopen, credit))
        with b.looking(storage) as unit:
            assert [receipt.receipt_id for receipt in unit.unmatched_receipts()] == [credited]
            assert len(unit.events()) == 1

    @needs("many_processes")
    @pytest.mark.fault("O18")
    def test_o18_one_of_many_processes_gets_the_lease(self, storage: Any, reopen: Any) -> None:
        fences = in_processes(reopen, take_and_record)
        assert [fence for fence in fences if fence is not None] == [1]
        assert [lease.fence for lease in storage.leases()] == [1]

    @needs("many_processes")
    @pytest.mark.fault("H18")
    def test_h18_processes_never_use_more_than_there_is(self, storage: Any, reopen: Any) -> None:
        b.seed(storage)
        assert sum(in_processes(reopen, consume_all)) == 20
        with b.looking(storage) as unit:
            assert unit.used(b.window(allowed=20)) == 20

    @needs("many_processes")
    def test_what_one_process_wrote_another_reads(self, storage: Any, reopen: Any) -> None:
        with b.looking(storage) as unit:
            assert list(unit.events()) == []
        in_processes(reopen, write_one, size=1)
        with b.looking(storage) as unit:
            assert [event.event_id for event in unit.events()] == [b.ident(50)]

    @needs("many_processes")
    def test_a_process_that_is_killed_leaves_nothing_behind(self, storage: Any, reopen: Any) -> None:
        b.seed(storage)
        with held_by_a_process(reopen, hold) as kill:
            with b.looking(storage) as unit:
                assert unit.order(b.ident(9)) is None
            kill()
            again(lambda: b.write(storage, d.OpenOrder(b.order(9))))
        with b.looking(storage) as unit:
            assert unit.order(b.ident(9)) == b.order(9)
            assert list(unit.events()) == []
