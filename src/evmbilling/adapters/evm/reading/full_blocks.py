"""Reading whole blocks by what their headers prove of their logs, without a receipt for each transaction.

Blocks whose headers do not prove their logs are read from their receipts, which decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import Node, header_at, header_calls
from evmbilling.adapters.evm.reading.block_proof import Judge, ToldBlock, prove_block, say_the_same
from evmbilling.adapters.evm.reading.receipt_asking import ReceiptAsker
from evmbilling.adapters.evm.reading.receipts import read_block, read_receipts
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import BLOCK, HASHES, LOGS, LogAnswer, LogReader, decode_answer
from evmbilling.adapters.evm.rpc.hexes import read_hash, read_quantity
from evmbilling.adapters.evm.rpc.rpc import Call
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.errors import ChainMismatch, RpcRefused

_COMPARED: Final = 2
"""Transactions at the end of a range that are read from their receipts, too: one tells where the logs end."""


@frozen
class Told:
    """What one question for whole blocks gave: the blocks, how many logs, and the size of the answers."""

    blocks: Sequence[ToldBlock]
    most: int
    octets: int


class FullReader:
    """Asks one node for whole blocks.

    Args:
        receipts: asks the same node for receipts.

    """

    def __init__(self, chain_id: int, node: Node, watched: Filter, receipts: ReceiptAsker) -> None:
        self._chain_id, self._node, self._watched, self._receipts = chain_id, node, watched, receipts

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

        Those are read from their receipts, and so is the last one that has logs when transactions come after it: there
        an answer ends that was cut, and a bloom that is made of the first logs may be made of all. Of the last one that
        has transactions the end is compared with receipts.

        Raises:
            ChainMismatch: the receipts contradict themselves, or the logs of the last block.

        """
        reader = LogReader()
        judge = Judge(self._watched, reader)
        found = [prove_block(self._chain_id, block, judge) for block in blocks]
        unproved = [at for at, logs in enumerate(found) if logs is None]
        for at in unproved:
            found[at] = self._from_receipts(blocks[at], reader)
        last = next((at for at in reversed(range(len(blocks))) if blocks[at].seen.transactions), None)
        end = next((at for at in reversed(range(len(blocks))) if blocks[at].logs), last)
        if end is not None and end != last and end not in unproved:
            found[end] = self._from_receipts(blocks[end], reader)
        if last is not None and last not in unproved:
            self._compare_end(blocks[last], found[last] or (), reader)
        return LogColumns.joined(self._chain_id, filter(None, found)), len(unproved)

    def _from_receipts(self, block: ToldBlock, reader: LogReader) -> LogColumns:
        receipts = self._receipts.of_block(block.seen)
        told = read_block(self._chain_id, block.seen, receipts, watched=self._watched, reader=reader)
        return LogColumns.of(self._chain_id, told)

    def _compare_end(self, block: ToldBlock, logs: Sequence[ChainLog], reader: LogReader) -> None:
        """Compare the last transactions of a block with their receipts; all of them when those made no log.

        Where the last receipt with logs ends, the logs of the block end.
        """
        names = block.transactions[-_COMPARED:]
        receipts = self._receipts.of_transactions(names)
        told = [log for receipt in receipts for log in receipt.logs]
        if not told and len(block.transactions) > _COMPARED:
            if self._from_receipts(block, reader) != logs:
                raise self._other(block)
        elif not say_the_same(receipts, block, names):
            own = read_receipts(self._chain_id, block.seen.header, receipts, watched=self._watched, reader=reader)
            of_these = {read_hash(receipt.transaction_hash) for receipt in receipts}
            ends = not told or max(map(_index_of, told)) == len(block.logs) - 1
            if not ends or own != [log for log in logs if log.tx_hash in of_these]:
                raise self._other(block)

    def _other(self, block: ToldBlock) -> ChainMismatch:
        return self._mismatch(f"the receipts of block {block.seen.header.number} say something else than its logs")

    def _mismatch(self, text: str) -> ChainMismatch:
        return ChainMismatch(text, chain_id=self._chain_id)


def _index_of(log: LogAnswer) -> int:
    try:
        return read_quantity(log.log_index)
    except ValueError:
        return -1
