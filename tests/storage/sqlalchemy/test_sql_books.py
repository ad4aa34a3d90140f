"""The books and the messages in SQL: words, exact digits, triggers, prefixes, upgrades with data, late commits."""

from __future__ import annotations

import typing
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy import types as t
from evmbilling.adapters.sqlalchemy.failures import translated
from evmbilling.adapters.sqlalchemy.migrating import check, head, upgrade
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.reading.sealing import SEALED
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.triggers import GUARDS
from evmbilling.domain import decisions as d
from evmbilling.domain import states
from evmbilling.domain.books import ledger
from evmbilling.domain.messages import messages
from evmbilling.domain.payments import finance, receipts, treasury
from evmbilling.domain.selling import orders
from evmbilling.errors import AlreadyExists, InvalidAmount, StorageError
from evmbilling.testing.conformance.storage import records as b

UINT256_MAX = 2**256 - 1
PREFIX = "evmbilling_"
TABLES = build_tables(Names())

WORDS = [
    ("payment_transactions", "status", tuple(states.OrderStatus)),
    # An order whose rail is a call is one through a contract, with the call beside it; one at a deposit address is one
    # by a transfer, through the contract that sweeps.
    ("payment_transactions", "rail", tuple(set(typing.get_args(orders.Rail)) - {"call", "deposit"})),
    ("payment_transactions", "origin", typing.get_args(orders.OrderOrigin)),
    ("payment_receipts", "status", tuple(states.ReceiptStatus)),
    ("payment_receipts", "allocation", typing.get_args(receipts.Allocation)),
    ("receipt_entries", "kind", typing.get_args(receipts.EntryKind)),
    ("refunds", "status", tuple(states.RefundStatus)),
    ("refunds", "via", typing.get_args(typing.get_type_hints(receipts.Refund)["via"])),
    ("ledger_entries", "kind", tuple(ledger.EntryKind)),
    ("ledger_lines", "account", tuple(ledger.Account)),
    ("ledger_lines", "side", typing.get_args(ledger.Side)),
    ("balances", "account", tuple(ledger.Account)),
    ("movements", "direction", typing.get_args(treasury.Direction)),
    ("movements", "kind", typing.get_args(treasury.MovementKind)),
    ("finance_queue", "kind", typing.get_args(finance.QueueKind)),
    ("finance_queue", "state", typing.get_args(finance.QueueState)),
    ("finance_queue", "ruling", typing.get_args(finance.Ruling)),
    ("webhook_inbox", "state", typing.get_args(messages.InboxState)),
    ("deliveries", "state", typing.get_args(messages.DeliveryState)),
    ("subscriptions", "status", tuple(states.SubscriptionStatus)),
]


@pytest.mark.parametrize(("table", "column", "words"), WORDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_column_takes_exactly_the_words_of_the_domain(table, column, words):
    kind = TABLES[table].c[column].type
    assert isinstance(kind, t.Word)
    assert set(kind.words) == {str(word) for word in words}


def test_every_row_that_is_sealed_cannot_change():
    assert set(SEALED) <= {guard.table for guard in GUARDS}


SUMS = [("ledger_lines", "amount"), ("balances", "debit"), ("movements", "amount"), ("finance_queue", "amount")]


def _full(storage):
    b.write(
        b.seeded(storage),
        d.PostEntry(b.posting()),
        d.StoreMovement(b.movement()),
        d.StoreQueueItem(b.queued()),
    )
    return storage


@pytest.mark.fault("N01")
@pytest.mark.parametrize(("table", "column"), SUMS)
@pytest.mark.parametrize("value", ["'NaN'", "-1", str(2**256), "'Infinity'"])
def test_n01_no_database_holds_what_is_no_amount(migrated, table, column, value):
    with migrated.storage() as storage:
        _full(storage)
    # The guard of the ledger stands in front of what is tested here.
    unguarded = f"DROP TRIGGER IF EXISTS {PREFIX}{table}_guard_update"
    if migrated.dialect == "postgresql":
        unguarded = f"ALTER TABLE {PREFIX}{table} DISABLE TRIGGER USER"
    with pytest.raises((StorageError, InvalidAmount)), translated():
        migrated.run(unguarded, f"UPDATE {PREFIX}{table} SET {column} = {value}")


@pytest.mark.fault("N01")
def test_n01_a_balance_beyond_2_to_the_53_is_added_up_exactly(sql_storage):
    b.seed(sql_storage)
    amounts = [2**53, 1, 1, 2**64, 10**70, UINT256_MAX - 10**70 - 2**64 - 2**53 - 2]
    for number, amount in enumerate(amounts, start=1):
        b.write(sql_storage, d.PostEntry(b.posting(number, lines=b.received(amount))))
    with b.looking(sql_storage) as unit:
        (balance,) = unit.balances([f"customer:{b.ALICE}"])
    assert (balance.credit, balance.debit) == (UINT256_MAX, 0)


def test_posting_costs_no_round_trip_of_its_own_on_postgresql(postgres_storage):
    b.seed(postgres_storage)
    sent = []
    engine = postgres_storage._engine

    def note(_connection, _cursor, statement, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        b.write(
            postgres_storage,
            d.OpenOrder(b.order()),
            d.StoreReceipt(b.receipt(ledger_id=b.ident(1))),
            d.PostEntry(b.posting(1)),
            d.PostEntry(b.posting(2)),
            d.Publish(b.event(1)),
            d.Publish(b.event(2)),
        )
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert len(sent) == 1
    with b.looking(postgres_storage) as unit:
        (balance,) = unit.balances([f"customer:{b.ALICE}"])
        assert balance.credit == 2 * 19_990_000
        assert len(unit.ledger_entries()) == 2


def _old_rows(place):
    """Write what an earlier version of the package left behind: events, a customer and a wallet."""
    now = "'2026-01-01T00:00:00.000000Z'" if place.dialect == "sqlite" else "'2026-01-01T00:00:00Z'"
    place.run(
        f"INSERT INTO {PREFIX}customers VALUES ('user-alice', 'UTC', 'en', {now}, 2, 1, NULL)",
        f"INSERT INTO {PREFIX}customers VALUES ('user-bob', 'UTC', 'en', {now}, 0, 1, NULL)",
        f"INSERT INTO {PREFIX}wallets VALUES ('user-alice', '{b.WALLET}', {now})",
        *(
            f"INSERT INTO {PREFIX}outbox VALUES ('{b.ident(n)}', 'billing.order.opened.v1', 'customer:user-alice',"
            f" {n}, {now}, {now}, '{{}}')"
            for n in (2, 1)
        ),
    )
    return now


@pytest.mark.in_turn
def test_an_upgrade_from_the_release_before_keeps_and_serves_what_is_there(empty):
    upgrade(empty.url, to="0004")
    _old_rows(empty)
    upgrade(empty.url)
    assert check(empty.url) == []
    with empty.storage() as storage:
        with storage.unit() as unit:
            assert [event.seq for event in unit.claim_events(10)] == [1, 2]
            assert {row.table for row in unit.unsealed_rows(10)} == {"outbox"}
            assert unit.users_of_wallets([b.WALLET]) == {b.WALLET: b.ALICE}
        with pytest.raises(AlreadyExists):
            b.write(storage, d.ConfirmWallet(b.wallet(user_id=b.BOB)))


@pytest.mark.fault("D21")
def test_d21_two_owners_of_one_wallet_stop_the_upgrade_and_nothing_is_half_done(empty):
    upgrade(empty.url, to="0004")
    now = _old_rows(empty)
    empty.run(f"INSERT INTO {PREFIX}wallets VALUES ('user-bob', '{b.WALLET}', {now})")
    with pytest.raises(StorageError):
        upgrade(empty.url)
    assert check(empty.url)[0] == f"revision 0004 instead of {head()}"
    empty.run(f"DELETE FROM {PREFIX}wallets WHERE user_id = 'user-bob'")
    upgrade(empty.url)
    assert check(empty.url) == []


@pytest.mark.in_turn
def test_two_prefixes_share_no_books_and_no_messages(migrated):
    upgrade(migrated.url, prefix="b_")
    with migrated.storage() as first, migrated.storage(prefix="b_") as second:
        _full(first)
        b.write(first, d.Publish(b.event()), d.StoreInboxItem(b.hint()), d.OpenChallenge(b.challenge()))
        b.seed(second)
        with first.unit() as unit:
            assert unit.consume(b.window(), 5) == 5
        with second.unit() as unit:
            assert unit.used(b.window()) == 0
            assert list(unit.claim_events(9)) == list(unit.claim_inbox(b.at(999), 9)) == []
            assert list(unit.ledger_entries()) == list(unit.all_balances()) == list(unit.unsealed_rows(9)) == []
            assert list(unit.all_movements()) == list(unit.queue_items()) == []
            assert unit.use_challenge("nonce-1", b.T0) is None
        with first.unit() as unit:
            assert [event.event_id for event in unit.claim_events(9)] == [b.ident(1)]


@pytest.mark.fault("D28")
def test_d28_what_commits_late_is_handed_out_and_sealed_though_its_id_is_lower(postgres_storage):
    b.seed(postgres_storage)
    with postgres_storage.unit() as early:
        early.apply([d.Publish(b.event(1)), d.RecordAudit(b.audit(1))])
        b.write(postgres_storage, d.Publish(b.event(2, aggregate="network:x", seq=1)), d.RecordAudit(b.audit(2)))
        with postgres_storage.unit() as unit:
            (event,) = unit.claim_events(9)
            unit.apply([d.OpenDeliveries(event.event_id, ())])
            rows = unit.unsealed_rows(9)
            assert {row.key for row in rows} == {b.ident(2)}
            unit.apply([d.AddSeal(b.seal(1), tuple(b.seal_item(row) for row in rows))])
    with postgres_storage.unit() as unit:
        assert [event.event_id for event in unit.claim_events(9)] == [b.ident(1)]
        late = unit.unsealed_rows(9)
        assert {(row.table, row.key) for row in late} == {("audit", b.ident(1)), ("outbox", b.ident(1))}
        assert unit.unsealed_before(b.at(999)) == 1


@pytest.mark.fault("D22")
def test_d22_a_line_that_somebody_adds_changes_the_sealed_row(migrated):
    with migrated.storage() as storage:
        _full(storage)
        with b.looking(storage) as unit:
            before = unit.sealed_rows("ledger_entries", [b.ident(1)])[b.ident(1)]
        amount = f"{7:078d}"
        migrated.run(
            f"INSERT INTO {PREFIX}ledger_lines VALUES ('{b.ident(1)}', 2, 'revenue', '-', 'credit', '{amount}')"
        )
        with b.looking(storage) as unit:
            after = unit.sealed_rows("ledger_entries", [b.ident(1)])[b.ident(1)]
    assert before.digest != after.digest


def test_both_databases_give_a_sealed_row_the_same_bytes(sqlite_storage, postgres_storage):
    found = []
    for storage in (sqlite_storage, postgres_storage):
        b.write(
            _full(storage),
            d.Publish(b.event()),
            d.RecordAudit(b.audit()),
            d.RecordChange(b.change()),
            d.AppendEntry(b.entry()),
        )
        with b.looking(storage) as unit:
            found.append({(row.table, row.key): row.content for row in unit.unsealed_rows(100)})
    assert found[0] == found[1]
    assert {table for table, _ in found[0]} == set(SEALED)


@pytest.mark.parametrize("kind", ["events", "deliveries", "inbox"])
def test_a_claim_that_fails_lets_go_of_rows_and_connections(sql_storage, kind):
    b.write(b.seeded(sql_storage), d.Publish(b.event()), d.StoreInboxItem(b.hint()))
    b.write(sql_storage, d.Publish(b.event(2)), d.OpenDeliveries(b.ident(2), (b.delivery(2),)))

    def claim(unit):
        if kind == "events":
            return unit.claim_events(9)
        return unit.claim_inbox(b.at(999), 9) if kind == "inbox" else unit.claim_deliveries(b.SINK, b.at(1), 9)

    def fail(_):
        with pytest.raises(ZeroDivisionError), sql_storage.unit() as unit:  # noqa: PT012  - a claim, then the failure
            claim(unit)
            raise ZeroDivisionError

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fail, range(12)))
    with sql_storage.unit() as unit:
        assert len(claim(unit)) == 1
    assert sql_storage._engine.pool.checkedout() == 0


def test_workers_share_deliveries_without_waiting_for_each_other(postgres_storage):
    users = [f"user-{n}" for n in range(6)]
    b.seed(postgres_storage, users=users)
    for number, user in enumerate(users, start=1):
        owner = {"aggregate": f"customer:{user}", "seq": 1}
        b.write(postgres_storage, d.Publish(b.event(number, **owner)))
        b.write(postgres_storage, d.OpenDeliveries(b.ident(number), (b.delivery(number, **owner),)))
    with postgres_storage.unit() as one, postgres_storage.unit() as two, postgres_storage.unit() as three:
        taken = [unit.claim_deliveries(b.SINK, b.at(1), limit) for unit, limit in ((one, 2), (two, 3), (three, 9))]
    assert [len(part) for part in taken] == [2, 3, 1]
    assert len({delivery.event_id for part in taken for delivery in part}) == 6


def test_replacing_a_delivery_keeps_its_place(sql_storage):
    b.write(b.seeded(sql_storage), d.Publish(b.event()), d.OpenDeliveries(b.ident(1), (b.delivery(),)))
    moved = b.delivery(aggregate="customer:other", seq=99, attempts=1, version=2)
    b.write(sql_storage, d.StoreDelivery(moved))
    with b.looking(sql_storage) as unit:
        assert unit.delivery(b.ident(1), b.SINK) == attrs.evolve(moved, aggregate=f"customer:{b.ALICE}", seq=1)
