"""What the end of memberships means in a batch: subscriptions that end, and who is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from evmbilling.domain.books.ledger import order_owner
from evmbilling.domain.decisions import Decision, StoreOrder, StoreRefund
from evmbilling.domain.journal import Journal
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.payments.finance import order_subject, receipt_subject
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.refunds.burning import kept_until
from evmbilling.domain.refunds.refunds import refundable_of_order
from evmbilling.domain.refunds.shortening import paid_if_nothing_was_decided, shortened
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import IN_FLIGHT_ORDERS, LIVE_SUBSCRIPTIONS, PAID_ORDERS, RefundStatus
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.ending import end_refunded
from evmbilling.domain.subscriptions.leaving import leave_behind, lengthen, shorten
from evmbilling.domain.subscriptions.pausing_times import running_moment
from evmbilling.domain.subscriptions.placing_anew import Around, place_anew
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.context import Ports
from evmbilling.engine.subscriptions.membership_burns import (
    BurnTeller,
    begun_burn,
    burned_at,
    given_back,
    holder_of_burn,
    planned_burn,
)
from evmbilling.engine.subscriptions.shelf import facts_of
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
        self.burns: dict[str, Refund] = {}

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
        tell = BurnTeller(self._ports, self._unit, self._journal(order.user_id), self._now)
        if was.status == "planned":
            decisions = self._end(after, order)
            tell.ended(after, order)
        elif burn.status == "done":
            tell.about(EventType.MEMBERSHIP_BURNED, after, order, at=burned_at(burn, self._now))
        elif was.status == "done":
            tell.about(EventType.MEMBERSHIP_BURN_REVERSED, after, order, at=burned_at(was, self._now))
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

    def follow_payments(self, orders: Iterable[Order]) -> Sequence[Decision]:
        """Return what follows where payments came or went, and what was given back before looks different by that.

        A refund may be done while the chain has taken the payment back for now, or that of another period. A payment
        that goes may come again, so it ends nothing at once, and lets nothing go on.

        Args:
            orders: as they are stored now; their customers are locked.

        """
        moved: dict[str, list[Order]] = defaultdict(list)
        for order in orders:
            if order.subscription_id is not None and order.period is not None:
                moved[order.subscription_id].append(order)
        users = {order.user_id for own in moved.values() for order in own}
        done = [r for r in self._unit.refunds_by(users=users) if r.shortens and _is_done(r)] if users else []
        if not done:
            return ()
        decisions: list[Decision] = []
        ledgers = {r.ledger_id: r for r in done}
        for subscription_id, live in self._unit.subscriptions(moved).items():
            own = [o.ledger_id for o in self._unit.orders_of_subscriptions([subscription_id])]
            refund = next((ledgers[name] for name in own if name in ledgers), None)
            if refund is None or live.status not in LIVE_SUBSCRIPTIONS or not self.lock(live.user_id):
                continue
            came = any(order.status in PAID_ORDERS for order in moved[subscription_id])
            decisions += self._shorten(live, refund, {}, came=came)
        return decisions

    def _shorten(
        self, live: Subscription, refund: Refund, current: Mapping[str, Refund], *, came: bool | None = None
    ) -> Sequence[Decision]:
        """Bring the end of a membership in line with what was given back; ``came`` says how payments moved, if any."""
        draft = self._draft(live.subscription_id, live.user_id)
        back = given_back(self._unit, live.subscription_id, current)
        found, known = self._over_with(live, draft, back.values()), shortened(draft.changes)
        moment = running_moment(draft.changes, self._now)
        by = refund.approved_by or refund.requested_by
        same = found == (None if known is None else (known.period, known.paid_to))
        begun = found is not None and live.table is not None and live.table.start(found[0]) <= moment
        if (same and (found is None or came is not None)) or (came is False and (found is None or begun)):
            return ()
        if found is None:
            lengthen(draft, by=by)
            place_anew(draft, self._around(draft))
            return draft.settle("end")
        period, paid_to = found
        done = [r for _, refunds in back.values() for r in refunds]
        holder = holder_of_burn(done)
        order = back[holder.ledger_id or ""][0]
        if begun:
            decisions = self._end_now(draft, period, paid_to, by=by)
            after = begun_burn(self._ports, self._unit, holder, order)
            BurnTeller(self._ports, self._unit, draft.journal, self._now).ended(after, order)
            return (*decisions, *self._burned(holder, after, current))
        if not same:
            shorten(draft, period, paid_to, by=by)
            place_anew(draft, self._around(draft))
        planned = planned_burn(self._ports, self._unit, holder, order)
        return (*draft.settle("end"), *self._burned(holder, planned, current))

    def _burned(self, holder: Refund, after: Refund, current: Mapping[str, Refund]) -> Sequence[Decision]:
        """Note what becomes of the refund whose membership's token is to be burned; the batch stores those it has."""
        if after == holder:
            return ()
        self.burns[holder.refund_id] = after
        if holder.refund_id in current:
            return ()
        return (StoreRefund(attrs.evolve(after, version=holder.version + 1)),)

    def _over_with(
        self, live: Subscription, draft: SubscriptionDraft, back: Iterable[tuple[Order, Sequence[Refund]]]
    ) -> tuple[int, int] | None:
        """Return the period with which a membership is over and the first one whose money buys nothing; None for none.

        Each refund takes away what was paid when it was asked for; of several the one that takes away most holds. What
        was decided before does not count: of two refunds the one that is left may take away less.
        """
        moment = running_moment(draft.changes, self._now)
        whole = [(order, refunds) for order, refunds in back if self._is_given_back(order, refunds)]
        periods = {order.period for order, _ in whole if order.period is not None}
        paid = paid_if_nothing_was_decided(live, draft.all_orders, draft.receipts, draft.changes, periods)
        limits = {paid if r.paid_to is None else r.paid_to for _, done in whole for r in done if r.shortens}
        found = [(kept_until(live, periods, moment, paid=paid, paid_to=limit), limit) for limit in limits]
        return min(((period, limit) for period, limit in found if period is not None), default=None)

    def _is_given_back(self, order: Order, done: Sequence[Refund]) -> bool:
        """Whether all that an order took was given back, by refunds that are done, and its period is not used then.

        An order that is not paid now may be paid again: its payment is gone for now, or is credit because of a refund.
        """
        if not any(r.shortens for r in done):
            return False
        if order.status not in PAID_ORDERS:
            return sum(r.amount for r in done) >= order.enough
        return refundable_of_order(order, self._unit.receipts_of_orders([order.ledger_id]), done) == 0

    def decisions(self) -> Sequence[Decision]:
        """Return the events, and the customers' rows that count them."""
        return [decision for journal in self._journals.values() for decision in journal.decisions()]

    def _end(self, refund: Refund, order: Order) -> Sequence[Decision]:
        """End the subscription in the same decision, unless it is over already."""
        subscription_id = order.subscription_id or ""
        live = self._unit.subscriptions([subscription_id]).get(subscription_id)
        if live is None or live.status not in LIVE_SUBSCRIPTIONS or subscription_id in self._ended:
            return ()
        draft = self._draft(subscription_id, order.user_id)
        paid_to = live.paid_periods if refund.paid_to is None else refund.paid_to
        return self._end_now(draft, paid_to, paid_to, by=refund.approved_by or refund.requested_by)

    def _end_now(self, draft: SubscriptionDraft, period: int, paid_to: int, *, by: str) -> Sequence[Decision]:
        """End a subscription at once; what was paid for it after that was asked for is its customer's again."""
        self._ended.add(draft.before.subscription_id)
        if any((o.period or 0) >= paid_to for o in draft.all_orders if o.status in PAID_ORDERS | IN_FLIGHT_ORDERS):
            leave_behind(draft, period, paid_to, by=by)
            place_anew(draft, self._around(draft))
        return end_refunded(draft, by=by)

    def _around(self, draft: SubscriptionDraft) -> Around:
        """Return what placing a subscription's money anew has to know."""
        unit = self._unit
        owners = [order_owner(o.ledger_id) for o in draft.all_orders if o.status in PAID_ORDERS or o.claim is not None]
        about = [receipt_subject(r.receipt_id) for r in draft.receipts]
        about += [order_subject(o.ledger_id) for o in draft.all_orders if o.manual is not None]
        return Around(
            policies={gateway.slug: gateway.misfits for gateway in unit.gateways()},
            queue=unit.queue_items_of(about),
            balances=unit.balances(owners),
        )

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


def ended_by_payments(ports: Ports, unit: Unit, decisions: Iterable[Decision], *, now: datetime) -> Sequence[Decision]:
    """Return what payments mean for memberships of which something was given back before.

    Args:
        ports: of the engine.
        unit: in which the decisions were written; it has their customers locked.
        decisions: about the payments.
        now: the clock.

    """
    ends = MembershipEnds(ports, unit, now)
    moved = {decision.order.ledger_id: decision.order for decision in decisions if isinstance(decision, StoreOrder)}
    return (*ends.follow_payments(moved.values()), *ends.decisions())


def may_shorten(unit: Unit, before: Refund, after: Refund) -> bool:
    """Whether a change of a refund may change how long its membership lasts.

    The parts of a period come back in any order: the one that left nothing of it may be done before the others.
    """
    if after.ledger_id is None or _is_done(before) == _is_done(after):
        return False
    return any(refund.shortens for refund in unit.refunds_of_order(after.ledger_id))


def _is_done(refund: Refund) -> bool:
    return refund.status is RefundStatus.DONE
