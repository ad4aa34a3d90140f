"""Expiry: an offer is over when its own chain has passed the deadline, as far as we have read it and taken it in."""

from __future__ import annotations

from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.decisions import Decision, StoreOrder
from evmbilling.domain.journal import Journal, order_facts
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.reading.evidence import Cursor
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAYABLE_ORDERS, OrderStatus
from evmbilling.domain.subscriptions.looking import TOO_LATE
from evmbilling.domain.subscriptions.standing import order_standing
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.each_network import cursors_of, each_network
from evmbilling.engine.reading.parked import parked_logs
from evmbilling.ports.storage import Unit

WIDEST = 5000
"""How many offers are looked at, at most, to get past those that have to wait."""


@frozen(kw_only=True)
class ExpiryReport:
    """How many offers were closed, and how many had to wait (evidence not taken in, or a row held by somebody)."""

    expired: int = 0
    waiting: int = 0


def expire_orders(ports: Ports, runner: Runner, *, limit: int, network: str | None = None) -> ExpiryReport:
    """Close overdue offers on every network; see :meth:`evmbilling.engine.core.Engine.expire_orders`."""
    expired = waiting = 0
    with each_network(ports) as attempt:
        for cursor in runner.read(lambda unit: cursors_of(unit, network)):
            report = attempt(partial(_expire_some, ports, runner, cursor, limit)) if cursor.halt is None else None
            if report is not None:
                expired, waiting = expired + report.expired, waiting + report.waiting
    return ExpiryReport(expired=expired, waiting=waiting)


def _expire_some(ports: Ports, runner: Runner, cursor: Cursor, limit: int) -> ExpiryReport:
    report = runner.write(partial(_expire_network, ports, cursor, limit))
    while report.waiting >= limit and not report.expired and limit < WIDEST:
        # The oldest of them all have to wait: look past them.
        limit *= 4
        report = runner.write(partial(_expire_network, ports, cursor, limit))
    return report


def _expire_network(ports: Ports, cursor: Cursor, limit: int, unit: Unit) -> ExpiryReport:
    overdue = unit.overdue_offers(cursor.chain_id, cursor.block.timestamp, limit)
    if not overdue:
        return ExpiryReport()
    if unit.waiting_below(cursor.chain_id, cursor.block.number):
        # Somewhere in what was read may be the payment of one of them.
        return ExpiryReport(waiting=len(overdue))
    parked = parked_logs(unit, overdue)
    if parked is None:
        return ExpiryReport(waiting=len(overdue))
    locked = unit.lock_customers({o.user_id for o in overdue}, skip_locked=True)
    decisions: list[Decision] = []
    journals: dict[str, Journal] = {}
    expired = 0
    for stale in overdue:
        order = unit.order(stale.ledger_id) if stale.user_id in locked and not parked.concerns(stale) else None
        if order is None or order.status not in PAYABLE_ORDERS or order.closed_as is not None:
            continue
        if order.late_after >= cursor.block.timestamp:
            continue  # what was sent to its deposit address in time may not be swept yet
        journal = journals.setdefault(
            order.user_id, Journal(locked[order.user_id], ports.clock.now(), ports.ids.new_id)
        )
        decisions.append(StoreOrder(_expire(unit, order, journal)))
        expired += 1
    for journal in journals.values():
        decisions += journal.decisions()
    unit.apply(decisions)
    return ExpiryReport(expired=expired, waiting=len(overdue) - expired)


def _expire(unit: Unit, order: Order, journal: Journal) -> Order:
    closed = attrs.evolve(order, closed_as=OrderStatus.EXPIRED, failure_reason=TOO_LATE, version=order.version + 1)
    closed = order_standing(closed, unit.receipts_of_orders([order.ledger_id]))
    journal.publish(EventType.ORDER_EXPIRED, order_facts(closed), occurred_at=order.deadline)
    return closed
