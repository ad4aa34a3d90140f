"""One node for a while: answers that must fit together come from one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from evmbilling.adapters.evm.rpc.endpoint import LONGEST_WAIT, Endpoint
from evmbilling.adapters.evm.rpc.exchange import Call, Results
from evmbilling.adapters.evm.rpc.hexes import read_quantity
from evmbilling.adapters.evm.rpc.http import NoAnswer
from evmbilling.adapters.evm.rpc.pool import Pool
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.errors import RpcRefused, RpcUnavailable
from evmbilling.ports.network_guard import assert_network_allowed

_HEAD_LASTS: Final = 1.0
_SHORTEST_PAUSE: Final = 0.1


class NodeSession:
    """One node, as :meth:`evmbilling.adapters.evm.rpc.rpc.JsonRpc.session` yields it.

    Attributes:
        name: which one, without its url.
        head: its own head when the session began.
        reserve: whether it is asked only when no node of the network answers.
        endpoint: what is known about it.

    """

    def __init__(self, pool: Pool, endpoint: Endpoint, *, attempts: int) -> None:
        self.endpoint, self._pool, self._attempts = endpoint, pool, attempts
        self.name, self.reserve = endpoint.name, endpoint.reserve
        self.head = 0

    def __repr__(self) -> str:
        return f"<NodeSession {self.name}>"

    def begin(self, head_at_least: int | None) -> None:
        """Look at the node's head; when one was told within the last second that is high enough, it is not asked again.

        Raises:
            NoAnswer: the node does not answer, or has not come so far. WrongChain: it serves another chain.

        """
        known = self.endpoint.head(since=self._pool.clock() - _HEAD_LASTS)
        if known is None or head_at_least is None or known < head_at_least:
            known = self.endpoint.look(trust=self._pool.trust(self.endpoint))
        self.head = known
        if head_at_least is not None and known < head_at_least:
            raise NoAnswer("it has not come so far", "behind")

    def call(self, method: str, *params: Any) -> Raw:
        """Return the result of one call.

        Raises:
            RpcUnavailable: the node does not answer. RpcRefused: it answered with an error.
            WrongChain: it serves another chain now.

        """
        result = self.batch([Call(method, params)])[0]
        if isinstance(result, RpcRefused):
            raise result
        return result

    def batch(self, calls: Sequence[Call], *, attempts: int | None = None) -> Results:
        """Return the result of every call in order, or the error that the node gave for it.

        A node that is only busy is waited for, shortly.

        Raises:
            RpcUnavailable: the node does not answer; ``details`` hold ``retry_after`` when it is only busy.
            WrongChain: it serves another chain now.

        """
        assert_network_allowed()
        silence: NoAnswer | None = None
        for _ in range(attempts or self._attempts):
            if silence is not None:
                self._pool.sleep(max(silence.retry_after or 0.0, _SHORTEST_PAUSE))
            try:
                results = self.endpoint.ask(calls)
            except NoAnswer as error:
                silence = error
            else:
                head = head_in(calls, results)
                if head is not None:
                    self.endpoint.saw(head)
                return results
            if silence.reason != "rate" or (silence.retry_after or 0.0) > LONGEST_WAIT:
                break
        raise self._gone(silence)

    def discredit(self, reason: str) -> None:
        """Say that the node's answers contradict each other: others are asked first for some minutes.

        Args:
            reason: words of ours, not the node's.

        """
        self.endpoint.set_aside(reason)

    def leave(self, refused: RpcRefused) -> None:
        """Say that a refusal ended the work with this node: others, who may answer, are asked first for a while.

        What every node would say, and what a smaller question helps against, is nothing against this one.
        """
        if refusal_of(refused).kind is RefusalKind.FAULT:
            self.endpoint.refused()

    def _gone(self, silence: NoAnswer | None) -> RpcUnavailable:
        wait = None if silence is None else silence.retry_after
        details: dict[str, Any] = {} if wait is None else {"retry_after": wait}
        return RpcUnavailable(f"{self.name}: {silence}", chain_id=self._pool.chain_id, **details)


class _Numbered(msgspec.Struct):
    number: str | None = None


_NUMBERED: Final = msgspec.json.Decoder(_Numbered | None)


def asks_head(call: Call) -> bool:
    """Whether a call asks how far the node has come."""
    return call.method == "eth_blockNumber" or (
        call.method == "eth_getBlockByNumber" and call.params[:1] == ("latest",)
    )


def head_in(calls: Sequence[Call], results: Results) -> int | None:
    """Return the head that is told among some results; None when there is none."""
    for call, result in zip(calls, results, strict=True):
        if not asks_head(call) or isinstance(result, RpcRefused):
            continue
        try:
            if call.method == "eth_blockNumber":
                return read_quantity(msgspec.json.decode(result, type=str))
            block = _NUMBERED.decode(result)
            return None if block is None or block.number is None else read_quantity(block.number)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
    return None
