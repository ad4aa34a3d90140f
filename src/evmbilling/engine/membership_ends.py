"""What the end of memberships means in a batch: subscriptions that end, and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from evmbilling.domain.burning import kept_until
from evmbilling.domain.customers import Customer
from evmbilling.domain.decisions import Decision
from evmbilling.domain.ending import end_refunded
from evmbilling.domain.events import EventType
from evmbilling.domain.journal import Journal
from evmbilling.domain.leaving import lengthen, shorten
from evmbilling.domain.orders import Order
from evmbilling.domain.pausing_times import running_moment
from evmbilling.domain.receipts import Burn, Refund
from evmbilling.domain.refunds import refundable_of_order
from evmbilling.domain.shortening import shortened
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, PAID_ORDERS, RefundStatus
from evmbilling.domain.subscription_draft import SubscriptionDraft
from evmbilling.domain.subscriptions import Subscription
from evmbilling.engine.context import Ports
from evmbilling.engine.membership_tokens import token_id_of
from evmbilling.engine.refund_routes import membership_of
from evmbilling.engine.renewal_shelf import facts_of
from evmbilling.ports.storage import Unit


class MembershipEnds:
    """The customers whose memberships end in one unit."""

    def __init__(self, ports: Ports, unit: Unit, now: datetime) -> None:
        self._ports = ports
        self._unit = unit
        self._now = now
        self._customers: dict[str, Customer] = {}
        self._journals: dict[str, Journal] = {}
        self._ended: set[str] = set()
        self._given_back: dict[str, Refund] = {}

    def lock(self, user_id: str) -> bool:
        """Lock a customer; False when somebody else holds the row."""
        if user_id not in self._customers:
            self._customers |= self._unit.lock_customers([user_id], skip_locked=True)
        return user_id in self._customers

    def follow(self, before: Refund, after: Refund) -> Sequence[Decision]:
        """Return what a change of a refund means for the membership that ends with it."""
        if after.ledger_id is not None and may_shorten(self._unit, before, after):
            self._given_back[after.ledger_id] = after
        was, burn = before.burn, after.burn
        if was is None or burn is None or was.status == burn.status or after.ledger_id is None:
            return ()
        order = self._unit.order(after.ledger_id)
        if order is None:
            return ()
        decisions: Sequence[Decision] = ()
        if was.status == "planned":
            decisions = self._end(after, order)
            self._tell(EventType.MEMBERSHIP_ENDED, after, order, burn, at=self._now)
        if burn.status == "done":
            self._tell(EventType.MEMBERSHIP_BURNED, after, order, burn, at=_when(burn, self._now))
        elif was.status == "done":
            self._tell(EventType.MEMBERSHIP_BURN_REVERSED, after, order, burn, at=_when(was, self._now))
        return decisions

    def shorten(self, current: Mapping[str, Refund]) -> Sequence[Decision]:
        """Return what follows where a period was given back that is not used then, or was not given back after all.

        Args:
            current: refunds as this batch leaves them, by id.

        """
        orders = self._unit.orders(self._given_back) if self._given_back else {}
        by_subscription = {
            o.subscription_id: self._given_back[o.ledger_id] for o in orders.values() if o.subscription_id
        }
        decisions: list[Decision] = []
        for subscription_id, refund in by_subscription.items():
            live = self._unit.subscriptions([subscription_id]).get(subscription_id)
            if live is not None and live.status in LIVE_SUBSCRIPTIONS and subscription_id not in self._ended:
                decisions += self._shorten(live, refund, current)
        return decisions

    def _shorten(self, live: Subscription, refund: Refund, current: Mapping[str, Refund]) -> Sequence[Decision]:
        draft = self._draft(live.subscription_id, live.user_id)
        moment = running_moment(draft.changes, self._now)
        given_back = {o.period for o in draft.all_orders if o.period is not None and self._is_given_back(o, current)}
        first, known = kept_until(live, given_back, moment), shortened(draft.changes)
        by = refund.approved_by or refund.requested_by
        if first is None and known is None:
            return ()
        if first is None:
            lengthen(draft, by=by)
        elif live.table is not None and live.table.start(first) <= moment:
            return end_refunded(draft, by=by)
        elif known is None or known.period != first:
            shorten(draft, first, by=by)
        return draft.settle("end")

    def _is_given_back(self, order: Order, current: Mapping[str, Refund]) -> bool:
        """Whether all that an order took was given back, by refunds that are done, and its period is not used then."""
        refunds = [current.get(r.refund_id, r) for r in self._unit.refunds_of_order(order.ledger_id)]
        done = [r for r in refunds if _is_done(r)]
        own = self._unit.receipts_of_orders([order.ledger_id])
        unused = any(r.shortens for r in done)
        return order.status in PAID_ORDERS and unused and refundable_of_order(order, own, done) == 0

    def decisions(self) -> Sequence[Decision]:
        """Return the events, and the customers' rows that count them."""
        return [decision for journal in self._journals.values() for decision in journal.decisions()]

    def _end(self, refund: Refund, order: Order) -> Sequence[Decision]:
        """End the subscription in the same decision, unless it is over already."""
        subscription_id = order.subscription_id or ""
        live = self._unit.subscriptions([subscription_id]).get(subscription_id)
        if live is None or subscription_id in self._ended:
            return ()
        self._ended.add(subscription_id)
        draft = self._draft(subscription_id, order.user_id)
        return end_refunded(draft, by=refund.approved_by or refund.requested_by)

    def _draft(self, subscription_id: str, user_id: str) -> SubscriptionDraft:
        return SubscriptionDraft(
            facts_of(self._unit, subscription_id, None),
            self._journal(user_id),
            now=self._now,
            as_of=self._now,
            new_id=self._ports.ids.new_id,
        )

    def _journal(self, user_id: str) -> Journal:
        if user_id not in self._journals:
            self._journals[user_id] = Journal(self._customers[user_id], self._now, self._ports.ids.new_id)
        return self._journals[user_id]

    def _tell(self, kind: EventType, refund: Refund, order: Order, burn: Burn, *, at: datetime) -> None:
        minted = membership_of(self._unit, order)
        token_id = token_id_of(self._ports, self._unit, minted) if minted is not None else None
        facts: dict[str, Any] = {
            "refund_id": refund.refund_id,
            "ledger_id": order.ledger_id,
            "subscription_id": order.subscription_id,
            "product": str(order.product),
            "plan": order.plan_slug,
            "network": (minted or order).network,
            "contract": minted.contract if minted is not None else None,
            "token_id": None if token_id is None else str(token_id),
            "burn": burn.status,
            "tx_hash": "0x" + burn.identity.tx_hash.hex() if burn.identity is not None else None,
        }
        self._journal(order.user_id).publish(kind, facts, occurred_at=at)


def may_shorten(unit: Unit, before: Refund, after: Refund) -> bool:
    """Whether a change of a refund may change how long its membership lasts.

    The parts of a period come back in any order: the one that left nothing of it may be done before the others.
    """
    if after.ledger_id is None or _is_done(before) == _is_done(after):
        return False
    return any(refund.shortens for refund in unit.refunds_of_order(after.ledger_id))


def _is_done(refund: Refund) -> bool:
    return refund.status is RefundStatus.DONE


def _when(burn: Burn, now: datetime) -> datetime:
    return burn.evidence.block_time if burn.evidence is not None else now
