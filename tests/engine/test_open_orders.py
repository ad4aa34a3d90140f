"""How many unpaid orders a customer may have: withdrawn ones count while their signature holds, paid ones do not."""

from __future__ import annotations

import threading

import attrs
import pytest

from evmbilling import BillingEngine, BillingSettings
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.errors import ConfigurationError, InputError, TooManyOpenOrders
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import simulated_merchant

LIMIT = 3


@pytest.fixture
def shop():
    made = simulated_merchant(seed=21)
    made.engine._ports = attrs.evolve(made.engine._ports, open_orders=LIMIT)
    return made


def ask(shop, key, user="user-1"):
    return shop.checkout(user, plan=shop.pack, idempotency_key=key)


def fill(shop, user="user-1"):
    return [ask(shop, f"key-{number}", user) for number in range(LIMIT)]


@pytest.mark.fault("H22")
def test_h22_one_more_is_refused_and_nothing_is_written(shop):
    held = fill(shop)
    with pytest.raises(TooManyOpenOrders) as refused:
        ask(shop, "one-more")
    assert refused.value.details == {"limit": LIMIT, "next_at": min(o.deadline for o in held).isoformat()}
    assert len(shop.engine.orders("user-1")) == LIMIT
    assert ask(shop, "key-0").ledger_id == held[0].ledger_id
    fill(shop, "user-2")


@pytest.mark.fault("H22")
def test_h22_asking_anew_is_no_way_around(shop):
    """What is withdrawn can still be paid, so it counts until its deadline."""
    first = ask(shop, "key-0")
    for number in range(1, LIMIT):
        first = shop.engine.requote(first.ledger_id, idempotency_key=f"again-{number}")
    with pytest.raises(TooManyOpenOrders):
        shop.engine.requote(first.ledger_id, idempotency_key="once-more")
    assert shop.engine.order(first.ledger_id).next == "pay"


def test_what_is_paid_or_has_run_out_makes_room(shop):
    held = fill(shop)
    shop.chain.pay(held[0].order)
    shop.settle()
    ask(shop, "after-payment")
    shop.clock.set(min(offer.deadline for offer in held))
    with pytest.raises(TooManyOpenOrders):
        ask(shop, "last-second")
    shop.clock.advance(seconds=1)
    ask(shop, "after-deadline")


@pytest.mark.fault("H22")
def test_h22_parallel_callers_do_not_get_more(shop):
    barrier, refused = threading.Barrier(12), []

    def work(number: int) -> None:
        barrier.wait()
        try:
            ask(shop, f"key-{number}")
        except TooManyOpenOrders:
            refused.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shop.engine.orders("user-1")) == LIMIT
    assert len(refused) == 12 - LIMIT


@pytest.mark.parametrize("value", [0, -1, True, "3", 10_001, 2.0])
def test_limits_that_are_none(value):
    with pytest.raises(InputError) as refused:
        BillingEngine(storage=MemoryStorage(FrozenClock()), open_orders=value)
    assert refused.value.field == "open_orders"


def test_the_setting_has_a_limit_unless_it_is_told_otherwise():
    assert BillingSettings().open_orders == 50
    with pytest.raises(ConfigurationError, match="BILLING_OPEN_ORDERS"):
        BillingSettings(open_orders=0)
