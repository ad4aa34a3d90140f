"""Treasuries: every transfer of an allowed token to or from one is accounted for, exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Evidence, Receipt
from evmbilling.domain.reading.evidence import Observation
from evmbilling.domain.selling.orders import DEPOSIT

Direction = Literal["in", "out"]
MovementKind = Literal["receipt", "refund", "suspense", "external"]


@frozen(kw_only=True)
class Treasury:
    """An address that receives money on a chain, watched from a block on and never forgotten.

    Attributes:
        since_block: transfers from this block on are accounted for; what was there before is the opening balance.

    """

    chain_id: int
    address: str
    since_block: int


@frozen(kw_only=True)
class Movement:
    """One transfer of a token to or from a treasury, and what it was.

    A payment through a contract has two logs, the contract's event and the token's own transfer: the receipt carries
    the event's identity, the movement the transfer's, and ``receipt_id`` joins them. A transfer from one treasury to
    another is one movement, ``out`` of the first; the counterparty is the second.

    Attributes:
        identity: of the token's Transfer log.
        counterparty: who sent or got it.
        kind: what it was; ``external`` is the owner's own business, ``suspense`` waits for a person.
        receipt_id, refund_id: what it belongs to.
        live: False while the chain has taken it back.

    """

    identity: CreditIdentity
    direction: Direction
    treasury: str
    counterparty: str
    asset: Asset
    amount: int
    kind: MovementKind
    receipt_id: str | None = None
    refund_id: str | None = None
    evidence: Evidence
    live: bool = True
    version: int = 1


@frozen(kw_only=True)
class MovementRole:
    """What a transfer was, as far as it is known."""

    kind: MovementKind
    receipt_id: str | None = None
    refund_id: str | None = None


def receipt_role(receipt: Receipt) -> MovementRole:
    """Return what the transfer behind a receipt is: suspense while a person has to say, else a receipt."""
    kind: MovementKind = "suspense" if receipt.allocation == "suspense" else "receipt"
    return MovementRole(kind=kind, receipt_id=receipt.receipt_id)


EXTERNAL = MovementRole(kind="external")


def pair_transfers(observations: Iterable[Observation]) -> Mapping[CreditIdentity, Observation]:
    """Return, for transfers of one transaction that are part of a contract's payment or refund, that event.

    A contract moves the token before it says so: each event takes the nearest transfer before it, not taken yet, of
    the same token and amount to its treasury (for a refund: to its beneficiary). A refund of a contract that is not
    ours may say so first: then it takes the next one.
    """
    pairs: dict[CreditIdentity, Observation] = {}
    waiting: list[Observation] = []
    early: list[Observation] = []
    moving = (o for o in observations if o.kind in {"transfer", "payment", "refund"})
    for seen in sorted(moving, key=lambda o: o.log.ordinal):
        if seen.kind == "transfer":
            waiting.append(seen)
            continue
        transfer = next((t for t in reversed(waiting) if _belongs(t, seen)), None)
        if transfer is not None:
            pairs[transfer.log.identity] = seen
            waiting.remove(transfer)
        elif seen.kind == "refund" and seen.rail == "call":
            early.append(seen)
    for seen in early:
        transfer = next((t for t in waiting if _belongs(t, seen)), None)
        if transfer is not None:
            pairs[transfer.log.identity] = seen
            waiting.remove(transfer)
    return pairs


def _belongs(transfer: Observation, event: Observation) -> bool:
    receiver = event.treasury if event.kind == "payment" else event.beneficiary
    if event.rail == DEPOSIT:
        # One address pays it. What the token says that it moved may be more than what the contract saw arriving.
        return (transfer.token, transfer.payer, transfer.treasury) == (event.token, event.payer, receiver)
    return (transfer.token, transfer.amount, transfer.treasury) == (event.token, event.amount, receiver)


def follow_movement(
    before: Movement | None, seen: Observation | None, role: MovementRole, *, asset: Asset, outgoing: bool
) -> Movement | None:
    """Bring a movement in line with its evidence and with what it belongs to; None when there never was one.

    Args:
        seen: the transfer, or None when no canonical block holds it.
        role: what it is now; a movement that the chain took back keeps what it was.
        outgoing: whether a treasury sent it.

    """
    if seen is None:
        if before is None or not before.live:
            return before
        return attrs.evolve(before, live=False, version=before.version + 1)
    log = seen.log
    after = Movement(
        identity=log.identity,
        direction="out" if outgoing else "in",
        treasury=seen.payer if outgoing else seen.treasury,
        counterparty=seen.treasury if outgoing else seen.payer,
        asset=asset,
        amount=seen.amount,
        kind=role.kind,
        receipt_id=role.receipt_id,
        refund_id=role.refund_id,
        evidence=Evidence(
            block_number=log.block_number,
            block_hash=log.block_hash,
            block_time=log.block_time,
            log_index=log.log_index,
        ),
    )
    if before is None:
        return after
    same = attrs.evolve(after, version=before.version)
    return before if same == before else attrs.evolve(after, version=before.version + 1)


def differs(before: Movement, seen: Observation) -> bool:
    """Whether a log says something else now than when its movement was written: another branch, another outcome."""
    known = {before.treasury, before.counterparty}
    return (before.asset.token, before.amount, known) != (seen.token, seen.amount, {seen.payer, seen.treasury})


def other_side(movement: Movement) -> Movement:
    """Return a transfer between two treasuries as the receiving one sees it, for the books."""
    return attrs.evolve(movement, direction="in", treasury=movement.counterparty, counterparty=movement.treasury)
