"""Receipts, asked of one node: of whole blocks where that is less, else of single transactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import Node, header_calls, meaning_of, results_of, size_of
from evmbilling.adapters.evm.reading.receipts import read_block, read_receipts
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import (
    BLOCK,
    HASHES,
    RECEIPT,
    RECEIPTS,
    BlockAnswer,
    LogReader,
    ReceiptAnswer,
    SeenHeader,
    decode_answer,
)
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ChainMismatch, RpcRefused

MANY: Final = 8
"""From so many transactions of ours on, one answer with all receipts of a block is asked for, unless the block has
this many times more."""
_RECEIPTS_A_POST: Final = 2_000
_NO_METHOD: Final = -32601


class ReceiptAsker:
    """Asks one node.

    Args:
        watched: what is looked for.
        without: names of nodes that are known to have no ``eth_getBlockReceipts``; added to.

    """

    def __init__(self, chain_id: int, node: Node, watched: Filter, *, without: set[str]) -> None:
        self._chain_id, self._node, self._watched, self._without = chain_id, node, watched, without

    def of_block(self, seen: SeenHeader) -> Sequence[ReceiptAnswer] | None:
        """Return the receipts of all transactions of a block, not looked at yet."""
        return next(receipts for _, receipts, _ in self._block_receipts([seen]))

    def of_transactions(self, names: Sequence[str]) -> list[ReceiptAnswer]:
        """Return the receipts of these transactions, not looked at yet.

        Raises:
            ChainMismatch: one has none, or it is of another transaction.

        """
        found: list[ReceiptAnswer] = []
        for name, (receipt, _) in zip(names, self._single_receipts(names), strict=True):
            if receipt is None or receipt.transaction_hash.lower() != name.lower():
                raise self._mismatch(f"transaction {name} has no receipt of its own")
            found.append(receipt)
        return found

    def whole(self, blocks: Sequence[SeenHeader]) -> tuple[list[ChainLog], int]:
        """Return what is watched in whole blocks, read from the receipts of all their transactions, and its size.

        Raises:
            ChainMismatch: receipts are missing, or contradict each other.

        """
        holding = [seen for seen in blocks if seen.transactions]
        found: list[ChainLog] = []
        octets = 0
        for group in _posts(holding):
            reader = LogReader()
            for seen, receipts, size in self._block_receipts(group):
                found += read_block(self._chain_id, seen, receipts, watched=self._watched, reader=reader)
                octets += size
        return found, octets

    def wanted(
        self, wanted: Mapping[int, Mapping[bytes, object]], headers: Mapping[int, SeenHeader]
    ) -> dict[str, ReceiptAnswer]:
        """Return receipts by transaction: all of a block at once where many of them are wanted, else one by one."""
        found: dict[str, ReceiptAnswer] = {}
        crowded = [headers[number] for number, own in wanted.items() if is_crowded(len(own), headers[number])]
        if self._node.name not in self._without:
            for group in _posts(crowded):
                for seen, receipts, _ in self._block_receipts(group, may_lack=True):
                    of_block = {r.transaction_hash.lower(): r for r in receipts or ()}
                    self._none_left_out(seen, wanted[seen.header.number], of_block)
                    found |= of_block
        names = [to_hex(tx_hash) for own in wanted.values() for tx_hash in own]
        rest = [name for name in names if name not in found]
        single = zip(rest, self._single_receipts(rest), strict=True)
        return found | {name: receipt for name, (receipt, _) in single if receipt is not None}

    def _none_left_out(
        self, seen: SeenHeader, told: Mapping[bytes, object], receipts: Mapping[str, ReceiptAnswer]
    ) -> None:
        """Look at the receipts of transactions of which no log was told: where an answer was cut, some are ours."""
        emitters, known = self._watched.emitters, set(map(to_hex, told))
        others = [
            receipt
            for name, receipt in receipts.items()
            if name not in known and any(log.address.lower() in emitters for log in receipt.logs)
        ]
        if read_receipts(self._chain_id, seen.header, others, watched=self._watched, reader=LogReader()):
            raise self._mismatch(f"the node left out logs of block {seen.header.number}")

    def _single_receipts(self, names: Sequence[str]) -> list[tuple[ReceiptAnswer | None, int]]:
        """Return the receipt of each transaction, and the size of the answer."""
        raws = self._results([Call("eth_getTransactionReceipt", (name,)) for name in names])
        return [(decode_answer(RECEIPT, raw, "receipt"), size_of(raw)) for raw in raws]

    def _block_receipts(
        self, blocks: Sequence[SeenHeader], *, may_lack: bool = False
    ) -> Iterable[tuple[SeenHeader, list[ReceiptAnswer] | None, int]]:
        """Give all receipts of each block and the size of the answer; a node without that method is remembered."""
        if self._node.name not in self._without:
            answers = self._node.batch([Call("eth_getBlockReceipts", (hex(b.header.number),)) for b in blocks])
            refused = next((a for a in answers if isinstance(a, RpcRefused)), None)
            if refused is None:
                for seen, raw in zip(blocks, answers, strict=True):
                    if not isinstance(raw, RpcRefused):
                        yield seen, decode_answer(RECEIPTS, raw, "list of receipts"), size_of(raw)
                return
            if _lacks_method(refused):
                self._without.add(self._node.name)
            elif refusal_of(refused).kind is not RefusalKind.FAULT:
                raise meaning_of(refused, self._chain_id)
        if not may_lack:
            for seen in blocks:
                yield self._one_by_one(seen)

    def _one_by_one(self, seen: SeenHeader) -> tuple[SeenHeader, list[ReceiptAnswer], int]:
        number = seen.header.number
        answer: BlockAnswer | None = decode_answer(BLOCK, self._results(header_calls([number]))[0], "header")
        hashes = [] if answer is None else decode_answer(HASHES, answer.transactions, "list of transactions")
        told = self._single_receipts(hashes)
        return seen, [receipt for receipt, _ in told if receipt is not None], sum(size for _, size in told)

    def _results(self, calls: Sequence[Call]) -> list[Raw]:
        return results_of(self._node, calls, self._chain_id)

    def _mismatch(self, text: str) -> ChainMismatch:
        return ChainMismatch(text, chain_id=self._chain_id)


def is_crowded(ours: int, block: SeenHeader) -> bool:
    """Whether so many transactions of a block are ours that all its receipts are asked for at once."""
    return ours >= MANY and block.transactions <= MANY * ours


def _posts(blocks: Sequence[SeenHeader]) -> Iterable[Sequence[SeenHeader]]:
    """Divide blocks so that no post answers with many more receipts than wanted at once."""
    group: list[SeenHeader] = []
    receipts = 0
    for seen in blocks:
        if group and receipts + seen.transactions > _RECEIPTS_A_POST:
            yield group
            group, receipts = [], 0
        group.append(seen)
        receipts += seen.transactions
    if group:
        yield group


def _lacks_method(refused: RpcRefused) -> bool:
    return refused.details.get("rpc_code") == _NO_METHOD or "method" in refused.message.lower().split(":", 1)[-1]
