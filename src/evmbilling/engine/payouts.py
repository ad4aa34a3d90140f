"""What treasuries sent: refunds that we prepared are recognised here; everything else is the owner's own business."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs
from attrs import field, frozen

from evmbilling.domain.bookkeeping import Clerk
from evmbilling.domain.decisions import Decision, Publish, StoreRefund
from evmbilling.domain.events import Event, EventType
from evmbilling.domain.evidence import IntakeItem, Observation
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.judgement import Depths
from evmbilling.domain.postings import book_refund
from evmbilling.domain.receipts import Refund
from evmbilling.domain.refunds import AWAITED, carries_out, confirms, first_of, follow_refund, refund_facts
from evmbilling.domain.states import RefundStatus
from evmbilling.domain.treasury import Movement, MovementRole
from evmbilling.engine.context import Ports
from evmbilling.ports.storage import Unit

_PAGE = 500


@frozen(kw_only=True)
class Payout:
    """An intake item about money that may have left a treasury, inside the unit that has claimed it.

    Attributes:
        item: of the contract's refund event, or of the token's transfer; both come when both are watched.
        transfer: the token's transfer; None when its block is gone, or for the native coin.
        event: the contract's refund event in the same transaction that the transfer is part of.
        movement: what was stored about the transfer before.

    """

    item: IntakeItem
    transfer: Observation | None
    event: Observation | None
    movement: Movement | None
    depths: Depths


@frozen(kw_only=True)
class PayoutOutcome:
    """What payouts were.

    Attributes:
        decisions: to be applied with the batch.
        roles: of the transfers that are refunds, by the transfer's identity.
        items: how items go on; an item that is not named is settled.

    """

    decisions: tuple[Decision, ...] = ()
    roles: Mapping[CreditIdentity, MovementRole] = field(factory=dict)
    items: Mapping[CreditIdentity, IntakeItem] = field(factory=dict)


def match_payouts(ports: Ports, unit: Unit, payouts: Sequence[Payout], *, now: datetime) -> PayoutOutcome:
    """Recognise refunds among what left the treasuries; what is not named in the outcome is external."""
    desk = _Desk(ports, unit, now)
    for payout in payouts:
        desk.take(payout)
    return desk.outcome()


class _Desk:
    """The refunds that one batch touches."""

    def __init__(self, ports: Ports, unit: Unit, now: datetime) -> None:
        self._ports = ports
        self._unit = unit
        self._now = now
        self._awaited = {r.refund_id: r for r in _pages(unit, AWAITED)}
        self._stored: dict[str, Refund] = {}
        self._current: dict[str, Refund] = {}
        self._roles: dict[CreditIdentity, MovementRole] = {}
        self._items: dict[CreditIdentity, IntakeItem] = {}

    def take(self, payout: Payout) -> None:
        """Bring the refund that a payout is about in line with it."""
        refund = self._refund_of(payout)
        if refund is None:
            return
        if refund.user_id is not None and not self._unit.lock_customers([refund.user_id], skip_locked=True):
            # Somebody holds the customer: the item waits as it is, and the others flow.
            self._items[payout.item.identity] = attrs.evolve(payout.item, wait="now")
            return
        self._stored.setdefault(refund.refund_id, refund)
        seen = payout.transfer or payout.event
        after = follow_refund(refund, seen.log if seen else None, payout.depths)
        self._current[refund.refund_id] = after
        if payout.transfer is not None:
            self._roles[payout.transfer.log.identity] = MovementRole(kind="refund", refund_id=refund.refund_id)
        if after.evidence is not None and after.status is not RefundStatus.DONE:
            wait, height = payout.depths.credit_after.threshold(after.evidence.block_number, payout.depths.heights)
            self._items[payout.item.identity] = attrs.evolve(payout.item, wait=wait, height=height, retry_at=None)

    def outcome(self) -> PayoutOutcome:
        """Return the decisions for every refund that changed."""
        decisions: list[Decision] = []
        for refund_id, current in self._current.items():
            before = self._stored[refund_id]
            if current == before:
                continue
            # However many items of the batch were about it, the row grows by one version.
            after = attrs.evolve(current, version=before.version + 1)
            decisions += [StoreRefund(after), *self._book(before, after), *self._tell(before, after)]
        return PayoutOutcome(decisions=tuple(decisions), roles=self._roles, items=self._items)

    def _refund_of(self, payout: Payout) -> Refund | None:
        known = payout.movement.refund_id if payout.movement is not None else None
        if known is not None:
            return self._current.get(known) or self._unit.refund(known)
        candidates = self._awaited | self._current
        if payout.event is not None:
            event = payout.event
            found = [r for r in candidates.values() if confirms(r, event)] or [
                r for r in _pages(self._unit, [RefundStatus.DONE]) if confirms(r, event)
            ]
            return first_of(found)
        if payout.transfer is not None:
            transfer = payout.transfer
            fitting = [r for r in candidates.values() if carries_out(r, transfer)]
            own = [r for r in fitting if r.identity == transfer.log.identity]
            return first_of(own or [r for r in fitting if r.identity is None])
        # Its block is gone and no transfer was stored: the coin of a contract's refund.
        gone = payout.item.identity
        of_item = [r for r in candidates.values() if r.identity == gone]
        return first_of(of_item or [r for r in _pages(self._unit, [RefundStatus.DONE]) if r.identity == gone])

    def _book(self, before: Refund, after: Refund) -> Sequence[Decision]:
        order = self._unit.order(after.ledger_id) if after.ledger_id else None
        receipt = self._unit.receipts([after.receipt_id]).get(after.receipt_id) if after.receipt_id else None
        clerk = Clerk(now=self._now, new_id=self._ports.ids.new_id)
        return book_refund(before, after, clerk, order=order, receipt=receipt)

    def _tell(self, before: Refund, after: Refund) -> Iterable[Decision]:
        done, was = after.status is RefundStatus.DONE, before.status is RefundStatus.DONE
        if done != was:
            kind = EventType.REFUND_DONE if done else EventType.REFUND_REVERSED
            yield Publish(refund_event(after, kind, self._now, self._ports.ids.new_id()))


def refund_event(refund: Refund, kind: EventType, now: datetime, event_id: str) -> Event:
    """Return an event about a refund; its row's version numbers the events."""
    return Event(
        event_id=event_id,
        type=kind,
        aggregate=f"refund:{refund.refund_id}",
        seq=refund.version,
        occurred_at=refund.evidence.block_time if refund.evidence else now,
        recorded_at=now,
        data=refund_facts(refund, now),
    )


def _pages(unit: Unit, states: Sequence[RefundStatus]) -> Iterable[Refund]:
    after = ""
    while page := unit.refunds(states=states, after=after, limit=_PAGE):
        yield from page
        after = page[-1].refund_id
        if len(page) < _PAGE:
            return
