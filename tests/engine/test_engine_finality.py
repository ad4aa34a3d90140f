"""Depths, tags, and what may be called over."""

from __future__ import annotations

import pytest
from engine_shop import START

from evmbilling.errors import InputError, StorageError
from evmbilling.testing.fake_chain import FakeChain

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def steps(shop, order, n, **how):
    """Return the order's status after each of the next n blocks."""
    seen = []
    for _ in range(n):
        shop.mine(**how)
        seen.append(shop.status(order))
    return seen


def shop_with(make_shop, *, safe_lag=None, finalized_lag=None, **policies):
    chain = FakeChain(31337, start=START, safe_lag=safe_lag, finalized_lag=finalized_lag)
    return make_shop(chains=[chain], **policies)


@pytest.mark.parametrize(
    ("tags", "credit", "final", "expected"),
    [
        # tags present: they decide, whatever the fallback depth says
        ({"safe_lag": 2}, "safe", "depth 6", "confirming confirming confirmed confirmed confirmed final"),
        ({"safe_lag": 4}, "safe 2", "depth 6", "confirming confirming confirming confirming confirmed final"),
        ({"finalized_lag": 1}, "finalized", "finalized", "confirming final final final final final"),
        ({"safe_lag": 1, "finalized_lag": 3}, "safe", "finalized", "confirming confirmed confirmed final final final"),
        ({"finalized_lag": 4}, "depth 2", "finalized", "confirming confirmed confirmed confirmed final final"),
        # tags absent: the fallback depth where there is one, else never
        ({}, "safe 2", "finalized 4", "confirming confirmed confirmed final final final"),
        ({}, "safe", "depth 6", "confirming confirming confirming confirming confirming final"),
        ({}, "depth 2", "finalized", "confirming confirmed confirmed confirmed confirmed confirmed"),
        ({}, "finalized", "finalized", "confirming confirming confirming confirming confirming confirming"),
    ],
    ids=str,
)
def test_when_money_counts(make_shop, tags, credit, final, expected):
    shop = shop_with(make_shop, **tags, credit_after=credit, irreversible_after=final)
    shop.chain.mine(6)
    order = shop.checkout()
    shop.chain.pay(order.order)
    assert steps(shop, order, 6) == expected.split()


@pytest.mark.fault("C07")
def test_c07_a_tag_that_stands_still_only_holds(make_shop):
    shop = shop_with(make_shop, finalized_lag=2, credit_after="finalized", irreversible_after="finalized")
    shop.mine(3)
    order = shop.checkout()
    shop.chain.pay(order.order)
    shop.chain.hold_tags(finalized=1)
    assert steps(shop, order, 40) == ["confirming"] * 40
    assert shop.types() == ["order.opened", "payment.seen"]
    shop.chain.hold_tags()
    assert steps(shop, order, 1) == ["final"]


def test_a_tag_that_steps_back_takes_nothing_back(make_shop):
    shop = shop_with(make_shop, safe_lag=0, credit_after="safe", irreversible_after="depth 50")
    order = shop.checkout()
    shop.chain.pay(order.order)
    assert steps(shop, order, 2) == ["confirmed", "confirmed"]
    shop.chain.hold_tags(safe=0)
    assert steps(shop, order, 3) == ["confirmed"] * 3
    assert shop.admin.cursors()[0].heights.safe == 2


@pytest.mark.fault("C21")
def test_c21_the_unsafe_part_of_an_l2_gives_no_access(make_shop):
    shop = shop_with(make_shop, safe_lag=5, credit_after="safe", irreversible_after="depth 50")
    shop.mine(6)
    order = shop.checkout()
    shop.pay(order, depth=5)
    shop.reorganise(5)
    assert (shop.status(order), shop.allowed()) == ("pending", False)
    assert shop.types() == ["order.opened", "payment.seen"]


def test_a_tag_that_appears_later_takes_over(make_shop):
    shop = shop_with(make_shop, credit_after="safe 50", irreversible_after="depth 90")
    order = shop.checkout()
    shop.chain.pay(order.order)
    assert steps(shop, order, 3) == ["confirming"] * 3
    shop.chain._lags["safe"] = 1
    assert steps(shop, order, 60)[-1] == "confirmed"


def test_the_gateways_own_depth_goes_before_the_networks(make_shop):
    shop = make_shop(credit_after="depth 6", irreversible_after="depth 8")
    shop.admin.update_gateway("gw", version=1, credit_after="depth 2")
    order = shop.checkout()
    shop.chain.pay(order.order)
    assert steps(shop, order, 8) == ["confirming"] + ["confirmed"] * 6 + ["final"]


@pytest.mark.parametrize(
    ("credit", "final"),
    [
        ("depth 9", "depth 4"),
        ("finalized", "depth 100"),
        ("depth 100", "finalized 96"),
        ("safe", "safe 3"),
        ("finalized", "safe"),
        ("depth 3", "safe"),
    ],
)
def test_nothing_is_irreversible_before_it_counts(make_shop, credit, final):
    shop = make_shop()
    fields = {"name": "n2", "chain_id": 5, "rpc_urls": ["http://x"]}
    fields |= {"credit_after": credit, "irreversible_after": final}
    if credit == "safe":
        shop.admin.create_network(**fields)
        return
    with pytest.raises(InputError) as refused:
        shop.admin.create_network(**fields)
    assert refused.value.field == "credit_after"
    with pytest.raises(InputError):
        shop.admin.update_network("fake", version=1, credit_after=credit, irreversible_after=final)
    assert shop.admin.networks()[0].version == 1


def test_a_gateway_cannot_wait_longer_than_its_network_doubts(make_shop):
    shop = make_shop(credit_after="depth 2", irreversible_after="depth 8")
    with pytest.raises(InputError) as refused:
        shop.admin.update_gateway("gw", version=1, credit_after="depth 9")
    assert refused.value.field == "credit_after"
    shop.admin.update_gateway("gw", version=1, credit_after="depth 8")


class TestExpiry:
    def test_an_offer_expires_behind_the_watermark_only(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.mine()
        memory_shop.clock.advance(days=3)
        memory_shop.settle()
        assert memory_shop.status(order) == "pending"
        seen = []
        for offset in (0, 1):
            memory_shop.mine(timestamp=order.deadline.replace(second=offset))
            seen.append(memory_shop.status(order))
        assert seen == ["pending", "expired"]

    def test_a_chain_that_cannot_be_read_expires_nothing(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.mine()
        memory_shop.chain.mine(seconds=10_000)
        memory_shop.catch_up()
        assert memory_shop.engine.expire_orders().expired == 0
        assert (memory_shop.status(order), memory_shop.engine.order(order.ledger_id).next) == ("pending", "wait")

    def test_not_while_evidence_waits(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.chain.pay(order.order)
        memory_shop.chain.mine()
        memory_shop.chain.mine(seconds=10_000)
        memory_shop.engine.read_chain("fake")
        assert memory_shop.engine.expire_orders() == type(memory_shop.engine.expire_orders())(expired=0, waiting=1)
        memory_shop.mine(3)
        assert memory_shop.status(order) == "confirmed"

    @pytest.mark.parametrize("parked", [1, 101])
    def test_not_while_the_evidence_for_it_is_parked(self, memory_shop, parked):
        orders = [memory_shop.checkout(f"k{i}", plan="once", user_id=f"u{i}") for i in range(parked)]
        other = memory_shop.checkout("other")
        for order in orders:
            memory_shop.chain.pay(order.order)

        def fail(name, args, proceed):
            if name == "apply" and any(type(d).__name__ == "StoreReceipt" for d in args[0]):
                raise StorageError("no")
            return proceed()

        memory_shop.storage.hook = fail
        memory_shop.mine(1)
        memory_shop.mine(1, seconds=10_000)
        memory_shop.storage.hook = None
        assert len(memory_shop.dump()["parked"]) == parked
        assert {memory_shop.status(o) for o in orders} == {"pending"}
        assert memory_shop.status(other) == "expired"
        memory_shop.clock.advance(days=1)
        memory_shop.mine(3)
        assert {memory_shop.status(o) for o in orders} == {"confirmed"}

    def test_a_confirming_order_does_not_expire(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.pay(order, depth=1)
        memory_shop.mine(seconds=10_000)
        assert memory_shop.status(order) == "confirming"

    def test_a_part_payment_expires_and_its_money_is_still_there(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.pay(order, amount=5)
        memory_shop.mine(2, seconds=10_000)
        assert memory_shop.status(order) == "expired"
        assert memory_shop.placed(order) == [("order", None, "credited")]

    def test_each_network_has_its_own_time(self, make_shop):
        chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
        shop = make_shop(chains=chains)
        one, two = shop.checkout("a", user_id="one"), shop.checkout("b", user_id="two", network="fake2")
        chains[1].mine(seconds=10_000)
        shop.catch_up()
        shop.settle()
        shop.mine(chain=chains[1])
        assert (shop.status(one), shop.status(two)) == ("pending", "expired")

    def test_many_offers_are_closed_batch_by_batch(self, memory_shop):
        for i in range(25):
            memory_shop.checkout(f"k{i}", user_id=f"u{i % 5}", plan="once")
        memory_shop.chain.mine(seconds=10_000)
        memory_shop.chain.mine()
        memory_shop.engine.read_chain("fake")
        counts = []
        while memory_shop.engine.expire_orders(limit=10).expired:
            counts.append(sum(o["status"] == "expired" for o in memory_shop.dump()["orders"]))
        assert counts == [10, 20, 25]
        assert [memory_shop.types(f"customer:u{i}").count("order.expired") for i in range(5)] == [5] * 5

    def test_offers_that_must_wait_do_not_hold_the_others(self, memory_shop):
        orders = [memory_shop.checkout(f"k{i}", user_id=f"u{i}", plan="once") for i in range(12)]
        memory_shop.chain.mine(2, seconds=10_000)
        memory_shop.engine.read_chain("fake")
        held = {f"u{i}" for i in range(10)}

        def hold(name, args, proceed):
            found = proceed()
            return {k: v for k, v in found.items() if k not in held} if name == "lock_customers" else found

        memory_shop.storage.hook = hold
        for _ in range(5):
            memory_shop.engine.expire_orders(limit=5)
        assert [memory_shop.status(o) for o in orders] == ["pending"] * 10 + ["expired"] * 2
