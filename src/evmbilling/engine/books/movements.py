"""Accounting for transfers: every one to or from a treasury becomes exactly one movement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from evmbilling.domain.books.bookkeeping import Clerk
from evmbilling.domain.books.postings import book_movement
from evmbilling.domain.decisions import Decision, StoreItem, StoreMovement, StoreReceipt
from evmbilling.domain.identity import CreditIdentity, is_ours
from evmbilling.domain.payments.judgement import put_aside
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.payments.treasury import (
    EXTERNAL,
    Movement,
    MovementRole,
    differs,
    follow_movement,
    other_side,
    receipt_role,
)
from evmbilling.domain.reading.evidence import IntakeItem, Observation
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.payouts import Payout, PayoutOutcome, match_payouts
from evmbilling.engine.intake.scene import Scene
from evmbilling.ports.storage import Unit


class MovementBook:
    """The movements that one unit of the intake touches.

    A contract's payment is two items, its event and the token's transfer. Whichever of them is taken in writes the
    movement as soon as the receipt is there, so neither waits for the other.
    """

    def __init__(self, ports: Ports, unit: Unit, scene: Scene, *, now: datetime) -> None:
        self._ports = ports
        self._unit = unit
        self._scene = scene
        self._clerk = Clerk(now=now, new_id=ports.ids.new_id)
        self._now = now
        self._loaded = {item.identity.tx_hash for item in scene.items}
        self._roles: dict[CreditIdentity, MovementRole] = {}
        self._parts: list[Observation] = []
        self._gone: set[CreditIdentity] = set()
        self._held: set[CreditIdentity] = set()
        self._payouts: list[Payout] = []

    def take(self, item: IntakeItem, seen: Observation | None) -> tuple[Decision, ...]:
        """Note an item that is no receipt of its own; return how the item goes on."""
        identity = item.identity
        movement = self._scene.movements.get(identity)
        if seen is None:
            if movement is not None:
                self._gone.add(identity)
            if movement is not None and movement.kind != "refund":
                return (_settled(item),)
            # A refund's transfer, its contract's event (which has no movement of its own), or nothing of ours.
            self._payout(item, None)
            return ()
        if seen.kind in {"refund", "burn"}:
            self._payout(item, seen)
            return ()
        return self._transfer(item, seen)

    def forget_other(self, identity: CreditIdentity, seen: Observation | None) -> None:
        """Take a movement back in whose place something else stands now that is no transfer."""
        if seen is not None and seen.kind != "transfer" and identity in self._scene.movements:
            self._gone.add(identity)

    def write(self, decisions: list[Decision]) -> None:
        """Add what the movements of the batch have become to its decisions."""
        outcome = None
        if self._payouts:
            outcome = match_payouts(self._ports, self._unit, self._payouts, now=self._now, beside=decisions)
        if outcome is not None:
            decisions += outcome.decisions
            decisions += (StoreItem(outcome.items.get(p.item.identity) or _leftover(p)) for p in self._payouts)
            self._give_roles(outcome)
        by_chain: dict[int, dict[CreditIdentity, Receipt]] = defaultdict(dict)
        for receipt in [d.receipt for d in decisions if isinstance(d, StoreReceipt)]:
            by_chain[receipt.identity.chain_id][receipt.identity] = receipt
        self.follow_receipts(by_chain.pop(self._scene.chain_id, {}), decisions)
        for chain_id, changed in by_chain.items():
            # What a subscription is paid with may be on several chains, and one of them moves money of another.
            cursor = self._unit.cursor(chain_id)
            if cursor is not None:
                scene = Scene(self._ports, self._unit, (), cursor)
                MovementBook(self._ports, self._unit, scene, now=self._now).follow_receipts(changed, decisions)

    def follow_receipts(self, changed: Mapping[CreditIdentity, Receipt], decisions: list[Decision]) -> None:
        """Add what the movements of this chain have become with its receipts that changed."""
        self._load(changed)
        for seen in self._parts:
            event = self._scene.events[seen.log.identity]
            receipt = changed.get(event.log.identity) or self._scene.receipts.get(event.log.identity)
            if receipt is not None:
                self._roles[seen.log.identity] = receipt_role(receipt)
            elif event.reference and not is_ours(event.reference, self._ports.storage.instance_id()):
                self._roles[seen.log.identity] = EXTERNAL
        for identity, receipt in changed.items():
            for transfer in self._transfers_of(identity):
                self._roles[transfer] = receipt_role(receipt)
                decisions += self._decided(transfer, identity, changed)
        for identity in sorted((self._roles.keys() | self._gone) - self._held):
            decisions += self._follow(identity)

    def _decided(
        self, transfer: CreditIdentity, receipt: CreditIdentity, changed: Mapping[CreditIdentity, Receipt]
    ) -> Sequence[Decision]:
        """Hold the transfer of a receipt while they differ; settle its item when a person has made them agree."""
        before, seen = self._scene.movements.get(transfer), self._scene.seen.get(transfer)
        if before is None or seen is None or not differs(before, seen):
            return ()
        if not self._agrees(seen, {**self._scene.receipts, **changed}):
            self._held.add(transfer)
            return ()
        return () if transfer == receipt else (_settled(IntakeItem(identity=transfer, wait="never")),)

    def _transfer(self, item: IntakeItem, seen: Observation) -> tuple[Decision, ...]:
        identity = item.identity
        before, event = self._scene.movements.get(identity), self._scene.events.get(identity)
        if before is not None and before.kind != "refund" and differs(before, seen):
            other = self._other_content(item, before, seen)
            if other is not None:
                return (StoreItem(other),)
        leaves, reaches = self._scene.ways(seen)
        if event is not None and event.kind == "payment":
            self._parts.append(seen)
        elif event is not None or (leaves and not reaches):
            self._payout(item, seen)
            return ()
        elif leaves and reaches:
            self._roles[identity] = EXTERNAL
        else:
            reason = "no_treasury" if seen.amount else "no_amount"
            self._ports.telemetry.count("evidence_ignored", reason=reason)
            return (_settled(item, reason),)
        return (_settled(item),)

    def _other_content(self, item: IntakeItem, before: Movement, seen: Observation) -> IntakeItem | None:
        """Return how an item goes on whose log says something else than its movement; None when that is the truth now.

        The transfer behind a receipt waits for whoever decides about the receipt. The owner's own is taken back first
        and taken in anew next time: it may be of another token.
        """
        if not self._agrees(seen, self._scene.receipts):
            self._held.add(item.identity)
            return put_aside(item, self._now)
        if before.live and before.kind == "external":
            self._gone.add(item.identity)
            return attrs.evolve(item, wait="now", retry_at=None)
        return None

    def _agrees(self, seen: Observation, receipts: Mapping[CreditIdentity, Receipt]) -> bool:
        """Whether the receipt that a transfer is behind, if there is one, says the same."""
        event = self._scene.events.get(seen.log.identity)
        receipt = receipts.get(event.log.identity if event is not None else seen.log.identity)
        if receipt is None:
            return True
        said = event or seen  # of several transfers the event says what they come to
        return (receipt.asset.token, receipt.amount, receipt.treasury) == (said.token, said.amount, said.treasury)

    def _payout(self, item: IntakeItem, seen: Observation | None) -> None:
        is_event = seen is not None and seen.kind in {"refund", "burn"}
        identity = item.identity
        self._payouts.append(
            Payout(
                item=item,
                transfer=self._scene.transfer_of(identity) if is_event else seen,
                event=seen if is_event else self._scene.events.get(identity),
                movement=self._scene.movements.get(identity),
                depths=self._scene.depths,
            )
        )
        if seen is not None and seen.kind == "transfer":
            self._roles[identity] = EXTERNAL

    def _give_roles(self, outcome: PayoutOutcome) -> None:
        for identity, role in outcome.roles.items():
            if identity in self._scene.seen:
                self._roles[identity] = role

    def _load(self, changed: Iterable[CreditIdentity]) -> None:
        """Read the transactions of receipts that changed although none of their items is in the batch."""
        more = {identity.tx_hash for identity in changed} - self._loaded
        if more:
            self._scene.load(more)
            self._scene.movements.update(
                self._unit.movements([i for i in self._scene.seen if i.tx_hash in more] + list(changed))
            )

    def _transfers_of(self, receipt: CreditIdentity) -> Sequence[CreditIdentity]:
        """Return the transfers behind a receipt: its own, or those that its event is about."""
        seen = self._scene.seen.get(receipt)
        if seen is None:
            return [receipt] if receipt in self._scene.movements else []
        if seen.kind == "transfer":
            event = self._scene.events.get(receipt)
            return [receipt] if event is None or event.kind != "payment" else []
        return [transfer.log.identity for transfer in self._scene.transfers_of(receipt)]

    def _follow(self, identity: CreditIdentity) -> Sequence[Decision]:
        before, seen = self._scene.movements.get(identity), self._scene.seen.get(identity)
        if identity in self._gone or (
            before is not None and before.kind == "refund" and seen and differs(before, seen)
        ):
            seen = None
        role = self._roles.get(identity, EXTERNAL)
        asset = before.asset if before is not None else self._scene.asset_of(seen.token if seen else "")
        outgoing = seen is not None and seen.payer in self._scene.treasuries
        after = follow_movement(before, seen, role, asset=asset, outgoing=outgoing)
        if after is None or after == before:
            return ()
        return (StoreMovement(after), *self._book(before, after))

    def _book(self, before: Movement | None, after: Movement) -> Sequence[Decision]:
        if after.treasury == after.counterparty:
            return ()  # a treasury that pays itself
        posted: list[Decision] = [*book_movement(before, after, self._clerk)]
        if after.direction == "out" and after.counterparty in self._scene.treasuries:
            posted += book_movement(other_side(before) if before else None, other_side(after), self._clerk)
        return posted


def _leftover(payout: Payout) -> IntakeItem:
    nothing = payout.transfer is None and payout.event is None and payout.movement is None
    return _settled_item(payout.item, "not_a_payment" if nothing else None)


def _settled_item(item: IntakeItem, reason: str | None = None) -> IntakeItem:
    return IntakeItem(identity=item.identity, wait="never", reason=reason)


def _settled(item: IntakeItem, reason: str | None = None) -> Decision:
    return StoreItem(_settled_item(item, reason))
