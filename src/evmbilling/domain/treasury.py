"""Treasuries: every transfer of an allowed token to or from one is accounted for, exactly once."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.receipts import Evidence

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
    the event's identity, the movement the transfer's, and ``receipt_id`` joins them.

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
