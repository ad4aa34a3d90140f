"""One node for a while, how headers are asked of it, and what its answers weigh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Raw

from evmbilling.adapters.evm.rpc.answers import BlockAnswer, SeenHeader, read_header
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call
from evmbilling.errors import ChainMismatch, RpcRefused


class Node(Protocol):
    """One node for a while (:class:`evmbilling.adapters.evm.rpc.rpc.NodeSession`)."""

    @property
    def name(self) -> str:
        """Which node it is, without its url."""
        ...

    def batch(self, calls: Sequence[Call]) -> list[Raw | RpcRefused]:
        """Return the result of every call in order, or the error that the node gave for it."""
        ...


def meaning_of(refused: RpcRefused, chain_id: int) -> RpcRefused | ChainMismatch:
    """Return a refusal as what it means: a block that the node does not have (any more, or yet) is asked for again."""
    if refusal_of(refused).kind is RefusalKind.HEAD_LAG:
        return ChainMismatch(f"the node does not have that block: {refused.message}", chain_id=chain_id)
    return refused


def header_at(number: int, told: BlockAnswer | None, chain_id: int) -> SeenHeader | None:
    """Read the header that was asked for by its height; None where the node has none.

    Raises:
        ChainMismatch: it is another one, or malformed.

    """
    seen = read_header(told)
    if seen is not None and seen.header.number != number:
        raise ChainMismatch(f"the node answered another header than {number}", chain_id=chain_id)
    return seen


def header_calls(numbers: Iterable[int]) -> list[Call]:
    """Return the calls that ask for headers, without their transactions."""
    return [Call("eth_getBlockByNumber", (hex(number), False)) for number in numbers]


def results_of(node: Node, calls: Sequence[Call], chain_id: int) -> list[Raw]:
    """Return the results of calls that a node has to answer.

    Raises:
        RpcRefused, ChainMismatch: the meaning of the first refusal.

    """
    results: list[Raw] = []
    for result in node.batch(calls) if calls else ():
        if isinstance(result, RpcRefused):
            raise meaning_of(result, chain_id)
        results.append(result)
    return results


def size_of(raw: Raw) -> int:
    """Return how many bytes an answer has."""
    return memoryview(raw).nbytes
