"""Checkout: the same key, other keys, many threads, time, quotes, lines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import attrs
import pytest
from engine_shop import OTHER_TOKEN, PRICE, START, STRANGER, TREASURY, address, make_plan

from evmbilling.domain.identity import Product
from evmbilling.domain.selling.orders import OrderLine
from evmbilling.errors import ArchivedPlan, IdempotencyConflict, InputError, InvalidAmount, NotFound
from sampling import EVERYTHING

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

THREADS = 50


def together(work, n=THREADS):
    """Run ``work(i)`` in n threads that start at the same moment; return what they returned, in order of i."""
    barrier = Barrier(n)

    def run(i):
        barrier.wait(timeout=30)
        return work(i)

    with ThreadPoolExecutor(max_workers=n) as pool:
        return list(pool.map(run, range(n)))


def test_the_same_key_answers_with_the_same_order(shop):
    first = shop.checkout()
    shop.clock.advance(seconds=90, microseconds=7)
    again = shop.checkout()
    assert (again.ledger_id, again.reference) == (first.ledger_id, first.reference)
    assert (again.payload, again.challenge, again.deadline) == (first.payload, first.challenge, first.deadline)
    assert again.payload.data == first.payload.data
    assert again.order == first.order
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.next, again.next) == ("pay", "pay")


OTHER_PARAMETERS = [
    {"plan": "team"},
    {"wallet": STRANGER},
    {"network": "fake"},
    {"asset": "USDC"},
    {"product": "saas/1"},
    {"product": "saas"},
    {"quantity": 2},
    {"beneficiary": STRANGER},
    {"zone": "UTC"},
    {"start_at": START + timedelta(days=1)},
]


@pytest.mark.parametrize("other", OTHER_PARAMETERS, ids=str)
def test_other_parameters_under_the_same_key_are_a_conflict(memory_shop, other):
    memory_shop.checkout()
    before = memory_shop.dump()
    with pytest.raises(IdempotencyConflict) as caught:
        memory_shop.checkout(**other)
    assert caught.value.field == "idempotency_key"
    assert memory_shop.dump() == before


def test_the_same_parameters_written_otherwise_are_the_same(memory_shop):
    wallet = address("wallet")
    first = memory_shop.checkout(product=Product("saas"), start_at=START + timedelta(days=2))
    again = memory_shop.checkout(
        wallet=wallet.lower(),
        product="saas",
        start_at=(START + timedelta(days=2)).astimezone(__import__("zoneinfo").ZoneInfo("Asia/Tokyo")),
    )
    assert again.ledger_id == first.ledger_id


def test_a_key_belongs_to_its_user(memory_shop):
    mine, theirs = memory_shop.checkout(user_id="u1"), memory_shop.checkout(user_id="u2")
    assert mine.ledger_id != theirs.ledger_id
    assert mine.reference != theirs.reference
    for user, other in (("u1", theirs), ("u2", mine)):
        with pytest.raises(NotFound):
            memory_shop.engine.order(other.ledger_id, user_id=user)


AFTERWARDS = {
    "deadline passed, chain not read": (lambda s, _: s.clock.advance(seconds=1801), "pending", "wait"),
    "expired": (lambda s, _: s.mine(3, seconds=1801), "expired", "checkout_again"),
    "seen on chain": (lambda s, c: s.pay(c, depth=1), "confirming", "wait"),
    "paid": (lambda s, c: s.pay(c), "confirmed", "done"),
    "final": (lambda s, c: s.pay(c, depth=20), "final", "done"),
    "superseded": (lambda s, _: s.checkout("k2"), "superseded", "checkout_again"),
    "reversed, deadline passed": (
        lambda s, c: (s.pay(c), s.reorganise(3), s.clock.advance(seconds=1801)),
        "reversed",
        "checkout_again",
    ),
}


@pytest.mark.parametrize("name", AFTERWARDS)
def test_once_it_cannot_be_paid_a_replay_says_what_is_next(memory_shop, name):
    happen, status, following = AFTERWARDS[name]
    first = memory_shop.checkout()
    happen(memory_shop, first)
    again = memory_shop.checkout()
    assert (again.status, again.next) == (status, following)
    assert (again.payload, again.challenge) == (None, None)
    assert (again.ledger_id, again.reference, again.deadline) == (first.ledger_id, first.reference, first.deadline)


def test_a_reversed_payment_makes_the_order_payable_again(memory_shop):
    first = memory_shop.checkout()
    memory_shop.pay(first)
    memory_shop.reorganise(3)
    again = memory_shop.checkout()
    assert (again.status, again.next, again.payload) == ("reversed", "pay", first.payload)
    assert memory_shop.checkout("k2").ledger_id == first.ledger_id


def test_an_offer_is_payable_to_the_last_instant_of_its_deadline(memory_shop):
    memory_shop.clock.advance(microseconds=400_000)
    first = memory_shop.checkout()
    assert first.deadline == START + timedelta(seconds=1800)
    seen = []
    for offset in (-1, 0, 1):
        memory_shop.clock.set(first.deadline + timedelta(microseconds=offset))
        seen.append(memory_shop.engine.order(first.ledger_id).next)
    assert seen == ["pay", "pay", "wait"]


@pytest.mark.both_databases
def test_fifty_threads_with_one_key_make_one_order(shop):
    answers = together(lambda _: shop.checkout("same"))
    assert len({a.ledger_id for a in answers}) == 1
    assert len({a.payload for a in answers}) == 1
    assert sum(not a.replayed for a in answers) == 1
    dump = shop.dump()
    assert (len(dump["orders"]), len(dump["subscriptions"]), len(dump["customers"])) == (1, 1, 1)
    assert shop.types() == ["order.opened"]


@pytest.mark.both_databases
@pytest.mark.fault("B10")
def test_b10_many_threads_with_a_key_each_leave_one_open_order(shop):
    threads = THREADS if EVERYTHING else 12
    answers = together(lambda i: shop.checkout(f"key-{i}"), threads)
    assert len({a.ledger_id for a in answers}) == threads
    orders = shop.engine.orders("u1", limit=1000)
    assert sorted(o.status for o in orders) == ["pending"] + ["superseded"] * (threads - 1)
    assert len(shop.engine.subscriptions("u1")) == 1
    assert {o.subscription_id for o in orders} == {shop.subscription().subscription_id}
    assert sorted(shop.types()) == ["order.opened"] * threads + ["order.superseded"] * (threads - 1)


def test_fifty_customers_at_once_do_not_disturb_each_other(shop):
    answers = together(lambda i: shop.checkout(user_id=f"user-{i}"))
    assert len({a.reference for a in answers}) == THREADS
    assert all(a.next == "pay" and not a.replayed for a in answers)


@pytest.mark.fault("B08")
def test_b08_an_open_quote_keeps_its_price_and_plan_version(memory_shop):
    asked = memory_shop.checkout()
    plan = memory_shop.admin.plans()[1]
    assert plan.slug == "pro"
    dearer = [attrs.evolve(p, amount=p.amount * 2) for p in plan.prices]
    memory_shop.admin.revise_plan("pro", version=1, prices=dearer)
    again = memory_shop.checkout()
    assert (again.amount, again.order.plan_version, again.payload) == (PRICE, 1, asked.payload)
    memory_shop.pay(asked)
    assert memory_shop.status(asked) == "confirmed"
    assert memory_shop.checkout("k2").amount == PRICE  # a running subscription keeps its version
    assert memory_shop.checkout(user_id="u2").amount == 2 * PRICE


@pytest.mark.fault("B08")
def test_b08_a_new_version_takes_the_place_of_an_unpaid_subscription(memory_shop):
    old = memory_shop.checkout()
    plan = memory_shop.admin.plans()[1]
    memory_shop.admin.revise_plan("pro", version=1, prices=[attrs.evolve(p, amount=7) for p in plan.prices])
    new = memory_shop.checkout("k2")
    assert (new.amount, new.order.plan_version, memory_shop.status(old)) == (7, 2, "superseded")
    memory_shop.pay(old)
    assert memory_shop.placed(old) == [("credit", "subscription_ended", "credited")]
    assert not memory_shop.allowed()


@pytest.mark.fault("B13")
def test_b13_a_price_is_held_for_the_gateways_short_time_only(any_shop):
    shop = any_shop(order_ttl=30)
    asked = shop.checkout()
    assert asked.deadline - START == timedelta(seconds=30)
    quote = shop.engine.quote(plan="pro", user_id="u1", wallet=STRANGER)
    assert quote.valid_for == 30
    shop.chain.mine(2)
    shop.pay(asked)  # in a block 36 seconds later
    assert shop.placed(asked) == [("credit", "late", "credited")]
    assert (shop.status(asked), shop.allowed()) == ("expired", False)


@pytest.mark.parametrize("ttl", [0, 29, -1, 7 * 86_400 + 1, 60.0, True, "60", None])
@pytest.mark.fault("B13")
def test_b13_an_odd_time_to_pay_is_refused(memory_shop, ttl):
    with pytest.raises(InputError) as caught:
        memory_shop.admin.update_gateway("gw", version=1, order_ttl=ttl)
    assert caught.value.field == "order_ttl"


def test_a_quote_says_what_a_checkout_would_and_writes_nothing(memory_shop):
    before = memory_shop.dump()
    quote = memory_shop.engine.quote(plan="pro", user_id="new", wallet=STRANGER, quantity=3)
    assert memory_shop.dump() == before
    asked = memory_shop.checkout(user_id="new", wallet=STRANGER, quantity=3)
    assert (quote.amount, quote.lines, quote.asset) == (asked.amount, asked.lines, asked.asset)
    assert (quote.network, quote.plan_version) == (asked.order.network, asked.order.plan_version)


def test_quantity_multiplies_amount_and_limits(memory_shop):
    asked = memory_shop.checkout(quantity=3)
    assert asked.amount == 3 * PRICE
    assert [(line.kind, line.amount) for line in asked.lines] == [("plan", PRICE), ("quantity", 2 * PRICE)]
    memory_shop.pay(asked)
    assert dict(memory_shop.engine.access("u1").limits) == {"seats": 15}


def test_the_host_adds_tax_and_discount_lines(make_shop):
    seen = []

    def lines(plan, user_id, quantity, so_far):
        seen.append((plan.slug, user_id, quantity, [line.kind for line in so_far]))
        return [OrderLine(kind="tax", text="VAT 20 %", amount=4_000), OrderLine(kind="discount", text="hi", amount=-1)]

    shop = make_shop(extra_lines=lines)
    asked = shop.checkout(quantity=2)
    assert seen == [("pro", "u1", 2, ["plan", "quantity"])]
    assert [line.kind for line in asked.lines] == ["plan", "quantity", "tax", "discount"]
    assert asked.amount == sum(line.amount for line in asked.lines) == 2 * PRICE + 3_999
    shop.pay(asked)
    assert shop.status(asked) == "confirmed"


BAD_LINES = {
    "another kind": [OrderLine(kind="plan", text="x", amount=1)],
    "credit": [OrderLine(kind="credit", text="x", amount=-1)],
    "float": [OrderLine(kind="tax", text="x", amount=1.5)],
    "bool": [OrderLine(kind="tax", text="x", amount=True)],
    "to nothing": [OrderLine(kind="discount", text="x", amount=-PRICE)],
    "below nothing": [OrderLine(kind="discount", text="x", amount=-PRICE - 1)],
    "too much": [OrderLine(kind="tax", text="x", amount=2**256)],
    "no text": [OrderLine(kind="tax", text=None, amount=1)],
    "control characters": [OrderLine(kind="tax", text="a\nb", amount=1)],
    "no lines": [5],
    "nothing": None,
    "a text": "abc",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_lines_of_a_host_are_refused(make_shop, name):
    shop = make_shop(extra_lines=lambda *_: BAD_LINES[name])
    before = shop.dump()
    with pytest.raises((InputError, InvalidAmount)) as caught:
        shop.checkout()
    assert caught.value.field == "lines"
    assert shop.dump() == before


def test_an_error_of_the_hosts_own_lines_passes_and_writes_nothing(make_shop):
    def lines(*_):
        raise ZeroDivisionError

    shop = make_shop(extra_lines=lines)
    before = shop.dump()
    with pytest.raises(ZeroDivisionError):
        shop.checkout()
    assert shop.dump() == before


def test_a_plan_without_interval_is_sold_once_without_subscription(shop):
    asked = shop.checkout(plan="once")
    assert (asked.order.subscription_id, asked.order.period, asked.order.member_until) == (None, None, None)
    shop.pay(asked)
    verdict = shop.engine.access("u1", "book")
    assert (verdict.allowed, verdict.until, verdict.subscription_id) == (True, None, None)
    assert shop.engine.subscriptions("u1") == []
    shop.reorganise(3)
    assert (shop.status(asked), shop.allowed()) == ("reversed", False)


def test_a_plan_without_interval_can_be_bought_twice(memory_shop):
    first, second = memory_shop.checkout("a", plan="once"), memory_shop.checkout("b", plan="once")
    assert (memory_shop.status(first), memory_shop.status(second)) == ("pending", "pending")
    memory_shop.pay(first)
    memory_shop.pay(second)
    assert [memory_shop.status(c) for c in (first, second)] == ["confirmed", "confirmed"]


def test_a_block_time_ahead_of_our_clock_opens_a_purchase_at_once(memory_shop):
    asked = memory_shop.checkout(plan="once")
    memory_shop.chain.pay(asked.order)
    memory_shop.chain.mine(3, seconds=600)
    memory_shop.settle()
    assert memory_shop.clock.now() == START
    assert memory_shop.allowed(product="book")


def test_a_deferred_start_opens_access_when_it_comes(memory_shop):
    start = START + timedelta(days=5)
    asked = memory_shop.checkout(start_at=start)
    assert memory_shop.subscription().status == "scheduled"
    memory_shop.pay(asked)
    for offset, allowed in ((-1, False), (0, True)):
        memory_shop.clock.set(start + timedelta(microseconds=offset))
        assert memory_shop.allowed() is allowed
    assert memory_shop.subscription().anchor == start
    with pytest.raises(InputError) as caught:
        memory_shop.checkout("k2", start_at=start + timedelta(days=1))
    assert caught.value.field == "start_at"


def test_a_trial_gives_access_before_anything_is_paid(memory_shop):
    asked = memory_shop.checkout(plan="trial")
    end = START + timedelta(days=7)
    verdict = memory_shop.engine.access("u1")
    assert (verdict.allowed, verdict.reason, verdict.until) == (True, "trial", end)
    assert memory_shop.plan_changes() == [(None, "trial", "change")]
    memory_shop.pay(asked)
    assert memory_shop.subscription().anchor == end
    memory_shop.clock.set(end)
    assert memory_shop.engine.access("u1").reason == "paid"
    memory_shop.reorganise(3)
    assert memory_shop.engine.access("u1").reason == "expired"
    assert memory_shop.plan_changes()[-1] == ("trial", None, "reversal")


def test_instances_of_a_product_are_held_apart(memory_shop):
    one = memory_shop.checkout("a", plan="site", product="site/1")
    two = memory_shop.checkout("b", plan="site", product="site/2")
    assert (memory_shop.status(one), memory_shop.status(two)) == ("pending", "pending")
    memory_shop.pay(one)
    seen = {p: memory_shop.allowed(product=p) for p in ("site/1", "site/2", "site", None)}
    assert seen == {"site/1": True, "site/2": False, "site": False, None: True}


def test_an_archived_plan_is_not_sold_but_a_running_subscription_goes_on(shop):
    asked = shop.checkout()
    shop.pay(asked)
    shop.admin.archive_plan("pro")
    assert [p.slug for p in shop.engine.plans() if p.slug == "pro"] == []
    with pytest.raises(ArchivedPlan) as caught:
        shop.checkout(user_id="u2")
    assert caught.value.field == "plan"
    following = shop.checkout("k2")
    assert following.order.period == 1
    shop.pay(following)
    assert shop.subscription().paid_periods == 2


@pytest.mark.fault("B09")
def test_b09_archiving_a_plan_keeps_its_versions_access_and_payments_in_flight(memory_shop):
    paid, unpaid = memory_shop.checkout(), memory_shop.checkout(user_id="u2")
    memory_shop.pay(paid)
    memory_shop.admin.revise_plan("pro", version=1, name="Pro 2")
    memory_shop.admin.archive_plan("pro")
    assert memory_shop.allowed()
    assert not hasattr(memory_shop.admin, "delete_plan")
    memory_shop.pay(unpaid)
    assert (memory_shop.status(unpaid), memory_shop.allowed("u2")) == ("confirmed", True)
    with memory_shop.storage.unit(write=False) as unit:
        assert [unit.plan("pro", v).archived_at is not None for v in (1, 2)] == [True, True]


def test_the_first_price_that_fits_is_taken(memory_shop):
    prices = [
        {"network": "fake", "chain_id": 31337, "token": token, "decimals": 6, "symbol": symbol, "amount": amount}
        for token, symbol, amount in ((OTHER_TOKEN, "DAI", 5), (TREASURY, "USDT", 6))
    ]
    make_plan(memory_shop, "two", product="two", interval="month", prices=prices)
    asked = {
        name: memory_shop.checkout(name, plan="two", user_id=name, asset=asset).amount
        for name, asset in (("any", None), ("symbol", "USDT"), ("token", TREASURY.lower()))
    }
    assert asked == {"any": 5, "symbol": 6, "token": 6}
