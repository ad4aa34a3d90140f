"""Questions about blocks to one node, each answer held against another one of the same node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import Node, header_at, header_calls, results_of, size_of
from evmbilling.adapters.evm.reading.receipt_asking import ReceiptAsker
from evmbilling.adapters.evm.reading.receipts import by_transaction, match_receipt
from evmbilling.adapters.evm.reading.told_logs import Found, read_told
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import BLOCK, LogReader, SeenHeader, SeenLog, decode_answer
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.rpc import Call
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ChainMismatch, RpcRefused


class NodeReader:
    """Asks one node.

    Args:
        node: the session.
        watched: what is looked for.
        without: names of nodes that are known to have no ``eth_getBlockReceipts``; added to.
        pass_over: told why a log was passed over.

    Attributes:
        receipts: asks the same node for receipts.

    """

    def __init__(
        self, chain_id: int, node: Node, watched: Filter, *, without: set[str], pass_over: Callable[[str], None]
    ) -> None:
        self._chain_id, self._node, self._watched, self._pass_over = chain_id, node, watched, pass_over
        self.receipts = ReceiptAsker(chain_id, node, watched, without=without)

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
        return Found(found, [], most, sum(map(size_of, results)))

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
        receipts = self.receipts.wanted(wanted, headers)
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

    # -- inside

    def _check(self, seen: SeenHeader, groups: Mapping[bytes, Sequence[SeenLog]]) -> None:
        number = seen.header.number
        if any(log.block_hash != seen.header.hash for own in groups.values() for log in own):
            raise self._mismatch(f"the logs of block {number} are of another block than its header")
        if seen.bloom is not None and not self._watched.admits(seen.bloom):
            raise self._mismatch(f"block {number} has logs that its bloom denies")

    def _header(self, raw: Raw, number: int) -> SeenHeader | None:
        return header_at(number, decode_answer(BLOCK, raw, "header"), self._chain_id)

    def _results(self, calls: Sequence[Call]) -> list[Raw]:
        return results_of(self._node, calls, self._chain_id)

    def _found(self, raws: Sequence[Raw]) -> Found:
        return read_told(raws, self._watched, chain_id=self._chain_id, pass_over=self._pass_over)

    def _mismatch(self, text: str) -> ChainMismatch:
        return ChainMismatch(text, chain_id=self._chain_id)
