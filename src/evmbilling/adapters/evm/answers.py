"""The parts of JSON-RPC answers that are used (Ethereum execution-apis), typed; everything else is skipped."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.bloom import BLOOM_BYTES
from evmbilling.adapters.evm.hexes import read_address, read_bytes, read_hash, read_quantity, read_timestamp
from evmbilling.domain.evidence import BlockHeader
from evmbilling.errors import ChainMismatch

_NO_HASH: Final = "0x" + "0" * 64
_T = TypeVar("_T")


class BlockAnswer(msgspec.Struct, rename="camel"):
    """A block without its transactions; a pending one has neither number nor hash."""

    number: str | None
    hash: str | None
    parent_hash: str
    timestamp: str
    logs_bloom: str | None = None
    transactions: Raw = Raw(b"")


class LogAnswer(msgspec.Struct, rename="camel"):
    """One log; what is null belongs to no transaction yet, or to none at all."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str | None = None
    block_hash: str | None = None
    transaction_hash: str | None = None
    log_index: str | None = None
    removed: bool = False

    @property
    def has_transaction(self) -> bool:
        """Whether it says which transaction made it."""
        return self.transaction_hash not in (None, "0x", _NO_HASH)


class ReceiptAnswer(msgspec.Struct, rename="camel"):
    """One receipt; chains of before October 2017 have no status."""

    transaction_hash: str
    block_hash: str | None
    block_number: str | None
    logs: tuple[LogAnswer, ...]
    status: str | None = None


@frozen
class SeenHeader:
    """A header with what is only needed to look for logs; ``bloom`` is None where it cannot be relied on."""

    header: BlockHeader
    bloom: bytes | None


@frozen
class SeenLog:
    """A log as a node tells it, with its hex read."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int


BLOCK: Final = msgspec.json.Decoder(BlockAnswer | None)
LOGS: Final = msgspec.json.Decoder(tuple[LogAnswer, ...])
RECEIPT: Final = msgspec.json.Decoder(ReceiptAnswer | None)
BYTES: Final = msgspec.json.Decoder(str)


def decode_answer(decoder: msgspec.json.Decoder[_T], raw: Raw, what: str) -> _T:
    """Decode a result.

    Raises:
        ChainMismatch: it does not have the shape that the method promises.

    """
    answer: list[_T] = []
    try:
        answer.append(decoder.decode(raw))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        answer.clear()
    if not answer:
        raise ChainMismatch(f"the node's answer is no {what}")
    return answer[0]


def read_header(answer: BlockAnswer | None) -> SeenHeader | None:
    """Read a header; None when there is no such block, or it is not mined yet.

    A bloom of zeros is believed only when the block is empty: some chains do not fill it in.

    Raises:
        ChainMismatch: a field is malformed.

    """
    if answer is None or answer.number is None or answer.hash is None:
        return None
    seen: SeenHeader | None = None
    try:
        bloom = read_bytes(answer.logs_bloom) if answer.logs_bloom else b""
        empty = bytes(answer.transactions) == b"[]"
        header = BlockHeader(
            number=read_quantity(answer.number),
            hash=read_hash(answer.hash),
            parent_hash=read_hash(answer.parent_hash),
            timestamp=read_timestamp(answer.timestamp),
        )
        seen = SeenHeader(header, bloom if len(bloom) == BLOOM_BYTES and (any(bloom) or empty) else None)
    except ValueError:
        seen = None
    if seen is None:
        raise ChainMismatch("the node's header has a malformed field")
    return seen


def read_log(answer: LogAnswer) -> SeenLog:
    """Read a log that has a transaction.

    Raises:
        ChainMismatch: a field is malformed.

    """
    seen: SeenLog | None = None
    try:
        seen = SeenLog(
            address=read_address(answer.address),
            topics=tuple(map(read_hash, answer.topics)),
            data=read_bytes(answer.data),
            block_number=read_quantity(answer.block_number),
            block_hash=read_hash(answer.block_hash),
            tx_hash=read_hash(answer.transaction_hash),
            log_index=read_quantity(answer.log_index),
        )
    except ValueError:
        seen = None
    if seen is None:
        raise ChainMismatch("the node's log has a malformed field")
    return seen
