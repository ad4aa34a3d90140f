"""A session of the database that ends, or does not end, in the middle of the work."""

from __future__ import annotations

import time
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from bad_days import assert_books, counts, open_shop, sold_and_mined

from evmbilling.adapters.sqlalchemy.engines import Waits, open_engine
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.unit import SqlUnit
from evmbilling.errors import RequestInProgress, RetryTransaction
from evmbilling.testing.database_proxy import DatabaseProxy

KILL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"


def kill_all(url) -> int:
    """End every other session of the database, and wait until none is left."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        me = connection.info.backend_pid
        killed = connection.execute(KILL, (me,)).fetchone()[0]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
            if not connection.execute(others, (me,)).fetchone()[0]:
                return int(killed)
            time.sleep(0.01)
    raise AssertionError("a session does not end")


@pytest.fixture
def shop_and_storage(database):
    shop, storage = open_shop(database)
    yield shop, storage
    storage.close()


@pytest.mark.fault("D05")
def test_d05_backend_killed_before_the_intake_commits(database, shop_and_storage, before_commit):
    shop, storage = shop_and_storage
    sold_and_mined(shop, "ada", "ben")
    killed = []
    before = before_commit(lambda: killed.append(kill_all(database)), lambda: killed.append(counts(database)))
    report = shop.engine.run_intake()
    assert killed[0] >= 1
    assert before.commits == 2
    assert killed[1]["payment_receipts"] == 0  # of the killed attempt nothing stayed
    assert (report.taken, report.parked, report.left) == (4, 0, 0)
    assert counts(database)["payment_receipts"] == 2
    shop.drain()
    assert_books(shop, storage, "ada", "ben")


@pytest.mark.fault("D05")
def test_d05_backend_killed_between_the_statements_of_the_intake(database, shop_and_storage, monkeypatch):
    shop, storage = shop_and_storage
    sold_and_mined(shop, "ada", "ben")
    apply, killed = SqlUnit.apply, []

    def killed_once(unit, decisions):
        if not killed:
            killed.append(kill_all(database))
        apply(unit, decisions)

    monkeypatch.setattr(SqlUnit, "apply", killed_once)
    report = shop.engine.run_intake()
    assert killed[0] >= 1
    assert (report.taken, report.parked, report.left) == (4, 0, 0)
    shop.drain()
    assert_books(shop, storage, "ada", "ben")


@pytest.mark.fault("D05")
def test_d05_storage_says_run_it_again(database, shop_and_storage):
    shop, storage = shop_and_storage

    def cut_off():
        with storage.unit() as unit:
            kill_all(database)
            unit.customers()

    with pytest.raises(RetryTransaction):
        cut_off()
    assert shop.engine.verify(full=True).ok  # the next call has a connection that stands


@pytest.mark.fault("D05")
def test_d05_resting_connections_that_were_killed_are_not_noticed(database, shop_and_storage):
    shop, storage = shop_and_storage
    sold_and_mined(shop, "ada")
    for _ in range(3):
        assert kill_all(database) >= 1
        shop.drain()
    assert_books(shop, storage, "ada")


@pytest.fixture
def lost_worker(database):
    """A worker that locked a customer, and whose network then swallowed everything, without a word to either side."""
    with DatabaseProxy(database) as proxy:
        engine = open_engine(proxy.url, waits=Waits(idle=6, lock=1))
        with engine.connect() as connection:

            def hold(user):
                query = sa.text("SELECT user_id FROM evmbilling_customers WHERE user_id = :user FOR UPDATE")
                assert connection.execute(query, {"user": user}).scalar_one() == user
                proxy.go_half_open()

            yield hold
            proxy.cut()
            connection.invalidate()
        engine.dispose()


@pytest.mark.fault("D06")
def test_d06_half_open_connection_holds_up_nobody_else(database, lost_worker):
    shop, storage = open_shop(database, waits=Waits(lock=0.1))
    try:
        sold_and_mined(shop, "ada", "ben")
        lost_worker("ada")
        started = time.monotonic()
        report = shop.engine.run_intake()
        assert report.left == 1
        assert shop.engine.access("ben").allowed
        assert not shop.engine.access("ada").allowed
        with pytest.raises(RequestInProgress):
            shop.checkout("ada", idempotency_key="ada-second")
        bounded = time.monotonic() - started
        assert bounded < 6, "waiting ended by itself, not because the server ended the lost session"
        deadline = time.monotonic() + 60
        while not shop.engine.access("ada").allowed and time.monotonic() < deadline:
            shop.engine.run_intake()
            time.sleep(0.2)
        shop.clock.advance(timedelta(minutes=1))
        shop.drain()
        assert_books(shop, storage, "ada", "ben")
    finally:
        storage.close()


@pytest.mark.fault("D06")
def test_d06_every_session_of_ours_bounds_its_waits(database):
    storage = SqlAlchemyStorage.open(database)
    try:
        with storage._engine.connect() as connection:
            shown = {
                name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
                for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
            }
            keepalive = connection.connection.driver_connection.info.get_parameters()
    finally:
        storage.close()
    waits = Waits()
    assert shown == {
        "lock_timeout": f"{waits.lock:.0f}s",
        "statement_timeout": f"{waits.statement:.0f}s",
        "idle_in_transaction_session_timeout": f"{waits.idle / 60:.0f}min",
    }
    assert (keepalive["keepalives_idle"], keepalive["keepalives_count"]) == ("30", "3")
