"""What received money counts for: a fold over what stands on chain, in chain order.

Which payment was first is decided by the chain and not by when or in which order we learned of it, so that a payment
which disappears hands its place to the next one, and a reader that was away ends where the others are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from attrs import frozen

from evmbilling.domain.judgement import Place
from evmbilling.domain.misfits import MisfitPolicy
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Receipt, chain_position
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, SUPPORTING_RECEIPTS, ReceiptStatus, SubscriptionStatus

RULED = frozenset({"assigned", "credited"})
"""Reasons that a person gave: their ruling stands, whatever the rules would say."""
_LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}
_PLACED = frozenset({"order", "credit"})
_FOR_ORDER: Place = ("order", None)


def allocate(
    orders: Sequence[Order],
    receipts: Sequence[Receipt],
    *,
    known: Collection[str] = (),
    status: SubscriptionStatus | None = None,
    policies: Mapping[str, MisfitPolicy] | None = None,
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
        policies: of gateways, by slug. A policy is asked once for a misfit; a later change moves nothing.

    """
    by_id = {order.ledger_id: order for order in orders}
    live = [r for r in receipts if r.ledger_id in by_id and r.status in _LIVE and r.allocation in _PLACED]
    places: dict[str, Place] = {}
    paid: dict[str, int] = defaultdict(int)
    done: dict[int, str] = {}
    for receipt in sorted(live, key=lambda r: (r.status not in SUPPORTING_RECEIPTS, chain_position(r))):
        order = by_id[receipt.ledger_id or ""]
        spot = _Spot(
            receipt=receipt,
            order=order,
            paid=paid[order.ledger_id],
            period_done=order.period is not None and done.get(order.period, order.ledger_id) != order.ledger_id,
            was_there=receipt.receipt_id in known,
            policy=(policies or {}).get(order.gateway_slug, MisfitPolicy()),
        )
        is_open = status is None or status in LIVE_SUBSCRIPTIONS
        place = spot.place() if is_open else spot.after_the_end(paid_before=status is SubscriptionStatus.ENDED)
        places[receipt.receipt_id] = place
        if place[0] == "order":
            paid[order.ledger_id] += receipt.amount
        if order.period is not None and (order.manual is not None or paid[order.ledger_id] >= order.enough):
            done.setdefault(order.period, order.ledger_id)
    return places | _for_paid_periods(live, places, by_id, done)


@frozen(kw_only=True)
class _Spot:
    """One receipt at its turn: what its order has by then."""

    receipt: Receipt
    order: Order
    paid: int
    period_done: bool
    was_there: bool
    policy: MisfitPolicy

    @property
    def _now(self) -> Place:
        return self.receipt.allocation, self.receipt.reason

    def after_the_end(self, *, paid_before: bool) -> Place:
        """Return the place in a subscription that takes no money any more; it was given up unpaid, or paid before."""
        if self.receipt.reason in RULED or (paid_before and self.was_there):
            return self._now
        if self.receipt.evidence.block_time > self.order.deadline:
            return self._misfit("late", "suspense" if self.policy.late == "suspense" else "credit")
        return "credit", "subscription_ended"

    def place(self) -> Place:
        """Return the place by the rules, in their order."""
        if self.receipt.reason in RULED:
            return self._now
        if self.order.manual is not None:
            return self._now if self.was_there else ("credit", "marked_paid")
        covered = self.paid >= self.order.amount
        if self.receipt.evidence.block_time > self.order.deadline and not (covered and self.policy.late == "order"):
            return self._misfit("late", self.policy.late)
        if covered:
            return self._misfit("duplicate", self.policy.duplicate)
        if self.period_done:
            return self._misfit("period_paid", self.policy.duplicate)
        return _FOR_ORDER

    def _misfit(self, reason: str, outcome: str) -> Place:
        decided = self.was_there and self.receipt.reason == reason
        return self._now if decided else (outcome, reason)  # type: ignore[return-value]  # words of the policy


def _for_paid_periods(
    live: Sequence[Receipt], places: Mapping[str, Place], by_id: Mapping[str, Order], done: Mapping[int, str]
) -> dict[str, Place]:
    """Return what was paid, in part or in full, for orders whose period another order paid first."""
    left: dict[str, Place] = {}
    for receipt in live:
        order = by_id[receipt.ledger_id or ""]
        payer = done.get(order.period) if order.period is not None else None
        if places[receipt.receipt_id] == _FOR_ORDER and payer not in (None, order.ledger_id):
            left[receipt.receipt_id] = ("credit", "period_paid")
    return left
