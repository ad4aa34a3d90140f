"""Databases that fail: nothing half-written, and no failure that is mistaken for another."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import attrs
import pytest
import sqlalchemy as sa
from places import Place
from prefixed import PREFIX
from sqlalchemy import event

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.reading.sealing import SEALED
from evmbilling.adapters.sqlalchemy.straight import Driver
from evmbilling.domain import decisions as d
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.reading.evidence import Halt
from evmbilling.domain.selling.pay_links import OpenPayLink
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    Conflict,
    RetryTransaction,
    StorageError,
)
from evmbilling.testing.conformance.storage import records as b
from sampling import share

HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM evmbilling_wallets")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("free", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_process(migrated_sqlite):
    """Another process that holds SQLite's write lock until it is told to let go."""
    path = sa.make_url(migrated_sqlite.url).database
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()
        process.wait(60)


@pytest.mark.fault("D10")
def test_d10_a_database_locked_by_another_process_is_run_again(migrated_sqlite, other_process):
    with migrated_sqlite.storage() as storage:
        started = time.monotonic()
        with pytest.raises(RetryTransaction, match="database is locked") as caught:
            b.seeded(storage)
        assert 0.2 < time.monotonic() - started < 30
        assert caught.value.retry_safe
        with b.looking(storage) as unit:
            assert unit.customer(b.ALICE) is None, "readers do not wait, and see no half"
        other_process.stdin.write("\n")
        other_process.stdin.flush()
        assert other_process.stdout.readline() == "free\n"
        b.seeded(storage)
        with b.looking(storage) as unit:
            assert unit.order(b.ident(1)) is not None


@pytest.mark.fault("D11")
def test_d11_a_unit_that_reads_and_then_writes_is_the_one_writer_from_its_start(migrated_sqlite):
    rounds = 10

    def count(storage):
        with storage.unit() as unit:
            stored = unit.customer(b.ALICE)
            time.sleep(0.002)
            moved = attrs.evolve(stored, event_seq=stored.event_seq + 1, version=stored.version + 1)
            unit.apply([d.StoreCustomer(moved)])

    patient = {"waits": Waits(lock=20, pool_size=5)}
    with migrated_sqlite.storage(**patient) as first, migrated_sqlite.storage(**patient) as second:
        b.seed(first)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, [first, second] * rounds))
        with b.looking(first) as unit:
            assert unit.customer(b.ALICE).event_seq == 2 * rounds


@pytest.mark.fault("D14")
def test_d14_sqlite_refuses_what_it_would_usually_store(sqlite_storage, sqlite_database):
    b.seeded(sqlite_storage)
    engine = sa.create_engine(sqlite_database.url)
    cases = [
        (f"UPDATE {PREFIX}customers SET event_seq = 'abc'", "cannot store TEXT value in INTEGER"),
        (f"UPDATE {PREFIX}customers SET event_seq = 1.5", "cannot store REAL value in INTEGER"),
        (f"UPDATE {PREFIX}subscriptions SET cancel_at_period_end = 2", "CHECK constraint failed"),
        (f"UPDATE {PREFIX}payment_transactions SET status = 'paid'", "CHECK constraint failed"),
        (f"UPDATE {PREFIX}payment_transactions SET wallet = '0x12'", "CHECK constraint failed"),
        (f"UPDATE {PREFIX}payment_transactions SET wallet = upper(wallet)", "CHECK constraint failed"),
        (f"UPDATE {PREFIX}payment_transactions SET created_at = '2026-01-01'", "CHECK constraint failed"),
        (f"UPDATE {PREFIX}payment_transactions SET reference = x'00'", "CHECK constraint failed"),
        (f"UPDATE {PREFIX}payment_transactions SET user_id = NULL", "NOT NULL constraint failed"),
    ]
    with engine.connect() as connection:
        for statement, words in cases:
            with pytest.raises(sa.exc.IntegrityError, match=words):
                connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.fault("D14")
def test_d14_a_row_of_nobody_is_refused_by_both(sql_storage):
    b.seed(sql_storage)
    orphans = [
        d.OpenOrder(b.order(user_id="nobody")),
        d.OpenSubscription(b.subscription(plan_version=9)),
        d.AppendEntry(b.entry()),
        d.RecordChange(b.change()),
        d.BindKey(b.key_record()),
        d.ConfirmWallet(b.wallet(user_id="nobody")),
    ]
    for orphan in orphans:
        with pytest.raises(StorageError) as caught:
            b.write(sql_storage, orphan)
        assert type(caught.value) is StorageError


@pytest.mark.fault("D14")
def test_d14_each_connection_of_ours_is_set_up(sqlite_storage):
    wanted = {"foreign_keys": 1, "recursive_triggers": 1, "synchronous": 2, "journal_mode": "wal", "busy_timeout": 400}
    for _ in range(3):
        with sqlite_storage._engine.connect() as connection:
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        assert found == wanted


def test_a_statement_that_failed_cannot_be_swallowed(postgres_storage):
    """PostgreSQL would answer the COMMIT with a silent rollback."""
    b.seed(postgres_storage)
    with postgres_storage.unit() as holder:
        holder.lock_customers([b.ALICE])
        with pytest.raises(StorageError, match="nothing of it is kept"), postgres_storage.unit() as unit:  # noqa: PT012  - the unit is what fails
            unit.apply([d.RecordAudit(b.audit())])
            with pytest.raises(RetryTransaction, match="lock timeout"):
                unit.lock_customers([b.ALICE])
    with b.looking(postgres_storage) as unit:
        assert list(unit.audit()) == []


def scenario(storage):
    """Do everything once: nearly each kind of decision, in one unit."""
    with storage.unit() as unit:
        unit.lock_customer(b.customer())
        unit.apply([d.SaveNetwork(b.network()), d.SaveGateway(b.gateway()), d.SaveContract(b.contract())])
        unit.apply([d.AddPlanVersion(b.plan())])
        order = b.order(subscription_id=b.ident(1), period=0)
        unit.apply(
            [
                d.OpenSubscription(b.subscription()),
                d.OpenOrder(order),
                d.BindKey(b.key_record()),
                d.ConfirmWallet(b.wallet()),
                d.RecordChange(b.change()),
                d.StoreEntitlement(b.entitlement()),
                d.StoreReceipt(b.receipt(ledger_id=b.ident(1))),
                d.AppendEntry(b.entry()),
                d.StoreOrder(attrs.evolve(order, status=OrderStatus.CONFIRMED, version=2, completion=b.completion())),
                d.StoreSubscription(b.subscription(version=2)),
                d.StoreRefund(b.refund()),
                d.Publish(b.event()),
                d.RecordAudit(b.audit()),
                d.StoreCustomer(b.customer(event_seq=1, version=2)),
                d.ArchivePlan(b.plan(archived_at=b.at(1))),
            ]
        )
        cursor = b.cursor(10)
        headers = tuple(b.header(n) for n in (9, 10))
        unit.apply([d.RecordEvidence(cursor=cursor, headers=headers, logs=(b.log(9, 1), b.log(10, 2)), keep_from=10)])
        items = unit.claim_items(b.CHAIN, cursor, b.T0, 10)
        unit.apply([d.StoreItem(attrs.evolve(item, wait="never")) for item in items])
        unit.apply([d.Rewind(cursor=b.cursor(9))])
        halted = b.cursor(9, halt=Halt(reason="deep", at_block=8, since=b.T0))
        unit.apply([d.HaltChain(halted), d.StoreCursor(halted)])
        unit.apply(
            [
                d.PostEntry(b.posting(ledger_id=b.ident(1))),
                d.WatchTreasury(b.treasury()),
                d.StoreMovement(b.movement(receipt_id=b.ident(1))),
                d.StoreQueueItem(b.queued(receipt_id=b.ident(1))),
                d.StoreInboxItem(b.hint()),
                StoreCharge(b.charge()),
                OpenPayLink(b.pay_link(), b.T0),
                d.SaveEndpoint(b.endpoint()),
                d.Publish(b.event(2)),
                d.OpenDeliveries(b.ident(1), (b.delivery(),)),
                d.OpenChallenge(b.challenge()),
            ]
        )
        many = range(10, 22)
        unit.apply([d.OpenOrder(b.order(n)) for n in many] + [d.StoreOrder(b.order(n, version=2)) for n in many])
        assert unit.consume(b.window(), 3) == 3
        assert unit.use_challenge("nonce-1", b.T0) is not None
        rows = unit.unsealed_rows(100)
        assert {row.table for row in rows} == set(SEALED)
        unit.apply([d.AddSeal(b.seal(), tuple(b.seal_item(row) for row in rows))])
        unit.apply([d.StoreTransmission(b.sending()), d.RecordSigned(b.signed_version()), d.StoreMandate(b.mandate())])
        unit.apply([d.StoreDeposit(b.deposit())])
        unit.apply([d.StoreProof(b.proof())])
        unit.apply([b.figures(), b.issued()])


def counting(storage):
    """Return what counts the rows of every table."""
    names = [name for name in sa.inspect(storage._engine).get_table_names() if name.startswith(PREFIX)]
    counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in names)

    def content():
        with storage._engine.connect() as connection:
            return dict(connection.exec_driver_sql(counts).all())

    return content


class Unlucky(Exception):
    """The database fails."""


@contextmanager
def told_by_sqlalchemy(engine, fail):
    """Call before and after each statement of the ordinary way."""
    event.listen(engine, "before_cursor_execute", fail)
    event.listen(engine, "after_cursor_execute", fail)
    yield
    event.remove(engine, "before_cursor_execute", fail)
    event.remove(engine, "after_cursor_execute", fail)


@contextmanager
def told_by_the_driver(_engine, fail):
    """Call before and after each statement that goes straight to the driver; nobody listens to the engine."""

    def around(method):
        def told(self, *arguments):
            fail()
            answer = method(self, *arguments)
            fail()
            return answer

        return told

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fetch", "execute", "execute_many", "copy"):
            patch.setattr(Driver, name, around(getattr(Driver, name)))
        yield


@pytest.mark.fault("D15")
@pytest.mark.parametrize("way", [told_by_sqlalchemy, told_by_the_driver])
def test_d15_whichever_statement_fails_nothing_is_kept(sql_storage, way):
    """Each fourth of them in the usual run, others in each way and on each database."""
    content = counting(sql_storage)
    before = content()
    counter = {"left": 0}

    def fail(*_: object) -> None:
        counter["left"] -= 1
        if counter["left"] == 0:
            raise Unlucky

    with way(sql_storage._engine, fail):
        for moment in share(range(1, 600), f"{way.__name__} on {sql_storage._engine.dialect.name}"):
            counter["left"] = moment
            try:
                scenario(sql_storage)
            except Unlucky:
                counter["left"] = 0
                assert content() == before, moment
            else:
                break
    assert 30 < moment < 300
    after = content()
    unchanged = {name for name, count in after.items() if count == before[name]}
    assert unchanged == {f"{PREFIX}instance", f"{PREFIX}alembic_version", f"{PREFIX}leases"}


FAILURES = [
    ("40001", RetryTransaction),
    ("40P01", RetryTransaction),
    ("53100", StorageError),
    ("23502", StorageError),
    ("23514", StorageError),
    ("XX000", StorageError),
]


def _insert(storage, decision):
    """Write a decision, or see a customer for the first time."""
    with storage.unit() as unit:
        if decision is None:
            unit.lock_customer(b.customer("user-new"))
        else:
            unit.apply([decision])


WRITES = {
    "idempotency_keys": d.BindKey(b.key_record()),
    "payment_receipts": d.StoreReceipt(b.receipt(2)),
    "receipt_entries": d.AppendEntry(b.entry()),
    "outbox": d.Publish(b.event()),
    "customers": None,
}


@pytest.fixture(scope="module")
def failing_place(databases):
    """One database for all failures: none of them leaves anything."""
    with databases.lend("postgres") as url:
        place = Place(url)
        with place.storage() as storage:
            yield place, b.seeded(storage)


@pytest.mark.fault("D18")
@pytest.mark.parametrize(("state", "kind"), FAILURES)
@pytest.mark.parametrize("table", WRITES)
def test_d18_only_a_named_unique_constraint_means_a_duplicate(failing_place, table, state, kind):
    place, storage = failing_place
    place.run(
        "CREATE OR REPLACE FUNCTION unlucky() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'unlucky' USING ERRCODE = '{state}'; END $$",
        f"CREATE TRIGGER unlucky BEFORE INSERT ON evmbilling_{table} EXECUTE FUNCTION unlucky()",
    )
    with pytest.raises(BillingError) as caught:
        _insert(storage, WRITES[table])
    place.run(f"DROP TRIGGER unlucky ON evmbilling_{table}")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is not None


@pytest.mark.fault("D18")
def test_d18_a_unique_index_that_nobody_expects_is_a_failure(migrated):
    migrated.run("CREATE UNIQUE INDEX unexpected ON evmbilling_payment_receipts (payer)")
    with migrated.storage() as storage:
        b.seeded(storage)
        with pytest.raises(StorageError) as caught:
            b.write(storage, d.StoreReceipt(b.receipt(2)))
    assert not isinstance(caught.value, (AlreadyExists, RetryTransaction))


def test_the_message_of_an_error_holds_no_value_of_a_row(migrated):
    with migrated.storage() as storage, pytest.raises(StorageError) as caught:
        b.write(storage, d.OpenOrder(b.order(user_id="user-with-a-secret-name")))
    told = []
    error = caught.value
    while error is not None:
        told.append(str(error).split("DETAIL")[0])
        error = error.__cause__
    assert len(told) >= 2
    assert not [line for line in told if "secret-name" in line]


@pytest.mark.fault("B10")
def test_b10_two_open_checkouts_for_one_period_cannot_both_stand(sql_storage):
    b.seed(sql_storage, d.OpenSubscription(b.subscription()))
    meet = Barrier(2)

    def open_one(number):
        meet.wait(60)
        try:
            b.write(sql_storage, d.OpenOrder(b.order(number, subscription_id=b.ident(1), period=3)))
        except BillingError as error:
            return type(error), error.field
        return "opened"

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(open_one, [1, 2]))
    assert sorted(ended, key=str) == [(Conflict, "period"), "opened"]
    with b.looking(sql_storage) as unit:
        (first,) = unit.orders_of_subscriptions([b.ident(1)])
    closed = attrs.evolve(first, status=OrderStatus.SUPERSEDED, closed_as=OrderStatus.SUPERSEDED, version=2)
    second = b.order(7, subscription_id=b.ident(1), period=3, supersedes=first.ledger_id)
    b.write(sql_storage, d.StoreOrder(closed), d.OpenOrder(second))
    with b.looking(sql_storage) as unit:
        assert [o.status for o in unit.orders_of_subscriptions([b.ident(1)])] == ["superseded", "pending"]
