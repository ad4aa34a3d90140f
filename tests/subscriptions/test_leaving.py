"""Leaving, staying, moving: what a customer decides, whatever races with it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from life_bench import DAY, LADDER, START, wallet_of

from evmbilling.domain.actors import SYSTEM
from evmbilling.errors import Conflict, IllegalTransition, InputError, NotFound
from sampling import EVERYTHING

FIRST = ["order.opened", "payment.seen", "payment.confirmed", "subscription.moved", "plan.changed"]


def cancel(life, **how):
    return life.engine.cancel_subscription(life.held().subscription_id, **how)


class TestAtThePeriodsEnd:
    def test_it_runs_to_the_end_of_what_is_paid_and_is_over_then(self, life):
        life.start()
        until = life.held().paid_until
        seen = cancel(life, user_id="u1", reason="too_dear")
        assert (seen.subscription.status, seen.ends_at, seen.debts) == ("active", until, ())
        assert (seen.period.index, seen.period.end) == (0, until)
        life.until(until - DAY)
        assert (life.renewals(), life.engine.access("u1").allowed) == ([], True)
        life.until(until)
        view = life.engine.subscription(life.held().subscription_id)
        assert (view.subscription.status, view.period, view.ends_at) == ("ended", None, until)
        assert life.engine.access("u1").reason == "ended"
        assert life.types() == [
            *FIRST,
            *("subscription.cancel_scheduled", "subscription.moved", "subscription.ended", "plan.changed"),
        ]
        assert life.told("subscription.ended")[0]["reason"] == "period_end"
        assert life.told("plan.changed")[-1]["cause"] == "end"
        assert life.differences() == []

    def test_the_same_again_changes_nothing(self, memory_life):
        life = memory_life
        life.start()
        cancel(life)
        before = life.held(), life.types()
        cancel(life)
        assert (life.held(), life.types()) == before
        audit = life.engine.admin(SYSTEM).audit(object_=f"subscription:{life.held().subscription_id}")
        assert [(a.action, a.actor) for a in audit] == [("subscription.cancel", "u1")]

    def test_undone_it_is_renewed_by_the_order_that_was_withdrawn(self, life):
        life.start()
        due = life.held().next_charge_at
        life.until(due - 2 * DAY)
        (asked,) = life.renewals()
        cancel(life)
        assert life.renewals()[0].status == "cancelled"
        life.engine.undo_cancel(life.held().subscription_id, user_id="u1")
        life.go(1)
        (again,) = life.renewals()
        assert (again.ledger_id, again.status) == (asked.ledger_id, "pending")
        life.pay(again)
        assert (life.held().status, life.held().paid_periods) == ("active", 2)
        assert life.types()[5:] == [
            *("order.opened", "payment.due", "subscription.cancel_scheduled", "subscription.cancel_undone"),
            *("payment.seen", "payment.confirmed"),
        ]

    def test_money_for_what_was_withdrawn_prolongs_it_once(self, memory_life):
        life = memory_life
        life.start()
        life.until(life.held().next_charge_at - 2 * DAY)
        cancel(life)
        life.pay(life.renewals()[0])
        held = life.held()
        assert (held.status, held.paid_periods, held.cancel_at_period_end) == ("active", 2, True)
        life.until(held.paid_until)
        assert life.held().status == "ended"

    def test_not_while_a_payment_is_being_confirmed(self, memory_life):
        life = memory_life
        life.start()
        due = life.held().next_charge_at
        life.until(due - DAY)
        cancel(life)
        life.chain.pay(life.renewals()[0])
        life.chain.mine(timestamp=due + DAY)
        life.clock.set(due + DAY)
        life.shop.drain()
        assert life.held().status == "active"
        life.shop.settle(3)
        assert (life.held().status, life.held().paid_periods) == ("active", 2)

    def test_a_trial_is_over_at_its_end(self, memory_life):
        life = memory_life
        life.plan(trial_days=14)
        life.checkout()
        seen = cancel(life)
        assert seen.ends_at == START + 14 * DAY
        life.go(15)
        assert (life.held().status, life.engine.access("u1").allowed) == ("ended", False)

    def test_who_owes_something_leaves_at_once_and_owes_nothing(self, memory_life):
        life = memory_life
        life.start(plan=life.plan(dunning={"steps": LADDER}))
        life.go(40)
        seen = cancel(life)
        assert (seen.subscription.status, seen.debts, seen.subscription.debt) == ("ended", (), 0)
        assert [o.claim for o in life.renewals()] == ["forgiven"]
        assert life.differences() == []


class TestNow:
    def test_it_is_over_and_open_offers_are_withdrawn(self, life):
        life.start()
        life.until(life.held().next_charge_at - DAY)
        seen = cancel(life, when="now", by="support-1")
        assert (seen.subscription.status, seen.ends_at) == ("ended", life.clock.now())
        assert life.renewals()[0].status == "cancelled"
        assert not life.engine.access("u1").allowed
        life.go(40, release=True)
        assert len(life.renewals()) == 1
        assert life.differences() == []
        assert life.types()[-3:] == ["subscription.moved", "subscription.ended", "plan.changed"]

    def test_what_was_never_paid_is_given_up(self, memory_life):
        life = memory_life
        life.plan()
        offer = life.checkout()
        seen = cancel(life, when="now")
        assert seen.subscription.status == "incomplete_expired"
        assert life.engine.order(offer.ledger_id).status == "superseded"
        life.pay(offer.order)
        assert life.held().status == "incomplete_expired"
        assert [r.allocation for r in life.engine.receipts(offer.ledger_id)] == ["credit"]

    def test_not_while_its_first_payment_is_being_confirmed(self, memory_life):
        life = memory_life
        life.plan()
        life.chain.pay(life.checkout().order)
        life.chain.mine(1)
        life.shop.drain()
        with pytest.raises(Conflict):
            cancel(life, when="now")

    def test_another_one_may_begin_afterwards(self, memory_life):
        life = memory_life
        first = life.start()
        cancel(life, when="now")
        assert life.start(plan="life").subscription_id != first.subscription_id
        assert [s.status for s in life.engine.subscriptions("u1")] == ["ended", "active"]


@pytest.mark.fault("B07")
@pytest.mark.parametrize("first", ["cancel", "payment"])
def test_b07_whichever_comes_first_the_other_finds_it(memory_life, first):
    life = memory_life
    life.start()
    life.until(life.held().next_charge_at - DAY)
    (asked,) = life.renewals()
    life.chain.pay(asked)
    life.chain.mine(3)
    life.clock.set(life.chain.head.timestamp)
    life.engine.read_chain(life.shop.network)
    if first == "cancel":
        cancel(life, when="now")
        life.engine.run_intake()
    else:
        life.engine.run_intake()
        cancel(life, when="now")
    assert life.held().status == "ended"
    (receipt,) = life.engine.receipts(asked.ledger_id)
    assert (receipt.allocation, life.held().paid_periods) == (("credit", 1) if first == "cancel" else ("order", 2))
    assert life.differences() == []


@pytest.mark.fault("B07")
def test_b07_a_cancel_that_races_with_the_payment_is_one_of_the_two(open_life):
    life = open_life("postgres")
    plan = life.plan()
    users = [f"u{n}" for n in range(8 if EVERYTHING else 4)]
    for user in users:
        life.shop.buy(user, plan=plan)
    life.until(life.held("u0").next_charge_at - DAY)
    for user in users:
        life.chain.pay(life.renewals(user)[0])
    life.chain.mine(3)
    life.clock.set(life.chain.head.timestamp)
    life.engine.read_chain(life.shop.network)
    start = threading.Barrier(2)

    def leave():
        start.wait()
        for user in users:
            life.engine.cancel_subscription(life.held(user).subscription_id, when="now")

    def take_in():
        start.wait()
        for _ in range(100):
            report = life.engine.run_intake(limit=1)
            if not report.taken + report.left:
                return

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(leave), pool.submit(take_in)]:
            done.result()
    life.engine.run_intake()
    for user in users:
        held, (asked,) = life.held(user), life.renewals(user)
        (receipt,) = life.engine.receipts(asked.ledger_id)
        assert (held.status, receipt.allocation, held.paid_periods) in {("ended", "credit", 1), ("ended", "order", 2)}
    assert life.differences() == []


class TestZones:
    def test_a_zone_holds_from_the_first_boundary_that_is_not_asked_for(self, memory_life):
        life = memory_life
        life.start()
        name = life.held().subscription_id
        life.until(life.held().next_charge_at - DAY)  # period 1 has its order
        before = life.held().table
        seen = life.engine.change_zone(name, "Asia/Kathmandu", user_id="u1")
        after = seen.subscription.table
        assert [after.start(n) for n in (0, 1, 2)] == [before.start(n) for n in (0, 1, 2)]
        assert (after.zone(1), after.zone(2)) == ("UTC", "Asia/Kathmandu")
        life.engine.change_zone(name, "Europe/Berlin")
        assert life.held().table.zone(2) == "Europe/Berlin"
        life.pay(life.renewals()[0])
        life.until(life.held().next_charge_at)
        asked = life.renewals()[1]
        assert (asked.due_at, asked.lines[-1].kind) == (before.start(2), "proration")
        life.pay(asked)
        assert life.held().paid_until == life.held().table.end(2)
        assert life.differences() == []

    def test_back_to_the_same_zone_is_no_change(self, memory_life):
        life = memory_life
        life.start()
        held = life.held()
        assert life.engine.change_zone(held.subscription_id, "UTC").subscription == held

    def test_before_anything_is_paid_it_is_the_zone_of_all(self, memory_life):
        life = memory_life
        life.plan(trial_days=14)
        life.checkout()
        life.engine.change_zone(life.held().subscription_id, "Europe/Berlin")
        life.shop.buy("u1", plan="life")
        assert life.held().table.zone(0) == "Europe/Berlin"


class TestRefusals:
    def test_another_users_subscription_is_as_absent_as_none(self, memory_life):
        life = memory_life
        name = life.start().subscription_id
        for known, user in ((name, "u2"), ("00000000-0000-7000-8000-000000000000", None)):
            for call in (
                lambda known=known, user=user: life.engine.subscription(known, user_id=user),
                lambda known=known, user=user: life.engine.cancel_subscription(known, user_id=user),
                lambda known=known, user=user: life.engine.undo_cancel(known, user_id=user),
                lambda known=known, user=user: life.engine.change_zone(known, "UTC", user_id=user),
            ):
                with pytest.raises(NotFound) as refused:
                    call()
                assert refused.value.field == "subscription_id"

    @pytest.mark.parametrize(("how", "field"), [({"when": "soon"}, "when"), ({"reason": "no\nlines"}, "reason")])
    def test_what_cannot_be_used_names_its_field(self, memory_life, how, field):
        memory_life.start()
        with pytest.raises(InputError) as refused:
            cancel(memory_life, **how)
        assert refused.value.field == field

    def test_what_is_over_stays_over(self, memory_life):
        life = memory_life
        name = life.start().subscription_id
        cancel(life, when="now")
        before = life.held(), life.types()
        cancel(life, when="now")
        assert (life.held(), life.types()) == before
        with pytest.raises(IllegalTransition):
            life.engine.undo_cancel(name)
        with pytest.raises(IllegalTransition):
            life.engine.change_zone(name, "UTC")
        with pytest.raises(InputError):
            life.engine.change_zone(name, "Mars/Olympus")


def test_a_host_that_rolls_back_has_cancelled_nothing(open_life):
    import sqlalchemy as sa

    life = open_life("sqlite")
    name = life.start().subscription_id
    host = sa.create_engine(life.engine._ports.storage._engine.url)
    with host.connect() as connection:
        with life.engine.within(connection) as billing:
            assert billing.cancel_subscription(name, when="now").subscription.status == "ended"
        connection.rollback()
    host.dispose()
    assert life.held().status == "active"
    assert wallet_of("u1") == life.engine.orders("u1")[0].wallet
