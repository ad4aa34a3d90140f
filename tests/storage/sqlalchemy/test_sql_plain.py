"""Units on SQLite that the driver begins and ends alone: outside they are transactions like any other."""

from __future__ import annotations

import gc
import sqlite3
import threading
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from prefixed import PREFIX
from sqlalchemy import event

from evmbilling import sqlite
from evmbilling.adapters.sqlalchemy.plain import PlainTransaction
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain import decisions as d
from evmbilling.errors import StorageError
from evmbilling.testing.conformance.storage import records as b

HINT = d.StoreInboxItem(b.hint())


def hint(storage):
    with b.looking(storage) as unit:
        return unit.inbox_item("relay", "msg_1")


def begun_by_sqlalchemy(unit):
    return unit._connection.in_transaction()


@contextmanager
def heard(engine, name, collected):
    def note(_connection):
        collected.append(name)

    event.listen(engine, name, note)
    try:
        yield
    finally:
        event.remove(engine, name, note)


def test_the_driver_begins_and_ends_a_unit_alone(sqlite_storage):
    with sqlite_storage.unit() as unit:
        unit.apply([HINT])
        assert not begun_by_sqlalchemy(unit)
        assert unit._connection.connection.driver_connection.in_transaction
    assert hint(sqlite_storage) == HINT.item
    with pytest.raises(ZeroDivisionError), sqlite_storage.unit() as unit:  # noqa: PT012  - the unit is given up
        unit.apply([d.StoreInboxItem(b.hint(2))])
        raise ZeroDivisionError
    with b.looking(sqlite_storage) as unit:
        assert not begun_by_sqlalchemy(unit)
        assert unit.inbox_item("relay", "msg_2") is None
    assert sqlite_storage._engine.pool.checkedout() == 0


@pytest.mark.parametrize("kept", [True, False])
def test_what_sqlalchemy_executes_belongs_to_the_same_transaction(sqlite_storage, kept):
    def work():
        with sqlite_storage.unit() as unit:
            unit.apply([HINT])
            unit._run(sa.text(f"DELETE FROM {PREFIX}webhook_inbox WHERE event_id = 'nobody'"))
            assert begun_by_sqlalchemy(unit)
            unit.apply([d.StoreInboxItem(b.hint(2))])
            if not kept:
                raise ZeroDivisionError

    if kept:
        work()
    else:
        with pytest.raises(ZeroDivisionError):
            work()
    with b.looking(sqlite_storage) as unit:
        found = [unit.inbox_item("relay", f"msg_{number}") for number in (1, 2)]
    assert [one is not None for one in found] == [kept, kept]


@pytest.mark.parametrize("name", ["begin", "commit", "engine_connect"])
def test_who_listens_to_transactions_hears_them(sqlite_storage, name):
    collected = []
    sqlite_storage.instance_id()  # the first unit of a storage asks for it, on a connection of SQLAlchemy's
    with heard(sqlite_storage._engine, name, collected):
        with sqlite_storage.unit() as unit:
            assert begun_by_sqlalchemy(unit)
            unit.apply([HINT])
        assert collected == [name]
    assert hint(sqlite_storage) == HINT.item
    assert set(collected) == {name}


def test_who_listens_hears_that_a_unit_was_given_up(sqlite_storage):
    collected = []
    sqlite_storage.instance_id()
    with heard(sqlite_storage._engine, "rollback", collected):
        with pytest.raises(ZeroDivisionError), sqlite_storage.unit() as unit:  # noqa: PT012  - the unit is given up
            unit.apply([HINT])
            raise ZeroDivisionError
        assert collected == ["rollback"]
    assert hint(sqlite_storage) is None


def test_a_commit_that_the_database_refuses_keeps_nothing(sqlite_storage):
    with pytest.raises(StorageError, match="IntegrityError"), sqlite_storage.unit() as unit:  # noqa: PT012
        unit._driver.execute("PRAGMA defer_foreign_keys=ON", ())
        unit.apply([HINT, d.OpenOrder(b.order(user_id="nobody"))])
        assert not begun_by_sqlalchemy(unit)
    assert hint(sqlite_storage) is None
    b.write(sqlite_storage, HINT)
    assert hint(sqlite_storage) == HINT.item


class Interrupted:
    """A cursor of somebody who presses a key."""

    def execute(self, *_):
        raise KeyboardInterrupt

    def close(self):
        """Nothing was opened."""


def test_a_unit_that_was_interrupted_does_not_go_on_in_another_transaction(sql_storage, monkeypatch):
    with pytest.raises(StorageError, match="nothing of it is kept"), sql_storage.unit() as unit:  # noqa: PT012
        unit.apply([HINT])
        monkeypatch.setattr(unit._driver, "_opened", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            unit.inbox_item("relay", "msg_1")
        with pytest.raises(StorageError, match="interrupted"):
            unit.apply([d.StoreInboxItem(b.hint(2))])
    with b.looking(sql_storage) as unit:
        assert unit.inbox_item("relay", "msg_1") is unit.inbox_item("relay", "msg_2") is None
    b.write(sql_storage, HINT)
    assert hint(sql_storage) == HINT.item


def test_a_pooled_connection_is_sqlalchemys_again_after_a_unit(sqlite_storage):
    b.write(sqlite_storage, HINT)
    with pytest.raises(ZeroDivisionError), sqlite_storage._engine.begin() as connection:  # noqa: PT012
        connection.execute(sa.text(f"DELETE FROM {PREFIX}webhook_inbox"))
        assert connection.connection.driver_connection.in_transaction
        raise ZeroDivisionError
    assert hint(sqlite_storage) == HINT.item


@contextmanager
def of_a_host(storage, *, busy_timeout, **options):
    """An engine of a host's with one connection to the same file."""
    engine = sa.create_engine(storage._engine.url, pool_size=1, max_overflow=0, **options)
    sqlite.configure(engine, busy_timeout=busy_timeout)
    try:
        yield engine
    finally:
        engine.dispose()


def test_a_pool_that_resets_nothing_gets_its_connection_back_clean(sqlite_storage):
    with of_a_host(sqlite_storage, busy_timeout=5, pool_reset_on_return=None) as engine:
        storage = SqlAlchemyStorage(engine, prefix=PREFIX)
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is given up
            unit.apply([HINT])
            raise ZeroDivisionError
        pooled = engine.raw_connection()
        is_open = pooled.in_transaction
        pooled.rollback()
        pooled.close()
    assert not is_open
    assert hint(sqlite_storage) is None


def waits(connection):
    return connection.execute("PRAGMA busy_timeout").fetchone()[0]


def test_only_a_unit_that_has_the_lock_waits_for_less_than_it_may(sqlite_storage):
    """Whoever may write waits for nobody, and everybody else for as long as the settings say."""
    longest = int(sqlite_storage._waits.lock * 1000)
    for _ in range(2):
        with sqlite_storage.unit() as unit:
            unit.apply([])
            assert waits(unit._connection.connection) < longest
        with sqlite_storage.unit(write=False) as unit:
            assert waits(unit._connection.connection) == longest
    b.write(sqlite_storage, HINT)
    with sqlite_storage._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == longest
    b.write(sqlite_storage, d.StoreInboxItem(b.hint(2)))
    with sqlite_storage._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == longest


def test_an_engine_of_a_host_is_given_back_with_its_own_wait(sqlite_storage):
    with of_a_host(sqlite_storage, busy_timeout=7) as engine:
        b.write(SqlAlchemyStorage(engine, prefix=PREFIX), HINT)
        pooled = engine.raw_connection()
        assert waits(pooled) == 7000
        pooled.close()


def test_a_write_that_finds_the_file_locked_waits_as_long_as_it_may(sqlite_storage):
    other = sqlite3.connect(sqlite_storage._engine.url.database, isolation_level=None, check_same_thread=False)
    for number in (1, 2):
        other.execute("BEGIN IMMEDIATE")
        freed = threading.Timer(0.3, other.rollback)
        freed.start()
        b.write(sqlite_storage, d.StoreInboxItem(b.hint(number)))
        freed.join()
    other.close()
    with b.looking(sqlite_storage) as unit:
        assert unit.inbox_item("relay", "msg_2") == b.hint(2)


def test_a_connection_whose_user_was_interrupted_waits_for_the_disk_again(sqlite_storage):
    """A signal's handler may raise where nobody can give the connection back: the pool takes it back as it is."""
    engine = sqlite_storage._engine
    for begin in (sqlite_storage.unit, engine.begin):
        interrupted = PlainTransaction(engine, "IMMEDIATE", durable=False)
        connection = interrupted.__enter__()
        assert bounds(connection.connection) == (1, 16_000)
        del connection, interrupted
        gc.collect(1)  # the youngest: what nobody refers to but itself was made just now
        for _ in range(10):  # the pool lends all of its connections in turn
            with begin() as entered:
                assert bounds(getattr(entered, "_connection", entered).connection) == (2, 4_000)


def bounds(pooled):
    names = ("synchronous", "wal_autocheckpoint")
    return tuple(pooled.dbapi_connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
