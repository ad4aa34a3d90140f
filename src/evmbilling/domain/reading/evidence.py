"""Evidence: what the chain said. It touches no order; what it means is decided apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Literal

from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.identity import CreditIdentity


@frozen(kw_only=True)
class BlockHeader:
    """A block's place in its chain; ``timestamp`` in UTC, whole seconds."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: datetime


@frozen(kw_only=True)
class ChainLog:
    """One log of a successful transaction, checked against its receipt or its block.

    Attributes:
        log_index: block-wide position; ``ordinal`` the position in its own receipt.
        address: EIP-55; topics are 32 bytes each.

    """

    chain_id: int
    block_number: int
    block_hash: bytes
    block_time: datetime
    tx_hash: bytes
    log_index: int
    ordinal: int
    address: str
    topics: tuple[bytes, ...]
    data: bytes = field(repr=False)

    @cached_property
    def identity(self) -> CreditIdentity:
        """The name that a reorg does not change."""
        return CreditIdentity(self.chain_id, self.tx_hash, self.ordinal)


@frozen(kw_only=True)
class WatchSet:
    """What the reader looks for on a chain.

    Attributes:
        addresses, topics: logs of these contracts whose first topic is one of these.
        tokens, parties: ERC-20 ``Transfer`` logs of these tokens from or to one of these addresses.
        by_reference: whether the second topic of every such event of ``addresses`` is the reference of an order.
        unnamed: first topics of the events that are an exception to that: they name no order, and are always looked at.
        beside: first topics of the events that mean something only where a token moves from or to ``parties`` in the
            same transaction: by themselves they are not looked at.
        reference_prefix: with ``by_reference``, a transaction all of whose events have other references, and which
            moves nothing of ``parties``, need not be looked at; empty to look at all of them.
        burning: contracts of ``addresses`` whose ERC-721 tokens are looked for when they are burned.

    """

    addresses: tuple[str, ...]
    topics: tuple[bytes, ...]
    start_block: int
    tokens: tuple[str, ...] = ()
    parties: tuple[str, ...] = ()
    by_reference: bool = False
    unnamed: tuple[bytes, ...] = ()
    beside: tuple[bytes, ...] = ()
    reference_prefix: bytes = b""
    burning: tuple[str, ...] = ()


@frozen(kw_only=True)
class Tip:
    """How far a chain has come, as one node tells it at one time.

    Attributes:
        safe, finalized: what the node gives these names; None where it does not know them.
        there: the block at the height that was asked about; None when the node has none so high.

    """

    head: BlockHeader
    safe: BlockHeader | None = None
    finalized: BlockHeader | None = None
    there: BlockHeader | None = None


@frozen(kw_only=True)
class KnownTransaction:
    """A transaction as a node knows it, with the block that holds it.

    Attributes:
        to: None where it makes a contract; ``value`` in wei; ``data`` its calldata.
        block: the canonical block that holds it; None while there is none. ``index`` is its place there.
        succeeded: whether its receipt says so (status 1).

    """

    tx_hash: bytes
    sender: str
    to: str | None
    value: int
    data: bytes = field(default=b"", repr=False)
    block: BlockHeader | None = None
    index: int = 0
    succeeded: bool = False


@frozen(kw_only=True)
class ScannedRange:
    """Consecutive blocks that were read at once: the first and the last header, and every watched log in them.

    Attributes:
        logs: a tuple, or :class:`evmbilling.domain.reading.log_columns.LogColumns` where there are many.

    """

    first: BlockHeader
    last: BlockHeader
    logs: Sequence[ChainLog] = field(repr=False)


@frozen(kw_only=True)
class Rescan:
    """Blocks below the cursor that are to be read again, the first and the last of them."""

    next: int
    last: int


@frozen(kw_only=True)
class Halt:
    """Why a network stands still until a person resumes it."""

    reason: str
    at_block: int
    since: datetime


@frozen(kw_only=True)
class Cursor:
    """How far a chain has been read; everything up to ``block`` is evidence.

    Attributes:
        block: the last block read, its hash and its timestamp: the network's watermark.
        heights: head, safe and finalized as the same node gave them then.
        irreversible: the highest block that reached ``irreversible_after``; None when none did.
        rescan: what is read again beside; the cursor stays where it is meanwhile.
        fence: number of the lease under which it was written.
        event_seq: number of the last event published about this network.

    """

    chain_id: int
    block: BlockHeader
    heights: Heights
    irreversible: BlockHeader | None = None
    halt: Halt | None = None
    rescan: Rescan | None = None
    fence: int = 0
    event_seq: int = 0
    updated_at: datetime


@frozen(kw_only=True)
class Lease:
    """The right to write a chain's evidence until ``until``; a newer fence voids it."""

    name: str
    owner: str
    fence: int
    until: datetime


ObservationKind = Literal["payment", "refund", "burn", "transfer", "mandate_given", "mandate_revoked"]
PaidBy = Literal["checkout", "erc20", "mandate", "call", "deposit"]
"""Which way money came: a signed order that was paid, a plain transfer, a charge under a mandate, a call of a contract
that is bound by configuration, or a deposit address that was swept."""
FoundBy = Literal["reference", "payer", "token_id"]
"""How the order of a payment is found: it is named, or it is the open one of the payer or of the membership's token."""
CLAIMED_BY_HEIGHT: tuple[Literal["head", "safe", "finalized"], ...] = ("head", "safe", "finalized")
"""How items wait for a height, in the order in which they are claimed."""


def claim_share(fresh: int, limit: int) -> int:
    """Return how many of ``limit`` items that are claimed may be others than the ``fresh`` ones that wait ``now``.

    Half of a claim is theirs, and what the fresh ones leave: neither a flood of new evidence nor one of promotions
    keeps the other waiting.
    """
    return max(limit - fresh, limit // 2)


WaitKind = Literal["now", "head", "safe", "finalized", "time", "never"]


@frozen(kw_only=True)
class IntakeItem:
    """A movement on chain that the intake has to look at, unique by credit identity.

    Attributes:
        wait: ``now`` (evidence changed), ``head``/``safe``/``finalized`` (when that height reaches ``height``),
            ``time`` (parked until ``retry_at``), ``never`` (settled).
        height: the block from which on it is looked at; of ``now`` that of the movement, so that what is many is taken
            in as the chain has it.
        reason: stable code of why it is parked, foreign or ignored.
        attempts: how often it failed in a row.

    """

    identity: CreditIdentity
    wait: WaitKind
    height: int = 0
    retry_at: datetime | None = None
    attempts: int = 0
    reason: str | None = None


@frozen(kw_only=True)
class Observation:
    """A log, decoded by a provider: what the bound contract or the token says happened.

    Attributes:
        kind: ``payment`` and ``refund`` are the contract's events, ``burn`` the end of a membership token, ``transfer``
            a payment token's own; ``mandate_given`` and ``mandate_revoked`` move no money.
        rail: which way a payment came.
        reference: 32 bytes; empty for a transfer and for what happened to a mandate.
        refund_id: 32 bytes of a refund's event.
        mandate: 32 bytes, the mandate's id on chain, where there is one.
        found_by: how a payment's order is found.
        told_payer: whether the event itself says who paid; else it is whoever sent the transfer beside it.
        money: ``transfer`` while the token's own transfer in the same transaction has to say what came, ``transfers``
            while all of them together do.
        subscription: membership token id; None when none is told. Built-in contracts say 0 for none; another contract
            may number its first membership so.
        amount: base units received by ``treasury``.
        log: the evidence behind it.

    """

    kind: ObservationKind
    rail: PaidBy = "checkout"
    contract: str
    reference: bytes
    subscription: int | None
    payer: str
    beneficiary: str
    token: str
    amount: int
    treasury: str
    refund_id: bytes = b""
    mandate: bytes = b""
    found_by: FoundBy = "reference"
    told_payer: bool = True
    money: Literal["event", "transfer", "transfers"] = "event"
    log: ChainLog
