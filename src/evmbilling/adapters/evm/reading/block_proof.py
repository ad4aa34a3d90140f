"""What a block's header proves of its logs.

A header names its transactions in order and holds a bloom, which is made of every address and topic that the block
emitted. All logs of the block, asked for without a filter, count through from zero; they stand in the order of those
transactions; and they make exactly that bloom. Then none is missing and none was added that says anything new: a
transaction that failed is in no bloom. Whatever does not fit is no contradiction, because some chains tell logs that no
bloom has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, pairwise, repeat
from typing import Final, NamedTuple

from attrs import frozen

from evmbilling.adapters.evm.reading.bloom import BLOOM_BYTES, bloom_mask
from evmbilling.adapters.evm.reading.receipts import succeeded
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import LogAnswer, LogReader, ReceiptAnswer, SeenHeader
from evmbilling.adapters.evm.rpc.hexes import HASH_TEXT, read_bytes, read_hash, to_hex
from evmbilling.domain.reading.log_columns import LogColumns

_WORD: Final = 32
_FULL: Final = BLOOM_BYTES * 4
"""Bits from which on a bloom admits nearly everything, and so says too little."""


@frozen
class ToldBlock:
    """A block in a node's words.

    Attributes:
        transactions: the names of its transactions, in order.
        logs: every log that the node has of it.

    """

    seen: SeenHeader
    transactions: Sequence[str]
    logs: Sequence[LogAnswer]


def prove_block(chain_id: int, block: ToldBlock, judge: Judge) -> LogColumns | None:
    """Return the watched logs of a block, of the transactions that matter; None when its header does not prove them."""
    seen, logs = block.seen, block.logs
    if not seen.transactions:
        return None if logs else LogColumns.joined(chain_id, ())
    if seen.bloom is None or [log.log_index for log in logs] != list(map(hex, range(len(logs)))):
        return None
    firsts = _firsts(block)
    if firsts is None:
        return None
    try:
        if not _makes(seen.bloom, logs):
            return None
        return _watched(chain_id, block, firsts, judge)
    except ValueError:
        return None


def _firsts(block: ToldBlock) -> list[int] | None:
    """Return where the logs of each transaction begin, and their end; None where they do not stand as it says."""
    number, hash_ = hex(block.seen.header.number), to_hex(block.seen.header.hash)
    place_of = {name: place for place, name in enumerate(block.transactions)}
    firsts: list[int] = []
    before, current = -1, ""
    for index, log in enumerate(block.logs):
        if log.block_hash != hash_ or log.block_number != number or log.removed:
            return None
        if log.transaction_hash != current:
            current = log.transaction_hash or ""
            place = place_of.get(current, -1)
            if place <= before:
                return None
            before = place
            firsts.append(index)
    return [*firsts, len(block.logs)]


def say_the_same(receipts: Sequence[ReceiptAnswer], block: ToldBlock, names: Sequence[str]) -> bool:
    """Whether receipts tell the end of a block that its header proves in the very same words.

    Then nothing of them has to be read again: they are of these transactions of this block, in order, none that failed
    has a log, and the logs of each are its own.
    """
    number, hash_ = hex(block.seen.header.number), to_hex(block.seen.header.hash)
    if [receipt.transaction_hash for receipt in receipts] != list(names):
        return False
    for receipt in receipts:
        if receipt.block_number != number or receipt.block_hash != hash_:
            return False
        if receipt.logs and not succeeded(receipt):
            return False
        if not {log.transaction_hash for log in receipt.logs} <= {receipt.transaction_hash}:
            return False
    told = list(chain.from_iterable(receipt.logs for receipt in receipts))
    return told == list(block.logs[len(block.logs) - len(told) :])


def _makes(bloom: bytes, logs: Sequence[LogAnswer]) -> bool:
    """Whether these logs make exactly this bloom, and it says something.

    Raises:
        ValueError: an address or a topic is malformed.

    """
    said = int.from_bytes(bloom, "big")
    if said.bit_count() > _FULL:
        return False
    values = {log.address for log in logs}.union(*{log.topics for log in logs})
    made = 0
    for value in values:
        made |= _mask(value)
    return made == said


@lru_cache(maxsize=8192)
def _mask(text: str) -> int:
    return bloom_mask(read_bytes(text))


class _Said(NamedTuple):
    """What the emitter and the topics of a log say.

    Attributes:
        topics: one run of 32-byte words.
        watched: whether it is watched; then the others hold what it says.
        matters: whether it makes its transaction worth a look.

    """

    address: str
    topics: bytes
    watched: bool
    matters: bool


_NOTHING: Final = _Said("", b"", watched=False, matters=False)


class Judge:
    """Says of logs whether they are watched, and what they say; the same emitter and topics are read once."""

    def __init__(self, watched: Filter, reader: LogReader) -> None:
        self._watched, self._reader = watched, reader
        self._known: dict[tuple[str, tuple[str, ...], int], _Said] = {}

    def say(self, logs: Sequence[LogAnswer]) -> tuple[list[_Said], list[bytes]]:
        """Return what each log says, and its data.

        Raises:
            ValueError: one is malformed.

        """
        kind_of, known, judge = self._watched.kind_of, self._known.get, self._judge
        data = _read_data([log.data for log in logs])
        said = [
            known((log.address, log.topics, kind_of(octets))) or judge(log, octets)
            for log, octets in zip(logs, data, strict=True)
        ]
        return said, data

    def emits(self, logs: Sequence[LogAnswer]) -> list[int]:
        """Return where the logs of watched addresses stand: what others say is not read."""
        emitters = self._watched.emitters
        ours = {
            address for address in {log.address for log in logs} if address in emitters or address.lower() in emitters
        }
        return [index for index, log in enumerate(logs) if log.address in ours]

    def _judge(self, log: LogAnswer, data: bytes) -> _Said:
        watched, said = self._watched, _NOTHING
        address, topics = self._reader.head(log)
        if watched.watches(address, topics, data):
            said = _Said(address, b"".join(topics), watched=True, matters=watched.tells(address, topics, data))
        self._known[(log.address, log.topics, watched.kind_of(data))] = said
        return said


def _read_data(texts: Sequence[str]) -> list[bytes]:
    """Read the data of logs; where all are one word, as the amounts of transfers are, in one step.

    Raises:
        ValueError: one is malformed.

    """
    if {(len(text), text[:2]) for text in texts} == {(HASH_TEXT, "0x")}:
        together = bytes.fromhex("".join([text[2:] for text in texts]))
        if len(together) == _WORD * len(texts):  # fromhex passes over blanks
            return [together[at : at + _WORD] for at in range(0, len(together), _WORD)]
    return list(map(read_bytes, texts))


def _watched(chain_id: int, block: ToldBlock, firsts: Sequence[int], judge: Judge) -> LogColumns:
    emitted = judge.emits(block.logs)
    said, data = judge.say([block.logs[index] for index in emitted])
    if len(emitted) == len(block.logs) and all(one.matters for one in said):
        kept: Sequence[int] = range(len(said))
        counts = [end - first for first, end in pairwise(firsts)]
        indexes, ordinals = list(kept), list(chain.from_iterable(map(range, counts)))
    else:
        kept, indexes, ordinals, counts = _what_matters(emitted, firsts, said)
    hashes = [
        read_hash(block.logs[first].transaction_hash) if own else b""
        for first, own in zip(firsts, counts, strict=False)
    ]
    header, count = block.seen.header, len(kept)
    return LogColumns(
        chain_id=chain_id,
        block_number=[header.number] * count,
        block_hash=[header.hash] * count,
        block_time=[header.timestamp] * count,
        tx_hash=list(chain.from_iterable(map(repeat, hashes, counts))),
        log_index=indexes,
        ordinal=ordinals,
        address=[said[place].address for place in kept],
        topics=[said[place].topics for place in kept],
        data=[data[place] for place in kept],
    )


def _what_matters(
    emitted: Sequence[int], firsts: Sequence[int], said: Sequence[_Said]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Choose the watched logs of the transactions that matter.

    Returns:
        Which of those emitted they are, where in their block, where in their transaction, and how many of each.

    """
    kept: list[int] = []
    indexes: list[int] = []
    ordinals: list[int] = []
    counts: list[int] = []
    begin, places = 0, [*emitted, firsts[-1]]
    for first, end in pairwise(firsts):
        stop = bisect_left(places, end, begin)
        own = [place for place in range(begin, stop) if said[place].watched]
        begin = stop
        if not any(said[place].matters for place in own):
            own = []
        kept += own
        indexes += [places[place] for place in own]
        ordinals += [places[place] - first for place in own]
        counts.append(len(own))
    return kept, indexes, ordinals, counts
