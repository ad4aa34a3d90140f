"""Which terms hold: a fold that does not depend on the order in which facts come."""

from __future__ import annotations

import attrs
import pytest
from domain_records import T0, at, change, period_order, period_receipt, subscription
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.catalogue.plan_terms import PlanTerms, TermsChange
from evmbilling.domain.payments.paying import payers
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.rivals import payments, stale_offers
from evmbilling.domain.subscriptions.standing import standing
from evmbilling.domain.subscriptions.terms import terms_book

MONTH = Interval("month")
PRO = PlanTerms(plan_slug="pro", plan_version=1, quantity=1, interval=MONTH)
MAX, TEN = attrs.evolve(PRO, plan_slug="max"), attrs.evolve(PRO, quantity=10)
HELD = subscription(status=SubscriptionStatus.ACTIVE)


def decided(kind, seq, before, after, *, day=1, **terms):
    period = terms.pop("period", None)
    made = TermsChange(before=before, after=after, **terms)
    return attrs.evolve(change(kind, at(day), seq=seq), terms=made, period=period)


def offer(name, terms, *, paid=False, status=OrderStatus.PENDING, day=2):
    """The order of a change within the first period, and its money."""
    asked = {"plan_slug": terms.plan_slug, "quantity": terms.quantity, "origin": "change", "ledger_id": name}
    order = attrs.evolve(period_order(0, OrderStatus.CONFIRMED if paid else status, **asked), period=None, due_at=at(1))
    money = period_receipt(0, ledger_id=name, receipt_id=f"money of {name}")
    moved = attrs.evolve(money.evidence, block_time=at(day), block_number=day)
    return order, [attrs.evolve(money, evidence=moved)] if paid else []


def book(changes, orders=(), receipts=()):
    everything = [period_order(0), *orders], [period_receipt(0), *receipts]
    return terms_book(HELD, *everything, changes, payers(*everything))


def stale(changes, orders, receipts=()):
    return stale_offers(book(changes, orders, receipts), changes, payments(orders, receipts), None)


def test_without_changes_it_is_what_it_began_with():
    assert book(()).holding(at(9), None) == (0, PRO)


@pytest.mark.parametrize(
    ("paid", "status", "holds", "waits"),
    [
        (True, OrderStatus.CONFIRMED, MAX, False),
        (False, OrderStatus.PENDING, PRO, True),
        (False, OrderStatus.CONFIRMING, PRO, True),
        (False, OrderStatus.EXPIRED, PRO, False),
        (False, OrderStatus.SUPERSEDED, PRO, False),
    ],
)
def test_a_difference_holds_when_it_is_paid_and_waits_while_it_can_be(paid, status, holds, waits):
    order, money = offer("up", MAX, paid=paid, status=status)
    if status in {OrderStatus.EXPIRED, OrderStatus.SUPERSEDED}:
        order = attrs.evolve(order, closed_as=status)
    found = book([decided("change_now", 1, PRO, MAX, ledger_id="up")], [order], money)
    assert found.holding(at(9), None)[1] == holds
    assert (found.waiting is not None) == waits


def test_a_difference_to_what_does_not_hold_any_more_does_not_hold():
    first, money = offer("up", MAX, paid=True)
    second, more = offer("ten", TEN, paid=True, day=3)
    changes = [
        decided("change_now", 1, PRO, MAX, ledger_id="up"),
        decided("change_now", 2, MAX, TEN, ledger_id="ten", basis=1),
    ]
    assert book(changes, [first, second], [*money, *more]).holding(at(9), None) == (2, TEN)
    gone = [attrs.evolve(r, status=ReceiptStatus.REVERSED) for r in money]
    assert book(changes, [first, second], [*gone, *more]).holding(at(9), None) == (0, PRO)
    assert stale(changes, [first, second], [*gone, *more]) == {"ten"}
    assert stale(changes, [first, second], [*money, *more]) == set()


def test_what_cost_nothing_makes_older_offers_stale():
    order, _ = offer("up", MAX)
    changes = [decided("change_now", 1, PRO, MAX, ledger_id="up"), decided("change_now", 2, PRO, TEN)]
    found = book(changes, [order])
    assert found.holding(at(9), None) == (2, TEN)
    assert stale(changes, [order]) == {"up"}


@given(st.permutations(range(4)), st.integers(0, 60))
def test_the_order_in_which_facts_are_given_never_matters(order, day):
    first, money = offer("up", MAX, paid=True)
    second, more = offer("ten", TEN, paid=True, day=3)
    changes = [
        decided("change_now", 1, PRO, MAX, ledger_id="up"),
        decided("change_now", 2, MAX, TEN, ledger_id="ten", basis=1),
        decided("change_next", 3, TEN, PRO, basis=2, period=1),
        change("withdraw_change", T0, seq=4),
    ]
    straight = standing(HELD, [period_order(0), first, second], [period_receipt(0), *money, *more], changes, at(day))
    shuffled = standing(
        HELD,
        [second, period_order(0), first],
        [*more, *money, period_receipt(0)],
        [changes[i] for i in order],
        at(day),
    )
    assert shuffled == straight


def test_terms_of_the_next_period_wait_for_its_payment_and_its_beginning():
    changes = [decided("change_next", 1, PRO, MAX, period=1)]
    paid = period_order(1, plan_slug="max")
    rows = [period_order(0), paid], [period_receipt(0), period_receipt(1)]
    for day, slug in ((5, "pro"), (27, "pro"), (29, "max")):
        assert standing(HELD, *rows, changes, at(day)).subscription.plan_slug == slug
    assert standing(HELD, [period_order(0)], [period_receipt(0)], changes, at(29)).subscription.plan_slug == "pro"
    # Whoever pays the old offer has that period on its terms, and the change moves on.
    old = [period_order(0), period_order(1)], [period_receipt(0), period_receipt(1)]
    assert standing(HELD, *old, changes, at(29)).subscription.plan_slug == "pro"
    assert terms_book(HELD, *old, changes, payers(*old)).waiting.period == 2


def test_a_difference_buys_nothing_that_was_paid_ahead():
    """The next period is paid on the old terms, so those hold again in it; what is asked for later is on the new."""
    order, money = offer("up", MAX, paid=True)
    orders = [period_order(0), period_order(1, ledger_id="ahead"), order]
    receipts = [period_receipt(0), period_receipt(1, ledger_id="ahead", receipt_id="money ahead"), *money]
    found = terms_book(
        HELD, orders, receipts, [decided("change_now", 1, PRO, MAX, ledger_id="up")], payers(orders, receipts)
    )
    table = standing(HELD, orders, receipts, (), at(9)).subscription.table
    assert found.holding(at(9), table) == (1, MAX)
    assert found.holding(table.start(1), table) == (-2, PRO)
    assert found.begins(table) == [table.start(1)]
    assert found.wanted(2, table) == MAX
