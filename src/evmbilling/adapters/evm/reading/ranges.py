"""Reading ranges of blocks that cannot change any more: few large questions, several at once, answered in order.

A range is believed when its node has come beyond its end, its logs lie within it, the headers of every block with a log
of ours agree with the log, and no answer has as many logs as some nodes cut answers at. Whoever writes the ranges
compares where one ends and the next begins.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from evmbilling.adapters.evm.reading.ahead import Ahead, Piece
from evmbilling.adapters.evm.reading.asking import meaning_of
from evmbilling.adapters.evm.reading.chunks import TARGET_BYTES, TARGET_LOGS, Span, Spans, is_cap
from evmbilling.adapters.evm.reading.full_blocks import FullReader
from evmbilling.adapters.evm.reading.node_reader import NodeReader
from evmbilling.adapters.evm.reading.receipt_asking import MANY, is_crowded
from evmbilling.adapters.evm.reading.told_logs import Found
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import SeenHeader
from evmbilling.adapters.evm.rpc.refusals import Refusal, RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import JsonRpc, NodeSession
from evmbilling.domain.reading.evidence import ChainLog, ScannedRange
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable
from evmbilling.ports.chain import Ready

_TURNS: Final = 3
_SMALLEST_START: Final = 2
_VERY_FULL: Final = 16
"""Blocks are very full when one answer holds no more of them."""
_GAS_OF_A_LOG: Final = 1_756  # three topics and a word of data (yellow paper, appendix G)
_SMALLER: Final = (RefusalKind.RANGE_CAP, RefusalKind.TOO_MUCH)
_TOO_LARGE: Final = "the answer is too large"
_CUT: Final = Refusal(RefusalKind.TOO_MUCH)
"""An answer as long as some nodes cut theirs is none."""
_T = TypeVar("_T")


class RangeReader:
    """Reads ranges from the nodes of a chain; keeps what it learned about them. Safe for threads.

    Args:
        rpc: the nodes.
        pass_over: told why a log was passed over.
        without: names of nodes that have no ``eth_getBlockReceipts``; added to.

    """

    def __init__(self, rpc: JsonRpc, *, pass_over: Callable[[str], None], without: set[str]) -> None:
        self._rpc, self._pass_over, self._without = rpc, pass_over, without
        self._spans = Spans()
        self._crowded: set[Hashable] = set()
        self._unproved: set[tuple[str, Hashable]] = set()

    def scan(self, first: int, last: int, watched: Filter, *, ready: Ready | None = None) -> Generator[ScannedRange]:
        """Yield consecutive ranges that together are ``first`` to ``last``; close it to stop asking.

        Args:
            ready: see the port.

        Raises:
            RpcUnavailable, RpcRefused, ChainMismatch: as the port says, when the range is taken that failed.

        """
        over = threading.Event()

        def read(start: int, end: int) -> Iterator[Piece]:
            pieces = self.read(start, end, watched, over)
            return pieces if ready is None else (piece.with_logs(ready(piece.scanned.logs)) for piece in pieces)

        ahead = Ahead(read, first, last, spans=self._spans, shape=watched.shape)
        try:
            while (scanned := ahead.take()) is not None:
                yield scanned
        finally:
            over.set()
            ahead.close()

    def read(self, first: int, last: int, watched: Filter, over: threading.Event) -> Iterator[Piece]:
        """Read a range in as many pieces as a node wants it; after a failure it goes on from another one.

        It ends earlier when the pieces are together what one answer should be: the next ones may come from elsewhere.
        When it is ``over``, nobody wants the rest.
        """
        octets = logs = failures = 0
        while first <= last:
            try:
                with self._node(last) as node:
                    for piece in self._pieces(node, first, last, watched):
                        octets, logs = octets + piece.octets, logs + len(piece.scanned.logs)
                        first = piece.scanned.last.number + 1
                        yield piece
                        if over.is_set() or octets >= TARGET_BYTES or logs >= TARGET_LOGS:
                            return
            except (RpcUnavailable, RpcRefused, ChainMismatch):
                failures += 1
                if failures == _TURNS or over.is_set():
                    raise

    @contextmanager
    def _node(self, last: int) -> Iterator[NodeSession]:
        with self._rpc.session(head_at_least=last) as node:
            try:
                yield node
            except ChainMismatch as contradiction:
                node.discredit(contradiction.message)
                raise
            except RpcRefused as refused:
                node.leave(refused)
                raise

    def _pieces(self, node: NodeSession, first: int, last: int, watched: Filter) -> Iterator[Piece]:
        reader = NodeReader(self._rpc.chain_id, node, watched, without=self._without, pass_over=self._pass_over)
        full = FullReader(self._rpc.chain_id, node, watched, reader.receipts)
        span = self._spans.of(node.name, watched.shape)
        if not span.known:
            # Where blocks are full, whoever filled them, the first question is a smaller one. Where one answer holds
            # few of them it is a very small one: if they are full of ours, its answer is not used.
            few = _few([seen for seen in reader.headers([first, last]) if seen is not None])
            span.begin_with(_SMALLEST_START if few <= _VERY_FULL else few)
        while first <= last:
            end = min(last, first + span.blocks - 1)
            piece = self._piece(reader, full, span, first, end)
            if piece is not None:
                yield piece
                first = end + 1

    def _piece(self, reader: NodeReader, full: FullReader, span: Span, first: int, last: int) -> Piece | None:
        """Read one range; None when it has to be smaller."""
        watched = reader.watched
        if watched.shape in self._crowded:
            proves_nothing = (reader.node, watched.shape) in self._unproved
            whole = self._whole if proves_nothing else partial(self._full, full=full)
            return whole(reader, span, first, last)
        began = time.monotonic()
        answer = self._or_refusal(lambda: reader.between(first, last))
        if isinstance(answer, Refusal):
            return self._smaller(reader, span, first, last, answer)
        begin, end, found = answer
        if is_cap(found.most):
            return self._smaller(reader, span, first, last, _CUT)
        span.served(last - first + 1, logs=len(found.logs), octets=found.octets, seconds=time.monotonic() - began)
        if _are_crowded((begin, end), last - first + 1, found):
            # Nearly all receipts would be asked for: what follows is read whole, beginning with this.
            self._crowded.add(watched.shape)
            span.narrow(_few([begin, end]))
            return None
        if self._ends_early(reader, last, found):
            return self._smaller(reader, span, first, last, _CUT)
        known = {seen.header.number: seen for seen in (begin, end)}
        self._doubt(reader, list(known.values()), found, watched)
        logs = reader.proved(found.logs, known)
        return _piece_of(begin, end, tuple(logs), found.octets)

    def _full(self, reader: NodeReader, span: Span, first: int, last: int, *, full: FullReader) -> Piece | None:
        """Read blocks whole, from all their logs; None when the range has to be smaller.

        A node that refuses such a question, or most of whose blocks prove nothing, is asked for receipts from then on.
        """
        began = time.monotonic()
        try:
            told = self._or_refusal(lambda: full.told(first, last))
        except RpcRefused as refused:
            if refusal_of(refused).kind is not RefusalKind.FAULT:
                raise
            self._unproved.add((reader.node, reader.watched.shape))
            return self._whole(reader, span, first, last)
        if isinstance(told, Refusal) or is_cap(told.most):
            return self._smaller(reader, span, first, last, told if isinstance(told, Refusal) else _CUT)
        span.served(len(told.blocks), logs=told.most, octets=told.octets, seconds=time.monotonic() - began)
        logs, unproved = full.prove(told.blocks)
        if unproved * 2 > len(told.blocks):
            self._unproved.add((reader.node, reader.watched.shape))
        blocks = [block.seen for block in told.blocks]
        self._look_around(reader.watched, logs, blocks)
        return _piece_of(blocks[0], blocks[-1], logs, told.octets)

    def _or_refusal(self, ask: Callable[[], _T]) -> _T | Refusal:
        """Return an answer, or the refusal when fewer blocks would be answered."""
        try:
            return ask()
        except (RpcRefused, RpcUnavailable) as error:
            refusal = _wants_less(error)
            if refusal is None:
                raise (meaning_of(error, self._rpc.chain_id) if isinstance(error, RpcRefused) else error) from None
            return refusal

    def _ends_early(self, reader: NodeReader, last: int, found: Found) -> bool:
        """Whether a long answer may have more behind the last log that it told of: it was cut, at whatever count.

        The last block that it told of and what comes after it are asked for again, which is little: an answer is long
        where there is much. A long answer that has nothing before that block would be cut at the same place again, and
        counts as cut: its block is asked for alone in the end, and read from its receipts. Who does not take the
        shorter question shall be asked for fewer blocks in the first place.
        """
        if found.since is None or found.until is None:
            return False
        start = found.until
        if found.since >= start:
            return True
        answer = self._or_refusal(lambda: reader.between(start, last))
        if isinstance(answer, Refusal):
            return True
        _, _, rest = answer
        return rest.count_from(start) != found.count_from(start)

    def _smaller(self, reader: NodeReader, span: Span, first: int, last: int, refusal: Refusal) -> Piece | None:
        """Ask for fewer blocks; a single one that is refused is read from its receipts."""
        return None if span.refused(refusal, first, last) else self._whole(reader, span, first, last)

    def _look_around(self, watched: Filter, logs: LogColumns, blocks: list[SeenHeader]) -> None:
        """Ask for what is watched only again, when little of what these blocks hold is."""
        if len(set(logs.tx_hash)) * MANY < sum(seen.transactions for seen in blocks):
            self._crowded.discard(watched.shape)

    def _whole(self, reader: NodeReader, span: Span, first: int, last: int) -> Piece:
        """Read blocks whole, from the receipts of all their transactions."""
        began = time.monotonic()
        blocks = [seen for seen in reader.headers(range(first, last + 1)) if seen is not None]
        if len(blocks) != last - first + 1:
            raise ChainMismatch(f"the node has no block {last} although its head is beyond")
        for before, seen in pairwise(blocks):
            if seen.header.parent_hash != before.header.hash:
                raise ChainMismatch(f"header {seen.header.number} is no child of header {before.header.number}")
        found, octets = reader.receipts.whole(blocks)
        logs = LogColumns.of(self._rpc.chain_id, found)
        span.served(len(blocks), logs=len(logs), octets=octets, seconds=time.monotonic() - began)
        self._look_around(reader.watched, logs, blocks)
        return _piece_of(blocks[0], blocks[-1], logs, octets)

    def _doubt(self, reader: NodeReader, ends: list[SeenHeader], found: Found, watched: Filter) -> None:
        """Ask again about the blocks at the ends whose blooms admit a log when none came: a sample of the whole.

        Raises:
            ChainMismatch: the node has logs there that it left out.

        """
        named = {log.block_number for log in found.logs}
        suspect = [e for e in ends if e.header.number not in named and e.bloom is not None and watched.admits(e.bloom)]
        if suspect and reader.of_blocks(suspect):
            raise ChainMismatch(f"the node left out logs of block {suspect[0].header.number}")


def _few(blocks: Sequence[SeenHeader]) -> int:
    """Return of how many blocks like these all logs are no more than one answer should have; some at least."""
    most = max((seen.gas // _GAS_OF_A_LOG for seen in blocks), default=0)
    return max(_SMALLEST_START, TARGET_LOGS // max(1, most))


def _are_crowded(ends: Sequence[SeenHeader], blocks: int, found: Found) -> bool:
    """Whether so much of some blocks is ours that they are read whole; how full others are, the ends tell."""
    ours = Counter(number for number, _ in {(log.block_number, log.tx_hash) for log in found.logs})
    crowded = [number for number, transactions in ours.items() if transactions >= MANY]
    return len(crowded) * 10 >= blocks * 9 and all(is_crowded(ours[seen.header.number], seen) for seen in ends)


def _wants_less(error: RpcRefused | RpcUnavailable) -> Refusal | None:
    """Return the refusal when fewer blocks would be answered."""
    if isinstance(error, RpcUnavailable):
        return Refusal(RefusalKind.TOO_MUCH) if _TOO_LARGE in error.message else None
    refusal = refusal_of(error)
    return refusal if refusal.kind in _SMALLER else None


def _piece_of(begin: SeenHeader, end: SeenHeader, logs: Sequence[ChainLog], octets: int) -> Piece:
    return Piece(ScannedRange(first=begin.header, last=end.header, logs=logs), octets)
