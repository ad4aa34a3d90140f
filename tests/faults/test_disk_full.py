"""A full disk: a typed error, nothing half written, and everything goes on when there is room again."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from bad_days import assert_books, open_shop, rows, sold_and_mined

from evmbilling.errors import RetryTransaction, StorageError
from sampling import EVERYTHING

UNLIMITED = 2**30


class SmallDisk:
    """A SQLite file that cannot grow beyond a number of pages."""

    def __init__(self, path) -> None:
        self.url = f"sqlite:///{path}"
        self.pages = UNLIMITED
        self.shop, self.storage = open_shop(self.url)
        sa.event.listen(self.storage._engine, "checkout", self._limit)

    def _limit(self, connection, _record, _proxy) -> None:
        connection.execute(f"PRAGMA max_page_count = {self.pages}").fetchone()

    def keep(self) -> str:
        """Copy what is committed; the url of the copy."""
        copy = f"{self.url}.kept"
        with closing(sqlite3.connect(self.url[10:])) as own, closing(sqlite3.connect(copy[10:])) as other:
            own.backup(other)
        return copy

    def fill(self) -> None:
        """Leave no page free."""
        self.pages = 1  # SQLite takes the present size when that is more

    def empty(self) -> None:
        self.pages = UNLIMITED


@pytest.fixture
def small_disk(tmp_path, databases):
    disk = SmallDisk(shutil.copy(databases.sqlite_template, tmp_path / "full.db"))
    yield disk
    disk.storage.close()


MONEY = ("payment_transactions", "payment_receipts", "receipt_entries", "ledger_entries", "entitlements", "outbox")


def money(url):
    """Return what is about money: an item of the intake may say that it waits for another attempt."""
    held = rows(url)
    return {name: held[f"evmbilling_{name}"] for name in MONEY}


@pytest.mark.fault("D12")
def test_d12_sqlite_disk_full_checkout_leaves_nothing(small_disk):
    shop, storage = small_disk.shop, small_disk.storage
    small_disk.fill()
    done, error = [], None
    for n in range(500):
        kept = small_disk.keep()
        try:
            done.append(shop.checkout(f"user-{n}").ledger_id)
        except StorageError as raised:
            error = raised
            break
    assert type(error) is StorageError
    assert "full" in str(error.__cause__)
    assert rows(small_disk.url) == rows(kept)
    small_disk.empty()
    user = f"user-{len(done)}"
    offer = shop.checkout(user)
    assert [o.ledger_id for o in shop.engine.orders(user)] == [offer.ledger_id]
    assert len(rows(small_disk.url)["evmbilling_payment_transactions"]) == len(done) + 1
    assert shop.engine.verify(full=True).ok
    assert storage.now() == shop.clock.now()


@pytest.mark.fault("D12")
def test_d12_sqlite_disk_full_intake_loses_no_payment(small_disk):
    users = [f"user-{n}" for n in range(30 if EVERYTHING else 12)]
    shop, storage = small_disk.shop, small_disk.storage
    sold_and_mined(shop, *users)
    small_disk.fill()
    report = shop.engine.run_intake(limit=50)  # the batch does not fit; then each item alone, as long as there is room
    assert report.parked >= 1
    credited = sum(shop.engine.access(user).allowed for user in users)
    assert credited == len(money(small_disk.url)["payment_receipts"]) < len(users)
    # Nothing is half booked; that money waits which is not in the books yet is said.
    found = shop.engine.verify(full=True)
    assert {difference.code for difference in found.differences} == {"unexplained_delta"}
    assert found.waiting >= len(users) - credited
    small_disk.empty()
    shop.clock.advance(timedelta(minutes=1))
    shop.drain()
    assert_books(shop, storage, *users)


@contextmanager
def full_disk(url, table):
    """Refuse every new row of a table as PostgreSQL does when its disk is full."""
    body = "BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        connection.execute(
            f"CREATE TRIGGER no_room BEFORE INSERT ON evmbilling_{table} FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
        try:
            yield
        finally:
            connection.execute(f"DROP TRIGGER no_room ON evmbilling_{table}")
            connection.execute("DROP FUNCTION no_room()")


@pytest.fixture
def postgres_shop(database):
    shop, storage = open_shop(database)
    yield shop, storage
    storage.close()


@pytest.mark.fault("D13")
@pytest.mark.parametrize("table", ["payment_transactions", "idempotency_keys", "outbox"] if EVERYTHING else ["outbox"])
def test_d13_postgres_disk_full_checkout_leaves_nothing(database, postgres_shop, table):
    shop, storage = postgres_shop
    before = rows(database)
    with full_disk(database, table), pytest.raises(StorageError, match="53100") as caught:
        shop.checkout("ada")
    assert not isinstance(caught.value, RetryTransaction)
    assert rows(database) == before
    sold_and_mined(shop, "ada")
    shop.drain()
    assert_books(shop, storage, "ada")


@pytest.mark.fault("D13")
@pytest.mark.parametrize(
    "table", ["payment_receipts", "receipt_entries", "ledger_entries", "outbox"] if EVERYTHING else ["ledger_entries"]
)
def test_d13_postgres_disk_full_intake_loses_no_payment(database, postgres_shop, table):
    shop, storage = postgres_shop
    sold_and_mined(shop, "ada", "ben")
    before = money(database)
    with full_disk(database, table):
        report = shop.engine.run_intake()
    assert report.parked == 2
    assert money(database) == before
    shop.clock.advance(timedelta(minutes=1))
    shop.drain()
    assert_books(shop, storage, "ada", "ben")
