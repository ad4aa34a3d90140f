"""Reading a chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, KnownTransaction, ScannedRange, Tip, WatchSet

Ready = Callable[[Sequence[ChainLog]], Sequence[ChainLog]]
"""What a reader makes of the logs of a range."""


class ChainSource(Protocol):
    """One chain as one node tells it. Answers are checked for consistency before they are returned.

    Every method raises RpcUnavailable when no answer came, RpcRefused when the node answered with an error, and
    ChainMismatch when an answer contradicts itself.
    """

    @property
    def chain_id(self) -> int:
        """The chain id that this source is configured for."""
        ...

    def check_chain(self) -> None:
        """Ask the node for its chain id.

        Raises:
            WrongChain: it serves another one.

        """
        ...

    def tip(self, height: int) -> Tip:
        """Return the head, the tagged blocks and the block at a height, all from one node.

        Raises:
            WrongChain: the node serves another chain.

        """
        ...

    def header(self, block: int | Literal["latest", "safe", "finalized"]) -> BlockHeader | None:
        """Return a header by number or tag; None when the node has no such block or tag."""
        ...

    def headers(self, first: int, last: int) -> Sequence[BlockHeader]:
        """Return the headers ``first`` to ``last`` in order, as far as the node has them, each the last one's child.

        Raises:
            ChainMismatch: they do not link up (the node changed its mind in between: try again).

        """
        ...

    def common_ancestor(self, headers: Sequence[BlockHeader], head: BlockHeader) -> BlockHeader | None:
        """Return the highest of these headers that is on the chain that ends in ``head``; all from one node.

        Raises:
            ChainMismatch: the node is on another chain than ``head`` (by now: try again).

        """
        ...

    def scan(
        self, first: int, last: int, watch: WatchSet, *, ready: Ready | None = None
    ) -> AbstractContextManager[Iterator[ScannedRange]]:
        """Read the blocks ``first`` to ``last``, which cannot change any more, in ranges of the source's choice.

        They come in order and together are the whole; the caller compares where one ends and the next begins. What
        comes next may be asked for already, within fixed bounds of memory; leaving the block ends that.

        Args:
            ready: what is made of the logs of each range before it is given out: in the thread that read it, if that
                is another one, so that the caller is not kept from writing the range before.

        Raises:
            RpcUnavailable, RpcRefused, ChainMismatch: at the range that could not be read.

        """
        ...

    def logs(self, headers: Sequence[BlockHeader], watch: WatchSet) -> Sequence[ChainLog]:
        """Return every watched log of exactly these blocks, in chain order, each checked against its receipt.

        Only logs of transactions with status 1; ``ordinal`` is counted in the log's own receipt.

        Raises:
            ChainMismatch: a log names another block hash, or its receipt does not hold it.

        """
        ...

    def balance(self, token: str, holder: str, block: int) -> int:
        """Return what an address held of a token, or of the native coin, after a block, in base units.

        Raises:
            RpcRefused: the node does not keep the state of that block.

        """
        ...

    def transactions(self, hashes: Collection[bytes]) -> Mapping[bytes, KnownTransaction]:
        """Return these transactions as they were signed, with the canonical blocks that hold them, by hash.

        What the node does not know is left out; what it knows and has not mined has no block.

        Raises:
            ChainMismatch: an answer is another transaction's or another chain's, or contradicts its receipt.

        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
