"""Where a person puts money, inside one unit: the receipt, everything that hangs on it, and the items about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from evmbilling.domain.actors import Actor
from evmbilling.domain.books.bookkeeping import BookFacts, book_changes
from evmbilling.domain.decisions import Decision, RecordAudit, StoreQueueItem, StoreReceipt
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.payments.allocation import ASSIGNED_REPLACED
from evmbilling.domain.payments.draft import Draft
from evmbilling.domain.payments.finance import QueueItem, QueueKind, Ruling, follow_queue, receipt_subject
from evmbilling.domain.payments.judgement import Place
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.books.movements import MovementBook
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.scene import Scene
from evmbilling.engine.intake.shelf import Shelf
from evmbilling.errors import Conflict, NotFound
from evmbilling.ports.storage import Unit

_WAITING: frozenset[QueueKind] = frozenset({"suspense", "held"})
"""Items about money that counts for nothing until they are decided."""


class Placing:
    """Puts receipts where one actor wants them, in one unit.

    Args:
        note: what the actor says about it; kept with the items that are decided.

    """

    def __init__(self, ports: Ports, unit: Unit, actor: Actor, *, note: str = "") -> None:
        self._ports = ports
        self._unit = unit
        self._actor = actor
        self._note = note
        self._now = ports.clock.now()

    def set_aside(self, receipt: Receipt) -> None:
        """Put a receipt aside for its refund: nothing else counts it, and the items about it are decided."""
        items = self._unit.queue_items_of([receipt_subject(receipt.receipt_id)])
        decided = [self._decided(i, "refund") for i in items if i.state == "open" and i.kind != "write_off_approval"]
        self._place(receipt, None, receipt.user_id, ("refunded", "refund"), *decided)

    def keep_as(self, receipt: Receipt, place: Place) -> None:
        """Put a customer's receipt where the rules do not move it any more."""
        self._place(receipt, None, receipt.user_id, place)

    def give_up(self, receipt: Receipt) -> None:
        """Return a receipt that was put aside: to where a person has to decide about it again, else to its customer."""
        reopened = [
            attrs.evolve(i, state="open", ruling=None, decided_by=None, decided_at=None, version=i.version + 1)
            for i in self._unit.queue_items_of([receipt_subject(receipt.receipt_id)])
            if i.ruling == "refund" and i.kind in _WAITING
        ]
        if receipt.user_id is None or reopened:
            reason = reopened[0].reason if reopened else "refund_given_up"
            self._place(receipt, None, receipt.user_id, ("suspense", reason), *reopened)
        else:
            self._place(receipt, None, receipt.user_id, ("credit", "credited"))

    def _place(
        self, receipt: Receipt, order: Order | None, user_id: str | None, place: Place, *decided: QueueItem
    ) -> None:
        """Move a receipt, everything that hangs on it, and the items about it."""
        subject = receipt_subject(receipt.receipt_id)
        ruled = {item.item_id for item in decided}
        items = [*decided, *(i for i in self._unit.queue_items_of([subject]) if i.item_id not in ruled)]
        stale = [i for i in items if i.kind == "write_off_approval" and i.state == "open"]
        decisions: list[Decision] = [StoreQueueItem(item) for item in decided]
        decisions += (StoreQueueItem(attrs.evolve(i, state="withdrawn", version=i.version + 1)) for i in stale)
        if user_id is None:
            decisions += self._rewrite(receipt, place, items)
        else:
            customer = self._lock(user_id)
            named = order.ledger_id if order is not None else receipt.ledger_id
            beside = order is None and receipt.user_id != user_id
            around = [] if named is None or beside else [self._order(named)]
            draft = self._draft(customer, around, items)
            draft.rule(receipt, around[0] if order is not None else None, user_id=user_id, place=place)
            decisions += draft.settle()
            if order is not None and draft.receipts[receipt.identity].reason == ASSIGNED_REPLACED:
                raise replaced()
        facts = {"item_id": decided[0].item_id if decided else None, "amount": str(receipt.amount), "user_id": user_id}
        facts["ledger_id"] = order.ledger_id if order is not None else None
        action = (decided[0].ruling if decided else None) or "refund"
        self._write(decisions, subject, action, facts, chain_id=receipt.asset.chain_id)

    def _rewrite(self, receipt: Receipt, place: Place, items: Sequence[QueueItem]) -> list[Decision]:
        """Move money of nobody that we know."""
        after = attrs.evolve(receipt, allocation=place[0], reason=place[1], version=receipt.version + 1)
        return [StoreReceipt(after), *self._unnamed(receipt, after, items)]

    def _unnamed(self, before: Receipt, after: Receipt, items: Sequence[QueueItem]) -> list[Decision]:
        """Return the postings and queue items of a change of money that is no customer's."""
        new_id = self._ports.ids.new_id
        opened = follow_queue(after, items, had_paid=False, now=self._now, new_id=new_id)
        was, becomes = BookFacts(receipts=(before,)), BookFacts(receipts=(after,))
        posted = book_changes(was, becomes, now=self._now, new_id=new_id)
        return [*posted, *(StoreQueueItem(item) for item in opened)]

    def _draft(self, customer: Customer, orders: Sequence[Order], items: Sequence[QueueItem]) -> Draft:
        gateways = {gateway.slug: gateway.misfits for gateway in self._unit.gateways()}
        shelf = Shelf(self._unit, orders, policies=gateways)
        facts = shelf.facts(customer)
        known = {item.item_id for item in items}
        facts = attrs.evolve(facts, queue=[*items, *(i for i in facts.queue if i.item_id not in known)])
        chain_id = orders[0].chain_id if orders else 0
        network = next((n for n in self._unit.networks() if n.chain_id == chain_id), None)
        closes = network is None or network.disputed_access
        return Draft(facts, self._now, self._ports.ids.new_id, here=chain_id, disputed_access=closes)

    def _write(
        self,
        decisions: Sequence[Decision],
        subject: str,
        action: str,
        facts: dict[str, Any],
        *,
        chain_id: int | None = None,
    ) -> None:
        written = list(decisions)
        cursor = self._unit.cursor(chain_id) if chain_id is not None else None
        if cursor is not None:
            scene = Scene(self._ports, self._unit, (), cursor)
            MovementBook(self._ports, self._unit, scene, now=self._now).write(written)
        entry = AuditEntry(
            audit_id=self._ports.ids.new_id(),
            actor=self._actor.user_id,
            action=f"finance.{action}",
            object=subject,
            changes={name: value for name, value in facts.items() if value is not None},
            recorded_at=self._now,
        )
        self._unit.apply([*written, RecordAudit(entry)])

    def _decided(self, item: QueueItem, ruling: Ruling) -> QueueItem:
        return attrs.evolve(
            item,
            state="decided",
            ruling=ruling,
            decided_by=self._actor.user_id,
            decided_at=self._now,
            note=self._note,
            version=item.version + 1,
        )

    def _order(self, ledger_id: str) -> Order:
        order = self._unit.order(ledger_id)
        if order is None:
            raise NotFound("there is no such order", field="ledger_id")
        return order

    def _lock(self, user_id: str) -> Customer:
        customer = self._unit.lock_customers([user_id]).get(user_id)
        if customer is None:
            raise NotFound("billing has not seen this user", field="user_id")
        return customer


def replaced() -> Conflict:
    """Return the error of money for an order whose terms do not hold any more."""
    told = "this order is for terms that do not hold any more, and buys nothing: credit the customer instead"
    return Conflict(told, field="ledger_id", reason="change_replaced")
