"""What became of a charge, whoever says it: the host that carried it out, a look at the chain, or the relayer.

Order and charge move together, in one transaction, and only forwards: submitted, unknown, failed. That money came is
said by the chain alone, and says more than any of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs import frozen

from evmbilling.domain.decisions import Decision
from evmbilling.domain.identity import parse_slug
from evmbilling.domain.journal import Journal, order_facts
from evmbilling.domain.mandates.charges import Charge, ChargeState, StoreCharge
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.payments.allocation import PERIOD_PAID
from evmbilling.domain.selling.orders import Order, Pull
from evmbilling.domain.states import OrderStatus
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.telling import due_facts
from evmbilling.engine.context import Ports
from evmbilling.engine.selling.orders import find_order
from evmbilling.engine.subscriptions.shelf import locked_facts
from evmbilling.errors import IllegalTransition, InputError, NotFound
from evmbilling.ports.storage import Unit

_ORDER: tuple[ChargeState, ...] = ("requested", "submitted", "unknown", "failed")
_PULLS: dict[ChargeState, Pull] = {"submitted": "submitted", "unknown": "unknown", "failed": "failed"}
ON_ITS_WAY = frozenset({OrderStatus.SUBMITTED, OrderStatus.UNKNOWN})
"""How an order stands whose own charge was decided, and has come to no end."""

PAID_MEANWHILE = "paid_meanwhile"
"""Why a charge failed whose period is paid, or about to be, by other money."""


@frozen(kw_only=True)
class Outcome:
    """What a charge has come to.

    Attributes:
        state: submitted, unknown or failed; ``reason`` a stable code.

    """

    state: ChargeState
    reason: str | None = None


def report_charge(
    ports: Ports, unit: Unit, ledger_id: str, *, attempt: int, outcome: ChargeState, reason: str | None
) -> Order:
    """Note the outcome of a charge; see :meth:`evmbilling.engine.core.Engine.report_charge`."""
    if outcome not in _PULLS:
        raise InputError("a charge is submitted, unknown or failed", field="outcome")
    word = parse_slug(reason, field="reason") if outcome == "failed" or reason is not None else None
    order = find_order(unit, ledger_id, None)
    if order.subscription_id is None:
        raise NotFound("this order is not charged", field="ledger_id")
    unit.lock_customers([order.user_id])
    charge = next((c for c in unit.charges_of([ledger_id]) if c.attempt == attempt), None)
    if charge is None:
        raise NotFound("there is no such attempt", field="attempt")
    if (charge.state, charge.reason) != (outcome, word):
        if not is_further(charge, outcome):
            raise IllegalTransition(field="outcome", before=charge.state, after=outcome)
        unit.apply(settle_charge(ports, unit, charge, Outcome(state=outcome, reason=word)))
    return find_order(unit, ledger_id, None)


def is_further(charge: Charge, outcome: ChargeState) -> bool:
    """Whether an outcome says more about a charge than is known."""
    return _ORDER.index(outcome) > _ORDER.index(charge.state)


def is_being_paid(unit: Unit, order: Order) -> bool:
    """Whether money for an order's period is seen that names another order: its own charge would take it twice."""
    return any(
        other.period == order.period and other.ledger_id != order.ledger_id and other.status is OrderStatus.CONFIRMING
        for other in unit.orders_of_subscriptions([order.subscription_id or ""])
    )


def settle_charge(ports: Ports, unit: Unit, charge: Charge, outcome: Outcome) -> Sequence[Decision]:
    """Return what follows from the outcome of a charge, read under its customer's lock, for charge and order.

    An order that was paid meanwhile stays paid; should that money disappear, it is an order whose charge failed.

    Raises:
        NotFound: there is no such subscription.

    """
    customer, facts = locked_facts(unit, charge.subscription_id, None)
    now = ports.clock.now()
    journal = Journal(customer, now, ports.ids.new_id)
    draft = SubscriptionDraft(facts, journal, now=now, as_of=now, new_id=ports.ids.new_id)
    failed = outcome.state == "failed"
    draft.add(
        StoreCharge(
            attrs.evolve(
                charge,
                state=outcome.state,
                reason=outcome.reason,
                settled_at=now if failed else None,
                version=charge.version + 1,
            )
        )
    )
    order = draft.orders[charge.ledger_id]
    if order.pull in {"submitted", "unknown"} and order.attempts == charge.attempt:
        waits = order.status in ON_ITS_WAY
        if failed and waits and order.failure_reason == PERIOD_PAID:
            # Nothing is asked for it any more; should that payment disappear, it is offered again.
            draft.put(order, pull=None)
            return [*draft.settle("end"), *journal.decisions()]
        reason = outcome.reason if waits and outcome.reason is not None else order.failure_reason
        changed = draft.put(order, pull=_PULLS[outcome.state], failure_reason=reason)
        if failed and waits and outcome.reason != PAID_MEANWHILE:
            attempt = {"attempt": charge.attempt}
            journal.publish(EventType.PAYMENT_FAILED, order_facts(changed) | due_facts(changed) | attempt)
    return [*draft.settle("end"), *journal.decisions()]
