"""Reading a chain from nodes that may lag, reorganise, truncate or lie: every answer is checked against another."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Final, Literal, TypeVar

from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import header_calls, meaning_of
from evmbilling.adapters.evm.reading.balances import ask_balance
from evmbilling.adapters.evm.reading.near import NearReader
from evmbilling.adapters.evm.reading.ranges import RangeReader
from evmbilling.adapters.evm.reading.sent import ask_sent
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import BLOCK, BYTES, SeenHeader, decode_answer, read_header
from evmbilling.adapters.evm.rpc.hexes import read_quantity
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc, NodeSession
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, KnownTransaction, ScannedRange, Tip, WatchSet
from evmbilling.errors import ChainMismatch, RpcRefused
from evmbilling.ports.chain import Ready

_T = TypeVar("_T")
_BLOOMS_KEPT: Final = 4096
_TURNS: Final = 3


class EvmChainSource:
    """One chain as its nodes tell it (port :class:`evmbilling.ports.chain.ChainSource`).

    Near the head, blocks are asked for logs by hash, or in a range whose headers are held; below, in ranges as large as
    a node answers well. Each log is compared with its receipt, or with what its block says of it. Safe for threads.
    """

    def __init__(self, rpc: JsonRpc) -> None:
        self.rpc = rpc
        self._blooms: OrderedDict[bytes, SeenHeader] = OrderedDict()
        self._ignored: Counter[str] = Counter()
        self._lock = threading.Lock()
        without: set[str] = set()
        self._near = NearReader(rpc, pass_over=self._pass_over, without=without)
        self._ranges = RangeReader(rpc, pass_over=self._pass_over, without=without)

    def __repr__(self) -> str:
        return f"<EvmChainSource chain_id={self.chain_id}>"

    @property
    def chain_id(self) -> int:
        """The chain id that this source is configured for."""
        return self.rpc.chain_id

    @property
    def ignored(self) -> Mapping[str, int]:
        """How many logs were passed over: ``no_transaction``; how many transactions: ``of_no_interest``."""
        with self._lock:
            return dict(self._ignored)

    def check_chain(self) -> None:
        """Ask the node for its chain id.

        Raises:
            WrongChain: it serves another one.

        """
        self.rpc.check_chain()

    def tip(self, height: int) -> Tip:
        """Return the head, the tagged blocks and the block at a height, all from one node.

        Raises:
            WrongChain: the node serves another chain.
            ChainMismatch: the node has no head, or changed its mind meanwhile.

        """
        calls = [Call("eth_getBlockByNumber", (at, False)) for at in ("latest", "safe", "finalized", hex(height))]
        return self.rpc.understood([Call("eth_chainId"), *calls], lambda results: self._tip(height, *results))

    def _tip(self, height: int, served: Raw | RpcRefused, *answers: Raw | RpcRefused) -> Tip:
        if isinstance(served, RpcRefused) or not self._is_ours(served):
            self.rpc.check_chain()
            raise self._mismatch("the node told another chain id, and then took it back")
        for at in (0, 3):
            refused = answers[at]
            if isinstance(refused, RpcRefused):
                raise meaning_of(refused, self.chain_id)
        head, safe, finalized, there = [None if isinstance(a, RpcRefused) else self._header(a, None) for a in answers]
        if head is None:
            raise self._mismatch("the node has no head")
        if there is not None and (there.number != height or (height == head.number and there != head)):
            raise self._mismatch(f"the node answered another header than {height}")
        if there is None and height <= head.number:
            raise self._mismatch(f"the node has no block {height} although its head is beyond")
        # Behind one url a late node may tell the head and another one a tag: that tag is on no chain that is held here.
        safe, finalized = (tag if tag is not None and tag.number <= head.number else None for tag in (safe, finalized))
        return Tip(head=head, safe=safe, finalized=finalized, there=there)

    def header(self, block: int | Literal["latest", "safe", "finalized"]) -> BlockHeader | None:
        """Return a header by number or tag; None when the node has no such block or does not know the tag."""
        name = hex(block) if isinstance(block, int) else block

        def understand(results: Sequence[Raw | RpcRefused]) -> BlockHeader | None:
            if not isinstance(results[0], RpcRefused):
                return self._header(results[0], block if isinstance(block, int) else None)
            if block in ("safe", "finalized"):
                return None
            raise results[0]

        return self.rpc.understood([Call("eth_getBlockByNumber", (name, False))], understand)

    def headers(self, first: int, last: int) -> Sequence[BlockHeader]:
        """Return the headers ``first`` to ``last`` in order, as far as the node has them, each the last one's child.

        Raises:
            ChainMismatch: they do not link up, or one is missing in between.

        """
        numbers = range(first, last + 1)
        return self.rpc.understood(header_calls(numbers), partial(self._linked, numbers)) if numbers else []

    def _linked(self, numbers: Sequence[int], answers: Sequence[Raw | RpcRefused]) -> Sequence[BlockHeader]:
        found: list[BlockHeader] = []
        ended = False
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, RpcRefused):
                raise meaning_of(answer, self.chain_id)
            header = self._header(answer, number)
            if header is None:
                ended = True
                continue
            if ended or (found and header.parent_hash != found[-1].hash):
                raise self._mismatch(f"header {number} is no child of header {number - 1}")
            found.append(header)
        return found

    def common_ancestor(self, headers: Sequence[BlockHeader], head: BlockHeader) -> BlockHeader | None:
        """Return the highest of these headers that is on the chain that ends in ``head``; all from one node.

        Raises:
            ChainMismatch: the node is on another chain than ``head``, or has a block and not the one below it.

        """
        ours = sorted(headers, key=lambda header: header.number)

        def compare(node: NodeSession) -> list[bool]:
            reader = self._near.reader(node, Filter.of(_NOTHING))
            tip, *there = reader.headers([head.number, *(header.number for header in ours)])
            if tip is None or tip.header.hash != head.hash:
                raise self._mismatch("the chain changed while the common ancestor was looked for")
            if not _are_one_chain([tip, *(seen for seen in there if seen is not None)]):
                raise self._mismatch("the node's blocks are of no one chain")
            same = [seen is not None and seen.header.hash == own.hash for own, seen in zip(ours, there, strict=True)]
            if same != sorted(same, reverse=True):
                raise self._mismatch("the node has a block of ours and not the one below it")
            return same

        same = self._ask_one(head.number, compare)
        return ours[sum(same) - 1] if any(same) else None

    def logs(self, headers: Sequence[BlockHeader], watch: WatchSet) -> Sequence[ChainLog]:
        """Return every watched log of exactly these blocks, in chain order, each checked against its receipt.

        Raises:
            ChainMismatch: the node does not have the block any more, or the log and its receipt disagree.

        """
        watched = Filter.of(watch)
        if not watched.queries:
            return []
        with self._lock:
            seen = [self._blooms.get(header.hash) or SeenHeader(header, None, 0) for header in headers]
        asked = [block for block in seen if block.bloom is None or watched.admits(block.bloom)]
        if not asked:
            return []
        return self._ask_one(asked[-1].header.number, lambda node: self._near.logs(node, watched, seen, asked))

    @contextmanager
    def scan(
        self, first: int, last: int, watch: WatchSet, *, ready: Ready | None = None
    ) -> Iterator[Iterator[ScannedRange]]:
        """Read the blocks ``first`` to ``last``, which cannot change any more, in ranges; see the port."""
        ranges: Generator[ScannedRange] = self._ranges.scan(first, last, Filter.of(watch), ready=ready)
        with closing(ranges):
            yield ranges

    def balance(self, token: str, holder: str, block: int) -> int:
        """Return what an address held of a token, or of the native coin, after a block, in base units."""
        return ask_balance(self.rpc, token, holder, block)

    def transactions(self, hashes: Collection[bytes]) -> Mapping[bytes, KnownTransaction]:
        """Return these transactions as they were signed, with the canonical blocks that hold them; see the port."""
        return ask_sent(self.rpc, list(dict.fromkeys(hashes))) if hashes else {}

    def close(self) -> None:
        """Close idle connections."""
        self.rpc.close()

    def _ask_one(self, head: int, work: Callable[[NodeSession], _T], turns: int = _TURNS) -> _T:
        """Do work with one node that has come so far; one that refuses is left for another, as long as there is one."""
        try:
            with self._one_node(head) as node:
                return work(node)
        except RpcRefused as refused:
            is_its_own = refusal_of(refused).kind is RefusalKind.FAULT
            if turns == 1 or not (is_its_own and self.rpc.has_better):
                raise
        return self._ask_one(head, work, turns - 1)

    @contextmanager
    def _one_node(self, head: int) -> Iterator[NodeSession]:
        with self.rpc.session(head_at_least=head) as node:
            try:
                yield node
            except ChainMismatch as contradiction:
                node.discredit(contradiction.message)
                raise
            except RpcRefused as refused:
                node.leave(refused)
                raise

    def _header(self, raw: Raw, number: int | None) -> BlockHeader | None:
        seen = read_header(decode_answer(BLOCK, raw, "header"))
        if seen is None:
            return None
        if number is not None and seen.header.number != number:
            raise self._mismatch(f"the node answered another header than {number}")
        with self._lock:
            self._blooms[seen.header.hash] = seen
            self._blooms.move_to_end(seen.header.hash)
            while len(self._blooms) > _BLOOMS_KEPT:
                self._blooms.popitem(last=False)
        return seen.header

    def _is_ours(self, chain_id: Raw) -> bool:
        try:
            return read_quantity(decode_answer(BYTES, chain_id, "chain id")) == self.chain_id
        except ValueError:
            return False

    def _pass_over(self, reason: str) -> None:
        with self._lock:
            self._ignored[reason] += 1

    def _mismatch(self, text: str) -> ChainMismatch:
        return ChainMismatch(text, chain_id=self.chain_id)


_NOTHING: Final = WatchSet(addresses=(), topics=(), start_block=0)


def _are_one_chain(blocks: Sequence[SeenHeader]) -> bool:
    """Whether blocks of a node can be of one chain: neighbours are parent and child, and no two share a hash."""
    in_order = sorted((seen.header for seen in blocks), key=lambda header: header.number)
    hash_of = {header.number: header.hash for header in in_order}
    return len(set(hash_of.values())) == len(hash_of) and all(
        hash_of[header.number] == header.hash
        and hash_of.get(header.number - 1, header.parent_hash) == header.parent_hash
        for header in in_order
    )
