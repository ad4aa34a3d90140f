"""Questions about blocks to one node, each answer held against another one of the same node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import Node, header_at, header_calls, meaning_of
from evmbilling.adapters.evm.reading.receipts import by_transaction, match_receipt, read_block, read_receipts
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import (
    BLOCK,
    HASHES,
    LOGS,
    RECEIPT,
    RECEIPTS,
    BlockAnswer,
    LogAnswer,
    LogReader,
    ReceiptAnswer,
    SeenHeader,
    SeenLog,
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
LONG: Final = 500
"""Logs from which on an answer may have been cut: by its size, which is no round number."""


@frozen
class Found:
    """What one question for logs gave.

    Attributes:
        beside: the block of each log that came along and is not watched.
        most: how many logs the longest of the answers had.
        octets: the size of the answers.
        since: the block in which the last of the long answers begins; None where none was long.
        until: the block in which the first of the long answers ends.

    """

    logs: list[SeenLog]
    beside: list[int]
    most: int
    octets: int
    since: int | None = None
    until: int | None = None

    def count_from(self, start: int) -> int:
        """Return of how many logs it told from a block on, whether they are watched or not."""
        return sum(log.block_number >= start for log in self.logs) + sum(number >= start for number in self.beside)


class NodeReader:
    """Asks one node.

    Args:
        node: the session.
        watched: what is looked for.
        without: names of nodes that are known to have no ``eth_getBlockReceipts``; added to.
        pass_over: told why a log was passed over.

    """

    def __init__(
        self, chain_id: int, node: Node, watched: Filter, *, without: set[str], pass_over: Callable[[str], None]
    ) -> None:
        self._chain_id, self._node, self._watched = chain_id, node, watched
        self._without, self._pass_over = without, pass_over

    @property
    def node(self) -> str:
        """The name of the node."""
        return self._node.name

    @property
    def watched(self) -> Filter:
        """What is looked for."""
        return self._watched

    def headers(self, numbers: Sequence[int]) -> list[SeenHeader | None]:
        """Return the headers at these heights; None where the node has none.

        Raises:
            ChainMismatch: it answered another height.

        """
        return [self._header(raw, n) for n, raw in zip(numbers, self._results(header_calls(numbers)), strict=True)]

    def between(self, first: int, last: int) -> tuple[SeenHeader, SeenHeader, Found]:
        """Return the headers at both ends of a range and the watched logs in between, in their order.

        Raises:
            RpcRefused: the node takes no such range, or has not come so far (see its ``refusal``).
            ChainMismatch: a log is of a block outside, or two blocks of one height are named.

        """
        ends = [first] if first == last else [first, last]
        place = {"fromBlock": hex(first), "toBlock": hex(last)}
        calls = [*header_calls(ends), *(Call("eth_getLogs", (place | query,)) for query in self._watched.queries)]
        answers = self._node.batch(calls)
        for answer in answers:
            if isinstance(answer, RpcRefused):
                raise answer
        raws = [answer for answer in answers if not isinstance(answer, RpcRefused)]
        headers = [self._header(raw, number) for raw, number in zip(raws, ends, strict=False)]
        begin, end = headers[0], headers[-1]
        if begin is None or end is None:
            raise self._mismatch(f"the node has no block {last} although its head is beyond")
        found = self._found(raws[len(ends) :])
        named: dict[int, bytes] = {seen.header.number: seen.header.hash for seen in (begin, end)}
        for log in found.logs:
            outside = not first <= log.block_number <= last
            if outside or named.setdefault(log.block_number, log.block_hash) != log.block_hash:
                raise self._mismatch(f"a log of blocks {first} to {last} names another block")
        return begin, end, found

    def of_blocks(self, headers: Sequence[SeenHeader]) -> list[SeenLog]:
        """Return the watched logs of exactly these blocks; see :meth:`told_of`."""
        return self.told_of(headers).logs

    def told_of(self, headers: Sequence[SeenHeader]) -> Found:
        """Return the watched logs of exactly these blocks, asked for by their hashes.

        Raises:
            ChainMismatch: the node does not have a block (any more, or yet), or a log names another block.

        """
        calls = [
            Call("eth_getLogs", ({"blockHash": to_hex(seen.header.hash)} | query,))
            for seen in headers
            for query in self._watched.queries
        ]
        results, each = self._results(calls), len(self._watched.queries)
        found: list[SeenLog] = []
        most = 0
        for at, seen in enumerate(headers):
            told = self._found(results[at * each : (at + 1) * each])
            if any((log.block_hash, log.block_number) != (seen.header.hash, seen.header.number) for log in told.logs):
                raise self._mismatch(f"a log of block {seen.header.number} names another block")
            found += told.logs
            most = max(most, told.most)
        return Found(found, [], most, sum(map(_size, results)))

    def proved(self, logs: Sequence[SeenLog], known: Mapping[int, SeenHeader]) -> list[ChainLog]:
        """Return these logs, which are all watched ones of their blocks, with time and ordinal, where they matter.

        Headers that are not known are asked for, and receipts of the transactions that matter only.

        Raises:
            ChainMismatch: a header, a bloom or a receipt says something else.

        """
        watched = self._watched
        wanted: dict[int, dict[bytes, list[SeenLog]]] = {}
        for tx_hash, own in by_transaction(logs).items():
            if any(map(watched.matters, own)):
                wanted.setdefault(own[0].block_number, {})[tx_hash] = own
            else:
                self._pass_over("of_no_interest")
        headers = dict(known)
        missing = [number for number in wanted if number not in headers]
        for number, seen in zip(missing, self.headers(missing), strict=True):
            if seen is None:
                raise self._mismatch(f"the node has logs of block {number} and no header")
            headers[number] = seen
        for number, groups in wanted.items():
            self._check(headers[number], groups)
        receipts = self._receipts(wanted, headers)
        reader = LogReader()
        found: list[ChainLog] = []
        for number in sorted(wanted):
            of_block: list[ChainLog] = []
            for tx_hash, own in wanted[number].items():
                receipt = receipts.get(to_hex(tx_hash))
                of_block += match_receipt(
                    self._chain_id, headers[number].header, own, receipt, watched=watched, reader=reader
                )
            found += sorted(of_block, key=lambda log: log.log_index)
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

    def receipts(self, seen: SeenHeader) -> Sequence[ReceiptAnswer] | None:
        """Return the receipts of all transactions of a block, not looked at yet."""
        return next(receipts for _, receipts, _ in self._block_receipts([seen]))

    def receipts_of(self, names: Sequence[str]) -> list[ReceiptAnswer]:
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

    # -- inside

    def _check(self, seen: SeenHeader, groups: Mapping[bytes, Sequence[SeenLog]]) -> None:
        number = seen.header.number
        if any(log.block_hash != seen.header.hash for own in groups.values() for log in own):
            raise self._mismatch(f"the logs of block {number} are of another block than its header")
        if seen.bloom is not None and not self._watched.admits(seen.bloom):
            raise self._mismatch(f"block {number} has logs that its bloom denies")

    def _receipts(
        self, wanted: Mapping[int, Mapping[bytes, object]], headers: Mapping[int, SeenHeader]
    ) -> dict[str, ReceiptAnswer]:
        """Ask for receipts: for all of a block at once where many of them are wanted, else one by one."""
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
        return [(decode_answer(RECEIPT, raw, "receipt"), _size(raw)) for raw in raws]

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
                        yield seen, decode_answer(RECEIPTS, raw, "list of receipts"), _size(raw)
                return
            if _lacks_method(refused):
                self._without.add(self._node.name)
            elif refusal_of(refused).kind is not RefusalKind.FAULT:
                raise self._meaning(refused)
        if not may_lack:
            for seen in blocks:
                yield self._one_by_one(seen)

    def _one_by_one(self, seen: SeenHeader) -> tuple[SeenHeader, list[ReceiptAnswer], int]:
        number = seen.header.number
        answer: BlockAnswer | None = decode_answer(BLOCK, self._results(header_calls([number]))[0], "header")
        hashes = [] if answer is None else decode_answer(HASHES, answer.transactions, "list of transactions")
        told = self._single_receipts(hashes)
        return seen, [receipt for receipt, _ in told if receipt is not None], sum(size for _, size in told)

    def _found(self, raws: Sequence[Raw]) -> Found:
        """Read answers to ``eth_getLogs``: each log once, in the order of blocks and places."""
        reader = LogReader()
        lists: list[list[SeenLog]] = []
        beside: list[int] = []
        most = 0
        begins: list[int] = []
        ends: list[int] = []
        for raw in raws:
            answers = decode_answer(LOGS, raw, "list of logs")
            most = max(most, len(answers))
            if answers:
                logs, others = self._ordered(reader, answers)
                lists.append(logs)
                beside += others
                if len(answers) >= LONG:
                    edges = [log.block_number for log in (*logs[:1], *logs[-1:])] + others
                    begins.append(min(edges, default=0))
                    ends.append(max(edges, default=0))
        if len(lists) > 1:
            # A transfer between two treasuries answers two queries.
            lists = [list({_place(log): log for logs in lists for log in logs}.values())]
            lists[0].sort(key=_place)
        return Found(
            lists[0] if lists else [],
            beside,
            most,
            sum(map(_size, raws)),
            since=max(begins, default=None),
            until=min(ends, default=None),
        )

    def _ordered(self, reader: LogReader, answers: Sequence[LogAnswer]) -> tuple[list[SeenLog], list[int]]:
        """Return the watched logs of one answer in their order, each with its own place, and the others' blocks."""
        read, holds = reader.read, self._watched.holds
        found: list[SeenLog] = []
        beside: list[int] = []
        before = (-1, -1)
        in_order = True
        for answer in answers:
            if not answer.has_transaction:
                self._pass_over("no_transaction")
                continue
            log = read(answer)
            if answer.removed:
                raise self._mismatch(f"a log of block {log.block_number} was removed")
            place = (log.block_number, log.log_index)
            in_order = in_order and before < place
            before = place
            if holds(log):
                found.append(log)
            else:
                beside.append(log.block_number)
        if not in_order:
            if len(set(map(_place, found))) != len(found):
                raise self._mismatch(f"two logs of blocks up to {before[0]} are at one index")
            found.sort(key=_place)
        return found, beside

    def _header(self, raw: Raw, number: int) -> SeenHeader | None:
        return header_at(number, decode_answer(BLOCK, raw, "header"), self._chain_id)

    def _results(self, calls: Sequence[Call]) -> list[Raw]:
        results: list[Raw] = []
        for result in self._node.batch(calls) if calls else ():
            if isinstance(result, RpcRefused):
                raise self._meaning(result)
            results.append(result)
        return results

    def _meaning(self, refused: RpcRefused) -> RpcRefused | ChainMismatch:
        return meaning_of(refused, self._chain_id)

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


def _place(log: SeenLog) -> tuple[int, int]:
    return (log.block_number, log.log_index)


def _size(raw: Raw) -> int:
    return memoryview(raw).nbytes
