"""What only storage in memory promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain import decisions as d
from evmbilling.errors import ConfigurationError, HostTransactionError, RetryTransaction, StorageError
from evmbilling.testing.conformance.storage import records as b


def test_a_second_write_unit_in_one_thread_is_refused_at_once(memory_storage):
    with memory_storage.unit() as first:
        first.apply([d.RecordAudit(b.audit(1))])
        with pytest.raises(StorageError) as refused, memory_storage.unit():
            pytest.fail("opened")
        first.apply([d.RecordAudit(b.audit(2))])
    assert not refused.value.retry_safe
    b.write(memory_storage, d.RecordAudit(b.audit(3)))
    with b.looking(memory_storage) as unit:
        assert len(unit.audit()) == 3


def test_a_unit_may_write_while_its_own_thread_reads(memory_storage):
    with b.looking(memory_storage) as reader:
        b.write(memory_storage, d.RecordAudit(b.audit()))
        assert len(reader.audit()) == 1
        with pytest.raises(StorageError):
            reader.apply([d.RecordAudit(b.audit(2))])


@pytest.mark.parametrize("write", [True, False])
def test_another_thread_waits_for_a_bounded_time(clock, write):
    storage = MemoryStorage(clock, lock_timeout=0.05)
    entered, leave = Event(), Event()

    def hold():
        with storage.unit():
            entered.set()
            leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert entered.wait(30)
        try:
            with pytest.raises(RetryTransaction), storage.unit(write=write):
                pytest.fail("opened")
            with pytest.raises(RetryTransaction):
                storage.acquire_lease("x", "a", 1)
        finally:
            leave.set()
            held.result()
    with storage.unit(write=write) as unit:
        assert list(unit.audit()) == []


def test_it_joins_nothing_and_promises_nothing(memory_storage):
    assert memory_storage.capabilities == frozenset()
    with pytest.raises(HostTransactionError):
        memory_storage.join(memory_storage)


def test_instances_are_told_apart(clock):
    assert MemoryStorage(clock).instance_id() != MemoryStorage(clock).instance_id()
    assert MemoryStorage(clock, instance_id=b"8 bytes!").instance_id() == b"8 bytes!"
    with pytest.raises(ConfigurationError):
        MemoryStorage(clock, instance_id=b"short")


@pytest.mark.fault("H27")
def test_h27_two_storages_in_one_process_share_nothing(clock):
    first, second = MemoryStorage(clock), MemoryStorage(clock)
    b.seed(first, d.OpenOrder(b.order()))
    lease = first.acquire_lease("x", "a", 60)
    with b.looking(second) as unit:
        assert unit.order(b.ident(1)) is None
        assert list(unit.customers()) == []
    assert second.acquire_lease("x", "b", 60).fence == lease.fence == 1


def test_a_commit_costs_what_it_changed(memory_storage):
    """A unit copies no table: its layer holds only the rows that it wrote."""
    b.seed(memory_storage, *(d.OpenOrder(b.order(n)) for n in range(1, 2001)))
    with memory_storage.unit() as unit:
        unit.apply([d.RecordAudit(b.audit())])
        layer = unit._tables
        assert len(layer.orders._rows) == 0
        assert len(layer.audit._rows) == 1
        assert len(unit.orders_of_user(b.ALICE, limit=5000)) == 2000
