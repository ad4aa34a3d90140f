"""Tokens that are due to be burned because their membership ended with a refund, and who is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from attrs import frozen

from evmbilling.domain.decisions import Decision, StoreRefund
from evmbilling.domain.journal import Journal
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.payments.receipts import Burn, Refund
from evmbilling.domain.refunds.burning import begun
from evmbilling.domain.refunds.shortening import shortened
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OVER_SUBSCRIPTIONS, RefundStatus
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.scene import depths_of
from evmbilling.engine.refunds.addresses import known_refund
from evmbilling.engine.refunds.routes import membership_of
from evmbilling.engine.subscriptions.membership_tokens import marked, token_id_of
from evmbilling.ports.storage import Unit


def given_back(
    unit: Unit, subscription_id: str, current: Mapping[str, Refund]
) -> dict[str, tuple[Order, list[Refund]]]:
    """Return the orders of a subscription with their refunds that are done, by ledger id.

    Args:
        unit: with the customer locked.
        subscription_id: whose.
        current: refunds as the unit is about to leave them, by id.

    """
    found: dict[str, tuple[Order, list[Refund]]] = {}
    for order in unit.orders_of_subscriptions([subscription_id]):
        refunds = [current.get(r.refund_id, r) for r in unit.refunds_of_order(order.ledger_id)]
        done = [r for r in refunds if r.status is RefundStatus.DONE]
        if done:
            found[order.ledger_id] = order, done
    return found


def holder_of_burn(refunds: Iterable[Refund]) -> Refund:
    """Return the refund that says that a membership's token is to be burned: one that does already, else the newest.

    A token is burned once, so only one of several refunds says so. One at least has to take a period away by policy.
    """
    shortening = [r for r in refunds if r.shortens]
    return max(shortening, key=lambda r: (r.burn is not None, r.refund_id))


def planned_burn(ports: Ports, unit: Unit, refund: Refund, order: Order) -> Refund:
    """Return a refund whose membership ends later, with the burn of its token planned; the same where there is none."""
    if refund.burn is not None or membership_of(unit, order) is None:
        return refund
    return marked(ports, unit, attrs.evolve(refund, burn=Burn()))


def begun_burn(ports: Ports, unit: Unit, refund: Refund, order: Order) -> Refund:
    """Return a refund whose membership has ended now, with its token due to be burned where there is one."""
    network = next(n for n in unit.networks() if n.chain_id == refund.asset.chain_id)
    cursor = unit.cursor(network.chain_id)
    planned = refund if refund.burn is not None else attrs.evolve(refund, burn=Burn())
    if cursor is None:  # pragma: no cover - its money was read on this chain
        return planned
    has_token = membership_of(unit, order) is not None
    return marked(ports, unit, begun(planned, depths_of(network, cursor), has_token=has_token))


def burns_of_ended(
    ports: Ports, unit: Unit, subscription: Subscription, journal: Journal, *, now: datetime
) -> Sequence[Decision]:
    """Return what follows where a subscription is over that was shortened by refunds: its token is due to be burned.

    Args:
        ports: of the engine.
        unit: with the customer locked.
        subscription: as it is now, and not told of as ended before.
        journal: of the customer; the caller takes its decisions.
        now: the clock.

    """
    if subscription.status not in OVER_SUBSCRIPTIONS or shortened(unit.changes([subscription.subscription_id])) is None:
        return ()
    for order, refunds in given_back(unit, subscription.subscription_id, {}).values():
        for refund in refunds:
            if refund.shortens and refund.burn is not None and refund.burn.status == "planned":
                after = attrs.evolve(begun_burn(ports, unit, refund, order), version=refund.version + 1)
                BurnTeller(ports, unit, journal, now).ended(after, order)
                return (StoreRefund(after),)
    return ()


def burn_when_over(ports: Ports, unit: Unit, refund_id: str) -> Refund:
    """Return a refund, with its burn due where the membership has ended in whichever way since it was done.

    The customer is locked.
    """
    refund = known_refund(unit, refund_id)
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    sold = unit.subscriptions([order.subscription_id or ""]) if order is not None else {}
    for subscription in sold.values():
        customer = unit.lock_customers([subscription.user_id])[subscription.user_id]
        now = ports.clock.now()
        journal = Journal(customer, now, ports.ids.new_id)
        due = burns_of_ended(ports, unit, subscription, journal, now=now)
        if due:
            unit.apply([*due, *journal.decisions()])
    return known_refund(unit, refund_id)


@frozen
class BurnTeller:
    """Tells a customer's events about memberships that end with refunds."""

    ports: Ports
    unit: Unit
    journal: Journal
    now: datetime

    def ended(self, refund: Refund, order: Order) -> None:
        """Publish that a membership ended with a refund, and that its token was burned before if it was."""
        burn = refund.burn or Burn()
        self.about(EventType.MEMBERSHIP_ENDED, refund, order, at=self.now)
        if burn.status == "done":
            self.about(EventType.MEMBERSHIP_BURNED, refund, order, at=burned_at(burn, self.now))

    def about(self, kind: EventType, refund: Refund, order: Order, *, at: datetime) -> None:
        """Publish an event about the membership that ends with a refund, and its token."""
        minted, burn = membership_of(self.unit, order), refund.burn or Burn()
        token_id = token_id_of(self.ports, self.unit, minted) if minted is not None else None
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
        self.journal.publish(kind, facts, occurred_at=at)


def burned_at(burn: Burn, now: datetime) -> datetime:
    """Return when a token was burned."""
    return burn.evidence.block_time if burn.evidence is not None else now
