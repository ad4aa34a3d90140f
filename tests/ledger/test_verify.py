"""Verification: silent over whatever really happens, and a name for everything that was made up."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.books.bookkeeping import Clerk
from evmbilling.domain.books.ledger import Account, EntryKind, Line
from evmbilling.domain.books.postings import book_opening
from evmbilling.domain.decisions import StoreItem
from evmbilling.domain.reading.evidence import IntakeItem
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.errors import (
    AlreadyExists,
    InputError,
    InvalidAmount,
    PermissionDenied,
    UnknownAsset,
    UnknownNetwork,
)
from evmbilling.testing.merchant import ADMIN, wallet_of
from sampling import examples

OWNER = checksum(b"owner".rjust(20, b"\1"))


def test_an_empty_shop_is_proved(bookshop):
    report = bookshop.verify()
    assert (report.ok, report.seals, report.waiting) == (True, "off", 0)


def test_a_shop_that_sold_is_proved_row_by_row(bookshop):
    shop = bookshop.merchant
    shop.buy("user-1")
    shop.buy("user-2", plan="pack", asset="ETH")
    over = shop.checkout("user-3")
    shop.chain.pay(over.order, amount=over.order.amount + 5)
    shop.chain.pay(shop.checkout("user-4").order, amount=7)
    shop.chain.transfer(shop.token.token, OWNER, shop.treasury, 1_000)
    shop.settle()
    bookshop.engine.release_revenue()
    report = bookshop.verify()
    assert report.differences == ()
    assert report.counts["receipts"] >= 4
    assert report.counts["movements"] >= 4
    [coin] = report.coins
    assert (coin.balance, coin.booked, coin.delta) == (10**16, 10**16, 0)
    assert sum(bookshop.table().values()) == 0


def test_a_payment_that_is_seen_beside_the_one_that_the_chain_took_back_is_no_difference(bookshop):
    shop = bookshop.merchant
    offer = shop.checkout("user-1")
    first = shop.chain.pay(offer.order)
    shop.settle()
    second = shop.chain.pay(offer.order)
    shop.settle(1)
    shop.chain.reorganise(4, keep=[second])
    shop.drain()
    assert shop.chain.receipt(first) is None
    assert shop.engine.order(offer.ledger_id).status == "reversed"
    assert bookshop.found() == []
    shop.settle()
    assert shop.engine.order(offer.ledger_id).status == "confirmed"
    assert bookshop.found() == []


def test_what_waits_for_the_intake_is_counted_as_the_chain_says(bookshop):
    shop = bookshop.merchant
    shop.buy("user-1")
    paid = shop.chain.pay(shop.checkout("user-2").order)
    shop.chain.mine(1)
    shop.engine.read_chain(shop.network)
    waiting = bookshop.verify()
    assert (waiting.ok, waiting.waiting) == (True, 2)
    shop.settle(3)
    assert bookshop.verify().waiting == 0
    shop.chain.reorganise(4)
    shop.engine.read_chain(shop.network)
    assert bookshop.found() == []
    shop.chain.resend(paid)
    shop.settle()
    assert bookshop.found() == []


@pytest.mark.fault("T07")
def test_t07_a_balance_that_changes_without_a_log_is_an_unexplained_delta(bookshop):
    shop = bookshop.merchant
    shop.buy()
    shop.chain.give(shop.token.token, shop.treasury, 123)
    shop.settle(1)
    [difference] = bookshop.verify().differences
    assert difference.code == "unexplained_delta"
    assert difference.subject == f"treasury:{shop.chain.chain_id}:{shop.treasury}:{shop.token.token}"
    assert int(difference.found) - int(difference.expected) == 123
    assert bookshop.table() == {"treasury": -19_990_000, "deferred_revenue": 19_990_000}


def test_coins_that_come_without_a_log_are_reported_and_no_difference(memory_bookshop):
    shop = memory_bookshop.merchant
    shop.chain.give(NATIVE_COIN, shop.treasury, 77)
    shop.settle(1)
    report = memory_bookshop.verify()
    assert report.ok
    assert [coin.delta for coin in report.coins] == [77]


def test_what_a_treasury_held_before_explains_its_balance(memory_bookshop):
    shop = memory_bookshop.merchant
    treasury = memory_bookshop.read(lambda unit: unit.treasuries()[0])
    assert treasury.since_block == 0
    shop.chain.give(shop.token.token, shop.treasury, 50)
    shop.settle(1)
    assert memory_bookshop.found() == [("unexplained_delta", "treasury", "")]
    clerk = Clerk(now=shop.clock.now(), new_id=iter(["opening"]).__next__)
    memory_bookshop.write(
        *book_opening(asset=shop.token, treasury=shop.treasury, amount=50, at=shop.clock.now(), clerk=clerk)
    )
    assert memory_bookshop.found() == []


def test_an_administrator_posts_an_opening_balance_once(memory_bookshop):
    shop = memory_bookshop.merchant
    shop.chain.give(shop.token.token, shop.treasury, 50)
    shop.settle(1)
    fields = {"network": shop.network, "treasury": shop.treasury, "token": shop.token.token}
    admin = memory_bookshop.engine.admin(ADMIN)
    wrong = {
        "network": ("elsewhere", UnknownNetwork),
        "treasury": (OWNER, InputError),
        "token": (OWNER, UnknownAsset),
        "amount": (0, InvalidAmount),
    }
    for name, (value, error) in wrong.items():
        with pytest.raises(error) as caught:
            admin.record_opening(**({"amount": 50} | fields | {name: value}))
        assert caught.value.field == name
    with pytest.raises(PermissionDenied):
        memory_bookshop.engine.admin(Actor("x", frozenset({Role.FINANCE_OPS}))).record_opening(**fields, amount=50)
    admin.record_opening(**fields, amount="50")
    with pytest.raises(AlreadyExists):
        admin.record_opening(**fields, amount=50)
    assert memory_bookshop.found() == []
    assert memory_bookshop.table() == {"treasury": -50, "external": 50}
    assert [e.action for e in admin.audit(object_=f"treasury:31337:{shop.treasury}")] == ["treasury.record"]


def test_a_dead_node_proves_nothing_and_breaks_nothing(memory_bookshop):
    memory_bookshop.merchant.buy()
    memory_bookshop.merchant.chain.fail()
    assert memory_bookshop.found() == [("unproved", "network", "rpc_unknown")]
    memory_bookshop.merchant.chain.heal()
    assert memory_bookshop.found() == []


def test_a_node_without_the_state_proves_nothing(memory_bookshop):
    memory_bookshop.merchant.buy()
    calls = iter(range(9))

    def refuse(token, holder, block):
        if next(calls) == 0:
            memory_bookshop.merchant.chain.fail(1)
        return type(memory_bookshop.merchant.chain).balance(memory_bookshop.merchant.chain, token, holder, block)

    memory_bookshop.merchant.chain.balance = refuse
    assert memory_bookshop.found() == [("unproved", "treasury", "rpc_unknown")]


def test_a_block_that_is_no_longer_there_proves_nothing(memory_bookshop):
    memory_bookshop.merchant.buy()
    memory_bookshop.merchant.chain.reorganise(1)
    assert memory_bookshop.found() == [("unproved", "network", "block_changed")]


def change(table, **changes):
    """Return a spoiler that changes the first row of a table."""

    def spoil(tables):
        rows = getattr(tables, table)
        key, row = _first(rows)
        rows.put(key, attrs.evolve(row, **changes))

    return spoil


def _first(rows):
    return next((key, row) for key, row in rows._rows.items())


def forge(source, *lines):
    """Return a spoiler that adds an entry that no rule made."""

    def spoil(tables):
        like = next(iter(tables.postings.values()))
        made = [Line(account=account, owner=owner, side=side, amount=amount) for account, owner, side, amount in lines]
        entry = attrs.evolve(
            like, entry_id=f"forged {source}", source=source, kind=EntryKind.ASSIGNED, lines=tuple(made)
        )
        tables.postings.put(entry.entry_id, entry)

    return spoil


SUSPENSE_TO_REVENUE = (
    (Account.SUSPENSE, "-", "debit", 5),
    (Account.REVENUE, "order:x", "credit", 5),
)


def more_lines(tables):
    entry = next(e for e in tables.postings.values() if e.kind is EntryKind.RECEIVED)
    grown = tuple(attrs.evolve(line, amount=line.amount + 1) for line in entry.lines)
    tables.postings.put(entry.entry_id, attrs.evolve(entry, lines=grown))


def one_sided(tables):
    entry = next(e for e in tables.postings.values() if e.kind is EntryKind.COMPLETED)
    lines = (attrs.evolve(entry.lines[0], amount=1), *entry.lines[1:])
    tables.postings.put(entry.entry_id, attrs.evolve(entry, lines=lines))


def without(table):
    def spoil(tables):
        rows = getattr(tables, table)
        rows.drop(_key_of(rows))

    return spoil


def _key_of(rows):
    return _first(rows)[0]


SPOILED = {
    "a posting grew": (more_lines, {"receipt_not_booked", "balance_differs"}),
    "a posting lost its balance": (
        one_sided,
        {"entry_unbalanced", "sum_not_zero", "order_not_booked", "balance_differs"},
    ),
    "a posting that nothing explains": (forge("magic:1", *SUSPENSE_TO_REVENUE), {"entry_unknown"}),
    "a posting that says it is a decision": (forge("write_off:1", *SUSPENSE_TO_REVENUE), {"entry_unknown"}),
    "a posting for a receipt that is not there": (forge("receipt:x:1", *SUSPENSE_TO_REVENUE), {"receipt_not_booked"}),
    "a posting for a movement that is not there": (
        forge("movement:x:t:1", *SUSPENSE_TO_REVENUE),
        {"movement_not_booked"},
    ),
    "a posting for a refund that is not there": (forge("refund:x:1", *SUSPENSE_TO_REVENUE), {"refund_not_booked"}),
    "a posting went": (without("postings"), {"receipt_not_booked", "balance_differs"}),
    "a balance": (change("balances", debit=9), {"balance_differs"}),
    "a receipt's amount": (
        change("receipts", amount=1),
        {
            "receipt_journal_differs",
            "receipt_evidence_differs",
            "receipt_not_booked",
            "order_not_booked",
            "order_projection_differs",
            "subscription_projection_differs",
            "movement_class_differs",
            "receipt_without_movement",
        },
    ),
    "a receipt's payer": (change("receipts", payer=OWNER), {"receipt_evidence_differs"}),
    "a receipt's status": (
        change("receipts", status=ReceiptStatus.FINAL),
        {"receipt_journal_differs", "order_projection_differs"},
    ),
    "a receipt that was credited too early": (
        change("receipts", status=ReceiptStatus.GONE),
        {
            "receipt_journal_differs",
            "receipt_evidence_differs",
            "receipt_not_booked",
            "order_not_booked",
            "order_projection_differs",
            "subscription_projection_differs",
        },
    ),
    "a journal's entry": (change("entries", amount=1), {"receipt_journal_differs"}),
    "a journal's end": (without("entries"), {"receipt_journal_differs"}),
    "an order's status": (
        change("orders", status=OrderStatus.PENDING),
        {"order_projection_differs", "order_not_booked"},
    ),
    "a subscription's end": (
        change("subscriptions", paid_periods=12),
        {"subscription_projection_differs"},
    ),
    "a subscription's status": (
        change("subscriptions", status=SubscriptionStatus.SUSPENDED),
        {"subscription_projection_differs", "entitlement_differs"},
    ),
    "what a user may do": (change("entitlements", limits=(("calls", 10**9),)), {"entitlement_differs"}),
    "what a user is allowed at all": (without("entitlements"), {"entitlement_differs"}),
    "a movement's class": (change("movements", kind="external"), {"movement_class_differs", "movement_not_booked"}),
    "a movement's amount": (
        change("movements", amount=1),
        {"movement_class_differs", "movement_evidence_differs", "receipt_without_movement", "unexplained_delta"},
    ),
    "a movement's life": (
        change("movements", live=False),
        {"movement_evidence_differs", "receipt_without_movement", "unexplained_delta"},
    ),
    "a movement": (without("movements"), {"receipt_without_movement", "unexplained_delta"}),
    "a log": (without("logs"), {"movement_evidence_differs"}),
}


@pytest.mark.fault("D22")
@pytest.mark.parametrize(("spoil", "expected"), SPOILED.values(), ids=SPOILED)
def test_d22_whatever_is_changed_by_hand_is_named(memory_bookshop, spoil, expected):
    memory_bookshop.merchant.buy("user-1")
    assert memory_bookshop.found() == []
    spoil(memory_bookshop.storage._committed)
    found = memory_bookshop.verify().differences
    assert {d.code for d in found} == expected
    assert all(d.subject.partition(":")[2] for d in found)


def test_too_much_that_waits_is_unproved(memory_bookshop, monkeypatch):
    monkeypatch.setattr("evmbilling.engine.verify.chain.MOST_WAITING", 1)
    shop = memory_bookshop.merchant
    shop.buy()
    receipt = memory_bookshop.read(lambda unit: unit.all_receipts()[0])
    memory_bookshop.write(StoreItem(IntakeItem(identity=receipt.identity, wait="now")))
    assert memory_bookshop.found() == [("unproved", "intake", "too_much_waits")]


def test_progress_is_told_by_table(memory_bookshop):
    memory_bookshop.merchant.buy()
    told = []
    memory_bookshop.verify(progress=lambda name, rows: told.append((name, rows)))
    assert ("ledger_entries", 1) in told
    assert {"ledger_entries", "receipts", "movements", "orders", "subscriptions"} <= {name for name, _ in told}


USERS = st.sampled_from(["user-1", "user-2", "user-3"])
ACTS = st.one_of(
    st.tuples(st.just("pay"), USERS, st.sampled_from([None, 1, 10_000_000, 19_990_000, 25_000_000])),
    st.tuples(st.just("mine"), st.integers(1, 5), st.just(None)),
    st.tuples(st.just("reorganise"), st.integers(1, 6), st.sampled_from(["drop", "reinclude", "reorder"])),
    st.tuples(st.just("transfer"), st.sampled_from([OWNER, wallet_of("user-1")]), st.integers(1, 500)),
    st.tuples(st.just("outgoing"), st.just(OWNER), st.integers(1, 500)),
    st.tuples(st.just("days"), st.integers(1, 20), st.just(None)),
    st.tuples(st.just("resend"), st.integers(0, 9), st.just(None)),
)


@given(acts=st.lists(ACTS, min_size=1, max_size=14))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_on_chain_is_proved(make_bookshop, acts):
    bookshop = make_bookshop()
    shop, chain = bookshop.merchant, bookshop.merchant.chain
    chain.mine(8)
    sent = []
    for number, (act, first, second) in enumerate(acts):
        if act == "pay":
            offer = shop.checkout(first, plan="pack", idempotency_key=f"k{number}")
            sent.append(chain.pay(offer.order, **({} if second is None else {"amount": second})))
        elif act == "mine":
            chain.mine(first)
        elif act == "reorganise":
            chain.reorganise(first, mode=second)
        elif act == "transfer":
            sent.append(chain.transfer(shop.token.token, first, shop.treasury, second))
        elif act == "outgoing":
            sent.append(chain.transfer(shop.token.token, shop.treasury, first, second))
        elif act == "resend" and sent:
            chain.resend(sent[first % len(sent)])
        shop.settle(1, seconds=first * 86_400 if act == "days" else None)
        bookshop.engine.release_revenue()
        assert bookshop.verify().differences == ()
    assert sum(bookshop.table().values()) == 0


@pytest.mark.fault("D29")
def test_d29_what_is_replayed_after_a_year_and_a_pruning_posts_nothing_again(bookshop):
    shop = bookshop.merchant
    shop.buy("user-1")
    shop.chain.transfer(shop.token.token, OWNER, shop.treasury, 1_000)
    shop.settle(30)
    shop.settle(1, seconds=366 * 86_400)
    bookshop.engine.release_revenue()
    books = bookshop.table()
    for table in ("webhook_inbox", "deliveries", "wallet_challenges", "chain_logs", "usage"):
        bookshop.storage.prune(table, shop.clock.now(), 1000)
    moved = [m.identity for m in bookshop.read(lambda unit: unit.all_movements())]
    paid = [r.identity for r in bookshop.read(lambda unit: unit.all_receipts())]
    bookshop.write(*(StoreItem(IntakeItem(identity=i, wait="now")) for i in {*moved, *paid}))
    assert shop.drain().taken == len({*moved, *paid})
    assert bookshop.table() == books
    assert bookshop.found() == []
