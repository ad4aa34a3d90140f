"""SERIALIZABLE transactions that the database refuses: keys and locks carry the invariant, a whole retry the work."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from bad_days import assert_books, counts, open_shop, rows, sold_and_mined
from sqlalchemy.exc import DBAPIError

from evmbilling.errors import RetryTransaction
from evmbilling.testing.merchant import wallet_of

MOST = 8
"""How often a host runs its whole transaction at most."""


@pytest.fixture
def host(database):
    """The host's engine, and a table of its own that every transaction reads whole and then writes to."""
    engine = sa.create_engine(database, isolation_level="SERIALIZABLE")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE host_notes (id serial PRIMARY KEY, note text NOT NULL)")
    yield engine
    engine.dispose()


@pytest.fixture
def shop_and_storage(database):
    shop, storage = open_shop(database)
    yield shop, storage
    storage.close()


class HostWorker:
    """Runs a checkout with a note of the host's, whole, until the database takes it; all begin at one instant."""

    def __init__(self, host, shop, together) -> None:
        self._host = host
        self._shop = shop
        self._together = together
        self.refused = 0

    def run(self, user, key):
        for attempt in range(MOST):
            try:
                return self._once(user, key, first=attempt == 0)
            except RetryTransaction:
                pass  # refused inside a call of ours
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != "40001":  # refused at the host's own commit
                    raise
            self.refused += 1
            time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))
        raise AssertionError("never taken")

    def _once(self, user, key, *, first):
        with self._host.begin() as connection:
            seen = connection.exec_driver_sql("SELECT count(*) FROM host_notes").scalar_one()
            if first:
                self._together.wait(60)  # every snapshot is taken before anybody writes
            connection.execute(sa.text("INSERT INTO host_notes (note) VALUES (:n)"), {"n": f"{key} after {seen}"})
            with self._shop.engine.within(connection) as billing:
                asked = {"plan": self._shop.plan, "wallet": wallet_of(user), "idempotency_key": key}
                return billing.checkout(user_id=user, **asked).ledger_id


def at_once(host, shop, calls):
    """Run host transactions in threads; return what they answered and how often the database refused one."""
    together = threading.Barrier(len(calls))
    workers = [HostWorker(host, shop, together) for _ in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(worker.run, *call) for worker, call in zip(workers, calls, strict=True)]
        answers = [future.result(60) for future in futures]
    return answers, sum(worker.refused for worker in workers)


def notes(host):
    with host.connect() as connection:
        return connection.exec_driver_sql("SELECT note FROM host_notes ORDER BY note").scalars().all()


@pytest.mark.fault("D03")
def test_d03_serialization_failure_of_equal_checkouts_makes_one_order(database, host, shop_and_storage):
    shop, storage = shop_and_storage
    answers, refused = at_once(host, shop, [("ada", "same")] * 3)
    assert len(set(answers)) == 1
    assert refused >= 1
    assert counts(database)["payment_transactions"] == 1
    assert len(notes(host)) == 3
    shop.chain.pay(shop.engine.order(answers[0]).order)
    shop.settle()
    assert_books(shop, storage, "ada")


@pytest.mark.fault("D03")
def test_d03_serialization_failure_of_different_checkouts_loses_none(database, host, shop_and_storage):
    shop, _ = shop_and_storage
    users = ["ada", "ben", "cyd"]
    answers, refused = at_once(host, shop, [(user, f"{user}-key") for user in users])
    assert len(set(answers)) == 3
    assert refused >= 1
    assert counts(database)["payment_transactions"] == 3
    # Each counted what the ones before it had written: the host's own invariant holds, too.
    assert sorted(note[-1] for note in notes(host)) == ["0", "1", "2"]
    assert [[o.ledger_id for o in shop.engine.orders(user)] for user in users] == [[answer] for answer in answers]
    assert len(rows(database)["evmbilling_idempotency_keys"]) == 3
    assert shop.engine.verify(full=True).ok


@pytest.mark.fault("D03")
def test_d03_serializable_workers_credit_a_payment_once(database):
    engine = sa.create_engine(database, isolation_level="SERIALIZABLE")
    shop, storage = open_shop(engine)
    users = [f"user-{n}" for n in range(6)]
    sold_and_mined(shop, *users)
    together = threading.Barrier(3)

    def work():
        together.wait(60)
        return shop.engine.run_intake()

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(work) for _ in range(3)]
        reports = [future.result(60) for future in futures]
    assert sum(report.parked for report in reports) == 0
    assert counts(database)["payment_receipts"] <= len(users)
    shop.drain()
    assert counts(database)["payment_receipts"] == len(users)
    assert_books(shop, storage, *users)
    engine.dispose()
