"""What is posted when: positions, steps between them, and that only the final facts count."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_records import CUSTOMER, ORDER, TREASURY, USDC, Books, at, clerk, order, receipt

from evmbilling.domain.books.bookkeeping import tax_of
from evmbilling.domain.books.ledger import Account, EntryKind, check_balanced, fold_balances, lines_of
from evmbilling.domain.books.postings import book_movement, book_opening, book_refund, book_release
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.payments.receipts import Evidence, Refund
from evmbilling.domain.payments.treasury import Movement
from evmbilling.domain.selling.orders import ManualMark, OrderLine
from evmbilling.domain.states import ReceiptStatus, RefundStatus
from evmbilling.errors import InvalidAmount
from sampling import examples

SEEN, CREDITED, FINAL, REVERSED, DISPUTED = (
    ReceiptStatus.SEEN,
    ReceiptStatus.CREDITED,
    ReceiptStatus.FINAL,
    ReceiptStatus.REVERSED,
    ReceiptStatus.DISPUTED,
)
PAID = {"treasury": -100, "deferred_revenue": 90, "tax": 10}


def kinds(entries):
    return [str(entry.kind) for entry in entries]


def test_money_that_is_only_seen_is_not_in_the_books():
    books = Books(order())
    assert books.put(receipt(status=SEEN)) == []


def test_a_paid_order_is_deferred_revenue_and_tax():
    books = Books(order(tax=10))
    assert kinds(books.put(receipt())) == ["received", "completed"]
    assert books.table() == PAID
    assert kinds(books.put(receipt(status=FINAL))) == []
    assert kinds(books.put(receipt(status=DISPUTED))) == []


def test_a_one_off_order_is_revenue_at_once():
    books = Books(order(tax=10, subscription_id=None, period=None))
    books.put(receipt())
    assert books.table() == {"treasury": -100, "revenue": 90, "tax": 10}


@pytest.mark.fault("B03")
def test_b03_what_is_over_stays_the_customers_credit():
    books = Books(order(tax=10))
    books.put(receipt(amount=130))
    assert books.table() == {"treasury": -130, "deferred_revenue": 90, "tax": 10, "customer_credit": 30}
    assert books.net(Account.CUSTOMER_CREDIT, CUSTOMER) == 30


@pytest.mark.fault("B05")
def test_b05_a_second_payment_of_one_order_is_the_customers_credit():
    books = Books(order(tax=10))
    books.put(receipt(1))
    assert kinds(books.put(receipt(2, allocation="credit", reason="duplicate"))) == ["received"]
    assert books.table() == {"treasury": -200, "deferred_revenue": 90, "tax": 10, "customer_credit": 100}


def test_payments_in_parts_are_credit_until_the_last():
    books = Books(order(tax=10))
    books.put(receipt(1, 60))
    assert books.table() == {"treasury": -60, "customer_credit": 60}
    assert kinds(books.put(receipt(2, 40))) == ["received", "completed"]
    assert books.table() == PAID


def test_what_a_tolerance_forgives_for_now_is_owed():
    books = Books(order(tax=10, tolerance=2))
    books.put(receipt(1, 98))
    assert books.table() == {"treasury": -98, "receivable": -2, "deferred_revenue": 90, "tax": 10}
    assert kinds(books.put(receipt(2, 5))) == ["received", "due"]
    assert books.table() == {"treasury": -103, "customer_credit": 3, "deferred_revenue": 90, "tax": 10}
    assert kinds(books.put(receipt(2, 5, REVERSED))) == ["taken_back", "due"]
    assert books.net(Account.RECEIVABLE, ORDER) == -2
    assert kinds(books.put(receipt(2, 5))) == ["received", "due"]
    assert len({entry.source for entry in books.entries}) == len(books.entries)


def test_a_payment_that_disappears_is_taken_back_and_posted_anew_when_it_returns():
    books = Books(order(tax=10))
    books.put(receipt())
    assert kinds(books.put(receipt(status=REVERSED))) == ["taken_back", "uncompleted"]
    assert books.table() == {}
    assert kinds(books.put(receipt())) == ["received", "completed"]
    assert books.table() == PAID
    assert len({entry.source for entry in books.entries}) == 6


def test_what_was_released_comes_back_out_of_revenue():
    books = Books(order(tax=10))
    books.put(receipt())
    held = next(b for b in fold_balances(books.entries).values() if b.account is Account.DEFERRED_REVENUE)
    books.post(book_release(books.orders["o1"], held, amount=33, until=at(1), clerk=clerk()))
    assert books.table() == {"treasury": -100, "deferred_revenue": 57, "revenue": 33, "tax": 10}
    books.put(receipt(status=REVERSED))
    assert books.table() == {}
    books.put(receipt())
    again = next(b for b in fold_balances(books.entries).values() if b.account is Account.DEFERRED_REVENUE)
    released = book_release(books.orders["o1"], again, amount=33, until=at(1), clerk=clerk())
    assert released[0].entry.source not in {entry.source for entry in books.entries}


def test_suspense_is_nobodys_until_it_is_assigned():
    books = Books(order(tax=10))
    lost = receipt(allocation="suspense", reason="no_order", ledger_id=None, user_id=None)
    books.put(lost)
    assert books.table() == {"treasury": -100, "suspense": 100}
    assert kinds(books.put(attrs.evolve(lost, allocation="order", ledger_id="o1", user_id="ann"))) == [
        "assigned",
        "completed",
    ]
    assert books.table() == PAID


def test_suspense_that_is_given_up_is_written_off():
    books = Books(order())
    lost = receipt(allocation="suspense", ledger_id=None, user_id=None)
    books.put(lost)
    assert kinds(books.put(attrs.evolve(lost, allocation="written_off"))) == ["written_off"]
    assert books.table() == {"treasury": -100, "write_off": 100}
    books.put(attrs.evolve(lost, allocation="written_off", status=REVERSED))
    assert books.table() == {}


def test_a_manual_mark_takes_what_is_missing_from_write_off():
    mark = ManualMark(by="bob", at=at(2), reason="bank transfer")
    books = Books(order(tax=10))
    books.put(receipt(1, 30))
    posted = books.put(o1={"manual": mark})
    assert (kinds(posted), posted[0].occurred_at) == (["completed"], mark.at)
    assert books.table() == {"treasury": -30, "write_off": -70, "deferred_revenue": 90, "tax": 10}
    books.put(receipt(2, 100, allocation="credit", reason="duplicate"))
    assert books.net(Account.CUSTOMER_CREDIT) == 100


def test_two_times_of_an_entry():
    books = Books(order())
    received, completed = books.put(receipt(1))
    assert (received.occurred_at, received.recorded_at) == (at(1 / 24), at(9))
    assert (completed.occurred_at, completed.recorded_at) == (at(1), at(9))
    assert received.identity == CreditIdentity(1, (1).to_bytes(32), 0)


def refund(**changes):
    made = Refund(
        refund_id="f1",
        ledger_id="o1",
        network="mainnet",
        asset=USDC,
        amount=50,
        treasury=TREASURY,
        reason="asked",
        requested_by="bob",
        status=RefundStatus.DONE,
        created_at=at(3),
        version=7,
    )
    return attrs.evolve(made, **changes)


REFUNDS = {
    "of an order, with its share of tax": (
        {},
        {"order": order(tax=10)},
        {"treasury": 50, "refunds": -45, "tax": -5},
    ),
    "of money that no order took": (
        {"ledger_id": None, "receipt_id": "r1", "user_id": "ann"},
        {},
        {"treasury": 50, "customer_credit": -50},
    ),
    "of money of nobody": ({"ledger_id": None, "receipt_id": "r1"}, {}, {"treasury": 50, "suspense": -50}),
    "of a customer's credit": ({"ledger_id": None, "user_id": "ann"}, {}, {"treasury": 50, "customer_credit": -50}),
}


def aside(table):
    """What is posted while the money has not left: nothing of an order's, and a promise of everything else."""
    if "tax" in table:
        return {}
    return {("refunds" if account == "treasury" else account): amount for account, amount in table.items()}


@pytest.mark.parametrize(("changes", "of", "expected"), REFUNDS.values(), ids=REFUNDS)
def test_a_refund_is_set_aside_when_it_is_asked_for_and_posted_when_it_is_done(changes, of, expected):
    asked = refund(**changes, status=RefundStatus.REQUESTED, version=1)
    books = Books(order())
    books.post(book_refund(None, asked, clerk(), **of))
    assert books.table() == aside(expected)
    confirming = attrs.evolve(asked, status=RefundStatus.CONFIRMING, version=6)
    assert book_refund(asked, confirming, clerk(), **of) == ()
    done = attrs.evolve(asked, status=RefundStatus.DONE, version=7)
    posted = book_refund(confirming, done, clerk(), **of)
    assert [p.entry.kind for p in posted] == [EntryKind.REFUNDED]
    books.post(posted)
    assert books.table() == expected
    back = attrs.evolve(done, status=RefundStatus.CONFIRMING, version=8)
    reversed_ = book_refund(done, back, clerk(), **of)
    assert reversed_[0].entry.kind is EntryKind.REFUND_REVERSED
    books.post(reversed_)
    assert books.table() == aside(expected)
    assert book_refund(back, attrs.evolve(back, version=9), clerk(), **of) == ()
    books.post(book_refund(back, attrs.evolve(back, status=RefundStatus.FAILED, version=10), clerk(), **of))
    assert books.table() == {}


def movement(**changes):
    made = Movement(
        identity=CreditIdentity(1, b"\5" * 32, 0),
        direction="in",
        treasury=TREASURY,
        counterparty=TREASURY,
        asset=USDC,
        amount=70,
        kind="external",
        evidence=Evidence(block_number=1, block_hash=b"\2" * 32, block_time=at(1), log_index=0),
    )
    return attrs.evolve(made, **changes)


MOVEMENTS = [
    (None, movement(), {"treasury": -70, "external": 70}),
    (None, movement(direction="out"), {"treasury": 70, "external": -70}),
    (None, movement(kind="receipt", receipt_id="r1"), {}),
    (movement(), movement(live=False, version=2), {"treasury": 70, "external": -70}),
    (movement(), movement(kind="refund", refund_id="f1", version=2), {"treasury": 70, "external": -70}),
    (movement(), movement(version=2), {}),
]


@pytest.mark.parametrize(("before", "after", "expected"), MOVEMENTS)
def test_the_owners_own_movements_stand_against_external(before, after, expected):
    books = Books(order())
    books.post(book_movement(before, after, clerk()))
    assert books.table() == expected


def test_an_opening_balance_is_posted_once_and_not_when_it_is_nothing():
    held = book_opening(asset=USDC, treasury=TREASURY, amount=5, at=at(), clerk=clerk())
    assert held[0].entry.source == f"opening:1:{TREASURY}:{USDC.token}"
    assert book_opening(asset=USDC, treasury=TREASURY, amount=0, at=at(), clerk=clerk()) == ()


TAXES = [(100, (), 0), (100, (20,), 20), (10, (20,), 10), (100, (-5,), 0), (100, (7, 8), 15)]


@pytest.mark.parametrize(("amount", "taxes", "expected"), TAXES)
def test_tax_is_between_nothing_and_the_amount(amount, taxes, expected):
    lines = tuple(OrderLine(kind="tax", text="", amount=tax) for tax in taxes)
    assert tax_of(order(amount=amount, lines=lines)) == expected


def test_an_entry_that_does_not_balance_is_never_written():
    entry = Books(order()).put(receipt())[0]
    for lines in ((), entry.lines[:1], (attrs.evolve(entry.lines[0], amount=0), *entry.lines[1:])):
        with pytest.raises(InvalidAmount):
            check_balanced(attrs.evolve(entry, lines=lines))
    assert lines_of({}) == ()


# Facts that may change in any order: receipt -> (amount, the allocations that it may have).
PLACES = st.sampled_from(["order", "credit", "suspense"])
MOVES = st.tuples(st.integers(1, 4), st.sampled_from([SEEN, CREDITED, FINAL, REVERSED, DISPUTED]), PLACES)
AMOUNTS = {1: 60, 2: 40, 3: 99, 4: 250}


def receipt_at(number, status, place):
    return receipt(number, AMOUNTS[number], status, allocation=place, ledger_id="o2" if number == 4 else "o1")


def fresh():
    return Books(order(tax=10, tolerance=1), order("o2", 200, 30, subscription_id=None, period=None))


def held(books):
    return {key: b.net_credit for key, b in fold_balances(books.entries).items() if b.net_credit}


@given(moves=st.lists(MOVES, max_size=14), data=st.data())
@settings(max_examples=examples(150), deadline=None)
def test_the_books_depend_on_the_final_facts_alone(moves, data):
    books = fresh()
    for move in moves:
        books.put(receipt_at(*move))
        for entry in books.entries:
            check_balanced(entry)
        assert sum(held(books).values()) == 0
        assert all(amount >= 0 for key, amount in held(books).items() if key[0] is Account.CUSTOMER_CREDIT)
        if data.draw(st.booleans()):
            _release_some(books, data)
    last = {number: (number, status, place) for number, status, place in moves}
    straight = fresh()
    for move in data.draw(st.permutations(sorted(last.values(), key=lambda m: m[0]))):
        straight.put(receipt_at(*move))
    assert _without_release(held(books)) == _without_release(held(straight))
    assert len({entry.source for entry in books.entries}) == len(books.entries)


def _release_some(books, data):
    deferred = [b for b in fold_balances(books.entries).values() if b.account is Account.DEFERRED_REVENUE]
    for balance in deferred:
        if balance.net_credit:
            amount = data.draw(st.integers(1, balance.net_credit))
            books.post(book_release(books.orders["o1"], balance, amount=amount, until=at(2), clerk=clerk()))


def _without_release(balances):
    """Deferred and released revenue of an order are one thing here: time moves it, not facts."""
    totals = {}
    for (account, owner, *asset), amount in balances.items():
        earned = "earned" if account in {Account.DEFERRED_REVENUE, Account.REVENUE} else account
        totals[(earned, owner, *asset)] = totals.get((earned, owner, *asset), 0) + amount
    return {key: amount for key, amount in totals.items() if amount}
