"""Existing subscribers: imported once, paid for elsewhere, renewed here from where they have paid until."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from life_bench import ADMIN, DAY, START, wallet_of

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.decisions import StoreSubscription
from evmbilling.errors import Conflict, IdempotencyConflict, InputError, PermissionDenied, UnknownPlan

UNTIL = datetime(2026, 3, 31, 8, tzinfo=UTC)


def adopt(life, **over):
    fields = {"external_id": "old-1", "user_id": "u1", "plan": "life", "wallet": wallet_of("u1"), "paid_until": UNTIL}
    return life.engine.admin(ADMIN).adopt(**(fields | over))


class TestAdopted:
    def test_they_go_on_from_where_they_have_paid_until(self, life):
        life.plan()
        seen = adopt(life, external_id="stripe:sub_1", zone="Europe/Berlin")
        held = seen.subscription
        assert (held.status, held.paid_until, held.next_charge_at, held.zone) == (
            "active",
            UNTIL,
            UNTIL,
            "Europe/Berlin",
        )
        assert held == life.held()
        access = life.engine.access("u1")
        assert (access.allowed, access.reason, access.until) == (True, "paid", UNTIL)
        assert life.engine.orders("u1") == []
        assert life.types() == ["plan.changed", "subscription.adopted"]
        assert life.told("plan.changed")[0]["cause"] == "admin"
        (entry,) = life.engine.admin(ADMIN).audit(object_=f"subscription:{held.subscription_id}")
        assert (entry.action, entry.actor, entry.changes["external_id"]) == (
            "subscription.adopt",
            ADMIN.user_id,
            "stripe:sub_1",
        )
        life.until(UNTIL - DAY)
        (asked,) = life.renewals()
        assert (asked.period, asked.due_at, asked.wallet) == (held.paid_periods, UNTIL, wallet_of("u1"))
        assert life.differences() == []
        life.pay(asked)
        assert life.held().paid_until == datetime(2026, 4, 30, 8, tzinfo=UTC)
        life.until(life.held().paid_until + DAY, release=True)
        assert (life.held().status, life.owed()) == ("past_due", [held.paid_periods + 1])
        assert life.differences() == []

    def test_the_same_again_is_the_same(self, life):
        life.plan()
        first = adopt(life)
        before = life.types()
        assert adopt(life) == first
        assert (life.types(), len(life.engine.subscriptions("u1"))) == (before, 1)
        life.go(3)
        assert adopt(life).subscription == life.held()
        for other in (
            {"paid_until": UNTIL + DAY},
            {"quantity": 2},
            {"wallet": wallet_of("u2")},
            {"zone": "Asia/Tokyo"},
        ):
            with pytest.raises(IdempotencyConflict) as caught:
                adopt(life, **other)
            assert caught.value.field == "external_id"

    def test_a_dry_run_writes_nothing(self, life):
        life.plan()
        seen = adopt(life, dry_run=True)
        assert (seen.subscription.status, seen.subscription.paid_until) == ("active", UNTIL)
        assert (life.engine.subscriptions("u1"), life.types()) == ([], [])
        real = adopt(life).subscription
        assert real.paid_until == seen.subscription.paid_until

    def test_an_anchor_keeps_the_day_of_the_month(self, memory_life):
        life = memory_life
        life.plan()
        until = datetime(2026, 2, 28, 8, tzinfo=UTC)
        adopt(life, paid_until=until, anchor=datetime(2023, 8, 31, 8, tzinfo=UTC))
        life.until(until - DAY)
        life.pay(life.renewals()[0])
        assert life.held().paid_until == datetime(2026, 3, 31, 8, tzinfo=UTC)

    def test_several_periods_that_are_paid_ahead(self, memory_life):
        life = memory_life
        life.plan()
        until = START + timedelta(days=120)
        seen = adopt(life, paid_until=until)
        assert life.engine.access("u1").allowed
        assert seen.subscription.paid_periods > 3
        life.go(90)
        assert (life.held().status, life.renewals()) == ("active", [])

    def test_they_may_be_changed_and_the_rest_counts_at_the_plans_price(self, memory_life):
        life = memory_life
        life.plan()
        name = adopt(life).subscription.subscription_id
        held = life.held()
        last = held.table.period(held.paid_periods - 1)
        life.until(last.start + (last.end - last.start) / 2)
        seen = life.engine.preview_change(name, timing="now", quantity=2)
        assert abs(seen.pay_now - seen.unused) <= 1
        life.pay(life.engine.change_subscription(name, timing="now", quantity=2).order.order)
        assert life.held().quantity == 2
        life.go(60, release=True)
        assert life.differences() == []

    def test_an_older_version_is_theirs_to_keep(self, memory_life):
        life = memory_life
        life.plan()
        life.engine.admin(ADMIN).revise_plan("life", version=1, name="Dearer")
        life.engine.admin(ADMIN).archive_plan("life")
        assert adopt(life, plan_version=1).subscription.plan_version == 1


def test_an_import_that_somebody_rewrote_is_found(life):
    life.plan()
    held = adopt(life).subscription
    assert life.differences() == []
    other = attrs.evolve(held, paid_until=UNTIL + DAY, version=held.version + 1)
    with life.engine._ports.storage.unit() as unit:
        unit.apply([StoreSubscription(other)])
    found = {(subject, reason) for _, subject, reason in life.differences()}
    assert (f"subscription:{held.subscription_id}", "paid_until") in found


class TestRefused:
    @pytest.mark.parametrize(
        ("over", "error", "field"),
        [
            ({"paid_until": START}, InputError, "paid_until"),
            ({"paid_until": START + timedelta(days=4000)}, InputError, "paid_until"),
            ({"paid_until": UNTIL.replace(tzinfo=None)}, InputError, "paid_until"),
            ({"anchor": UNTIL + DAY}, InputError, "anchor"),
            ({"anchor": UNTIL - DAY}, InputError, "anchor"),
            ({"plan": "nothing"}, UnknownPlan, "plan"),
            ({"plan_version": 7}, UnknownPlan, "plan"),
            ({"plan": "pack"}, InputError, "plan"),
            ({"wallet": "0x12"}, InputError, "wallet"),
            ({"zone": "Mars/Olympus"}, InputError, "zone"),
            ({"external_id": ""}, InputError, "external_id"),
            ({"dry_run": 1}, InputError, "dry_run"),
            ({"quantity": 0}, InputError, "quantity"),
        ],
    )
    def test_what_cannot_be_used(self, memory_life, over, error, field):
        memory_life.plan()
        with pytest.raises(error) as caught:
            adopt(memory_life, **over)
        assert caught.value.field == field
        assert memory_life.engine.subscriptions("u1") == []

    def test_who_has_a_subscription_already(self, memory_life):
        memory_life.start()
        with pytest.raises(Conflict) as caught:
            adopt(memory_life)
        assert caught.value.field == "product"

    def test_only_administrators(self, memory_life):
        memory_life.plan()
        with pytest.raises(PermissionDenied):
            memory_life.engine.admin(Actor("ops", frozenset({Role.FINANCE_OPS}))).adopt(
                external_id="x", user_id="u1", plan="life", wallet=wallet_of("u1"), paid_until=UNTIL
            )
