"""What finance decides about credits that the chain put in doubt."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from evmbilling.domain.decisions import AppendEntry, Decision, StoreItem, StoreQueueItem, StoreReceipt
from evmbilling.domain.payments.allocation import is_ruled
from evmbilling.domain.payments.finance import QueueItem, receipt_subject
from evmbilling.domain.payments.judgement import (
    CHANGED,
    Place,
    Sighting,
    contradicts,
    follow_evidence,
    mismatch,
    next_look,
    turn_receipt,
)
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.reading.evidence import IntakeItem, Observation
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import ReceiptStatus
from evmbilling.engine.books.finance_rulings import Rulings
from evmbilling.engine.intake.scene import Scene
from evmbilling.errors import Conflict


class EvidenceRulings(Rulings):
    """One actor's decision about a receipt that the chain contradicts, in one unit.

    ``disputed``: the chain changed below the irreversible height. Accepted, the credit counts as before, as long as the
    evidence that we have of it stands; reversed, it counts for nothing until the chain shows it again.

    ``evidence_changed``: the same transaction says something else on another branch. Either way the old credit is over
    and what the chain says now is booked: accepted, for the order that it names; reversed, as suspense.
    """

    def accept(self, item_id: str) -> QueueItem:
        """Believe the credit, or what the chain says instead of it."""
        item = self._item(item_id)
        done = self._already(item, "accept", lambda _: True)
        if done is not None:
            return done
        decided = self._decided(item, "accept")
        if item.kind == CHANGED:
            self._take_anew(decided, suspend=False)
            return decided
        receipt = self._doubted(item)
        log = self._unit.logs_of([receipt.identity]).get(receipt.identity)
        if log is None:
            raise Conflict("the chain does not show this payment", field="item_id")
        self._turn(receipt, ReceiptStatus.FINAL, decided)
        return decided

    def reverse(self, item_id: str) -> QueueItem:
        """Take the credit back, or keep what the chain says instead of it in suspense."""
        item = self._item(item_id)
        done = self._already(item, "reverse", lambda _: True)
        if done is not None:
            return done
        decided = self._decided(item, "reverse")
        if item.kind == CHANGED:
            self._take_anew(decided, suspend=True)
        else:
            self._turn(self._doubted(item), ReceiptStatus.REVERSED, decided)
        return decided

    def _doubted(self, item: QueueItem) -> Receipt:
        receipt = self._unit.receipts([item.receipt_id or ""]).get(item.receipt_id or "")
        if receipt is None or receipt.status is not ReceiptStatus.DISPUTED:
            raise Conflict("this credit is not disputed any more", field="item_id")
        return receipt

    def _turn(self, receipt: Receipt, status: ReceiptStatus, decided: QueueItem, *, first: bool = False) -> Receipt:
        """Give a receipt another status, with everything that hangs on it; ``first`` when the decision says more."""
        after, entries = turn_receipt(receipt, status, self._now)
        items = self._about(receipt, decided)
        decisions: list[Decision] = [] if first else [StoreQueueItem(decided)]
        if receipt.user_id is None:
            decisions += [StoreReceipt(after), *map(AppendEntry, entries)]
            decisions += self._unnamed(receipt, after, items)
        else:
            order = self._order(receipt.ledger_id) if receipt.ledger_id else None
            draft = self._draft(self._lock(receipt.user_id), [order] if order is not None else [], items)
            draft.stored = {**draft.stored, receipt.identity: receipt}
            draft.receipts[receipt.identity] = after
            draft.entries[receipt.identity] = entries
            decisions += draft.settle()
        self._say(decisions, receipt, decided, "reverse" if first else decided.ruling or "", status=str(status))
        return after

    def _take_anew(self, decided: QueueItem, *, suspend: bool) -> None:
        """Take in what the chain says now, as money that has just come; the credit that was is over."""
        receipt = self._unit.receipts([decided.receipt_id or ""])[decided.receipt_id or ""]
        scene = self._scene(receipt)
        seen = scene.seen.get(receipt.identity)
        order = self._unit.order(receipt.ledger_id) if receipt.ledger_id and not is_ruled(receipt) else None
        if seen is None or not contradicts(seen, receipt, order):
            raise Conflict("the chain says nothing else any more", field="item_id")
        if receipt.status is ReceiptStatus.DISPUTED:
            receipt = self._turn(receipt, ReceiptStatus.REVERSED, decided, first=True)
        named = self._unit.orders_by_reference([seen.reference]).get(seen.reference) if seen.reference else None
        taker = None if suspend else named
        place = _place(seen, taker, suspend=suspend)
        fresh = attrs.evolve(
            receipt,
            ledger_id=taker.ledger_id if taker else None,
            user_id=taker.user_id if taker else None,
            allocation=place[0],
            reason=place[1],
            asset=scene.asset_of(seen.token),
            amount=seen.amount,
            payer=seen.payer,
            treasury=seen.treasury,
        )
        sighting = Sighting(
            item=IntakeItem(identity=receipt.identity, wait="now"),
            observation=seen,
            receipt=fresh,
            order=taker,
            depths=scene.depths,
            asset=fresh.asset,
        )
        items = self._about(receipt, decided)
        decisions: list[Decision] = [StoreQueueItem(decided)]
        if taker is None:
            decisions += self._suspend(receipt, sighting, items)
        else:
            draft = self._draft(self._lock(taker.user_id), [taker], items)
            draft.stored = {**draft.stored, receipt.identity: receipt}
            draft.receipts[receipt.identity] = fresh
            draft.placed_anew.add(receipt.receipt_id)
            draft.take(sighting)
            decisions += draft.settle()
        self._say(
            decisions,
            receipt,
            decided,
            decided.ruling or "",
            received=str(seen.amount),
            ledger_id=fresh.ledger_id,
            allocation=fresh.allocation,
        )

    def _suspend(self, before: Receipt, sighting: Sighting, items: Sequence[QueueItem]) -> list[Decision]:
        fresh = sighting.receipt or before
        after, entries = follow_evidence(
            sighting,
            now=self._now,
            new_id=self._ports.ids.new_id,
            place=(fresh.allocation, fresh.reason),
            asset=fresh.asset,
        )
        if after is None:
            return []
        written: list[Decision] = [StoreReceipt(after), *map(AppendEntry, entries)]
        return [*written, *self._unnamed(before, after, items), StoreItem(next_look(sighting, after))]

    def _about(self, receipt: Receipt, decided: QueueItem) -> list[QueueItem]:
        """Return the items about a receipt, the decided one as it is now."""
        items = self._unit.queue_items_of([receipt_subject(receipt.receipt_id)])
        return [decided if item.item_id == decided.item_id else item for item in items]

    def _scene(self, receipt: Receipt) -> Scene:
        cursor = self._unit.cursor(receipt.asset.chain_id)
        if cursor is None:
            raise Conflict("this chain has not been read", field="item_id")
        return Scene(self._ports, self._unit, [IntakeItem(identity=receipt.identity, wait="now")], cursor)

    def _say(
        self, decisions: Sequence[Decision], receipt: Receipt, decided: QueueItem, action: str, **facts: str | None
    ) -> None:
        about = {"item_id": decided.item_id, "amount": str(receipt.amount)} | facts
        self._write(decisions, receipt_subject(receipt.receipt_id), action, about, chain_id=receipt.asset.chain_id)


def _place(seen: Observation, order: Order | None, *, suspend: bool) -> Place:
    """Return where money goes that is not what was believed."""
    if suspend:
        return "suspense", CHANGED
    if order is None:
        return "suspense", "no_order"
    different = mismatch(seen, order)
    return ("suspense", different) if different else ("order", None)
