"""Our own transactions: what is sent, under which nonce, at which price, and what became of it. Pure.

A transmission gets one nonce, once, and keeps it for ever: a chain mines at most one transaction of a nonce, so
whatever happens to processes, nodes and replies, it moves money at most once. Its hash is stored before it is sent; a
reply that never came leaves it ``unknown`` until the chain says, never sent again under another nonce.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

import attrs
from attrs import field, frozen

from evmbilling.domain.books.ledger import NOBODY, Account, Entry, EntryKind, lines_of
from evmbilling.domain.money import Asset
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.states import check_move

Purpose = Literal["charge", "refund", "burn", "sweep"]
SignedKind = Literal["send", "cancel"]
SendOutcome = Literal["accepted", "known", "nonce_used", "underpriced", "refused", "no_answer"]
"""What sending came to. ``known``: the node had it already. ``no_answer``: nobody can tell whether it left."""


class TransmissionStatus(StrEnum):
    """Where one of our own transactions stands."""

    QUEUED = "queued"
    """Decided; it has no nonce and nothing is signed."""
    SIGNED = "signed"
    """Its nonce and hash are stored; it may have left."""
    SUBMITTED = "submitted"
    """A node has it."""
    UNKNOWN = "unknown"
    """It may have left, and no node says that it has it."""
    MINED = "mined"
    """In a block that can still go; it succeeded."""
    REVERTED = "reverted"
    """In a block that can still go; it failed there, and moved nothing."""
    DONE = "done"
    """It succeeded in a block that is irreversible."""
    FAILED = "failed"
    """It moved nothing and never will."""
    CANCELLED = "cancelled"
    """Withdrawn before anything was signed."""


_T = TransmissionStatus
_IN_FLIGHT = (_T.SIGNED, _T.SUBMITTED, _T.UNKNOWN, _T.MINED, _T.REVERTED)
TRANSMISSION_MOVES: Mapping[TransmissionStatus, frozenset[TransmissionStatus]] = {
    _T.QUEUED: frozenset({_T.SIGNED, _T.FAILED, _T.CANCELLED}),
    _T.SIGNED: frozenset({_T.SUBMITTED, _T.UNKNOWN, _T.MINED, _T.REVERTED, _T.DONE, _T.FAILED}),
    _T.SUBMITTED: frozenset({_T.UNKNOWN, _T.MINED, _T.REVERTED, _T.DONE, _T.FAILED}),
    _T.UNKNOWN: frozenset({_T.SUBMITTED, _T.MINED, _T.REVERTED, _T.DONE, _T.FAILED}),
    _T.MINED: frozenset({_T.SUBMITTED, _T.UNKNOWN, _T.REVERTED, _T.DONE, _T.FAILED}),
    _T.REVERTED: frozenset({_T.SUBMITTED, _T.UNKNOWN, _T.MINED, _T.DONE, _T.FAILED}),
    _T.DONE: frozenset(),
    _T.FAILED: frozenset(),
    _T.CANCELLED: frozenset(),
}
IN_FLIGHT = frozenset(_IN_FLIGHT)
"""It holds a nonce that no block has used up for ever."""
OPEN_TRANSMISSIONS = IN_FLIGHT | {_T.QUEUED}

BUMP_AFTER = timedelta(seconds=90)
"""How long a version waits to be mined before the next one pays more."""
LOOK_AGAIN = timedelta(seconds=10)
LOOK_LONGEST = timedelta(minutes=10)
LOOK_AT_POOLS = timedelta(seconds=30)
"""The longest pause of what waits for blocks to take up what is in pools: about two of them on a slow chain."""
_BUMP_EIGHTHS = 9
"""A replacement pays 9/8 of the version before: nodes ask for at least a tenth more (geth ``txpool.pricebump``)."""


@frozen(kw_only=True)
class MinedIn:
    """The block that holds a version. A reorg changes it."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    block_time: datetime
    succeeded: bool
    gas_paid: int
    """Wei."""


@frozen(kw_only=True)
class Transmission:
    """One transaction of ours, unique while open by (purpose, subject).

    Attributes:
        subject: what it is for: ``order:<ledger_id>``, ``refund:<refund_id>``, ``subscription:<id>``,
            ``deposit:<ledger_id>:<number>``, ``approval:refund:<refund_id>:<attempt>`` before that attempt,
            ``reset:approval:refund:<refund_id>:<attempt>`` what takes it back.
        attempt: counts from 1 for the same purpose and subject; the next one needs the one before to have failed.
        user_id: whose lock its effects need; None when it concerns no customer.
        signer: where the key is; ``sender`` its address.
        value: wei that is sent along.
        gas: units at most; ``gas_ceiling`` wei that the whole may cost in fees at most.
        not_after: it is not sent for the first time after this instant.
        nonce: assigned when the first version is signed; None before.
        versions: how many were signed.
        mined: the block that holds a version now.
        withdrawn: a person or a rule wants it not to happen any more; a nonce in use is then cancelled on chain.
        failure_reason: stable code.
        looks: how often we looked in vain since the last change; ``next_at`` when to look again.
        waiting_since: when the newest version was sent, or when it was queued.

    """

    transmission_id: str
    purpose: Purpose
    subject: str
    attempt: int = 1
    user_id: str | None = None
    network: str
    chain_id: int
    signer: SecretRef
    sender: str
    to: str
    value: int = 0
    data: bytes = field(default=b"", repr=False)
    gas: int
    gas_ceiling: int
    not_after: datetime
    status: TransmissionStatus = TransmissionStatus.QUEUED
    nonce: int | None = None
    versions: int = 0
    mined: MinedIn | None = None
    withdrawn: bool = False
    failure_reason: str | None = None
    looks: int = 0
    next_at: datetime
    waiting_since: datetime
    created_at: datetime
    version: int = 1


@frozen(kw_only=True)
class SignedTransaction:
    """One signed version of a transmission: append-only, unique by (transmission, seq) and by hash.

    Attributes:
        kind: ``cancel`` sends nothing to ourselves under the same nonce.
        raw: the bytes as they are sent; a restart sends the same ones again.
        max_fee: wei per gas at most (the gas price on chains without a base fee); ``priority_fee`` of it the tip.

    """

    transmission_id: str
    seq: int
    kind: SignedKind
    tx_hash: bytes
    raw: bytes = field(repr=False)
    max_fee: int
    priority_fee: int
    signed_at: datetime


@frozen(kw_only=True)
class FeeMarket:
    """What gas costs now, in wei per gas; ``base_fee`` is None on chains without EIP-1559."""

    base_fee: int | None
    priority_fee: int
    gas_price: int


@frozen(kw_only=True)
class Fees:
    """What a version offers, in wei per gas. Both are the gas price on chains without a base fee."""

    max_fee: int
    priority_fee: int
    legacy: bool = False


@frozen(kw_only=True)
class Look:
    """What the chain says about a transmission that holds a nonce.

    Attributes:
        mined: the canonical block that holds one of its versions.
        irreversible: the highest block that can no longer go; None when the chain cannot tell.
        used_for_ever: whether a block up to there has used its nonce.
        pending: whether a node holds one of its versions and waits to mine it.

    """

    mined: MinedIn | None
    irreversible: int | None
    used_for_ever: bool
    pending: bool


def offer_fees(
    market: FeeMarket, before: SignedTransaction | None, *, gas: int, ceiling: int, cap: int | None
) -> Fees | None:
    """Return what the next version offers; None when that would cost more than it may.

    The base fee may double before the offer is too low (EIP-1559: it grows by an eighth a block at most). A
    replacement pays an eighth more than the version before in both parts, else nodes refuse it.

    Args:
        gas: units. ceiling: wei for the whole. cap: wei per gas of the network; None for no cap.

    """
    legacy = market.base_fee is None
    priority = market.gas_price if market.base_fee is None else market.priority_fee
    most = market.gas_price if market.base_fee is None else 2 * market.base_fee + market.priority_fee
    if before is not None:
        priority = max(priority, _bumped(before.priority_fee))
        most = max(most, _bumped(before.max_fee), priority)
    affordable = ceiling // gas if cap is None else min(ceiling // gas, cap)
    floor = most if market.base_fee is None else market.base_fee + priority
    if before is not None:
        floor = max(floor, _bumped(before.max_fee))
    if affordable < floor or affordable <= 0:
        return None
    most = min(most, affordable)
    return Fees(max_fee=most, priority_fee=min(priority, most), legacy=legacy)


def _bumped(fee: int) -> int:
    return max(-(-fee * _BUMP_EIGHTHS // 8), fee + 1)


def wants_bump(transmission: Transmission, now: datetime) -> bool:
    """Say whether the newest version has waited long enough for the next one to pay more."""
    waits = transmission.status in {_T.SUBMITTED, _T.UNKNOWN, _T.SIGNED}
    return waits and now - transmission.waiting_since >= BUMP_AFTER


def wants_cancel(transmission: Transmission, newest: SignedTransaction | None) -> bool:
    """Say whether a nonce must be used up by a transaction that does nothing: others wait behind it."""
    waits = transmission.status in {_T.SUBMITTED, _T.UNKNOWN, _T.SIGNED}
    return waits and transmission.withdrawn and newest is not None and newest.kind == "send"


def signed(transmission: Transmission, version: SignedTransaction, nonce: int, now: datetime) -> Transmission:
    """Return the transmission with a version more; the nonce that it has stays."""
    kept = transmission.nonce if transmission.nonce is not None else nonce
    status = transmission.status if transmission.status in IN_FLIGHT else _T.SIGNED
    return _moved(transmission, status, now, nonce=kept, versions=version.seq, waiting_since=now)


def sent(transmission: Transmission, outcome: SendOutcome, now: datetime) -> Transmission:
    """Return the transmission after a version was sent.

    ``nonce_used`` says only that something under this nonce is mined, maybe our own: looking at the chain decides. A
    node that refuses may have been asked by another process before; nothing is concluded from it.
    """
    status = _T.SUBMITTED if outcome in {"accepted", "known"} else _T.UNKNOWN
    return _moved(transmission, status, now, failure_reason=None if status is _T.SUBMITTED else outcome)


def follow(
    transmission: Transmission, look: Look, versions: Sequence[SignedTransaction], now: datetime
) -> Transmission:
    """Return the transmission as the chain leaves it.

    A version in an irreversible block ends it; a nonce that something else used up for ever ends it too. A reorg takes
    ``mined`` and ``reverted`` back.
    """
    mined = look.mined
    if mined is None:
        if look.used_for_ever:
            return _moved(transmission, _T.FAILED, now, mined=None, failure_reason="nonce_taken")
        status = _T.SUBMITTED if look.pending else _T.UNKNOWN
        return _moved(transmission, status, now, mined=None)
    kinds = {version.tx_hash: version.kind for version in versions}
    is_cancel = kinds.get(mined.tx_hash) == "cancel"
    is_final = look.irreversible is not None and mined.block_number <= look.irreversible
    if mined.succeeded and not is_cancel:
        return _moved(transmission, _T.DONE if is_final else _T.MINED, now, mined=mined, failure_reason=None)
    reason = "withdrawn" if is_cancel else "reverted"
    return _moved(transmission, _T.FAILED if is_final else _T.REVERTED, now, mined=mined, failure_reason=reason)


def gas_entry(transmission: Transmission, coin: Asset, *, entry_id: str, now: datetime) -> Entry | None:
    """Return what an irreversible transaction of ours cost, for the books; None when it cost nothing.

    The relayer's wallet is no treasury: the coin comes from outside the books.
    """
    mined = transmission.mined
    if mined is None or mined.gas_paid == 0:
        return None
    return Entry(
        entry_id=entry_id,
        source=f"gas:{transmission.transmission_id}",
        kind=EntryKind.GAS,
        asset=coin,
        lines=lines_of({(Account.GAS, NOBODY): -mined.gas_paid, (Account.EXTERNAL, NOBODY): mined.gas_paid}),
        occurred_at=mined.block_time,
        recorded_at=now,
    )


def give_up(transmission: Transmission, reason: str, now: datetime) -> Transmission:
    """Return a transmission that was never signed as failed.

    Raises:
        IllegalTransition: it holds a nonce: only the chain can end it.

    """
    check_move(TRANSMISSION_MOVES, transmission.status, _T.CANCELLED)
    return _moved(transmission, _T.FAILED, now, failure_reason=reason)


def withdraw(transmission: Transmission, now: datetime) -> Transmission:
    """Return a transmission that shall not happen any more: cancelled, or to be cancelled on chain."""
    if transmission.status is _T.QUEUED:
        return _moved(transmission, _T.CANCELLED, now, withdrawn=True)
    return _moved(transmission, transmission.status, now, withdrawn=True)


def wait(
    transmission: Transmission, now: datetime, reason: str | None = None, *, longest: timedelta = LOOK_LONGEST
) -> Transmission:
    """Return the transmission unchanged but for when it is looked at again: later each time, up to a longest pause."""
    looks = transmission.looks + 1
    pause = min(LOOK_AGAIN * 2 ** min(looks, 10), longest)
    return attrs.evolve(
        transmission,
        looks=looks,
        next_at=now + pause,
        failure_reason=reason or transmission.failure_reason,
        version=transmission.version + 1,
    )


def _moved(transmission: Transmission, status: TransmissionStatus, now: datetime, **changes: object) -> Transmission:
    check_move(TRANSMISSION_MOVES, transmission.status, status)
    same = status is transmission.status
    return attrs.evolve(
        transmission,
        status=status,
        looks=transmission.looks + 1 if same else 0,
        next_at=now + min(LOOK_AGAIN * 2 ** min(transmission.looks if same else 0, 10), LOOK_LONGEST),
        version=transmission.version + 1,
        **changes,  # type: ignore[arg-type]  # names of fields, private to this module
    )
