"""Reading a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from evmbilling.domain.evidence import BlockHeader, ChainLog, WatchSet


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

    def header(self, block: int | Literal["latest", "safe", "finalized"]) -> BlockHeader | None:
        """Return a header by number or tag; None when the node has no such block or tag."""
        ...

    def headers(self, first: int, last: int) -> Sequence[BlockHeader]:
        """Return the headers ``first`` to ``last`` in order, as far as the node has them, each the last one's child.

        Raises:
            ChainMismatch: they do not link up (the node changed its mind in between: try again).

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

    def close(self) -> None:
        """Let go of connections."""
        ...
