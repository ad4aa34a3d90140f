"""Locks that somebody else keeps: what a checkout says then, and how long it waits."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from bad_days import open_shop

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.engine.context import OwnTransactions
from evmbilling.errors import RequestInProgress, RetryTransaction
from evmbilling.ports.telemetry import NoTracing

IMPATIENT = Waits(lock=0.1)


@contextmanager
def held(url, *statements):
    """Somebody else's transaction, that has run these statements."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield
        connection.rollback()
    engine.dispose()


@pytest.fixture
def sqlite_database(databases):
    with databases.lend("sqlite") as url:
        yield url


@pytest.mark.fault("D10")
def test_d10_a_locked_file_is_no_other_call_with_the_same_key(sqlite_database):
    shop, storage = open_shop(sqlite_database, waits=IMPATIENT)
    with held(sqlite_database, "BEGIN IMMEDIATE"), pytest.raises(RetryTransaction, match="database is locked"):
        shop.checkout("ada", idempotency_key="never-used")
    assert shop.checkout("ada", idempotency_key="never-used").status == "pending"
    storage.close()


@pytest.mark.fault("D10")
def test_d10_only_the_row_of_the_customer_is_another_call_of_the_customer(database):
    shop, storage = open_shop(database, waits=IMPATIENT)
    shop.checkout("ada", idempotency_key="first")
    row = "SELECT user_id FROM evmbilling_customers WHERE user_id = 'ada' FOR UPDATE"
    with held(database, row), pytest.raises(RequestInProgress):
        shop.checkout("ada", idempotency_key="second")
    for table in ("customers", "payment_transactions", "idempotency_keys"):
        lock = f"LOCK TABLE evmbilling_{table} IN EXCLUSIVE MODE"
        with held(database, lock), pytest.raises(RetryTransaction, match="lock timeout"):
            shop.checkout("ada", idempotency_key="second")
    assert shop.checkout("ada", idempotency_key="second").status == "pending"
    storage.close()


class Refusing:
    """A storage whose every unit is refused."""

    def __init__(self, reason):
        self._reason = reason
        self.units = 0

    @contextmanager
    def unit(self, *, write, durable=True):
        self.units += 1
        raise RetryTransaction(reason=self._reason)
        yield


@pytest.mark.parametrize(
    ("reason", "units"),
    [
        ("database is locked", 1),
        ("lock timeout", 1),
        ("pool timeout", 1),
        ("statement timeout", 1),
        ("deadlock", 5),
        ("serialization failure", 5),
        ("connection lost", 5),
    ],
)
def test_who_has_waited_in_vain_does_not_wait_five_times(monkeypatch, reason, units):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    storage = Refusing(reason)
    with pytest.raises(RetryTransaction):
        OwnTransactions(storage, NoTracing()).claim(lambda unit: unit)
    assert storage.units == units


def test_the_first_sale_of_a_process_needs_one_connection(database):
    shop, storage = open_shop(database, waits=Waits(pool_size=1, pool=0.2))
    assert shop.checkout("ada").status == "pending"
    storage.close()
