"""Units on SQLite that the driver begins and ends alone: outside they are transactions like any other."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy import event

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
    yield
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
            unit._run(sa.text("DELETE FROM billing_webhook_inbox WHERE event_id = 'nobody'"))
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


@pytest.mark.parametrize("name", ["begin", "commit"])
def test_who_listens_to_transactions_hears_them(sqlite_storage, name):
    collected = []
    with heard(sqlite_storage._engine, name, collected):
        with sqlite_storage.unit() as unit:
            assert begun_by_sqlalchemy(unit)
            unit.apply([HINT])
        assert collected == [name]
    assert hint(sqlite_storage) == HINT.item
    assert collected == [name]


def test_who_listens_hears_that_a_unit_was_given_up(sqlite_storage):
    collected = []
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
        connection.execute(sa.text("DELETE FROM billing_webhook_inbox"))
        assert connection.connection.driver_connection.in_transaction
        raise ZeroDivisionError
    assert hint(sqlite_storage) == HINT.item
