"""A hand on the database: refused while the triggers are there, and named by verification once they are not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from evmbilling.domain.addresses import checksum
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.keys import sign_text
from evmbilling.testing.merchant import wallet_of

PREFIX = "evmbilling_"
STRANGER = checksum(b"\7" * 20)
SEALED = {
    "audit": "audit_id",
    "ledger_entries": "entry_id",
    "outbox": "event_id",
    "receipt_entries": "receipt_id",
}


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request, make_bookshop):
    """A shop that sold, all of its rows sealed."""
    made = make_bookshop(request.param)
    made.merchant.buy("user-1")
    made.merchant.buy("user-2", plan="pack")
    while made.engine.seal(limit=8).sealed:
        pass
    assert made.found() == []
    return made


@pytest.fixture
def database(shop):
    """A connection of a person with every right, apart from the storage's."""
    url = shop.place.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


def run(database, *statements):
    with database.begin() as connection:
        return [connection.execute(sa.text(statement)).rowcount for statement in statements]


def unguard(database, table):
    """Take away what makes a table append-only."""
    name = f"{PREFIX}{table}"
    with database.begin() as connection:
        if database.dialect.name == "postgresql":
            connection.execute(sa.text(f"ALTER TABLE {name} DISABLE TRIGGER ALL"))
            return
        triggers = connection.execute(
            sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"), {"table": name}
        ).scalars()
        for trigger in list(triggers):
            connection.execute(sa.text(f"DROP TRIGGER {trigger}"))


@pytest.mark.fault("G05")
def test_g05_sealed_rows_are_neither_changed_nor_removed(database):
    columns = SEALED | {"ledger_lines": "owner", "seals": "mac", "seal_items": "digest"}
    for table, column in columns.items():
        name = f"{PREFIX}{table}"
        for statement in (f"UPDATE {name} SET {column} = {column}", f"DELETE FROM {name}"):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"):
                run(database, statement)


@pytest.mark.fault("G05")
def test_g05_sealed_rows_that_were_removed_all_the_same_are_named(shop, database):
    unguard(database, "ledger_lines")
    removed = set()
    for table, column in SEALED.items():
        unguard(database, table)
        key = "receipt_id || ':' || CAST(seq AS TEXT)" if table == "receipt_entries" else column
        with database.begin() as connection:
            victim = connection.execute(sa.text(f"SELECT MAX({key}) FROM {PREFIX}{table}")).scalar_one()
            if table == "ledger_entries":
                connection.execute(sa.text(f"DELETE FROM {PREFIX}ledger_lines WHERE entry_id = :id"), {"id": victim})
            connection.execute(sa.text(f"DELETE FROM {PREFIX}{table} WHERE {key} = :id"), {"id": victim})
        removed.add(("sealed_row_missing", f"{table}:{victim}"))
    found = {(d.code, d.subject) for d in shop.verify(full=True).differences}
    assert removed <= found
    assert len([code for code, _ in found if code == "sealed_row_missing"]) == len(removed)


@pytest.mark.fault("D22")
def test_d22_one_amount_that_was_changed_is_found_at_its_row(shop, database):
    unguard(database, "ledger_lines")
    with database.begin() as connection:
        lines = f"{PREFIX}ledger_lines"
        victim = connection.execute(sa.text(f"SELECT MIN(entry_id) FROM {lines}")).scalar_one()
        other = connection.execute(sa.text(f"SELECT amount FROM {lines} WHERE entry_id = :id"), {"id": victim}).scalar()
        changed = str(other)[:-1] + "7" if isinstance(other, str) else other + 7
        connection.execute(
            sa.text(f"UPDATE {lines} SET amount = :amount WHERE entry_id = :id AND seq = 0"),
            {"amount": changed, "id": victim},
        )
    found = {(d.code, d.subject) for d in shop.verify(full=True).differences}
    assert {
        ("sealed_row_changed", f"ledger_entries:{victim}"),
        ("entry_unbalanced", f"ledger_entries:{victim}"),
    } <= found


@pytest.mark.fault("D22")
def test_d22_a_changed_audit_entry_is_found_at_its_row(shop, database):
    unguard(database, "audit")
    with database.begin() as connection:
        victim = connection.execute(sa.text(f"SELECT MIN(audit_id) FROM {PREFIX}audit")).scalar_one()
        connection.execute(sa.text(f"UPDATE {PREFIX}audit SET actor = 'nobody' WHERE audit_id = :id"), {"id": victim})
    [difference] = shop.verify(full=True).differences
    assert (difference.code, difference.subject) == ("sealed_row_changed", f"audit:{victim}")


@pytest.mark.fault("D22")
def test_d22_rows_whose_seal_was_rewritten_too_break_the_chain(shop, database):
    unguard(database, "seal_items")
    unguard(database, "seals")
    run(
        database,
        f"DELETE FROM {PREFIX}seal_items WHERE seal = 2",
        f"UPDATE {PREFIX}seals SET covered = 0 WHERE number = 2",
    )
    found = {(d.code, d.subject, d.reason) for d in shop.verify(full=True).differences}
    assert ("seal_broken", "seal:2", "mac") in found


@pytest.mark.fault("D22")
def test_d22_a_link_below_the_watermark_that_was_changed_breaks_the_chain(shop, database):
    """Rows below it are compared in full only; the links are not."""
    assert shop.verify().watermark > 0
    unguard(database, "seals")
    run(database, f"UPDATE {PREFIX}seals SET mac = (SELECT mac FROM {PREFIX}seals WHERE number = 2) WHERE number = 1")
    found = {(d.code, d.subject, d.reason) for d in shop.verify().differences}
    assert found == {("seal_broken", "seal:2", "not_linked")}


TAMPERED = {
    "payment_receipts": ("status = 'final'", "receipt_journal_differs"),
    "payment_transactions": ("status = 'pending'", "order_projection_differs"),
    "subscriptions": ("paid_periods = 12", "subscription_projection_differs"),
    "entitlements": ("plan_version = 9", "entitlement_differs"),
    "movements": ("live = NOT live", "movement_evidence_differs"),
    "balances": ("debit = credit", "balance_differs"),
}


@pytest.mark.fault("D22")
def test_d22_a_row_that_cannot_even_be_read_is_named_by_its_part(make_bookshop):
    shop = make_bookshop("sqlite")
    shop.merchant.buy("user-1")
    database = sa.create_engine(shop.place)
    run(database, "PRAGMA ignore_check_constraints = ON", f"UPDATE {PREFIX}balances SET debit = 'much'")
    database.dispose()
    found = shop.verify().differences
    assert [(d.code, d.subject) for d in found] == [("unproved", "part:books")]


@pytest.mark.fault("D22")
@pytest.mark.parametrize("table", TAMPERED)
def test_d22_projections_that_were_changed_by_hand_are_named(make_bookshop, table):
    shop = make_bookshop("sqlite")
    shop.merchant.buy("user-1")
    change, code = TAMPERED[table]
    database = sa.create_engine(shop.place)
    [rows] = run(database, f"UPDATE {PREFIX}{table} SET {change}")
    database.dispose()
    assert rows > 0
    assert code in {d.code for d in shop.verify().differences}


NAMED = {
    "reference": ("payment_transactions", "reference = zeroblob(32)"),
    "cancel_at_period_end": ("subscriptions", "cancel_at_period_end = NOT cancel_at_period_end"),
    "debt": ("subscriptions", "debt = (SELECT amount FROM evmbilling_payment_transactions LIMIT 1)"),
}


@pytest.mark.fault("D22")
@pytest.mark.parametrize("reason", NAMED)
def test_d22_a_part_of_a_projection_that_was_changed_by_hand_is_named(make_bookshop, reason):
    shop = make_bookshop("sqlite")
    shop.merchant.buy("user-1")
    table, change = NAMED[reason]
    database = sa.create_engine(shop.place)
    [rows] = run(database, f"UPDATE {PREFIX}{table} SET {change}")
    database.dispose()
    assert rows > 0
    assert reason in {d.reason for d in shop.verify().differences}


PAYABLE = {
    "treasury": ("payment_transactions", "treasury = '{stranger}'", {"signature", "treasury"}),
    "wallet": ("payment_transactions", "wallet = '{stranger}'", {"signature"}),
    "contract": ("payment_transactions", "contract = '{stranger}'", {"signature", "contract"}),
    "tolerance": ("payment_transactions", "tolerance = amount", {"tolerance"}),
}


@pytest.mark.fault("D22")
@pytest.mark.parametrize("part", PAYABLE)
def test_d22_what_a_wallet_is_told_to_pay_is_what_was_signed(make_bookshop, part):
    """A hand on the database could have other people's wallets pay somebody else."""
    shop = make_bookshop("sqlite")
    shop.merchant.buy("user-1")
    offer = shop.merchant.checkout("user-2")
    assert [f for f in shop.found() if f[0] != "unproved"] == []
    table, change, reasons = PAYABLE[part]
    database = sa.create_engine(shop.place)
    sql = change.format(stranger=STRANGER)
    [rows] = run(database, f"UPDATE {PREFIX}{table} SET {sql} WHERE ledger_id = '{offer.ledger_id}'")
    database.dispose()
    assert rows == 1
    found = [d for d in shop.verify().differences if d.code == "order_projection_differs"]
    assert {d.subject for d in found} == {f"order:{offer.ledger_id}"}
    assert {d.reason for d in found} == reasons


@pytest.mark.fault("D22")
def test_d22_an_amount_that_a_person_reads_in_the_queue_is_that_of_the_money(make_bookshop):
    shop = make_bookshop("sqlite")
    merchant = shop.merchant
    merchant.chain.transfer(merchant.token.token, wallet_of("nobody"), merchant.treasury, 5)
    merchant.settle()
    assert [f for f in shop.found() if f[0] != "unproved"] == []
    database = sa.create_engine(shop.place)
    [rows] = run(database, f"UPDATE {PREFIX}finance_queue SET amount = substr(amount, 1, length(amount) - 1) || '6'")
    database.dispose()
    assert rows == 1
    assert ("queue_item_differs", "receipt", "suspense") in shop.found()


@pytest.mark.fault("D22")
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_d22_a_wallet_that_was_given_to_another_customer_is_named_at_both(make_bookshop, backend):
    shop = make_bookshop(backend)
    for user, account in (("user-1", DEV_ACCOUNTS[1]), ("user-2", DEV_ACCOUNTS[2])):
        asked = shop.engine.wallet_challenge(
            user_id=user,
            wallet=account.address,
            network=shop.merchant.network,
            domain="shop.example",
            uri="https://shop.example/",
        )
        signature = sign_text(account.key, asked.message)
        shop.engine.confirm_wallet(user_id=user, nonce=asked.nonce, signature=signature)
    assert [f for f in shop.found(full=True) if f[0] not in ("unproved", "row_unsealed")] == []
    database = sa.create_engine(shop.place.replace("postgresql://", "postgresql+psycopg://"))
    [rows] = run(database, f"UPDATE {PREFIX}wallets SET user_id = 'user-2' WHERE user_id = 'user-1'")
    database.dispose()
    assert rows == 1
    found = {(d.subject, d.reason) for d in shop.verify(full=True).differences if d.code == "wallet_record_differs"}
    assert found == {("customer:user-1", "not_there"), ("customer:user-2", "never_proved")}


UNREADABLE = {
    "networks": "credit_after = 'soon'",
    "gateways": "relaying = 'x'",
    "subscriptions": "start_at = '2026'",
}


@pytest.mark.fault("D22")
@pytest.mark.parametrize("table", UNREADABLE)
def test_d22_a_table_that_cannot_be_read_is_named_and_not_raised(make_bookshop, table):
    shop = make_bookshop("sqlite")
    shop.merchant.buy("user-1")
    database = sa.create_engine(shop.place)
    run(database, "PRAGMA ignore_check_constraints = ON", f"UPDATE {PREFIX}{table} SET {UNREADABLE[table]}")
    database.dispose()
    report = shop.verify()
    assert not report.ok
    assert {d.subject for d in report.differences if d.code == "unproved"} & {"part:configuration", "part:standing"}
