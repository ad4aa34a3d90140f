"""A subscription that nobody paid for a long time: what a user who comes back buys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from engine_shop import CONTRACT, OTHER_TOKEN, PRICE, TOKEN, make_plan

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.errors import ChangeNeeded, InputError, InvalidAddress

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def away(shop, days):
    shop.clock.advance(timedelta(days=days))
    shop.mine(timestamp=shop.clock.now().replace(microsecond=0))


def bought(shop, key, **over):
    order = shop.checkout(key, **over)
    shop.pay(order)
    return order


def test_after_months_away_a_payment_begins_anew_and_opens_access(shop):
    first = bought(shop, "k1")
    old = shop.subscription()
    away(shop, 130)
    again = bought(shop, "k2")
    access = shop.engine.access("u1")
    assert access.allowed
    assert access.until > shop.clock.now() + timedelta(days=27)
    assert again.order.subscription_id != old.subscription_id
    assert again.order.member_until > shop.clock.now()
    assert again.order.period == 0
    statuses = {s.subscription_id: s.status for s in shop.engine.subscriptions("u1")}
    assert statuses == {old.subscription_id: "ended", again.order.subscription_id: "active"}
    assert shop.status(first) in ("confirmed", "final")


def test_a_few_days_late_keeps_the_calendar(shop):
    bought(shop, "k1")
    until = shop.engine.access("u1").until
    away(shop, 35)
    late = bought(shop, "k2")
    assert late.order.period == 1
    assert shop.engine.access("u1").until > until
    assert [s.status for s in shop.engine.subscriptions("u1")] == ["active"]


def test_who_lapsed_may_choose_another_plan(shop):
    make_plan(shop, "basic", product="saas", interval="month")
    bought(shop, "k1")
    with pytest.raises(ChangeNeeded):
        shop.checkout("k2", plan="basic")
    away(shop, 130)
    bought(shop, "k3", plan="basic")
    assert shop.engine.access("u1").plan_slug == "basic"


def test_arrears_that_accumulate_are_sold_one_by_one(shop):
    shop.admin.revise_plan("pro", version=1, dunning=DunningPolicy(arrears="accumulate"))
    bought(shop, "k1")
    away(shop, 130)
    assert shop.checkout("k2").order.period == 1


def test_one_token_has_one_number_of_decimals(shop):
    price = {"network": "fake", "chain_id": 31337, "token": TOKEN, "symbol": "USDC", "amount": PRICE}
    fields = {"name": "N", "product": "p", "interval": "month", "gateway_slug": "gw", "contract_slug": "co"}
    with pytest.raises(InputError) as refused:
        shop.admin.create_plan(slug="other", prices=[price | {"decimals": 18}], **fields)
    assert refused.value.field == "prices[0]"
    shop.admin.create_plan(slug="other", prices=[price | {"decimals": 6, "token": OTHER_TOKEN}], **fields)


@pytest.mark.parametrize("field", ["wallet", "beneficiary"])
def test_the_native_coins_placeholder_is_nobodys_wallet(shop, field):
    with pytest.raises(InvalidAddress) as refused:
        shop.checkout("k1", **{field: NATIVE_COIN})
    assert refused.value.field == field
    assert CONTRACT != NATIVE_COIN
    assert shop.types() == []
