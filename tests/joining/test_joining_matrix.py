"""Every driver, every way of beginning, and every order in which a host and we can touch the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
import sqlalchemy as sa
from hosts import Abandon, count_up, read_notes, until_it_works, write_note

from evmbilling.domain.decisions import RecordAudit
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.errors import AlreadyExists, HostTransactionError, InputError, RetryTransaction
from sampling import EVERYTHING

both = pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])


def _audit(number: int, customer) -> RecordAudit:
    entry = AuditEntry(audit_id=f"a-{number}", actor="x", action="test", object="x", recorded_at=customer.created_at)
    return RecordAudit(entry)


@both
def test_a_host_that_read_first_commits_both(place, alice, session):
    def body(target):
        assert read_notes(target) == []
        assert count_up(place.storage, target, alice) == 1
        assert count_up(place.storage, target, alice) == 2
        write_note(target, 1)

    place.host.transaction(body, session=session)
    assert (place.notes(), place.count(alice)) == (["host"], 2)


@both
def test_a_host_that_wrote_first_commits_both(place, alice, session):
    def body(target):
        write_note(target, 1)
        return count_up(place.storage, target, alice)

    assert place.host.transaction(body, session=session) == 1
    assert (place.notes(), place.count(alice)) == (["host"], 1)


def test_a_host_that_does_nothing_itself_commits_ours(place, alice):
    place.host.transaction(lambda target: count_up(place.storage, target, alice))
    assert place.count(alice) == 1


@pytest.mark.fault("D25")
@both
@pytest.mark.parametrize("order", ["host-first", "ours-first", "read-first", "ours-only"])
@pytest.mark.sampled(strength=2)
def test_d25_what_a_host_rolls_back_is_gone_with_its_own(place, alice, session, order):
    def body(target):
        if order == "read-first":
            read_notes(target)
        if order == "host-first":
            write_note(target, 1)
        count_up(place.storage, target, alice)
        if order == "ours-first":
            write_note(target, 1)
        raise Abandon

    with pytest.raises(Abandon):
        place.host.transaction(body, session=session)
    assert (place.notes(), place.count(alice)) == ([], None)


@pytest.mark.fault("D25")
def test_d25_a_savepoint_of_the_host_takes_ours_back(place, alice):
    def body(target):
        count_up(place.storage, target, alice)
        with pytest.raises(Abandon), target.begin_nested():  # noqa: PT012  - the savepoint is what raises
            count_up(place.storage, target, alice)
            write_note(target, 1, "undone")
            raise Abandon
        write_note(target, 2, "kept")

    place.host.transaction(body)
    assert (place.notes(), place.count(alice)) == (["kept"], 1)


@both
@pytest.mark.parametrize("wrote_first", [False, True], ids=["fresh", "wrote-first"])
@pytest.mark.sampled(strength=2)
def test_after_a_typed_error_the_host_commits(place, alice, session, wrote_first):
    twice = _audit(1, alice)

    def body(target):
        if wrote_first:
            write_note(target, 1)
        with place.storage.join(target) as joined:
            with joined.unit() as unit:
                unit.apply([twice])
            with pytest.raises(AlreadyExists), joined.unit() as unit:
                unit.apply([_audit(2, alice), twice])
            wrong = attrs.evolve(_audit(3, alice).entry, changes={"amount": 0.5})
            with pytest.raises(InputError), joined.unit() as unit:
                unit.apply([_audit(4, alice), RecordAudit(wrong)])
            with joined.unit() as unit:
                unit.apply([_audit(5, alice)])
        write_note(target, 2)

    place.host.transaction(body, session=session)
    with place.storage.unit(write=False) as unit:
        assert {entry.audit_id for entry in unit.audit(object_="x")} == {"a-1", "a-5"}
    assert len(place.notes()) == 1 + wrote_first


@pytest.mark.fault("D26")
@both
def test_d26_autocommit_is_refused_before_anything_is_written(place, alice, session):
    def body(target):
        with pytest.raises(HostTransactionError, match="AUTOCOMMIT"):
            count_up(place.storage, target, alice)

    place.host.transaction(body, isolation="AUTOCOMMIT", session=session)
    assert place.count(alice) is None


ISOLATIONS = {True: ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"], False: ["SERIALIZABLE", "READ UNCOMMITTED"]}


@pytest.mark.fault("D26")
@pytest.mark.parametrize("level", [0, 1, 2])
def test_d26_any_isolation_with_a_rollback_is_joined(place, alice, level):
    levels = ISOLATIONS[place.is_postgres]
    isolation = levels[level % len(levels)]
    assert place.host.transaction(lambda t: count_up(place.storage, t, alice), isolation=isolation) == 1
    assert place.host.transaction(lambda t: count_up(place.storage, t, alice), isolation=isolation) == 2
    assert place.count(alice) == 2


@pytest.mark.fault("D11")
def test_d11_a_stale_snapshot_is_run_again_and_loses_nothing(place, alice):
    """The host reads, somebody else commits, and only then are we asked to write."""
    place.host.transaction(lambda target: count_up(place.storage, target, alice))
    rounds = []

    def body(target):
        read_notes(target)
        if not rounds and place.host.name not in {"sqlite3-immediate", "sqlite3-configured"}:
            _elsewhere(place, alice)
        rounds.append(1)
        return count_up(place.storage, target, alice)

    isolation = "REPEATABLE READ" if place.is_postgres else None
    reached = until_it_works(place.host, body, isolation=isolation, tries=2)
    assert place.count(alice) == reached
    stale = place.is_postgres or place.host.name == "sqlite3-begin"
    assert len(rounds) == (2 if stale else 1)


def _elsewhere(place, customer):
    """Count on another thread: an event loop may be running on this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(place.host.transaction, lambda t: count_up(place.storage, t, customer)).result()


@pytest.mark.fault("D11")
def test_d11_a_stale_snapshot_is_a_typed_error_at_once(place, alice):
    place.host.transaction(lambda target: count_up(place.storage, target, alice))

    def body(target):
        read_notes(target)
        _elsewhere(place, alice)
        with pytest.raises(RetryTransaction) as caught:
            count_up(place.storage, target, alice)
        assert caught.value.retry_safe
        raise Abandon

    if place.is_postgres or place.host.name == "sqlite3-begin":
        with pytest.raises(Abandon):
            place.host.transaction(body, isolation="REPEATABLE READ" if place.is_postgres else None)
    assert place.count(alice) == (2 if place.is_postgres or place.host.name == "sqlite3-begin" else 1)


@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize("read_first", [False, True], ids=["fresh", "read-first"])
def test_eight_threads_lose_no_update(place, alice, read_first):
    threads, each = 8, 4 if EVERYTHING else 2

    def body(target):
        if read_first:
            read_notes(target)
        return count_up(place.storage, target, alice)

    def work(_):
        return [until_it_works(place.host, body) for _ in range(each)]

    with ThreadPoolExecutor(threads) as pool:
        reached = [count for counts in pool.map(work, range(threads)) for count in counts]
    assert sorted(reached) == list(range(1, threads * each + 1))
    assert place.count(alice) == threads * each


@pytest.mark.fault("D11")
def test_d11_writers_that_have_not_read_wait_for_each_other(place, alice):
    """A deferred transaction of the host's becomes the one writer before it reads: it waits, and is not refused."""
    place.host.transaction(
        lambda t: count_up(place.storage, t, alice)
    )  # the first one also looks whose tables these are
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda _: place.host.transaction(lambda t: count_up(place.storage, t, alice)), range(12))
        reached = sorted(done)
    assert reached == list(range(2, 14))


def test_the_host_reads_what_we_wrote_on_its_own_connection(place, alice):
    def body(target):
        count_up(place.storage, target, alice)
        table = sa.table("evmbilling_customers", sa.column("user_id"))
        return list(target.execute(sa.select(table.c.user_id)).scalars())

    assert place.host.transaction(body) == ["user-alice"]
