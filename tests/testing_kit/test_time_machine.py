"""The time machine: one clock drives everything, and the chains go with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from evmbilling import BillingEngine
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.errors import InputError
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.drain import NotSettled
from evmbilling.testing.merchant import ADMIN, anvil_merchant, repeatable_secrets, simulated_merchant
from evmbilling.testing.time_machine import TimeMachine
from evmbilling.testing.wallet import Wallet

DAY = timedelta(days=1)


def test_a_leap_moves_clock_and_chain_and_does_what_is_due():
    shop = simulated_merchant()
    shop.buy()
    start = shop.clock.now()
    done = shop.advance(days=40)
    assert shop.clock.now() == start + 40 * DAY
    assert abs(shop.chain.head.timestamp - shop.clock.now()) < timedelta(seconds=1)
    assert (done.looked > 0, done.renewed > 0) == (True, True)
    assert shop.engine.subscriptions("user-1")[0].status == "past_due"
    assert shop.drain().rounds == 0


def test_steps_on_the_way_are_looks():
    leap, walk = simulated_merchant(), simulated_merchant()
    for shop, every in ((leap, None), (walk, 5 * DAY)):
        shop.buy()
        shop.advance(days=31, every=every)
    kinds = [[e.type for e in shop.engine.admin(ADMIN).events(limit=100)] for shop in (leap, walk)]
    assert len(kinds[0]) < len(kinds[1])  # who looks on the way reminds in time
    assert leap.clock.now() == walk.clock.now()


def test_what_is_pending_is_mined_on_the_way():
    shop = simulated_merchant()
    offer = shop.checkout()
    shop.chain.pay(offer.order)
    shop.advance(minutes=1)
    assert shop.engine.order(offer.ledger_id).status == "confirming"
    shop.advance(minutes=1, every=timedelta(seconds=15))
    assert shop.engine.order(offer.ledger_id).status == "confirmed"


def test_revenue_and_messages_settle_when_they_are_asked_for():
    shop = simulated_merchant()
    shop.buy()
    assert shop.advance(days=20).released == 0
    shop.advance(days=20, release=True, dispatch=True)
    again = shop.drain()
    assert (again.released, again.delivered) == (0, 0)
    with shop.engine._ports.storage.unit(write=False) as unit:
        assert any(entry.kind == "released" for entry in unit.ledger_entries(limit=100))


@pytest.mark.parametrize("how", [{}, {"by": DAY, "days": 1}, {"days": -1}, {"days": 1, "every": timedelta()}], ids=repr)
def test_time_goes_forward_by_one_thing(how):
    with pytest.raises(InputError) as refused:
        simulated_merchant().advance(**how)
    assert refused.value.field == "by"


def test_a_machine_whose_clocks_contradict_each_other_does_not_settle():
    clock = FrozenClock()
    engine = BillingEngine(storage=MemoryStorage(FrozenClock()), clock=clock, secrets=repeatable_secrets())
    clock.advance(days=2)
    with pytest.raises(NotSettled) as stuck:
        TimeMachine(engine, clock, []).advance(days=1)
    assert stuck.value.details["reason"] == "clock_ahead"


def test_anvil_goes_with_the_clock(anvil):
    clock = FrozenClock(datetime.fromtimestamp(int(anvil.block()["timestamp"], 16), UTC))
    engine = BillingEngine(storage=MemoryStorage(clock), clock=clock, secrets=repeatable_secrets())
    shop = anvil_merchant(engine, anvil)
    machine = TimeMachine(engine, clock, [anvil])
    machine.advance(minutes=1)
    wallet = Wallet(anvil.accounts[0].key, anvil.url)
    offer = shop.checkout("u1", wallet=wallet.address, asset="ETH")
    wallet.send(offer.payload)
    for _ in range(4):
        machine.advance(seconds=12)
    held = engine.subscriptions("u1")[0]
    assert held.status == "active"
    machine.move_to(held.next_charge_at)
    machine.advance(days=1)
    assert engine.subscriptions("u1")[0].status == "past_due"
    assert int(anvil.block()["timestamp"], 16) == int(clock.now().timestamp())
    engine.close()
