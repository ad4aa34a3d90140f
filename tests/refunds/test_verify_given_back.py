"""Verification names months that were given back and are counted all the same, also where the fold agrees."""

from __future__ import annotations

import attrs
import pytest
from refunds_bench import Desk

from evmbilling.domain.decisions import RecordChange, StoreEntitlement, StoreSubscription
from evmbilling.domain.refunds.burning import kept_until
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.intake import membership_ends
from evmbilling.engine.intake.membership_ends import MembershipEnds

COUNTS = "month_given_back_counts"


def held(desk: Desk):
    (subscription,) = desk.engine.subscriptions("user-1")
    return subscription


def ahead(desk: Desk, months: int) -> list:
    desk.policy(on_refund="burn")
    return [desk.paid, *(desk.shop.buy("user-1") for _ in range(months))]


def found(desk: Desk) -> list[tuple[str, str]]:
    return sorted((d.code, d.reason) for d in desk.engine.verify().differences if d.code != "unproved")


def given_back(desk: Desk, order) -> bytes:
    refund = desk.ready(ledger_id=order.ledger_id, via="transfer")
    sent = desk.send(refund)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status is RefundStatus.DONE
    return sent


def test_a_month_that_is_given_back_and_not_counted_is_no_difference(desk: Desk):
    _, second, third = ahead(desk, 2)
    given_back(desk, third)
    assert found(desk) == []
    given_back(desk, second)
    assert held(desk).paid_until == held(desk).table.end(0)
    assert found(desk) == []


def test_a_month_that_was_paid_again_while_its_payment_was_gone_is_named(memory_desk: Desk, monkeypatch):
    """As it once was: nobody looked at what had been given back when a payment came again."""
    desk = memory_desk
    desk.policy(on_refund="burn")
    second = desk.shop.checkout("user-1", idempotency_key="second")
    paid = desk.shop.chain.pay(second.order)
    desk.settle()
    refund = desk.ready(ledger_id=second.ledger_id, via="transfer")
    monkeypatch.setattr(MembershipEnds, "follow_payments", lambda self, orders: ())
    # What is gone for now was not looked at when the refund was done, either.
    monkeypatch.setattr(membership_ends, "paid_if_nothing_was_decided", lambda live, *_: live.paid_periods)
    sent = desk.send(refund)
    desk.settle(1)
    desk.lose(paid, sent)
    desk.shop.chain.resend(sent)
    desk.settle()
    desk.shop.chain.resend(paid)
    desk.settle()
    assert held(desk).paid_until == held(desk).table.end(1), "the month counts again"
    assert found(desk) == [(COUNTS, "access"), (COUNTS, "standing")], "the fold agrees with itself"


def test_a_month_that_was_kept_by_paying_the_next_one_is_named(memory_desk: Desk, monkeypatch):
    """As it once was: how far the membership was paid when the refund was asked for did not count."""
    desk = memory_desk
    _, second = ahead(desk, 1)
    refund = desk.ready(ledger_id=second.ledger_id, via="transfer")
    desk.shop.buy("user-1")

    def without(*args, paid_to, **more):
        del paid_to
        return kept_until(*args, **more)

    monkeypatch.setattr(membership_ends, "kept_until", without)
    desk.send(refund)
    desk.settle()
    assert held(desk).paid_until == held(desk).table.end(2)
    assert found(desk) == [(COUNTS, "access"), (COUNTS, "standing")]


@pytest.mark.parametrize("broken", ["standing", "access"])
def test_a_row_that_somebody_changed_is_named(desk: Desk, broken):
    _, second = ahead(desk, 1)
    given_back(desk, second)
    live = held(desk)
    with desk.engine._ports.storage.unit() as unit:
        (entitled,) = unit.entitlements(["user-1"])
        end = live.table.end(1)
        wrong = {
            "standing": StoreSubscription(attrs.evolve(live, paid_until=end, version=live.version + 1)),
            "access": StoreEntitlement(attrs.evolve(entitled, until=end)),
        }
        unit.apply([wrong[broken]])
    assert (COUNTS, broken) in found(desk)


def test_an_end_that_somebody_took_away_is_named(memory_desk: Desk):
    """A change that was added by hand makes the fold count the month; nobody could have asked for it."""
    desk = memory_desk
    _, second = ahead(desk, 1)
    given_back(desk, second)
    live = held(desk)
    with desk.engine._ports.storage.unit() as unit:
        last = max(unit.changes([live.subscription_id]), key=lambda change: change.seq)
        added = attrs.evolve(last, seq=last.seq + 1, kind="undo_cancel", period=None, paid_to=None)
        (entitled,) = unit.entitlements(["user-1"])
        end = live.table.end(1)
        refolded = attrs.evolve(live, paid_until=end, cancel_at_period_end=False, version=live.version + 1)
        unit.apply(
            [RecordChange(added), StoreSubscription(refolded), StoreEntitlement(attrs.evolve(entitled, until=end))]
        )
    named = found(desk)
    assert {(COUNTS, "access"), (COUNTS, "standing")} <= set(named)
    assert ("subscription_projection_differs", "paid_until") not in named
