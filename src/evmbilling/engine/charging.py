"""What became of a charge, as whoever carried it out says."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from evmbilling.domain.charges import Charge, ChargeState, StoreCharge
from evmbilling.domain.events import EventType
from evmbilling.domain.identity import parse_slug
from evmbilling.domain.journal import Journal, order_facts
from evmbilling.domain.orders import Order
from evmbilling.domain.states import OrderStatus
from evmbilling.domain.subscription_draft import SubscriptionDraft
from evmbilling.domain.telling import due_facts
from evmbilling.engine.checkout import find_order
from evmbilling.engine.context import Ports
from evmbilling.engine.renewal_shelf import locked_facts
from evmbilling.errors import IllegalTransition, InputError, NotFound
from evmbilling.ports.storage import Unit

_ORDER: tuple[ChargeState, ...] = ("requested", "submitted", "unknown", "failed")
_ON_ITS_WAY = frozenset({OrderStatus.SUBMITTED, OrderStatus.UNKNOWN})


def report_charge(
    ports: Ports, unit: Unit, ledger_id: str, *, attempt: int, outcome: ChargeState, reason: str | None
) -> Order:
    """Note the outcome of a charge; see :meth:`evmbilling.engine.core.Engine.report_charge`."""
    if outcome not in _ORDER[1:]:
        raise InputError("a charge is submitted, unknown or failed", field="outcome")
    word = parse_slug(reason, field="reason") if outcome == "failed" or reason is not None else None
    order = find_order(unit, ledger_id, None)
    if order.subscription_id is None:
        raise NotFound("this order is not charged", field="ledger_id")
    customer, facts = locked_facts(unit, order.subscription_id, None)
    charge = _charge(unit, ledger_id, attempt)
    if (charge.state, charge.reason) == (outcome, word):
        return _own(facts.orders, ledger_id)
    if _ORDER.index(outcome) <= _ORDER.index(charge.state):
        raise IllegalTransition(field="outcome", before=charge.state, after=outcome)
    now = ports.clock.now()
    journal = Journal(customer, now, ports.ids.new_id)
    draft = SubscriptionDraft(facts, journal, now=now, as_of=now, new_id=ports.ids.new_id)
    settled = now if outcome == "failed" else None
    draft.add(
        StoreCharge(attrs.evolve(charge, state=outcome, reason=word, settled_at=settled, version=charge.version + 1))
    )
    current = draft.orders[ledger_id]
    # Money that came meanwhile says more than any answer to our own transaction.
    if current.status in _ON_ITS_WAY and current.attempts == attempt:
        pull = "failed" if outcome == "failed" else "unknown" if outcome == "unknown" else "submitted"
        current = draft.put(current, pull=pull, failure_reason=word or current.failure_reason)
        if outcome == "failed":
            journal.publish(EventType.PAYMENT_FAILED, order_facts(current) | due_facts(current) | {"attempt": attempt})
    unit.apply([*draft.settle("end"), *journal.decisions()])
    return draft.orders[ledger_id]


def _charge(unit: Unit, ledger_id: str, attempt: int) -> Charge:
    found = next((c for c in unit.charges_of([ledger_id]) if c.attempt == attempt), None)
    if found is None:
        raise NotFound("there is no such attempt", field="attempt")
    return found


def _own(orders: Sequence[Order], ledger_id: str) -> Order:
    return next(o for o in orders if o.ledger_id == ledger_id)
