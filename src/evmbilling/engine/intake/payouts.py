"""What left the treasuries and how memberships ended: refunds that we prepared are recognised here.

Every other transfer is the owner's own business, and every other burn the holder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs
from attrs import field, frozen

from evmbilling.domain.books.bookkeeping import Clerk
from evmbilling.domain.books.postings import book_refund
from evmbilling.domain.decisions import (
    Decision,
    Publish,
    StoreCustomer,
    StoreOrder,
    StoreProof,
    StoreReceipt,
    StoreRefund,
    StoreSubscription,
)
from evmbilling.domain.identity import CreditIdentity, token_mark
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.payments.judgement import Depths
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.payments.treasury import Movement, MovementRole
from evmbilling.domain.reading.evidence import IntakeItem, Observation
from evmbilling.domain.refunds.burning import begun, follow_burn, subscription_of
from evmbilling.domain.refunds.proofs import PAID_BY_ANOTHER, is_coin_log, is_coin_refund, reopened
from evmbilling.domain.refunds.refunds import (
    carries_out,
    confirms,
    first_of,
    follow_refund,
    has_moved,
    may_appear,
    refund_facts,
)
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.membership_ends import MembershipEnds, may_shorten
from evmbilling.engine.refunds.routes import membership_of
from evmbilling.engine.subscriptions.membership_tokens import is_marked, is_marked_otherwise, marked
from evmbilling.ports.storage import Unit


@frozen(kw_only=True)
class Payout:
    """An intake item about money that may have left a treasury, inside the unit that has claimed it.

    Attributes:
        item: of the contract's event, or of the token's transfer; both come when both are watched.
        transfer: the token's transfer; None when its block is gone, or for the native coin and a burn.
        event: the contract's refund event in the same transaction that the transfer is part of, or a burn.
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


def match_payouts(
    ports: Ports, unit: Unit, payouts: Sequence[Payout], *, now: datetime, beside: Sequence[Decision] = ()
) -> PayoutOutcome:
    """Recognise refunds among what left the treasuries; what is not named in the outcome is external.

    ``beside`` are the batch's other decisions: a customer whose events they count is left for the next batch, when a
    membership has to end.
    """
    desk = _Desk(ports, unit, now, set(_users_of(beside)))
    for payout in payouts:
        desk.take(payout)
    return desk.outcome()


class _Desk:
    """The refunds that one batch touches."""

    def __init__(self, ports: Ports, unit: Unit, now: datetime, busy: set[str]) -> None:
        self._ports = ports
        self._unit = unit
        self._now = now
        self._busy = busy
        self._ends = MembershipEnds(ports, unit, now)
        self._stored: dict[str, Refund] = {}
        self._current: dict[str, Refund] = {}
        self._roles: dict[CreditIdentity, MovementRole] = {}
        self._items: dict[CreditIdentity, IntakeItem] = {}

    def take(self, payout: Payout) -> None:
        """Bring the refund that a payout is about in line with it."""
        refund = self._refund_of(payout)
        if refund is None:
            return
        free = refund.user_id is None or self._ends.lock(refund.user_id)
        refund = self._current.get(refund.refund_id) or self._unit.refund(refund.refund_id) or refund
        after = self._follow(refund, payout)
        if not free or (after.user_id in self._busy and self._moves_membership(refund, after)):
            # Somebody holds the customer: the item waits as it is, and the others flow.
            self._items[payout.item.identity] = attrs.evolve(payout.item, wait="now")
            return
        self._stored.setdefault(refund.refund_id, refund)
        self._current[refund.refund_id] = after
        if payout.transfer is not None:
            self._roles[payout.transfer.log.identity] = MovementRole(kind="refund", refund_id=refund.refund_id)
        self._look_again(payout, after)

    def outcome(self) -> PayoutOutcome:
        """Return the decisions for every refund that changed."""
        decisions: list[Decision] = []
        changed: dict[str, Refund] = {}
        for refund_id, current in self._current.items():
            before = self._stored[refund_id]
            if current == before:
                continue
            # However many items of the batch were about it, the row grows by one version.
            changed[refund_id] = after = attrs.evolve(current, version=before.version + 1)
            decisions += [*self._book(before, after), *self._tell(before, after)]
            decisions += self._ends.follow(before, after)
            decisions += self._look_for_again(before, after)
        decisions += self._ends.shorten(changed)
        stored = [StoreRefund(self._ends.burns.get(refund_id, after)) for refund_id, after in changed.items()]
        told = self._ends.decisions()
        return PayoutOutcome(decisions=(*stored, *decisions, *told), roles=self._roles, items=self._items)

    def _follow(self, refund: Refund, payout: Payout) -> Refund:
        """Return the refund as the item leaves it: by its money, or by the burn."""
        seen = payout.transfer or payout.event
        log = seen.log if seen else None
        if refund.identity != payout.item.identity and (_is_burn(payout) or _was_burn(refund, payout)):
            return follow_burn(refund, log, payout.depths)
        after = follow_refund(refund, log, payout.depths)
        if after.shortens:
            # By policy what is left decides, once the whole batch is known.
            return after
        planned = after.burn is not None and after.burn.status == "planned" and after.status is RefundStatus.DONE
        order = self._unit.order(after.ledger_id) if planned and after.ledger_id else None
        if order is not None:
            after = marked(self._ports, self._unit, after)
            after = begun(after, payout.depths, has_token=membership_of(self._unit, order) is not None)
        return after

    def _look_again(self, payout: Payout, after: Refund) -> None:
        """Let the item come back when its block is deep enough."""
        rule, heights = payout.depths.credit_after, payout.depths.heights
        burn = after.burn
        if burn is not None and burn.identity == payout.item.identity:
            waits = burn.evidence
        else:
            waits = after.evidence if after.status is not RefundStatus.DONE else None
        if waits is not None and not rule.reached(waits.block_number, heights):
            wait, height = rule.threshold(waits.block_number, heights)
            self._items[payout.item.identity] = attrs.evolve(payout.item, wait=wait, height=height, retry_at=None)

    def _moves_membership(self, before: Refund, after: Refund) -> bool:
        """Whether a change of a refund may change what its customer is a member of."""
        return after.burn != before.burn or may_shorten(self._unit, before, after)

    # -- which refund

    def _refund_of(self, payout: Payout) -> Refund | None:
        known = payout.movement.refund_id if payout.movement is not None else None
        if known is not None:
            return self._current.get(known) or self._unit.refund(known)
        if payout.event is not None and payout.event.kind == "burn":
            return self._burned_by(payout.event)
        if payout.event is not None:
            event = payout.event
            named = [r for r in self._named_by(event) if confirms(r, event) and _can_be_there(r)]
            moved = [r for r in named if has_moved(r, event, payout.transfer)]
            seen = {event.log.identity, *((payout.transfer.log.identity,) if payout.transfer is not None else ())}
            own = [r for r in moved if r.identity in seen]
            return first_of(own or [r for r in moved if r.identity is None or event.refund_id])
        if payout.transfer is not None:
            transfer = payout.transfer
            if is_coin_log(transfer.log):
                return self._named_for(transfer)
            fitting = [r for r in self._now_of(addresses=[transfer.treasury]) if carries_out(r, transfer)]
            own = [r for r in fitting if r.identity == transfer.log.identity]
            return first_of(own or [r for r in fitting if r.identity is None and may_appear(r)])
        # Its block is gone and no transfer was stored: the coin of a contract's refund, or a burn.
        gone = payout.item.identity
        found = self._now_of(tx_hashes=[gone.tx_hash])
        return first_of([r for r in found if r.identity == gone or (r.burn is not None and r.burn.identity == gone)])

    def _named_for(self, transfer: Observation) -> Refund | None:
        """Return the refund for which a transfer of the coin was named, as the batch has left it so far."""
        named = self._unit.proofs(transfer.log.chain_id, [transfer.log.tx_hash])
        refund = self._unit.refund(named[0].refund_id) if named else None
        if refund is None:
            return None
        refund = self._current.get(refund.refund_id, refund)
        if refund.identity == transfer.log.identity:
            return refund if carries_out(refund, transfer) else None
        free = refund.evidence is None and may_appear(refund)
        return refund if free and carries_out(refund, transfer) else None

    def _named_by(self, event: Observation) -> list[Refund]:
        """Return the refund that an event names, or those of the order that it names."""
        if event.refund_id:
            return self._now_of(on_chain_ids=[event.refund_id])
        order = self._unit.orders_by_reference([event.reference]).get(event.reference) if event.reference else None
        found = self._unit.refunds_of_order(order.ledger_id) if order is not None else ()
        return [self._current.get(refund.refund_id, refund) for refund in found]

    def _burned_by(self, event: Observation) -> Refund | None:
        """Return the refund whose membership's token was burned."""
        if event.subscription is None:
            return None
        return self._ended_by_number(event, event.subscription) or self._ended_by_subscription(event)

    def _ended_by_number(self, event: Observation, number: int) -> Refund | None:
        """Return the refund with which a token ends that the contract has numbered itself.

        A mark may be of a number that a reorganisation has given to somebody else: what the payments say now decides.
        """
        mark = token_mark(event.log.chain_id, event.contract, number)
        found = self._now_of(marks=[mark])
        same = [r for r in found if r.burn and r.burn.identity == event.log.identity]
        # What was mined again after a reorganisation may burn a number that is another member's now.
        same = [r for r in same if (r.burn and r.burn.evidence) or not self._is_anothers(r, mark)]
        live = [r for r in found if r.burn and r.burn.evidence is None and r.status not in OVER]
        return first_of(same or _due_first([r for r in live if is_marked(self._ports, self._unit, r, mark)]))

    def _is_anothers(self, refund: Refund, mark: bytes) -> bool:
        return is_marked_otherwise(self._ports, self._unit, refund, mark)

    def _ended_by_subscription(self, event: Observation) -> Refund | None:
        """Return the refund with which a token ends whose number is the subscription's."""
        subscription_id = subscription_of(event.subscription)
        orders = self._unit.orders_of_subscriptions([subscription_id]) if subscription_id else ()
        own = {o.ledger_id for o in orders} if any(o.contract == event.contract for o in orders) else set[str]()
        ending = [r for r in self._now_of(users={o.user_id for o in orders}) if r.burn and r.ledger_id in own]
        same = [r for r in ending if r.burn and r.burn.identity == event.log.identity]
        live = [r for r in ending if r.burn and r.burn.evidence is None and r.status not in OVER]
        return first_of(same or _due_first(live))

    def _now_of(self, **wanted: Iterable[str] | Iterable[bytes]) -> list[Refund]:
        """Return the refunds that are asked for, as the batch has left them so far."""
        found = self._unit.refunds_by(**{name: list(values) for name, values in wanted.items()})  # type: ignore[arg-type]  # names of the port
        return [self._current.get(refund.refund_id, refund) for refund in found]

    # -- what it means

    def _book(self, before: Refund, after: Refund) -> Sequence[Decision]:
        order = self._unit.order(after.ledger_id) if after.ledger_id else None
        clerk = Clerk(now=self._now, new_id=self._ports.ids.new_id)
        return book_refund(before, after, clerk, order=order)

    def _look_for_again(self, before: Refund, after: Refund) -> Iterable[Decision]:
        """Look for the transaction of a refund in the coin that the chain took back; one that is open is looked for."""
        moved = before.identity
        if moved is None or before.evidence is None or after.evidence is not None or not is_coin_refund(after):
            return
        for proof in self._unit.proofs_of(after.refund_id):
            # What lost to it may be mined in its place: of one number there is one, and which one is open again.
            if proof.state == "settled" or (proof.state == "refused" and proof.reason == PAID_BY_ANOTHER):
                yield StoreProof(reopened(proof, self._now))

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


def _users_of(decisions: Sequence[Decision]) -> Iterable[str]:
    """Give the customers whose rows other decisions of the batch write."""
    for decision in decisions:
        match decision:
            case StoreCustomer(customer):
                yield customer.user_id
            case StoreSubscription(subscription):
                yield subscription.user_id
            case StoreOrder(order):
                yield order.user_id
            case StoreReceipt(receipt) if receipt.user_id is not None:
                yield receipt.user_id
            case _:
                continue


def _can_be_there(refund: Refund) -> bool:
    return refund.status is RefundStatus.DONE or may_appear(refund)


def _due_first(refunds: list[Refund]) -> list[Refund]:
    """Return the refunds whose membership's token is due to be burned, if any is; else all."""
    return [r for r in refunds if r.burn is not None and r.burn.status == "due"] or refunds


def _is_burn(payout: Payout) -> bool:
    return payout.event is not None and payout.event.kind == "burn"


def _was_burn(refund: Refund, payout: Payout) -> bool:
    """Whether an item whose block is gone was the burn that goes with a refund."""
    return refund.burn is not None and refund.burn.identity == payout.item.identity
