"""Reading whole blocks by what their headers say of their logs, without a receipt for each transaction.

A header names its transactions in order and holds a bloom, which is made of every address and topic that the block
emitted. All logs of the block, asked for without a filter, count through from zero; they stand in the order of those
transactions; and they make exactly that bloom. Then none is missing and none was added that says anything new: a
transaction that failed is in no bloom. Whatever does not fit is no contradiction, because some chains tell logs that no
bloom has: such blocks are read from their receipts, which decide.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, pairwise, repeat
from typing import Final, NamedTuple

from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import Node, header_at, header_calls
from evmbilling.adapters.evm.reading.bloom import BLOOM_BYTES, bloom_mask
from evmbilling.adapters.evm.reading.node_reader import NodeReader
from evmbilling.adapters.evm.reading.receipts import read_block, read_receipts, succeeded
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import (
    BLOCK,
    HASHES,
    LOGS,
    LogAnswer,
    LogReader,
    ReceiptAnswer,
    SeenHeader,
    decode_answer,
)
from evmbilling.adapters.evm.rpc.hexes import HASH_TEXT, read_bytes, read_hash, read_quantity, to_hex
from evmbilling.adapters.evm.rpc.rpc import Call
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.errors import ChainMismatch, RpcRefused

_WORD: Final = 32
_COMPARED: Final = 2
"""Transactions at the end of a range that are read from their receipts, too: one tells where the logs end."""
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


@frozen
class Told:
    """What one question for whole blocks gave: the blocks, how many logs, and the size of the answers."""

    blocks: Sequence[ToldBlock]
    most: int
    octets: int


class FullReader:
    """Asks one node for whole blocks.

    Args:
        reader: asks the same node for receipts.

    """

    def __init__(self, chain_id: int, node: Node, watched: Filter, reader: NodeReader) -> None:
        self._chain_id, self._node, self._watched, self._reader = chain_id, node, watched, reader

    def told(self, first: int, last: int) -> Told:
        """Return consecutive blocks with every log of them, whoever it belongs to.

        Raises:
            RpcRefused: the node takes no such range, or no question without an address.
            ChainMismatch: it has no such block, headers do not link up, or a log is of another height.

        """
        numbers = range(first, last + 1)
        everything = Call("eth_getLogs", ({"fromBlock": hex(first), "toBlock": hex(last)},))
        raws: list[Raw] = []
        for answer in self._node.batch([everything, *header_calls(numbers)]):
            if isinstance(answer, RpcRefused):
                raise answer
            raws.append(answer)
        logs: dict[str | None, list[LogAnswer]] = {}
        for log in decode_answer(LOGS, raws[0], "list of logs"):
            logs.setdefault(log.block_number, []).append(log)
        blocks: list[ToldBlock] = []
        for number, raw in zip(numbers, raws[1:], strict=True):
            told = decode_answer(BLOCK, raw, "header")
            seen = header_at(number, told, self._chain_id)
            if told is None or seen is None:
                raise self._mismatch(f"the node has no block {number} although its head is beyond")
            if blocks and seen.header.parent_hash != blocks[-1].seen.header.hash:
                raise self._mismatch(f"header {number} is no child of header {number - 1}")
            names = decode_answer(HASHES, told.transactions, "list of transactions")
            blocks.append(ToldBlock(seen, names, logs.pop(hex(number), [])))
        if logs:
            raise self._mismatch(f"a log of blocks {first} to {last} names another block")
        return Told(blocks, sum(len(block.logs) for block in blocks), sum(memoryview(raw).nbytes for raw in raws))

    def prove(self, blocks: Sequence[ToldBlock]) -> tuple[LogColumns, int]:
        """Return what is watched in these blocks, and how many of them their headers did not prove.

        Those are read from their receipts. Of the last one that has transactions the end is compared with receipts:
        there an answer ends that was cut.

        Raises:
            ChainMismatch: the receipts contradict themselves, or the logs of the last block.

        """
        reader = LogReader()
        judge = _Judge(self._watched, reader)
        found = [prove_block(self._chain_id, block, judge) for block in blocks]
        unproved = [at for at, logs in enumerate(found) if logs is None]
        for at in unproved:
            found[at] = self._from_receipts(blocks[at], reader)
        last = next((at for at in reversed(range(len(blocks))) if blocks[at].seen.transactions), None)
        if last is not None and last not in unproved:
            self._compare_end(blocks[last], found[last] or (), reader)
        return LogColumns.joined(self._chain_id, filter(None, found)), len(unproved)

    def _from_receipts(self, block: ToldBlock, reader: LogReader) -> LogColumns:
        receipts = self._reader.receipts(block.seen)
        told = read_block(self._chain_id, block.seen, receipts, watched=self._watched, reader=reader)
        return LogColumns.of(self._chain_id, told)

    def _compare_end(self, block: ToldBlock, logs: Sequence[ChainLog], reader: LogReader) -> None:
        """Compare the last transactions of a block with their receipts; all of them when those made no log.

        Where the last receipt with logs ends, the logs of the block end.
        """
        names = block.transactions[-_COMPARED:]
        receipts = self._reader.receipts_of(names)
        told = [log for receipt in receipts for log in receipt.logs]
        if not told and len(block.transactions) > _COMPARED:
            if self._from_receipts(block, reader) != logs:
                raise self._other(block)
        elif not _say_the_same(receipts, block, names):
            own = read_receipts(self._chain_id, block.seen.header, receipts, watched=self._watched, reader=reader)
            of_these = {read_hash(receipt.transaction_hash) for receipt in receipts}
            ends = not told or max(map(_index_of, told)) == len(block.logs) - 1
            if not ends or own != [log for log in logs if log.tx_hash in of_these]:
                raise self._other(block)

    def _other(self, block: ToldBlock) -> ChainMismatch:
        return self._mismatch(f"the receipts of block {block.seen.header.number} say something else than its logs")

    def _mismatch(self, text: str) -> ChainMismatch:
        return ChainMismatch(text, chain_id=self._chain_id)


def prove_block(chain_id: int, block: ToldBlock, judge: _Judge) -> LogColumns | None:
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


def _say_the_same(receipts: Sequence[ReceiptAnswer], block: ToldBlock, names: Sequence[str]) -> bool:
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


def _index_of(log: LogAnswer) -> int:
    try:
        return read_quantity(log.log_index)
    except ValueError:
        return -1


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


class _Judge:
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


def _watched(chain_id: int, block: ToldBlock, firsts: Sequence[int], judge: _Judge) -> LogColumns:
    emitted = judge.emits(block.logs)
    said, data = judge.say([block.logs[index] for index in emitted])
    kept: list[int] = []
    indexes: list[int] = []
    ordinals: list[int] = []
    hashes: list[bytes] = []
    begin, places = 0, [*emitted, len(block.logs)]
    for first, end in pairwise(firsts):
        stop = bisect_left(places, end, begin)
        own = [place for place in range(begin, stop) if said[place].watched]
        begin = stop
        if any(said[place].matters for place in own):
            kept += own
            indexes += [places[place] for place in own]
            ordinals += [places[place] - first for place in own]
            hashes += repeat(read_hash(block.logs[first].transaction_hash), len(own))
    header, count = block.seen.header, len(kept)
    return LogColumns(
        chain_id=chain_id,
        block_number=[header.number] * count,
        block_hash=[header.hash] * count,
        block_time=[header.timestamp] * count,
        tx_hash=hashes,
        log_index=indexes,
        ordinal=ordinals,
        address=[said[place].address for place in kept],
        topics=[said[place].topics for place in kept],
        data=[data[place] for place in kept],
    )
