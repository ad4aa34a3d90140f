"""Units that do not wait for the disk, and logs whose rows are made before: what they ask of each database."""

from __future__ import annotations

import gc
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress

import attrs
import pytest
import sqlalchemy as sa
from prefixed import PREFIX
from sqlalchemy import event

from evmbilling import sqlite
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from evmbilling.adapters.sqlalchemy.plain import PlainTransaction
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.straight import Driver
from evmbilling.domain import decisions as d
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.errors import AlreadyExists, InputError, RetryTransaction, StorageError
from evmbilling.testing.conformance.storage import records as b

HINT = d.StoreInboxItem(b.hint())
OURS, LOOSE = (2, 4_000), (1, 16_000)
"""``synchronous`` and ``wal_autocheckpoint`` of our connections, and within a unit that does not wait for the disk."""
LONG = 500
"""Logs from which on rows are made ahead."""


def levels(raw):
    return tuple(raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "wal_autocheckpoint"))


def inside(unit):
    return levels(unit._connection.connection.driver_connection)


def resting(engine):
    """The levels of every connection that rests in the pool."""
    held = [engine.raw_connection() for _ in range(engine.pool.checkedin())]
    found = [levels(one.driver_connection) for one in held]
    for one in held:
        one.close()
    return found


def hint(storage, number=1):
    with b.looking(storage) as unit:
        return unit.inbox_item("relay", f"msg_{number}")


@pytest.fixture
def two(sqlite_storage):
    """A storage with two connections in its pool."""
    with b.looking(sqlite_storage) as one, b.looking(sqlite_storage) as other:
        assert one.inbox_item("relay", "msg_1") is other.inbox_item("relay", "msg_1") is None
    assert set(resting(sqlite_storage._engine)) == {OURS}
    assert len(resting(sqlite_storage._engine)) >= 2
    return sqlite_storage


def test_only_a_unit_that_does_not_wait_for_the_disk_is_loose(two):
    with two.unit(durable=False) as unit, b.looking(two) as beside:
        unit.apply([HINT])
        assert inside(unit) == LOOSE
        assert inside(beside) == OURS
    assert set(resting(two._engine)) == {OURS}
    assert hint(two) == HINT.item
    for write in (True, False):
        with two.unit(write=write) as unit:
            assert inside(unit) == OURS


def given_up(storage):
    with storage.unit(durable=False) as unit:
        unit.apply([HINT])
        assert inside(unit) == LOOSE
        raise ZeroDivisionError


def refused(storage):
    with storage.unit(durable=False) as unit:
        unit.apply([HINT, d.AddPlanVersion(b.plan()), d.AddPlanVersion(b.plan())])


def refused_at_the_end(storage):
    with storage.unit(durable=False) as unit:
        unit._driver.execute("PRAGMA defer_foreign_keys=ON", ())
        unit.apply([HINT, d.OpenOrder(b.order(user_id="nobody"))])
        assert inside(unit) == LOOSE


def interrupted(storage):
    with storage.unit(durable=False) as unit:
        unit.apply([HINT])
        raise KeyboardInterrupt


def through_sqlalchemy(storage):
    with storage.unit(durable=False) as unit:
        unit.apply([HINT])
        unit._run(sa.text(f"DELETE FROM {PREFIX}webhook_inbox WHERE event_id = 'nobody'"))
        assert inside(unit) == LOOSE
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (given_up, ZeroDivisionError),
        (refused, AlreadyExists),
        (refused_at_the_end, StorageError),
        (interrupted, KeyboardInterrupt),
        (through_sqlalchemy, ZeroDivisionError),
    ],
)
def test_a_connection_waits_for_the_disk_again_after_a_unit_that_failed(two, work, error):
    with pytest.raises(error):
        work(two)
    assert set(resting(two._engine)) == {OURS}
    assert hint(two) is None
    b.write(two, HINT)
    assert hint(two) == HINT.item


def deny(raw, pragma, *values):
    """Have SQLite refuse to set a PRAGMA; to any value where none is given."""

    def allowed(action, name, value, *_):
        refused = action == sqlite3.SQLITE_PRAGMA and name == pragma and value is not None
        return sqlite3.SQLITE_DENY if refused and (not values or value in values) else sqlite3.SQLITE_OK

    raw.set_authorizer(allowed)


@pytest.mark.parametrize("pragma", ["synchronous", "wal_autocheckpoint"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_connection_that_cannot_wait_for_the_disk_again_is_let_go(two, pragma, kept):
    held = len(resting(two._engine))
    with suppress(ZeroDivisionError), two.unit(durable=False) as unit:
        unit.apply([HINT])
        raw = unit._connection.connection.driver_connection
        deny(raw, pragma)
        give_up_unless(kept)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("SELECT 1")
    assert set(resting(two._engine)) == {OURS}
    assert len(resting(two._engine)) == held  # one of them is new
    assert hint(two) == (HINT.item if kept else None)


@pytest.mark.parametrize("begin", ["unit", "leases"])
def test_a_connection_that_was_left_loose_and_stays_so_serves_nobody(two, begin):
    engine = two._engine
    left = PlainTransaction(engine, "IMMEDIATE", durable=False)
    raw = left.__enter__().connection.driver_connection
    deny(raw, "synchronous")
    raw.rollback()
    del left
    gc.collect(1)  # the youngest: what nobody refers to but itself was made just now
    work = {"unit": lambda: hint(two), "leases": two.leases}[begin]
    for _ in range(engine.pool.checkedin()):  # the pool lends all of its connections in turn
        with suppress(StorageError):
            work()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("SELECT 1")
    assert set(resting(engine)) == {OURS}


def test_a_connection_that_cannot_be_loosened_waits_for_the_disk(sqlite_storage):
    with of_a_host(sqlite_storage._engine.url) as storage:
        with closing(storage._engine.raw_connection()) as only:
            deny(only.driver_connection, "synchronous", "1")
        with storage.unit(durable=False) as unit:
            unit.apply([HINT])
            assert inside(unit)[0] == OURS[0]
        assert hint(sqlite_storage) == HINT.item


@contextmanager
def locked(storage):
    """Somebody else writes to the file."""
    database = storage._engine.url.database
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_a_connection_waits_for_the_disk_again_after_the_file_was_locked(two):
    with locked(two) as other:
        with pytest.raises(RetryTransaction), two.unit(durable=False) as unit:
            unit.apply([HINT])
        assert set(resting(two._engine)) == {OURS}
        freed = threading.Timer(0.1, other.rollback)
        freed.start()
        with two.unit(durable=False) as unit:
            unit.apply([HINT])
        freed.join()
    assert set(resting(two._engine)) == {OURS}
    assert hint(two) == HINT.item


@contextmanager
def of_a_host(url, *pragmas, prefix=PREFIX):
    """A storage over an engine of a host's, who has settings of their own."""
    engine = sa.create_engine(url, pool_size=1, max_overflow=0)
    sqlite.configure(engine, busy_timeout=5)

    def connected(raw, _record):
        for pragma in pragmas:
            raw.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", connected)
    try:
        yield SqlAlchemyStorage(engine, prefix=prefix)
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("own", "meanwhile"),
    [
        ((3, 100), (1, 16_000)),
        ((2, 50_000), (1, 50_000)),  # they copy later than we do
        ((2, 0), (1, 0)),  # they copy by themselves, for a replica
        ((1, 100), (1, 100)),
        ((0, 100), (0, 100)),  # never stricter than theirs
    ],
)
def test_an_engine_of_a_host_is_given_back_as_it_was(sqlite_storage, own, meanwhile):
    with of_a_host(sqlite_storage._engine.url, f"synchronous={own[0]}", f"wal_autocheckpoint={own[1]}") as storage:
        for number in (1, 2):
            with storage.unit(durable=False) as unit:
                unit.apply([d.StoreInboxItem(b.hint(number))])
                assert inside(unit) == meanwhile
            assert resting(storage._engine) == [own]
    assert [hint(sqlite_storage, number) for number in (1, 2)] == [b.hint(1), b.hint(2)]


def test_without_a_log_nothing_is_loosened(migrated_sqlite):
    """A loss of power could tear the file."""
    with of_a_host(migrated_sqlite.url, "journal_mode=DELETE", prefix=DEFAULT_PREFIX) as storage:
        with storage.unit(durable=False) as unit:
            unit.apply([HINT])
            raw = unit._connection.connection.driver_connection
            assert raw.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
            assert inside(unit)[0] == OURS[0]
        assert resting(storage._engine)[0][0] == OURS[0]
        assert hint(storage) == HINT.item


def waits_for_disk(connection):
    return connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()


def give_up_unless(kept):
    if not kept:
        raise ZeroDivisionError


def pid(connection):
    return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


@pytest.mark.parametrize("own", ["on", "local"])
@pytest.mark.parametrize("kept", [True, False])
def test_only_the_transaction_of_such_a_unit_does_not_wait_for_the_disk(migrated_postgres, own, kept):
    with migrated_postgres.storage() as storage:
        with storage._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"SET synchronous_commit = {own}")
        with suppress(ZeroDivisionError), storage.unit(durable=False) as unit:
            unit.apply([HINT])
            during = waits_for_disk(unit._connection), pid(unit._connection)
            give_up_unless(kept)
        assert during[0] == "off"
        with storage.unit() as unit:
            assert (waits_for_disk(unit._connection), pid(unit._connection)) == (own, during[1])
        assert hint(storage) == (HINT.item if kept else None)


def logs_of(count):
    return [b.log(9, number + 1, log_index=number) for number in range(count)]


def recording(logs):
    return d.RecordEvidence(cursor=b.cursor(9), headers=(b.header(9),), logs=logs, keep_from=0)


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("address", "a\0b"),
        ("tx_hash", b"short"),
        ("ordinal", 2**63),
        ("block_time", b.T0.replace(tzinfo=None)),
        ("address", b.CONTRACT + "1"),
        ("address", b.CONTRACT[:-1]),
        ("address", ""),
        ("address", "1x" + b.CONTRACT[2:]),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_alike_whether_it_was_made_ready(sql_storage, column, value):
    logs = logs_of(LONG + 1)
    logs[300] = attrs.evolve(logs[300], **{column: value})
    told = []
    for ready in (lambda logs: logs, sql_storage.prepare):
        for given in (logs, LogColumns.of(b.CHAIN, logs)):
            decision = recording(ready(given))
            with pytest.raises(InputError) as caught:
                b.write(sql_storage, decision)
            told.append((caught.value.field, caught.value.message))
            with b.looking(sql_storage) as unit:
                assert list(unit.logs_between(b.CHAIN, 0, 99)) == []
                assert unit.cursor(b.CHAIN) is None
    assert told == [(column, told[0][-1])] * 4


@pytest.fixture
def copied(monkeypatch):
    """The tables that were written by COPY."""
    tables = []
    for name in ("copy", "copy_written"):
        send = getattr(Driver, name)

        def sending(driver, text, *given, send=send):
            tables.append(text.split()[1].strip('"'))
            send(driver, text, *given)

        monkeypatch.setattr(Driver, name, sending)
    return tables


BOTH_TABLES = [f"{PREFIX}chain_logs", f"{PREFIX}intake_items"]


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize("form", [list, lambda logs: LogColumns.of(b.CHAIN, logs)], ids=["records", "columns"])
@pytest.mark.parametrize("count", [LONG - 1, LONG, LONG + 1])
def test_many_new_logs_are_copied(postgres_storage, copied, is_prepared, form, count):
    logs, tables = logs_of(count), BOTH_TABLES if count >= LONG else []
    ready = postgres_storage.prepare(form(logs)) if is_prepared else form(logs)
    for _ in range(2):  # what is there already goes another way
        b.write(postgres_storage, recording(ready))
        assert copied == tables
    with b.looking(postgres_storage) as unit:
        assert list(unit.logs_between(b.CHAIN, 0, 99)) == logs


def test_nothing_is_made_ready_where_somebody_listens(sql_storage):
    def note(*_):
        """Whoever listens to statements."""

    logs = logs_of(LONG)
    assert sql_storage.prepare(logs) is not logs
    event.listen(sql_storage._engine, "before_cursor_execute", note)
    try:
        assert sql_storage.prepare(logs) is logs
    finally:
        event.remove(sql_storage._engine, "before_cursor_execute", note)
