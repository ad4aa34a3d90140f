"""What received money counts for: a fold over what stands on chain, in chain order.

Which payment was first is decided by the chain and not by when or in which order we learned of it, so that a payment
which disappears hands its place to the next one, and a reader that was away ends where the others are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self

import attrs
from attrs import frozen

from evmbilling.domain.payments.judgement import Place
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt, chain_position
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, SUPPORTING_RECEIPTS, ReceiptStatus, SubscriptionStatus

GIVEN_BACK = "given_back"
"""Why a receipt is credit for good: a refund of the customer's credit took its money."""
ASSIGNED = "assigned"
"""Why a receipt counts for an order that it does not name: a person said so."""
ASSIGNED_REPLACED = "assigned_replaced"
"""Why it is credit meanwhile: that order is for terms which do not hold. It counts again as soon as they do."""
PERIOD_PAID = "period_paid"
"""Why money is no order's that came for a period which another order paid, and why an offer of it is withdrawn."""
SUBSCRIPTION_ENDED = "subscription_ended"
"""Why money is credit that came for a subscription when that was over."""
ELSEWHERE = frozenset({"credit", "refunded", "written_off"})
"""Allocations of money that pays nothing of the order that it names."""
RULED = frozenset({ASSIGNED, ASSIGNED_REPLACED, "credited", GIVEN_BACK})
"""Reasons that a person gave: their ruling stands, whatever the rules would say."""
_LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}
_PLACED = frozenset({"order", "credit"})
_FOR_ORDER: Place = ("order", None)


def is_ruled(receipt: Receipt) -> bool:
    """Whether a person said what a receipt's money is for: which order its transaction names does not matter then."""
    return receipt.reason in RULED or receipt.allocation == "refunded"


def left_behind(receipts: Iterable[Receipt]) -> tuple[Receipt, ...]:
    """Return what a subscription leaves to its customer when it ends: the money for it that does not count then.

    It is seen, or the chain has taken it back for now. Where it counts later, it finds the subscription ended. What a
    person decided stays.
    """
    return tuple(
        attrs.evolve(receipt, allocation="credit", reason=SUBSCRIPTION_ENDED, version=receipt.version + 1)
        for receipt in receipts
        if receipt.allocation == "order" and receipt.status not in SUPPORTING_RECEIPTS and receipt.reason not in RULED
    )


def allocate(
    orders: Sequence[Order],
    receipts: Sequence[Receipt],
    *,
    known: Collection[str] = (),
    status: SubscriptionStatus | None = None,
    policies: Mapping[str, MisfitPolicy] | None = None,
    stale: Collection[str] = (),
) -> Mapping[str, Place]:
    """Return, by receipt id, what the live money of these orders counts for.

    Money that counts already goes before money that is only seen, so that a payment which is not deep enough never
    takes the place of one that gave access. Suspense is a person's to decide and left out.

    Args:
        orders: all orders of one subscription, or one order without.
        receipts: theirs.
        known: ids of the receipts that were stored before.
        status: of the subscription. When it has ended, what was placed before stays and what is new is the
            customer's credit; when it was given up unpaid, everything is.
        stale: orders on terms which do not hold any more. All their money is the customer's credit while that is so,
            also what was placed before, by the rules or by a person.
        policies: of gateways, by slug. A policy is asked once for a misfit; a later change moves nothing.

    """
    by_id = {order.ledger_id: order for order in orders}
    live = [r for r in receipts if r.ledger_id in by_id and r.status in _LIVE and r.allocation in _PLACED]
    places: dict[str, Place] = {}
    spots: dict[str, _Spot] = {}
    paid: dict[str, int] = defaultdict(int)
    done = [_Done.by_mark(order) for order in orders if order.manual is not None and order.ledger_id not in stale]
    for receipt in sorted(live, key=lambda r: (r.status not in SUPPORTING_RECEIPTS, chain_position(r))):
        order = by_id[receipt.ledger_id or ""]
        spot = _Spot(
            receipt=receipt,
            order=order,
            paid=paid[order.ledger_id],
            was_there=receipt.receipt_id in known,
            policy=(policies or {}).get(order.gateway_slug, MisfitPolicy()),
            stale=order.ledger_id in stale,
        )
        spots[receipt.receipt_id] = spot
        place = spot.place(ended=_ended(receipt, known, status))
        places[receipt.receipt_id] = place
        if place[0] == "order":
            paid[order.ledger_id] += receipt.amount
        if paid[order.ledger_id] >= order.enough:
            done.append(_Done.by_money(order, receipt))
    # Of a subscription that is over, what was placed stays.
    over = status is not None and status not in LIVE_SUBSCRIPTIONS
    return places if over else places | _for_paid_periods(spots, places, _first_of_each_period(done))


@frozen
class _Done:
    """That an order had everything, and its rank among others: money that is only seen comes after all that counts."""

    rank: tuple[bool, tuple[datetime, int, int, int]]
    order: Order

    @classmethod
    def by_money(cls, order: Order, receipt: Receipt) -> Self:
        return cls((receipt.status not in SUPPORTING_RECEIPTS, chain_position(receipt)), order)

    @classmethod
    def by_mark(cls, order: Order) -> Self:
        """A mark counts from the moment at which it was made, whenever money had come for its order."""
        at = order.manual.at if order.manual is not None else order.created_at
        return cls((False, (at, 0, 0, 0)), order)


def _first_of_each_period(done: Sequence[_Done]) -> Mapping[int, str]:
    """Return the order that paid each period first."""
    ranked = sorted(done, key=lambda one: (one.rank, one.order.ledger_id), reverse=True)
    return {one.order.period: one.order.ledger_id for one in ranked if one.order.period is not None}


@frozen(kw_only=True)
class _Spot:
    """One receipt at its turn: what its order has by then."""

    receipt: Receipt
    order: Order
    paid: int
    was_there: bool
    policy: MisfitPolicy
    stale: bool = False

    @property
    def _now(self) -> Place:
        return self.receipt.allocation, self.receipt.reason

    def place(self, *, ended: Place | None) -> Place:
        """Return the place by the rules, in their order; ``ended`` is where money for what is over goes."""
        if self.receipt.reason in RULED:
            assigned = self.receipt.reason in {ASSIGNED, ASSIGNED_REPLACED}
            # An order that buys nothing takes no money, whoever says that it was paid.
            by_terms: Place = ("credit", ASSIGNED_REPLACED) if self.stale else ("order", ASSIGNED)
            return by_terms if assigned and ended is None else self._now
        if self.order.manual is not None:
            return self._now if self.was_there else ("credit", "marked_paid")
        if ended is None and self.order.claim == "forgiven" and not self.was_there:
            ended = ("credit", "forgiven")
        if ended is None and self.stale:
            ended = ("credit", "change_replaced")
        covered = self.paid >= self.order.amount
        if self.receipt.evidence.block_time > self.order.late_after and not (covered and self.policy.late == "order"):
            late = self.misfit("late", self.policy.late)
            if late[0] != "order" or ended is None:
                return late
        if ended is not None:
            return ended
        if covered:
            return self.misfit("duplicate", self.policy.duplicate)
        return _FOR_ORDER

    def misfit(self, reason: str, outcome: str) -> Place:
        """Return where the policy puts a misfit; once put, it stays there."""
        decided = self.was_there and self.receipt.reason == reason
        return self._now if decided else (outcome, reason)  # type: ignore[return-value]  # words of the policy


def _ended(receipt: Receipt, known: Collection[str], status: SubscriptionStatus | None) -> Place | None:
    """Return where money for a subscription that is over goes; None while it is not."""
    if status is None or status in LIVE_SUBSCRIPTIONS:
        return None
    if status is SubscriptionStatus.ENDED and receipt.receipt_id in known:
        return receipt.allocation, receipt.reason
    return "credit", SUBSCRIPTION_ENDED


def _for_paid_periods(
    spots: Mapping[str, _Spot], places: Mapping[str, Place], done: Mapping[int, str]
) -> dict[str, Place]:
    """Return what was paid, in part or in full, for orders whose period another order paid first."""
    left: dict[str, Place] = {}
    for receipt_id, spot in spots.items():
        payer = done.get(spot.order.period) if spot.order.period is not None else None
        allocation, reason = places[receipt_id]
        # Late money that its policy takes all the same does not pay for a period that is paid.
        taken = allocation == "order" and reason not in RULED
        if taken and payer not in (None, spot.order.ledger_id):
            left[receipt_id] = spot.misfit(PERIOD_PAID, spot.policy.duplicate)
    return left
