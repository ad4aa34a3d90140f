"""Where a subscription stands, folded from orders, receipts, changes and the time."""

from __future__ import annotations

import itertools
from datetime import timedelta

import attrs
import pytest
from domain_records import at, change, period_order, period_receipt, receipt, subscription
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.payments.paying import paying_moments
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval, boundary
from evmbilling.domain.subscriptions.dunning import NO_DUNNING
from evmbilling.domain.subscriptions.standing import standing

S, R = SubscriptionStatus, ReceiptStatus
TERMS = {"plan_slug": "pro", "plan_version": 1, "interval": Interval("month"), "quantity": 1}
PAID_AT = at(seconds=60)
"""Block time of the first period's receipt: 31 January 12:01; later boundaries: 28 February, 31 March."""


def after(n):
    return boundary(PAID_AT, Interval("month"), "UTC", n)


def claimed(claims):
    """Renewals that fell due unpaid."""
    pending = {"status": OrderStatus.PENDING, "origin": "renewal"}
    return [period_order(n, claim=claim, due_at=after(n), **pending) for n, claim in claims.items()]


def fold(now, **facts):
    """A subscription whose first periods are paid, as its facts leave it."""
    return stand(now, **facts).subscription


def stand(now, *, paid=(0,), claims=(), changes=(), orders=None, receipts=None, policy=NO_DUNNING, **stored):
    """The same with what is owed."""
    both = [*(period_order(n) for n in paid), *claimed({n: c for n, c in dict(claims).items() if n not in paid})]
    orders = both if orders is None else orders
    receipts = [period_receipt(n) for n in paid] if receipts is None else receipts
    stored.setdefault("status", S.SCHEDULED if stored.get("start_at") else S.INCOMPLETE)
    return standing(subscription(**stored), orders, receipts, changes, now, policy=policy)


# stored facts, paid periods, claims on others, changes (kind, days), days passed, status
OWED, GIVEN = {1: "owed"}, {1: "forgiven"}
TABLE = [
    ({}, (), {}, (), 0, S.INCOMPLETE),
    ({}, (), {}, (("expire", 1),), 0.5, S.INCOMPLETE),
    ({}, (), {}, (("expire", 1),), 1, S.INCOMPLETE_EXPIRED),
    ({}, (0,), {}, (), 1, S.ACTIVE),
    ({}, (0,), {}, (), 40, S.ACTIVE),
    ({}, (0,), OWED, (), 40, S.PAST_DUE),
    ({}, (0,), GIVEN, (), 40, S.ACTIVE),
    ({}, (0,), {1: "forgiven", 2: "owed"}, (), 70, S.PAST_DUE),
    ({}, (0, 1), OWED, (), 40, S.ACTIVE),
    ({}, (0, 2), OWED, (), 40, S.PAST_DUE),
    ({}, (1,), {}, (), 1, S.INCOMPLETE),
    ({}, (0,), {}, (("pause", 2),), 1, S.ACTIVE),
    ({}, (0,), {}, (("pause", 2),), 3, S.PAUSED),
    ({}, (0,), {}, (("pause", 2), ("resume", 4)), 5, S.ACTIVE),
    ({}, (0,), OWED, (("pause", 2), ("resume", 4)), 40, S.PAST_DUE),
    ({}, (0,), {}, (("cancel_at_period_end", 2),), 5, S.ACTIVE),
    ({}, (0,), {}, (("cancel_at_period_end", 2),), 40, S.ACTIVE),
    ({}, (0,), {}, (("cancel_at_period_end", 2), ("end", 39)), 40, S.ENDED),
    ({}, (0,), OWED, (("cancel_at_period_end", 2), ("undo_cancel", 3)), 40, S.PAST_DUE),
    ({}, (0,), {}, (("end", 2),), 3, S.ENDED),
    ({}, (0,), OWED, (("end", 2),), 40, S.ENDED),
    ({}, (0,), {}, (("pause", 1), ("end", 2)), 3, S.ENDED),
    ({}, (0,), OWED, (("suspend", 35),), 40, S.SUSPENDED),
    ({}, (0, 1), OWED, (("suspend", 35),), 40, S.ACTIVE),
    ({}, (0,), OWED, (("suspend", 35), ("unsuspend", 36)), 40, S.PAST_DUE),
    ({"start_at": at(10)}, (), {}, (), 5, S.SCHEDULED),
    ({"start_at": at(10)}, (0,), {}, (), 5, S.SCHEDULED),
    ({"start_at": at(10)}, (), {}, (), 10, S.INCOMPLETE),
    ({"start_at": at(10)}, (0,), {}, (), 10, S.ACTIVE),
    ({"trial_end": at(14)}, (), {}, (), 13, S.TRIALING),
    ({"trial_end": at(14)}, (0,), {}, (), 13, S.TRIALING),
    ({"trial_end": at(14)}, (0,), {}, (), 14, S.ACTIVE),
    ({"trial_end": at(14)}, (), {}, (), 14, S.TRIALING),
    ({"trial_end": at(14)}, (), {0: "owed"}, (), 14, S.PAST_DUE),
    ({"trial_end": at(14)}, (), {0: "owed"}, (("suspend", 20),), 21, S.SUSPENDED),
    ({"trial_end": at(14)}, (), {0: "forgiven", 1: "owed"}, (), 50, S.PAST_DUE),
    ({"trial_end": at(14)}, (), {}, (("cancel_at_period_end", 2),), 13, S.TRIALING),
    ({"trial_end": at(14)}, (), {}, (("cancel_at_period_end", 2), ("end", 14)), 14, S.ENDED),
    ({"trial_end": at(14)}, (), {}, (("pause", 20),), 21, S.PAUSED),
    ({"start_at": at(10), "trial_end": at(24)}, (), {}, (), 5, S.SCHEDULED),
    ({"start_at": at(10), "trial_end": at(24)}, (), {}, (), 12, S.TRIALING),
]


@pytest.mark.parametrize("row", TABLE)
def test_a_subscription_stands_where_its_facts_leave_it(row):
    stored, paid, claims, changes, days, status = row
    decided = [change(kind, at(day), seq=n + 1) for n, (kind, day) in enumerate(changes)]
    assert fold(at(days), paid=paid, claims=claims, changes=decided, **stored).status is status


def test_the_standing_of_a_paid_subscription_says_until_when():
    assert fold(at(40), paid=(0, 1)) == attrs.evolve(
        subscription(),
        **TERMS,
        status=S.ACTIVE,
        anchor=PAID_AT,
        paid_periods=2,
        paid_until=after(2),
        next_charge_at=after(2),
        cancel_at_period_end=False,
        debt=0,
        chain_id=1,
        look_at=after(2) - timedelta(days=3),
    )


def test_time_alone_makes_nobody_a_debtor():
    """That a period is over says nothing while its payment may be unread; the biller says so when it cannot be."""
    late = stand(at(300), changes=[change("cancel_at_period_end", at(1))])
    assert (late.subscription.status, late.debts) == (S.ACTIVE, ())


def test_debt_is_the_open_order_of_the_period_that_is_due():
    owed = [period_order(0), period_order(1, OrderStatus.PENDING, amount=250)]
    assert fold(at(20), orders=owed).debt == 0
    assert fold(at(40), orders=owed).debt == 250
    assert fold(at(40), orders=[*owed, period_order(1, OrderStatus.EXPIRED, amount=900)]).debt == 250
    assert fold(at(40), orders=owed, changes=[change("cancel_at_period_end", at(1))]).debt == 0
    assert fold(at(40), orders=owed, changes=[change("end", at(1))]).debt == 0


def test_debts_are_periods_that_fell_due_with_what_is_missing_of_them():
    part = receipt(40, number=9, ledger_id="order-1", when=at(35))
    result = stand(at(70), claims={1: "owed", 2: "owed"}, receipts=[period_receipt(0), part])
    assert [(d.period, d.due_at, d.amount) for d in result.debts] == [(1, after(1), 60), (2, after(2), 100)]
    placed = result.subscription
    assert (placed.debt, placed.paid_periods, placed.next_charge_at) == (160, 1, after(1))


def test_what_was_forgiven_is_settled_and_opens_nothing():
    result = fold(at(70), claims={1: "forgiven", 2: "owed"})
    assert (result.paid_periods, result.paid_until, result.next_charge_at) == (2, after(1), after(2))
    paid = fold(at(70), paid=(0, 2), claims={1: "forgiven"})
    assert (paid.status, paid.paid_periods, paid.paid_until) == (S.ACTIVE, 3, after(3))


def test_a_debt_in_another_asset_is_not_added_up():
    other = attrs.evolve(period_order(2).asset, symbol="DAI", decimals=18)
    orders = [period_order(0), *claimed({1: "owed", 2: "owed"})]
    orders[2] = attrs.evolve(orders[2], asset=other)
    result = stand(at(70), orders=orders)
    assert (result.subscription.debt, [d.asset.symbol for d in result.debts]) == (100, ["USDC", "DAI"])


@pytest.mark.parametrize(
    ("stored", "paid", "changes", "expected"),
    [
        ({}, (), (), None),
        ({"trial_end": at(14)}, (), (), at(14)),
        ({}, (0,), (), after(1)),
        ({}, (0,), (change("cancel_at_period_end", at(1)),), None),
        ({}, (0,), (change("end", at(1)),), None),
    ],
)
def test_the_next_charge_is_where_the_paid_time_ends(stored, paid, changes, expected):
    assert fold(at(2), paid=paid, changes=changes, **stored).next_charge_at == expected


# The receipt's block time counts, bounded by when we asked and when we learned, never before the start. After a trial
# it is the trial's end, however late the payment: that it was late does not move the calendar.
ANCHORS = [
    ({}, {"block": 60, "seen": 65}, 60),
    ({}, {"block": 9_999, "seen": 65}, 65),
    ({}, {"block": -9_999, "seen": 65}, 0),
    ({}, {"block": -9_999, "seen": -50}, 0),
    ({"start_at": at(seconds=500)}, {"block": 60, "seen": 65}, 500),
    ({"trial_end": at(seconds=700)}, {"block": 60, "seen": 65}, 700),
    ({"trial_end": at(seconds=10)}, {"block": 60, "seen": 65}, 10),
]


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("stored", "times", "anchor"), ANCHORS)
def test_c17_the_anchor_is_block_time_within_what_we_saw(stored, times, anchor):
    paid = receipt(ledger_id="order-0", when=at(seconds=times["block"]), first_seen_at=at(seconds=times["seen"]))
    result = fold(at(20), orders=[period_order(0)], receipts=[paid], **stored)
    assert result.anchor == at(seconds=anchor)


def test_the_first_payment_of_a_period_in_chain_order_anchors_it():
    early, late = (receipt(number=n, when=at(seconds=60 * n), ledger_id=f"order-{n}") for n in (1, 2))
    orders = [period_order(0, ledger_id="order-1"), period_order(0, ledger_id="order-2")]
    assert paying_moments(orders, [late, early]) == {0: early.evidence.block_time}
    assert fold(at(1), orders=orders, receipts=[late, early]).anchor == at(seconds=60)


@pytest.mark.fault("C05")
def test_c05_a_reversed_first_payment_closes_and_a_restored_one_opens_again():
    now, stored = at(5), subscription()
    for status, expected in [
        (R.CREDITED, S.ACTIVE),
        (R.REVERSED, S.INCOMPLETE),
        (R.SEEN, S.INCOMPLETE),
        (R.CREDITED, S.ACTIVE),
        (R.FINAL, S.ACTIVE),
    ]:
        facts = [period_receipt(0, status)]
        stored = standing(stored, [period_order(0)], facts, (), now).subscription
        assert stored.status is expected
        assert (stored.paid_until is not None) == (expected is S.ACTIVE)


@pytest.mark.fault("C05")
def test_c05_a_reversed_renewal_is_past_due_and_keeps_the_anchor():
    both = fold(at(40), paid=(0, 1))
    taken = [period_order(0), period_order(1, claim="owed", due_at=after(1))]
    one = fold(at(40), orders=taken, receipts=[period_receipt(0)])
    assert (both.status, one.status) == (S.ACTIVE, S.PAST_DUE)
    assert one.anchor == both.anchor
    assert one.paid_until == after(1)


@pytest.mark.fault("C02")
def test_c02_a_payment_mined_again_later_moves_the_anchor():
    moved = attrs.evolve(period_receipt(0).evidence, block_time=at(seconds=120), block_number=150)
    again = attrs.evolve(period_receipt(0), evidence=moved, first_seen_at=at(seconds=130))
    assert fold(at(1), receipts=[again]).anchor == at(seconds=120)


@pytest.mark.parametrize("status", [S.ENDED, S.INCOMPLETE_EXPIRED])
@pytest.mark.parametrize("paid", [(), (0,), (0, 1)])
def test_what_is_over_stays_over_when_money_moves(status, paid):
    result = fold(at(20), paid=paid, status=status)
    assert result.status is status
    assert (result.next_charge_at, result.debt) == (None, 0)


def test_a_subscription_that_left_takes_a_late_reversal_without_coming_back():
    leaving = [change("cancel_at_period_end", at(1)), change("end", at(39), seq=2)]
    stored = fold(at(40), changes=leaving)
    assert stored.status is S.ENDED
    late = standing(stored, [period_order(0)], [period_receipt(0, R.REVERSED)], leaving, at(41)).subscription
    assert (late.status, late.paid_until) == (S.ENDED, None)


@pytest.mark.fault("Z07")
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
def test_z07_paid_periods_follow_the_calendar_of_the_zone(zone):
    result = fold(at(400), paid=range(13), zone=zone)
    assert result.paid_until == boundary(PAID_AT, Interval("month"), zone, 13)
    assert result.paid_periods == 13


kinds = st.sampled_from(
    ["cancel_at_period_end", "undo_cancel", "end", "pause", "resume", "suspend", "unsuspend", "expire"]
)
changes = st.lists(st.tuples(kinds, st.integers(0, 90)), max_size=5).map(
    lambda drawn: [change(kind, at(day), seq=n + 1) for n, (kind, day) in enumerate(drawn)]
)
paid_periods = st.dictionaries(st.integers(0, 4), st.sampled_from(list(R)), max_size=5)
started = st.sampled_from([{}, {"trial_end": at(14)}, {"start_at": at(10)}, {"start_at": at(10), "trial_end": at(24)}])


@pytest.mark.fault("B04")
@given(paid=paid_periods, decided=changes, stored=started, days=st.integers(0, 150), data=st.data())
def test_b04_the_order_in_which_facts_are_given_never_matters(paid, decided, stored, days, data):
    orders = [period_order(n) for n in paid]
    receipts = [period_receipt(n, status) for n, status in paid.items()]
    plain = fold(at(days), orders=orders, receipts=receipts, changes=decided, **stored)
    shuffled = {
        "orders": data.draw(st.permutations(orders)),
        "receipts": data.draw(st.permutations(receipts)),
        "changes": data.draw(st.permutations(decided)),
    }
    assert fold(at(days), **shuffled, **stored) == plain


@given(
    steps=st.lists(st.tuples(paid_periods, st.integers(0, 30)), max_size=6),
    decided=changes,
    stored=started,
)
def test_no_history_leaves_the_state_table_and_folding_again_changes_nothing(steps, decided, stored):
    now, held = 0, subscription(**stored)
    if held.start_at is not None:
        held = attrs.evolve(held, status=S.SCHEDULED)
    for paid, days in steps:
        now += days
        orders = [period_order(n) for n in paid]
        receipts = [period_receipt(n, status) for n, status in paid.items()]
        result = standing(held, orders, receipts, decided, at(now))
        held = result.subscription
        assert standing(held, orders, receipts, decided, at(now)) == result
        assert (held.status in LIVE_SUBSCRIPTIONS) or (held.next_charge_at, held.debt) == (None, 0)


@given(paid=paid_periods, days=st.integers(0, 150))
def test_paid_periods_are_those_from_the_first_on_without_a_gap(paid, days):
    orders = [period_order(n) for n in paid]
    receipts = [period_receipt(n, status) for n, status in paid.items()]
    good = [n for n in paid if paid[n] in (R.CREDITED, R.FINAL, R.DISPUTED)]
    expected = next(n for n in itertools.count() if n not in good)
    result = fold(at(days), orders=orders, receipts=receipts)
    assert result.paid_periods == expected
    assert (result.paid_until is None) == (expected == 0)
    assert (result.status is S.ACTIVE) == (result.paid_until is not None)
