"""Values that tests of storage share, and what a chain says: headers, logs, cursors, intake items."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Evidence
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, IntakeItem

CHAIN = 31337
OTHER_CHAIN = 10
T0 = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
EXTREMES = (0, 1, 2**53 + 1, 2**63, 10**18 + 1, 2**256 - 1)
"""Amounts that a float, a signed 64-bit integer or a short decimal would change."""

ALICE, BOB = "user-alice", "user-bob"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
CONTRACT = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER_WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
TREASURY = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
SITE = Product("site", "42")


def at(seconds: float) -> datetime:
    """Return an instant after (or before) T0."""
    return T0 + timedelta(seconds=seconds)


def ident(number: int) -> str:
    """Return an id in the form of a UUIDv7; they sort as their numbers do."""
    return str(UUID(int=(0x019C << 112) | (0x7 << 76) | (0b10 << 62) | number))


def word(number: int) -> bytes:
    """Return 32 bytes that sort as their numbers do."""
    return number.to_bytes(32)


def asset(**changes: Any) -> Asset:
    return attrs.evolve(Asset(chain_id=CHAIN, token=TOKEN, decimals=6, symbol="USDC"), **changes)


def identity(number: int = 1, *, chain_id: int = CHAIN, ordinal: int = 0) -> CreditIdentity:
    return CreditIdentity(chain_id, word(number), ordinal)


def evidence(**changes: Any) -> Evidence:
    return attrs.evolve(Evidence(block_number=100, block_hash=word(12), block_time=at(60), log_index=3), **changes)


def header(number: int, *, branch: int = 0) -> BlockHeader:
    """Return a header of one of several branches that share nothing but their numbers."""
    return BlockHeader(
        number=number,
        hash=word(branch * 10_000 + number + 1),
        parent_hash=word(branch * 10_000 + number),
        timestamp=T0.replace(microsecond=0) + timedelta(seconds=12 * number),
    )


def cursor(number: int = 100, *, branch: int = 0, **changes: Any) -> Cursor:
    full = Cursor(
        chain_id=CHAIN,
        block=header(number, branch=branch),
        heights=Heights(head=number, safe=number - 2, finalized=number - 4),
        fence=1,
        updated_at=T0,
    )
    return attrs.evolve(full, **changes)


def log(block: int, tx: int, *, branch: int = 0, **changes: Any) -> ChainLog:
    """Return a log of transaction ``tx`` in a block of a branch."""
    mined = header(block, branch=branch)
    full = ChainLog(
        chain_id=CHAIN,
        block_number=block,
        block_hash=mined.hash,
        block_time=mined.timestamp,
        tx_hash=word(tx),
        log_index=tx,
        ordinal=0,
        address=CONTRACT,
        topics=(word(1), word(2**256 - 1), word(0)),
        data=b"\x00\xff" * 48,
    )
    return attrs.evolve(full, **changes)


def item(number: int = 1, **changes: Any) -> IntakeItem:
    return attrs.evolve(IntakeItem(identity=identity(number), wait="now"), **changes)
