"""Access: may this user use this now, until when, and why not."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from domain_records import SITE, SUBSCRIPTION, T0, at, order, plan, receipt, subscription
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.identity import Product
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.access import (
    Access,
    Entitlement,
    access,
    entitle_purchase,
    entitle_subscription,
    entitled_plan,
    judge,
)
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.domain.subscriptions.standing import order_standing

S = SubscriptionStatus
END, GRACE_END = at(30), at(33)
MICROSECOND = timedelta(microseconds=1)
PAID = {"status": S.ACTIVE, "anchor": T0, "paid_periods": 1, "paid_until": END}


def entitlement(**changes):
    return attrs.evolve(entitle_subscription(subscription(**PAID), plan()), **changes)


def verdict(entitled, now):
    answer = judge(entitled, now)
    return answer.allowed, answer.reason


@pytest.mark.fault("Z11")
@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (T0 - MICROSECOND, (False, "not_started")),
        (T0, (True, "paid")),
        (END - MICROSECOND, (True, "paid")),
        (END, (True, "grace")),
        (GRACE_END - MICROSECOND, (True, "grace")),
        (GRACE_END, (False, "expired")),
    ],
)
def test_z11_access_is_half_open_at_every_boundary(now, expected):
    assert verdict(entitlement(), now) == expected


def test_grace_widens_access_and_nothing_else():
    with_grace, without = (
        entitle_subscription(subscription(**PAID), plan(dunning=DunningPolicy(grace_days=days))) for days in (3, 0)
    )
    assert (with_grace.until, without.until) == (END, END)
    assert (with_grace.grace_until, without.grace_until) == (GRACE_END, None)
    late = judge(with_grace, at(31))
    assert (late.allowed, late.until, late.grace_until) == (True, END, GRACE_END)
    assert verdict(without, END) == (False, "expired")


def test_grace_days_are_calendar_days_of_the_customers_zone():
    berlin = subscription(**PAID | {"zone": "Europe/Berlin", "paid_until": at(55)})
    # 27 March 13:00 in Berlin; the clocks change on the 29th.
    assert entitle_subscription(berlin, plan()).grace_until == at(58) - timedelta(hours=1)


# stored subscription, days after T0, answer
TABLE = [
    ({}, 1, (False, "unpaid")),
    (PAID, 1, (True, "paid")),
    (PAID | {"status": S.PAST_DUE}, 31, (True, "grace")),
    (PAID | {"status": S.PAST_DUE}, 34, (False, "expired")),
    (PAID | {"status": S.PAUSED}, 1, (False, "paused")),
    (PAID | {"status": S.SUSPENDED}, 31, (False, "suspended")),
    (PAID | {"status": S.ENDED}, 1, (False, "ended")),
    ({"status": S.INCOMPLETE_EXPIRED}, 1, (False, "unpaid")),
    ({"status": S.TRIALING, "trial_end": at(14)}, 1, (True, "trial")),
    ({"status": S.TRIALING, "trial_end": at(14)}, 14, (False, "expired")),
    ({"status": S.PAST_DUE, "trial_end": at(14)}, 20, (False, "expired")),
    ({"status": S.SCHEDULED, "start_at": at(10)}, 1, (False, "unpaid")),
    (PAID | {"status": S.SCHEDULED, "start_at": at(10), "anchor": at(10)}, 1, (False, "not_started")),
    (PAID | {"status": S.ACTIVE, "start_at": at(10), "anchor": at(10)}, 10, (True, "paid")),
    ({"status": S.SCHEDULED, "start_at": at(10), "trial_end": at(24)}, 1, (False, "not_started")),
    ({"status": S.TRIALING, "start_at": at(10), "trial_end": at(24)}, 10, (True, "trial")),
    (PAID | {"status": S.TRIALING, "trial_end": at(5), "anchor": at(5)}, 1, (True, "paid")),
]


@pytest.mark.parametrize(("stored", "days", "expected"), TABLE)
def test_a_subscription_gives_what_its_standing_says(stored, days, expected):
    assert verdict(entitle_subscription(subscription(**stored), plan()), at(days)) == expected


def test_what_a_subscription_gives_is_multiplied_by_its_quantity():
    entitled = entitle_subscription(subscription(**PAID, quantity=3), plan())
    assert entitled.limits == (("requests", 3000), ("seats", 9))
    assert entitled.features == ("export",)
    assert judge(entitled, at(1)).limits == entitled.limits
    assert judge(entitled, at(50)).limits == ()
    assert judge(entitled, at(1)).subscription_id == SUBSCRIPTION


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ReceiptStatus.SEEN, (False, "unpaid")),
        (ReceiptStatus.CREDITED, (True, "paid")),
        (ReceiptStatus.FINAL, (True, "paid")),
        (ReceiptStatus.GONE, (False, "unpaid")),
    ],
)
def test_a_thing_sold_once_is_for_good_while_it_is_paid(status, expected):
    bought = order_standing(order(), [receipt(100, status)])
    entitled = entitle_purchase(bought, plan())
    assert verdict(entitled, at(1)) == expected
    assert verdict(entitled, at(36_500)) == expected
    assert judge(entitled, at(1)).until is None


def test_a_purchase_begins_with_the_block_that_paid_it_and_ends_when_it_is_reversed():
    bought = order_standing(order(), [receipt(when=at(2))])
    assert verdict(entitle_purchase(bought, plan()), at(2) - MICROSECOND) == (False, "not_started")
    assert verdict(entitle_purchase(bought, plan()), at(2)) == (True, "paid")
    taken = order_standing(bought, [receipt(100, ReceiptStatus.REVERSED)])
    assert taken.status is OrderStatus.REVERSED
    assert verdict(entitle_purchase(taken, plan()), at(3)) == (False, "unpaid")


@pytest.mark.parametrize("now", [T0, END, at(50)])
def test_disputed_money_closes_access_where_the_network_says_so(now):
    disputed = entitle_subscription(subscription(**PAID), plan(), disputed=True)
    assert verdict(disputed, now) == (False, "disputed")
    bought = order_standing(order(), [receipt(100, ReceiptStatus.DISPUTED)])
    assert verdict(entitle_purchase(bought, plan(), disputed=True), at(1)) == (False, "disputed")


OTHER = Product("site", "43")


def test_nobody_has_access_without_an_entitlement():
    assert access([], T0) == Access(allowed=False, reason="no_plan")
    assert access([entitlement()], at(1), product=OTHER).reason == "no_plan"
    assert access([entitlement()], at(1), feature="import").reason == "no_plan"


def test_product_and_feature_choose_the_entitlement():
    mine, other = entitlement(), entitlement(product=OTHER, source_id="other", plan_slug="basic", features=())
    assert access([mine, other], at(1), product=SITE).plan_slug == "pro"
    assert access([mine, other], at(1), product=OTHER).plan_slug == "basic"
    assert access([other, mine], at(1), feature="export").plan_slug == "pro"
    assert access([other], at(1), product=OTHER, feature="export").allowed is False


def test_the_best_entitlement_answers():
    ended = entitlement(source_id="a", basis="ended")
    short = entitlement(source_id="b", plan_slug="short")
    long = entitlement(source_id="c", plan_slug="long", until=at(300))
    good = entitlement(source_id="d", plan_slug="good", until=None)
    assert access([ended, short], at(1)).plan_slug == "short"
    assert access([short, long, ended], at(1)).plan_slug == "long"
    assert access([long, good, short], at(1)).plan_slug == "good"
    assert access([ended], at(1)).reason == "ended"


@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        ({}, at(1), "pro"),
        ({}, T0 - MICROSECOND, "pro"),
        ({}, at(31), "pro"),
        ({}, at(34), None),
        ({"basis": "paused"}, at(1), None),
        ({"disputed": True}, at(1), None),
    ],
)
def test_the_plan_a_user_is_entitled_to_counts_from_its_start_on(changes, now, expected):
    assert entitled_plan(entitlement(**changes), now) == expected
    assert entitled_plan(None, now) is None


instants = st.one_of(st.none(), st.integers(-40, 40).map(at))
entitlements = st.builds(
    Entitlement,
    user_id=st.just("ann"),
    product=st.sampled_from([SITE, OTHER]),
    source_id=st.uuids().map(str),
    subscription_id=st.none(),
    plan_slug=st.sampled_from(["basic", "pro"]),
    plan_version=st.just(1),
    basis=st.sampled_from(["paid", "trial", "unpaid", "paused", "suspended", "ended"]),
    starts_at=instants,
    until=instants,
    grace_until=instants,
    limits=st.just((("seats", 3),)),
    features=st.just(()),
    disputed=st.booleans(),
)


@given(held=st.lists(entitlements, max_size=5), days=st.integers(-50, 50), data=st.data())
def test_access_is_open_exactly_when_one_entitlement_opens_it(held, days, data):
    answer = access(held, at(days))
    assert answer.allowed == any(judge(e, at(days)).allowed for e in held)
    assert access(data.draw(st.permutations(held)), at(days)).allowed == answer.allowed
    assert answer.allowed or answer.limits == ()
    assert answer.allowed == (answer.reason in ("paid", "trial", "grace"))


@given(held=entitlements, days=st.integers(-50, 50))
def test_access_fails_closed(held, days):
    answer = judge(held, at(days))
    if answer.allowed:
        assert not held.disputed
        assert held.basis in ("paid", "trial")
        assert held.starts_at <= at(days)
        assert held.until is None or at(days) < max(held.until, held.grace_until or held.until)
