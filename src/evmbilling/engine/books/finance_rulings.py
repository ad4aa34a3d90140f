"""What a decision of finance does, inside one unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.payments.allocation import ASSIGNED
from evmbilling.domain.payments.finance import QueueItem, QueueKind, Ruling
from evmbilling.domain.payments.judgement import Place
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import ManualMark, Order
from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS, ReceiptStatus
from evmbilling.engine.books.placing import Placing, replaced
from evmbilling.engine.refunds.coverage import went_back
from evmbilling.errors import Conflict, InputError, NotFound, PermissionDenied

RULINGS: Mapping[QueueKind, frozenset[Ruling]] = {
    "suspense": frozenset({"assign", "credit", "write_off", "refund"}),
    "held": frozenset({"release", "refund"}),
    "duplicate": frozenset({"acknowledge", "refund"}),
    "reversed": frozenset({"acknowledge"}),
    "disputed": frozenset({"accept", "reverse"}),
    "evidence_changed": frozenset({"accept", "reverse"}),
    "token_halted": frozenset({"acknowledge"}),
    "contract_halted": frozenset({"acknowledge"}),
    "write_off_approval": frozenset({"write_off"}),
}
"""Which decisions each kind of item takes; approvals of refunds are decided where refunds are."""
_LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}


class Rulings(Placing):
    """One actor's decision in one unit: who may decide what about which item, and where its money goes then."""

    def assign(self, item_id: str, ledger_id: str) -> QueueItem:
        """Count a receipt in suspense for an order."""
        item = self._item(item_id)
        done = self._already(item, "assign", lambda receipt: receipt.ledger_id == ledger_id)
        if done is not None:
            return done
        receipt, order = self._receipt(item), self._order(ledger_id)
        if (receipt.asset.chain_id, receipt.asset.token) != (order.asset.chain_id, order.asset.token):
            raise InputError("the order is in another asset than this money", field="ledger_id")
        decided = self._decided(item, "assign")
        self._place(receipt, order, order.user_id, ("order", ASSIGNED), decided)
        return decided

    def credit(self, item_id: str, user_id: str) -> QueueItem:
        """Give a receipt in suspense to a customer."""
        item = self._item(item_id)
        done = self._already(item, "credit", lambda receipt: receipt.user_id == user_id)
        if done is not None:
            return done
        if self._unit.customer(user_id) is None:
            raise NotFound("billing has not seen this user", field="user_id")
        decided = self._decided(item, "credit")
        self._place(self._receipt(item), None, user_id, ("credit", "credited"), decided)
        return decided

    def write_off(self, item_id: str) -> QueueItem:
        """Take a receipt in suspense as nobody's, or ask a second person to agree."""
        item = self._item(item_id)
        done = self._already(item, "write_off", lambda receipt: receipt.allocation == "written_off")
        if done is not None and done.state != "open":
            return done
        if item.kind == "write_off_approval":
            raise Conflict("this item asks a second person to agree to what another item asks for", field="item_id")
        receipt = self._receipt(item)
        asked = (i for i in self._siblings(item) if i.kind == "write_off_approval" and i.state == "open")
        if done is not None and any(approval.amount == receipt.amount for approval in asked):
            return done
        if not any(policy.needs_approval(receipt.asset, receipt.amount) for policy in self._policies(receipt)):
            decided = self._decided(item, "write_off")
            self._place(receipt, None, receipt.user_id, ("written_off", "written_off"), decided)
            return decided
        return self._ask_approval(item, receipt)

    def approve_write_off(self, item_id: str) -> QueueItem:
        """Carry out a write-off that somebody else asked for."""
        item = self._item(item_id)
        done = self._already(item, "write_off", lambda receipt: receipt.allocation == "written_off")
        if done is not None:
            return done
        if item.kind != "write_off_approval":
            raise Conflict("this item asks for no approval", field="item_id")
        asked = next((i for i in self._siblings(item) if i.ruling == "write_off" and i.state == "open"), None)
        if asked is None:
            raise Conflict("nobody asks for this write-off any more", field="item_id")
        if asked.decided_by == self._actor.user_id:
            raise PermissionDenied("a second person has to agree", field="actor")
        receipt = self._receipt(item)
        if receipt.amount != item.amount:
            # The chain has changed it. Whoever asked asks again, about what it is now.
            raise Conflict("this money is of another amount than was asked about", field="item_id")
        agreed = attrs.evolve(asked, state="decided", version=asked.version + 1)
        decided = self._decided(item, "write_off")
        self._place(receipt, None, receipt.user_id, ("written_off", "written_off"), decided, agreed)
        return decided

    def release(self, item_id: str) -> QueueItem:
        """Let a held receipt count as if it had just come in."""
        item = self._item(item_id)
        done = self._already(item, "release", lambda _: True)
        if done is not None:
            return done
        receipt = self._receipt(item)
        order = self._unit.order(receipt.ledger_id) if receipt.ledger_id else None
        place: Place = ("suspense", "unknown_payer")
        if order is not None:
            place = ("order", None)
        elif receipt.user_id is not None:
            place = ("credit", "no_order")
        decided = self._decided(item, "release")
        self._place(receipt, order, receipt.user_id, place, decided)
        return decided

    def acknowledge(self, item_id: str) -> QueueItem:
        """Close an item that only had to be seen."""
        item = self._item(item_id)
        done = self._already(item, "acknowledge", lambda _: True)
        if done is not None:
            return done
        decided = self._decided(item, "acknowledge")
        self._write([StoreQueueItem(decided)], item.subject, "acknowledge", {"item_id": item_id})
        return decided

    def mark_paid(self, ledger_id: str, reason: str) -> Order:
        """Mark an order as paid."""
        customer = self._lock(self._order(ledger_id).user_id)
        # Looked at under the lock: somebody may mark it, or the chain pay it, until then.
        order = self._order(ledger_id)
        if order.manual is not None and order.manual.reason == reason:
            return order
        if order.manual is not None or order.status in PAID_ORDERS:
            raise Conflict("the order is paid already", field="ledger_id", status=str(order.status))
        draft = self._draft(customer, [order], ())
        draft.mark(attrs.evolve(order, manual=ManualMark(by=self._actor.user_id, at=self._now, reason=reason)))
        decisions = list(draft.settle())
        if draft.buys_nothing(draft.orders[ledger_id]):
            raise replaced()
        self._write(decisions, f"order:{ledger_id}", "mark_paid", {"amount": str(order.amount)})
        return draft.orders[ledger_id]

    # -- items

    def _item(self, item_id: str) -> QueueItem:
        item = self._unit.queue_item(item_id)
        if item is None:
            raise NotFound("there is no such item", field="item_id")
        return item

    def _already(self, item: QueueItem, ruling: Ruling, same: Callable[[Receipt], bool]) -> QueueItem | None:
        """Return an item that was decided in just this way; None for one that is open.

        Raises:
            Conflict: it was decided otherwise, withdrawn, or does not take this decision.

        """
        if item.state == "open":
            if ruling not in RULINGS.get(item.kind, ()):
                raise Conflict(f"an item of kind {item.kind} does not take {ruling}", field="item_id")
            asked_before = item.ruling == ruling and item.decided_by == self._actor.user_id
            return item if asked_before else None
        receipts = self._unit.receipts([item.receipt_id]) if item.receipt_id else {}
        receipt = receipts.get(item.receipt_id or "")
        if item.state == "decided" and item.ruling == ruling and (receipt is None or same(receipt)):
            return item
        told = item.ruling if item.state == "decided" else item.state
        raise Conflict(f"this item is {item.state} already", field="item_id", state=item.state, ruling=told)

    def _ask_approval(self, item: QueueItem, receipt: Receipt) -> QueueItem:
        asked = attrs.evolve(self._decided(item, "write_off"), state="open")
        known = next((i for i in self._siblings(item) if i.kind == "write_off_approval"), None)
        approval = QueueItem(
            item_id=self._ports.ids.new_id(),
            kind="write_off_approval",
            subject=item.subject,
            reason="above_limit",
            user_id=receipt.user_id,
            ledger_id=receipt.ledger_id,
            receipt_id=receipt.receipt_id,
            asset=receipt.asset,
            amount=receipt.amount,
            opened_at=self._now,
        )
        if known is not None:
            approval = attrs.evolve(approval, item_id=known.item_id, version=known.version + 1)
        decisions = [StoreQueueItem(asked), StoreQueueItem(approval)]
        self._write(decisions, item.subject, "ask_write_off", {"item_id": item.item_id, "amount": str(receipt.amount)})
        return asked

    def _siblings(self, item: QueueItem) -> Sequence[QueueItem]:
        return [i for i in self._unit.queue_items_of([item.subject]) if i.item_id != item.item_id]

    # -- money

    def _receipt(self, item: QueueItem) -> Receipt:
        receipt = self._unit.receipts([item.receipt_id or ""]).get(item.receipt_id or "")
        if receipt is None or receipt.status not in _LIVE or receipt.allocation != "suspense":
            raise Conflict("this money is not in suspense any more", field="item_id")
        if went_back(self._unit, receipt):
            raise Conflict("this money went back, though its refund was given up", field="item_id", reason="given_back")
        return receipt

    def _policies(self, receipt: Receipt) -> list[MisfitPolicy]:
        """Return the policies of whoever sells with a receipt's treasury; of everybody when nobody does any more."""
        chain_id, gateways = receipt.asset.chain_id, self._unit.gateways()
        names = [n.name for n in self._unit.networks() if n.chain_id == chain_id]
        selling = [g for g in gateways for n in names if g.treasury(n) == receipt.treasury]
        return [gateway.misfits for gateway in selling or gateways]


Decided = Callable[[Rulings, str], QueueItem]
