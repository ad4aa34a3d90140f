"""Reading the logs of blocks near the head, whose headers are held: by hash, or in a range where they are many.

Below, where blocks cannot change any more, :mod:`evmbilling.adapters.evm.reading.ranges` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from evmbilling.adapters.evm.reading.chunks import is_cap
from evmbilling.adapters.evm.reading.node_reader import NodeReader
from evmbilling.adapters.evm.reading.told_logs import LONG
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import SeenHeader, SeenLog
from evmbilling.adapters.evm.rpc.refusals import Refusal, RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import JsonRpc, NodeSession
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ChainMismatch, ProviderError, RpcRefused

_TOO_LARGE: Final = (RefusalKind.RANGE_CAP, RefusalKind.TOO_MUCH)
_MOST_RECEIPTS: Final = 2_000
"""Of transactions of silent blocks that one look may ask the only node for; the receipts of one block at least."""
_AS_A_RANGE: Final = 4
"""So many blocks near the head that may hold a log are asked for in one range."""


class NearReader:
    """Reads from the nodes of a chain. Safe for threads.

    Args:
        rpc: the nodes.
        pass_over: told why a log was passed over.
        without: names of nodes that have no ``eth_getBlockReceipts``; added to.

    """

    def __init__(self, rpc: JsonRpc, *, pass_over: Callable[[str], None], without: set[str]) -> None:
        self._rpc, self._pass_over, self._without = rpc, pass_over, without

    def reader(self, node: NodeSession, watched: Filter) -> NodeReader:
        """Return what asks a node."""
        return NodeReader(self._rpc.chain_id, node, watched, without=self._without, pass_over=self._pass_over)

    def logs(
        self, node: NodeSession, watched: Filter, seen: Sequence[SeenHeader], asked: Sequence[SeenHeader]
    ) -> Sequence[ChainLog]:
        """Ask one node for the logs of some of these blocks, and prove them.

        Args:
            seen: blocks whose headers are held.
            asked: those of them that may hold a watched log.

        Raises:
            ChainMismatch: the node does not have a block any more, left a log out, or a log and its receipt disagree.
            RpcRefused: it refuses, and not because a block has too many logs.

        """
        reader = self.reader(node, watched)
        as_range = len(asked) >= _AS_A_RANGE and all(block.bloom is not None for block in asked)
        try:
            found = self._window(reader, seen, asked) if as_range else self._each(reader, asked)
        except RpcRefused as refused:
            if refusal_of(refused).kind not in _TOO_LARGE:
                raise
            # Some nodes refuse even one block when it has too many logs, whoever they belong to.
            return reader.receipts.whole(self._counted(reader, asked))[0]
        named = {log.block_number for log in found}
        silent = [block for block in asked if block.bloom is not None and block.header.number not in named]
        if silent and self._left_out(node, reader, silent, watched):
            raise self._mismatch(f"the node left out logs of blocks from {silent[0].header.number} on")
        return reader.proved(found, {block.header.number: block for block in seen})

    def _counted(self, reader: NodeReader, blocks: Sequence[SeenHeader]) -> Sequence[SeenHeader]:
        """Return blocks that know how many transactions they have: the headers of others are asked for.

        Raises:
            ChainMismatch: the node has another block there, or none.

        """
        unknown = [block.header.number for block in blocks if block.bloom is None]
        asked = dict(zip(unknown, reader.headers(unknown), strict=True))
        found: list[SeenHeader] = []
        for block in blocks:
            seen = asked.get(block.header.number, block)
            if seen is None or seen.header.hash != block.header.hash:
                raise self._mismatch(f"the node does not have block {block.header.number} any more")
            found.append(seen)
        return found

    def _left_out(self, node: NodeSession, reader: NodeReader, silent: Sequence[SeenHeader], watched: Filter) -> bool:
        """Say whether blocks whose blooms admit a log, and for which the node told none, have one after all.

        Another node is asked. Where there is none, the same one is asked for the receipts of these blocks: the index of
        logs is what is late, or pruned, at nodes that leave logs out. On a busy chain most blooms admit everything:
        while many blocks are caught up with, those are looked at whose blooms say most.
        """
        try:
            with self._rpc.session(head_at_least=silent[-1].header.number, other_than=[node.name]) as other:
                return bool(self.reader(other, watched).of_blocks(silent))
        except ProviderError:
            return node.name not in self._without and bool(reader.receipts.whole(_most_telling(silent))[0])

    def _window(self, reader: NodeReader, seen: Sequence[SeenHeader], asked: Sequence[SeenHeader]) -> list[SeenLog]:
        """Ask for the logs of blocks whose headers are held in one range, where there are many of them.

        Every log is of a block that is held, and a block whose bloom admits a log has one or is asked again by hash; so
        are those from the end of a long answer on. An answer that left something out there, or is as long as some nodes
        cut theirs, is none: all are asked again by hash.
        """
        first, last = asked[0].header.number, asked[-1].header.number
        try:
            _, _, answer = reader.between(first, last)
        except RpcRefused:
            return self._each(reader, asked)
        if is_cap(answer.most):
            return self._each(reader, asked)
        hashes = {block.header.number: block.header.hash for block in seen}
        if any(hashes.get(log.block_number) != log.block_hash for log in answer.logs):
            raise self._mismatch(f"a log of blocks {first} to {last} is of another block than its header")
        named = {log.block_number for log in answer.logs}
        if not named <= {block.header.number for block in asked}:
            raise self._mismatch(f"a block of {first} to {last} has logs that its bloom denies")
        end = last + 1 if answer.until is None else answer.until
        doubtful = [block for block in asked if block.header.number not in named or block.header.number >= end]
        again = reader.told_of(doubtful)
        same = _places(again.logs) == _places(log for log in answer.logs if log.block_number >= end)
        return answer.logs if same and again.most < LONG else self._each(reader, asked)

    @staticmethod
    def _each(reader: NodeReader, asked: Sequence[SeenHeader]) -> list[SeenLog]:
        """Ask for the logs of blocks by their hashes.

        Raises:
            RpcRefused: the answer about a block is so long that it may have been cut, or the node refuses.

        """
        found = reader.told_of(asked)
        if found.most >= LONG:
            raise RpcRefused("the answer may have been cut", refusal=Refusal(RefusalKind.TOO_MUCH))
        return found.logs

    def _mismatch(self, text: str) -> ChainMismatch:
        return ChainMismatch(text, chain_id=self._rpc.chain_id)


def _places(logs: Iterable[SeenLog]) -> set[tuple[int, int]]:
    return {(log.block_number, log.log_index) for log in logs}


def _most_telling(silent: Sequence[SeenHeader]) -> Sequence[SeenHeader]:
    """Return the blocks with the fewest bits in their blooms, as many as one look may ask for, in chain order."""
    chosen: list[SeenHeader] = []
    receipts = 0
    for seen in sorted(silent, key=lambda seen: int.from_bytes(seen.bloom or b"", "big").bit_count()):
        receipts += seen.transactions
        if chosen and receipts > _MOST_RECEIPTS:
            break
        chosen.append(seen)
    return sorted(chosen, key=lambda seen: seen.header.number)
