"""The catalogue of events says what the code does: every type, its fields, and what each flow publishes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import pytest
from messages_bench import ADMIN, receiving

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "refunds"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "mandates"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "webhooks"))

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "subscriptions"))

from hints_bench import RELAY_KEY, SECRET, Relay
from life_bench import DAY, Life, wallet_of
from pulls_bench import USER, Pulls
from refunds_bench import Desk
from test_coin_refunds import CoinDesk
from test_engine_events import FLOWS as DRIVEN

from evmbilling.domain.messages.event_catalogue import CATALOGUE
from evmbilling.domain.messages.event_flows import FLOWS
from evmbilling.domain.messages.events import EventType
from evmbilling.engine.core import Engine
from evmbilling.errors import WebhookRejected
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.mandate_logs import revoked_log
from evmbilling.testing.merchant import simulated_merchant


def short_name(type_):
    return type_.removeprefix("billing.").removesuffix(".v1")


def refunded(_shop):
    desk = Desk(simulated_merchant(seed=1))
    desk.send(desk.ready())
    desk.settle()
    return desk.engine


def mined_again(desk, sent):
    """The chain takes back what was sent, and mines it once more."""
    desk.settle()
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    desk.shop.chain.resend(sent)
    desk.settle()
    return desk.engine


def refund_undone(_shop):
    desk = Desk(simulated_merchant(seed=1))
    desk.settle(20)
    return mined_again(desk, desk.send(desk.ready()))


def never_mined(_shop):
    desk = CoinDesk(Desk(simulated_merchant(seed=1)))
    desk.name(desk.ready(), b"\x12" * 32)
    for _ in range(12):
        desk.look(minutes=180)
    return desk.engine


def burned(_shop):
    desk = Desk(simulated_merchant(seed=1))
    desk.burn(desk.ending())
    desk.settle()
    return desk.engine


def burned_again(_shop):
    desk = Desk(simulated_merchant(seed=1))
    return mined_again(desk, desk.burn(desk.ending()))


def contradicted(_shop):
    shop = simulated_merchant(seed=1)
    shop.engine.admin(ADMIN).update_contract("checkout", shop.network, version=1, webhook_secret=SECRET)
    relay = Relay(shop, RELAY_KEY)
    relay.send(relay.body(b"1" * 32))
    for _ in range(3):
        with pytest.raises(WebhookRejected):
            relay.send(relay.body(b"2" * 32))
    return shop.engine


def stranger_pays(_shop):
    shop = simulated_merchant(seed=1)
    shop.chain.transfer(shop.token.token, wallet_of("a stranger"), shop.treasury, 5)
    shop.settle(3)
    return shop.engine


def halted(shop):
    shop.mine(30)
    shop.engine.read_chain("fake")
    shop.reorganise(25)
    return shop.engine


def resumed(shop):
    engine = halted(shop)
    (status,) = engine.reader(ADMIN).status()
    accept = "0x" + shop.chain.header(status.contested.number).hash.hex()
    engine.reader(ADMIN).resume("fake", accept=accept)
    return engine


def endpoint_tested(shop):
    with receiving() as receiver:
        engine = Engine(attrs.evolve(shop.engine._ports, webhook_exceptions=(receiver.authority,)))
        face = engine.endpoints(ADMIN)
        face.test(face.create(url=receiver.url).endpoint.endpoint_id)
    return shop.engine


def mandate_revoked(_shop):
    pulls = Pulls(simulated_merchant(seed=1))
    pulls.shop.chain.send(revoked_log(pulls.give(pulls.subscribe())))
    pulls.shop.settle(1)
    return pulls.engine


def mandate_replaced(_shop):
    pulls = Pulls(simulated_merchant(seed=1))
    subscription = pulls.subscribe()
    pulls.give(subscription)
    pulls.engine.mandates.cancel(USER, pulls.give(subscription).mandate_id)
    return pulls.engine


def renewed(*steps, plan=None, mandate=False, trial=False):
    """A flow of a subscription's life: each step is done to it."""

    def run(_shop):
        life = Life()
        slug = life.plan(**(plan or {}))
        if trial:
            life.checkout()
        else:
            life.start(plan=slug)
        if mandate:
            life.mandate()
        for step in steps:
            step(life)
        return life.engine

    return run


def to_due(days):
    return lambda life: life.until(life.renewals()[-1].due_at + days * DAY)


def near(life):
    life.until(life.held().next_charge_at - DAY)


def pay(life):
    life.pay(life.renewals()[-1])


def refuse(life):
    life.wallets.answer = lambda _: "balance"
    life.wallets.charge(life)
    life.shop.drain()


def cancel(when="period_end"):
    return lambda life: life.engine.cancel_subscription(life.held().subscription_id, when=when)


def changed(life, **how):
    return life.engine.change_subscription(life.held().subscription_id, **how)


def imported(_shop):
    life = Life()
    life.plan()
    until = life.clock.now() + 20 * DAY
    life.engine.admin(ADMIN).adopt(
        external_id="old-1", user_id="u1", plan="life", wallet=wallet_of("u1"), paid_until=until
    )
    return life.engine


def clock_jumped(shop):
    shop.clock.advance(days=400)
    ports = shop.engine._ports
    database = FrozenClock(shop.clock.now())
    database.set(shop.clock.now() - 400 * DAY)
    ports.storage._clock = database
    for _ in range(2):
        assert shop.engine.run_renewals().halted
    return shop.engine


LADDER = {
    "arrears": "accumulate",
    "steps": [
        {"name": "gone", "after_days": 20, "actions": ["cancel"]},
        {"name": "suspended", "after_days": 6, "actions": ["notify", "suspend"]},
        {"name": "late", "after_days": 2, "actions": ["notify"]},
    ],
    "reminders": [-3, 9],
}
OTHERS = {
    "a mandate is given and revoked": mandate_revoked,
    "a mandate gives way to another, which is cancelled": mandate_replaced,
    "a renewal is asked for and paid": renewed(near, pay),
    "a renewal falls due unpaid": renewed(near, to_due(1)),
    "a renewal is paid late": renewed(near, to_due(1), pay),
    "a renewal is charged": renewed(
        lambda life: life.until(life.held().next_charge_at), lambda life: life.pull(), mandate=True
    ),
    "a charge fails": renewed(lambda life: life.until(life.held().next_charge_at), refuse, mandate=True),
    "a period is forgiven": renewed(
        near, to_due(1), to_due(4), lambda life: life.go(30), plan={"dunning": {"reminders": [-3, 3]}}
    ),
    "dunned, suspended and ended": renewed(
        near, *(to_due(days) for days in (0, 3, 7, 10, 21)), plan={"dunning": LADDER}
    ),
    "cancelled at the end of the period": renewed(cancel(), lambda life: life.go(30)),
    "cancelled, and stayed": renewed(
        cancel(), lambda life: life.engine.undo_cancel(life.held().subscription_id), lambda life: life.go(1)
    ),
    "cancelled now": renewed(cancel("now")),
    "a trial ends unpaid": renewed(near, to_due(1), plan={"trial_days": 14}, trial=True),
    "the quantity is changed now, and paid": renewed(
        lambda life: life.pay(changed(life, timing="now", quantity=2).order.order)
    ),
    "changed for the next period, and paid": renewed(
        lambda life: changed(life, quantity=2), near, pay, lambda life: life.until(life.held().paid_until - 20 * DAY)
    ),
    "changed while the renewal is asked for, and withdrawn": renewed(
        near,
        lambda life: [changed(life, quantity=2), life.go(0.1)],
        lambda life: [life.engine.withdraw_change(life.held().subscription_id), life.go(0.1)],
    ),
    "paused and resumed": renewed(
        lambda life: [life.engine.pause_subscription(life.held().subscription_id), life.go(9)],
        lambda life: life.engine.resume_subscription(life.held().subscription_id),
    ),
    "imported": imported,
    "the clock jumps": clock_jumped,
    "refunded": refunded,
    "refunded, taken back and mined again": refund_undone,
    "a refund is named by a transaction that nobody mines": never_mined,
    "refunded, and the membership ends": burned,
    "refunded, the burn taken back and mined again": burned_again,
    "a stranger pays": stranger_pays,
    "a webhook contradicts itself": contradicted,
    "a network halts": halted,
    "a network is resumed": resumed,
    "an endpoint is tested": endpoint_tested,
}


def published(shop, name):
    """Run a flow and return its events in the order of their writing."""
    engine = shop.engine
    if name in OTHERS:
        engine = OTHERS[name](shop)
    else:
        DRIVEN[name][0](shop)
    events = engine.admin(ADMIN).events(limit=10_000)
    return sorted(events, key=lambda e: e.event_id)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_publishes_what_the_catalogue_says(shop, name):
    events = published(shop, name)
    assert tuple(short_name(e.type) for e in events) == FLOWS[name]
    for event in events:
        entry = CATALOGUE[event.type]
        assert set(entry.fields) <= set(event.data) <= set(entry.fields) | set(entry.sometimes)
        assert event.aggregate.partition(":")[0] == entry.aggregate.partition(":")[0]
        assert json.loads(json.dumps(event.data)) == event.data


def test_every_type_and_every_known_flow_is_in_the_catalogue():
    assert set(CATALOGUE) == set(EventType)
    assert set(FLOWS) == set(DRIVEN) | set(OTHERS)
    assert {name: list(FLOWS[name]) for name in DRIVEN} == {name: flow[1] for name, flow in DRIVEN.items()}
    assert {short_name(type_) for type_ in EventType} == {event for events in FLOWS.values() for event in events}


def test_the_reference_has_every_type(project):
    assert (project / "docs/reference/events.md").read_text(encoding="utf-8").count("### `billing.") == len(EventType)
