"""The parts of JSON-RPC answers that are used (Ethereum execution-apis), typed; everything else is skipped."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.reading.bloom import BLOOM_BYTES
from evmbilling.adapters.evm.rpc.hexes import (
    HASH_TEXT,
    read_address,
    read_bytes,
    read_hash,
    read_quantity,
    read_timestamp,
)
from evmbilling.domain.reading.evidence import BlockHeader
from evmbilling.errors import ChainMismatch

_NO_HASH: Final = "0x" + "0" * 64
_MOST: Final = 2**63 - 1
"""No block and no log within it has a larger number; it is the largest that a database holds."""
_T = TypeVar("_T")


class BlockAnswer(msgspec.Struct, rename="camel"):
    """A block with the hashes of its transactions only; a pending one has neither number nor hash."""

    number: str | None
    hash: str | None
    parent_hash: str
    timestamp: str
    logs_bloom: str | None = None
    gas_used: str | None = None
    transactions: Raw = Raw(b"")


class LogAnswer(msgspec.Struct, rename="camel", gc=False):
    """One log; what is null belongs to no transaction yet, or to none at all.

    There are many of them, and none refers to itself: the garbage collector need not know them.
    """

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


class ReceiptAnswer(msgspec.Struct, rename="camel", gc=False):
    """One receipt; chains of before October 2017 have no status."""

    transaction_hash: str
    block_hash: str | None
    block_number: str | None
    logs: tuple[LogAnswer, ...]
    status: str | None = None


@frozen
class SeenHeader:
    """A header with what is only needed to look for logs.

    Attributes:
        bloom: None where it cannot be relied on.
        transactions: how many the block has.
        gas: that they used; no block has more logs than that pays for.

    """

    header: BlockHeader
    bloom: bytes | None
    transactions: int
    gas: int = 0


class SeenLog(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A log with its hex read, and as the node told it."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int
    told: LogAnswer

    def says(self, other: SeenLog) -> bool:
        """Whether another answer says the same, however it is written."""
        return self.told == other.told or _values(self) == _values(other)


def _values(log: SeenLog) -> tuple[object, ...]:
    place = (log.block_number, log.block_hash, log.tx_hash, log.log_index)
    return (log.address, log.topics, log.data, *place)


BLOCK: Final = msgspec.json.Decoder(BlockAnswer | None)
LOGS: Final = msgspec.json.Decoder(list[LogAnswer])
RECEIPT: Final = msgspec.json.Decoder(ReceiptAnswer | None)
RECEIPTS: Final = msgspec.json.Decoder(list[ReceiptAnswer] | None)
BYTES: Final = msgspec.json.Decoder(str)
HASHES: Final = msgspec.json.Decoder(list[str])


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
    """Read a header; None when there is no such block.

    Only a block that is not mined yet has no number or hash, and nobody asks for that one. A bloom of zeros is believed
    only when the block is empty: some chains do not fill it in.

    Raises:
        ChainMismatch: a field is malformed.

    """
    if answer is None:
        return None
    seen: SeenHeader | None = None
    try:
        bloom = read_bytes(answer.logs_bloom) if answer.logs_bloom else b""
        transactions = bytes(answer.transactions)
        empty = transactions == b"[]"
        header = BlockHeader(
            number=read_quantity(answer.number),
            hash=read_hash(answer.hash),
            parent_hash=read_hash(answer.parent_hash),
            timestamp=read_timestamp(answer.timestamp),
        )
        believed = bloom if len(bloom) == BLOOM_BYTES and (any(bloom) or empty) else None
        gas = read_quantity(answer.gas_used) if answer.gas_used else 0
        seen = SeenHeader(header, believed, transactions.count(b'"') // 2, gas)
    except ValueError:
        seen = None
    if seen is None:
        raise ChainMismatch("the node's header has a malformed field")
    return seen


class LogReader:
    """Reads the logs of one answer. What comes again in it is read once: emitters, blocks, events, parties, places."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._hashes: dict[str | None, bytes] = {}
        self._numbers: dict[str | None, int] = {}

    def read(self, answer: LogAnswer, index: int | None = None) -> SeenLog:
        """Read a log that has a transaction; ``index`` where it is known already what its index says.

        Raises:
            ChainMismatch: a field is malformed.

        """
        try:
            hash_of = self._hashes.get
            address, topics, data = self.said(answer)
            number_of = self._numbers.get
            number, index = number_of(answer.block_number), number_of(answer.log_index) if index is None else index
            return SeenLog(
                address,
                topics,
                data,
                self._number(answer.block_number) if number is None else number,
                hash_of(answer.block_hash) or self._hash(answer.block_hash),
                hash_of(answer.transaction_hash) or self._hash(answer.transaction_hash),
                self._number(answer.log_index) if index is None else index,
                answer,
            )
        except ValueError:
            pass
        raise ChainMismatch("the node's log has a malformed field")

    def said(self, answer: LogAnswer) -> tuple[str, tuple[bytes, ...], bytes]:
        """Read who emitted a log, its topics and its data, whatever its place.

        Raises:
            ValueError: a field is malformed.

        """
        hash_of, data = self._hashes.get, answer.data
        return (
            *self.head(answer),
            # One word is the amount of a transfer, and the same price is paid again and again.
            hash_of(data) or self._hash(data) if len(data) == HASH_TEXT else read_bytes(data),
        )

    def head(self, answer: LogAnswer) -> tuple[str, tuple[bytes, ...]]:
        """Read who emitted a log, and its topics.

        Raises:
            ValueError: a field is malformed.

        """
        hash_of = self._hashes.get
        return (
            self._addresses.get(answer.address) or self._address(answer.address),
            tuple([hash_of(topic) or self._hash(topic) for topic in answer.topics]),
        )

    def _address(self, text: str) -> str:
        self._addresses[text] = found = read_address(text)
        return found

    def _hash(self, text: str | None) -> bytes:
        self._hashes[text] = found = read_hash(text)
        return found

    def _number(self, text: str | None) -> int:
        found = read_quantity(text)
        if found > _MOST:
            raise ValueError("a place of a log is a number of at most 63 bits")
        self._numbers[text] = found
        return found


def read_log(answer: LogAnswer) -> SeenLog:
    """Read one log that has a transaction.

    Raises:
        ChainMismatch: a field is malformed.

    """
    return LogReader().read(answer)
