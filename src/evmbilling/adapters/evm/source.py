"""Reading a chain from nodes that may lag, reorganise, truncate or lie: every answer is checked against another."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Raw

from evmbilling.adapters.evm.answers import (
    BLOCK,
    LOGS,
    RECEIPT,
    SeenLog,
    decode_answer,
    read_header,
    read_log,
)
from evmbilling.adapters.evm.balances import ask_balance
from evmbilling.adapters.evm.bloom import admits
from evmbilling.adapters.evm.events import TRANSFER
from evmbilling.adapters.evm.hexes import to_hex
from evmbilling.adapters.evm.receipts import Filter, match_receipt
from evmbilling.adapters.evm.rpc import Call, JsonRpc
from evmbilling.domain.evidence import BlockHeader, ChainLog, WatchSet
from evmbilling.errors import ChainMismatch, RpcRefused

_BLOOMS_KEPT: Final = 4096
_ADDRESSES_A_QUERY: Final = 500
# What nodes say about a block that they do not have (any more, or yet).
_UNKNOWN_BLOCK: Final = (
    "unknown block",
    "not found",
    "not be found",
    "beyond current head",
    "after last accepted",
    "still syncing",
    "indexing is in progress",
)


class EvmChainSource:
    """One chain as its nodes tell it (port :class:`evmbilling.ports.chain.ChainSource`).

    Blocks are asked for logs by hash, so that a reorganisation between two calls is an error and never a gap, and
    each log is compared with its receipt. Safe for threads.
    """

    def __init__(self, rpc: JsonRpc) -> None:
        self.rpc = rpc
        self._blooms: OrderedDict[bytes, bytes | None] = OrderedDict()
        self._ignored: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<EvmChainSource chain_id={self.chain_id}>"

    @property
    def chain_id(self) -> int:
        """The chain id that this source is configured for."""
        return self.rpc.chain_id

    @property
    def ignored(self) -> Mapping[str, int]:
        """How many logs were passed over, by reason: ``no_transaction``."""
        with self._lock:
            return dict(self._ignored)

    def check_chain(self) -> None:
        """Ask the node for its chain id.

        Raises:
            WrongChain: it serves another one.

        """
        self.rpc.check_chain()

    def header(self, block: int | Literal["latest", "safe", "finalized"]) -> BlockHeader | None:
        """Return a header by number or tag; None when the node has no such block or does not know the tag."""
        try:
            raw = self.rpc.call("eth_getBlockByNumber", _block_name(block), False)
        except RpcRefused:
            if block in ("safe", "finalized"):
                return None
            raise
        return self._header(raw, block if isinstance(block, int) else None)

    def headers(self, first: int, last: int) -> Sequence[BlockHeader]:
        """Return the headers ``first`` to ``last`` in order, as far as the node has them, each the last one's child.

        Raises:
            ChainMismatch: they do not link up, or one is missing in between.

        """
        calls = [Call("eth_getBlockByNumber", (hex(number), False)) for number in range(first, last + 1)]
        found: list[BlockHeader] = []
        ended = False
        for number, raw in zip(range(first, last + 1), self._results(calls), strict=True):
            header = self._header(raw, number)
            if header is None:
                ended = True
                continue
            if ended or (found and header.parent_hash != found[-1].hash):
                raise ChainMismatch(f"header {number} is no child of header {number - 1}", chain_id=self.chain_id)
            found.append(header)
        return found

    def logs(self, headers: Sequence[BlockHeader], watch: WatchSet) -> Sequence[ChainLog]:
        """Return every watched log of exactly these blocks, in chain order, each checked against its receipt.

        Raises:
            ChainMismatch: the node does not have the block any more, or the log and its receipt disagree.

        """
        filters = _queries(watch)
        if not filters:
            return []
        watched = Filter.of(watch)
        asked = [header for header in headers if self._may_hold(header, watch)]
        by_block = self._block_logs(asked, filters, watched)
        receipts = self._receipts({log.tx_hash for _, logs in by_block for log in logs})
        found: list[ChainLog] = []
        for header, logs in by_block:
            of_block: list[ChainLog] = []
            for tx_hash, own in _by_transaction(logs):
                receipt = decode_answer(RECEIPT, receipts[tx_hash], "receipt")
                of_block += match_receipt(self.chain_id, header, own, receipt, watched)
            found += sorted(of_block, key=lambda log: log.log_index)
        return found

    def balance(self, token: str, holder: str, block: int) -> int:
        """Return what an address held of a token, or of the native coin, after a block, in base units."""
        return ask_balance(self.rpc, token, holder, block)

    def close(self) -> None:
        """Close idle connections."""
        self.rpc.close()

    def _header(self, raw: Raw, number: int | None) -> BlockHeader | None:
        seen = read_header(decode_answer(BLOCK, raw, "header"))
        if seen is None:
            return None
        if number is not None and seen.header.number != number:
            raise ChainMismatch(f"the node answered another header than {number}", chain_id=self.chain_id)
        with self._lock:
            self._blooms[seen.header.hash] = seen.bloom
            self._blooms.move_to_end(seen.header.hash)
            while len(self._blooms) > _BLOOMS_KEPT:
                self._blooms.popitem(last=False)
        return seen.header

    def _may_hold(self, header: BlockHeader, watch: WatchSet) -> bool:
        with self._lock:
            bloom = self._blooms.get(header.hash)
        return bloom is None or admits(bloom, watch)

    def _block_logs(
        self, headers: Sequence[BlockHeader], filters: Sequence[Mapping[str, Any]], watched: Filter
    ) -> list[tuple[BlockHeader, Sequence[SeenLog]]]:
        """Ask for the logs of each block by its hash, in the order of their index."""
        calls = [
            Call("eth_getLogs", ({"blockHash": to_hex(header.hash)} | dict(wanted),))
            for header in headers
            for wanted in filters
        ]
        results = iter(self._results(calls))
        found: list[tuple[BlockHeader, Sequence[SeenLog]]] = []
        for header in headers:
            logs: list[SeenLog] = []
            for _ in filters:
                # A transfer between two treasuries answers two queries; one answer with a log twice is a mistake.
                known = {log.log_index for log in logs}
                logs += (log for log in self._watched(next(results), header, watched) if log.log_index not in known)
            found.append((header, sorted(logs, key=lambda log: log.log_index)))
        return found

    def _watched(self, raw: Raw, header: BlockHeader, watched: Filter) -> Iterable[SeenLog]:
        for answer in decode_answer(LOGS, raw, "list of logs"):
            if not answer.has_transaction:
                with self._lock:
                    self._ignored["no_transaction"] += 1
                continue
            log = read_log(answer)
            if answer.removed or (log.block_hash, log.block_number) != (header.hash, header.number):
                raise ChainMismatch(f"a log of block {header.number} names another block", chain_id=self.chain_id)
            if watched.holds(log):
                yield log

    def _receipts(self, hashes: Collection[bytes]) -> Mapping[bytes, Raw]:
        calls = [Call("eth_getTransactionReceipt", (to_hex(tx_hash),)) for tx_hash in hashes]
        return dict(zip(hashes, self._results(calls), strict=True))

    def _results(self, calls: Sequence[Call]) -> list[Raw]:
        results: list[Raw] = []
        for result in self.rpc.batch(calls) if calls else ():
            if isinstance(result, RpcRefused):
                raise _unknown_block(result, self.chain_id) or result
            results.append(result)
        return results


def _by_transaction(logs: Sequence[SeenLog]) -> Iterable[tuple[bytes, list[SeenLog]]]:
    groups: dict[bytes, list[SeenLog]] = {}
    for log in logs:
        groups.setdefault(log.tx_hash, []).append(log)
    return groups.items()


def _queries(watch: WatchSet) -> list[dict[str, Any]]:
    """Return the filters that together find what is watched, without their block.

    None has an empty list: that means "nothing" to some nodes and "everything" to others.
    """
    found: list[dict[str, Any]] = []
    if watch.topics:
        # Burns are asked for with the events of their contracts, at the price of the mints beside them.
        topics = [to_hex(topic) for topic in (*watch.topics, *((TRANSFER,) if watch.burning else ()))]
        found += ({"address": part, "topics": [topics]} for part in _slices(watch.addresses))
    parties = ["0x" + "00" * 12 + party[2:].lower() for party in watch.parties]
    for tokens in _slices(watch.tokens):
        for some in _slices(parties):
            for place in ([some], [None, some]):
                found.append({"address": tokens, "topics": [to_hex(TRANSFER), *place]})
    return found


def _slices(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[at : at + _ADDRESSES_A_QUERY] for at in range(0, len(values), _ADDRESSES_A_QUERY))


def _block_name(block: int | str) -> str:
    return hex(block) if isinstance(block, int) else block


def _unknown_block(refused: RpcRefused, chain_id: int) -> ChainMismatch | None:
    """The node forgot a block, or has not heard of it yet: ask again with fresh headers."""
    text = refused.message.lower()
    if any(words in text for words in _UNKNOWN_BLOCK) and "method" not in text.split(":", 1)[-1]:
        return ChainMismatch(f"the node does not have that block: {refused.message}", chain_id=chain_id)
    return None
