"""Nonces of a wallet that a database does not know of, and how they are used up. Pure.

A database that was restored has forgotten what was signed since its backup. Nothing that was signed can be taken back
but by its nonce: a chain mines one transaction of a nonce at most. So what is seen in blocks or in the pools of nodes
holds everything else up until it is known, and what nobody sees is made impossible by a *fence*: transactions that do
nothing, under every nonce that it can have.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import Transmission

NOT_READ: Final = "not_read"
"""Why something waits: its wallet has sent something else in blocks that are not read yet."""
IN_POOL: Final = "in_pool"
"""Why something waits: of its wallet, nodes hold something else to be mined than the database knows of."""
AWAITS_FENCE: Final = "awaits_fence"
"""Why something waits: nonces of its wallet are being used up."""
MOST_IN_FLIGHT: Final = 64
"""How many transactions of one sender may wait to be mined: nodes keep about that many of one account."""
FENCE_GAS: Final = 21_000
_PREFIX: Final = "nonces:"
_KEPT: Final = timedelta(days=3650)
"""A fence that ended by itself would let through what waits behind it."""


@frozen(kw_only=True)
class Nonces:
    """What is known of a wallet on one chain, each as a count: nonces begin at 0 and have no gaps.

    Attributes:
        mined: of its transactions in the latest block.
        known: one more than the highest nonce that the database knows.
        pooled: as ``mined``, with what nodes hold to be mined; None where no node tells.
        read: as ``mined``, up to the block to which everything is read and taken in; None where nobody can tell.

    """

    mined: int
    known: int
    pooled: int | None
    read: int | None


def unseen(nonces: Nonces) -> str | None:
    """Return why nothing new may get a nonce; None where all that is seen of the wallet is known.

    Pools have to hold what we know of, no more and no less. Where they hold less, what we sent has been forgotten, and
    so may have been what we do not know of; it is seen again, or mined, once ours is there again.
    """
    if nonces.mined > nonces.known and (nonces.read is None or nonces.read < nonces.mined):
        return NOT_READ
    if nonces.pooled is not None and nonces.pooled != max(nonces.mined, nonces.known):
        return IN_POOL
    return None


def is_fence(sent: Transmission) -> bool:
    """Whether a transmission does nothing but use its nonce up."""
    return sent.purpose == "burn" and sent.subject.startswith(_PREFIX)


@frozen(kw_only=True)
class Wallet:
    """A relayer's wallet on one chain: the reference to its key, its address, and what one transaction may cost."""

    network: str
    chain_id: int
    signer: SecretRef
    address: str
    gas_ceiling: int


def fence_subject(wallet: Wallet) -> str:
    """Return the subject of the first of a fence: two fences of one wallet that are asked for at once are one."""
    return f"{_PREFIX}{wallet.chain_id}:{wallet.address}"


def fence_post(fence_id: str, number: int, wallet: Wallet, now: datetime, *, attempt: int) -> Transmission:
    """Return a transmission that sends nothing to its own sender; by its id it goes before everything that waits.

    Args:
        fence_id: of the fence; number: which of its nonces this is for, from 1.
        wallet: whose nonce it uses up. now: when it is asked for.
        attempt: which fence of this wallet it is, from 1.

    """
    is_first = number == 1
    return Transmission(
        # Ids are ordered as text, and those of others are UUIDs: a hyphen comes before their second digit.
        transmission_id=f"0-{fence_id}-{number:04d}",
        purpose="burn",
        subject=fence_subject(wallet) if is_first else f"{_PREFIX}{fence_id}:{number}",
        attempt=attempt if is_first else 1,
        network=wallet.network,
        chain_id=wallet.chain_id,
        signer=wallet.signer,
        sender=wallet.address,
        to=wallet.address,
        gas=FENCE_GAS,
        gas_ceiling=wallet.gas_ceiling,
        not_after=now + _KEPT,
        next_at=now,
        waiting_since=now,
        created_at=now,
    )
