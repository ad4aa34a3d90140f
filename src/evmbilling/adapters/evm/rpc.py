"""JSON-RPC over HTTP to one chain through several nodes: batches, fail-over in order, bounded retries.

A node that does not answer usably is left for the next one; a node that answers with an error is believed. Before a
node is asked anything else its chain id is compared, again after every switch, and once a minute.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Final

import msgspec
from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.hexes import read_quantity
from evmbilling.adapters.evm.http import NoAnswer, NodeHttp
from evmbilling.adapters.evm.redact import Redactor
from evmbilling.adapters.evm.refusals import classify
from evmbilling.errors import ConfigurationError, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.ports.network_guard import assert_network_allowed

_MAX_BYTES: Final = 64 << 20
_BATCH: Final = 50
_CHECK_SECONDS: Final = 60.0
_HOME_SECONDS: Final = 60.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_OK: Final = 200
_TOO_MANY: Final = 429
_REVERTED: Final = 3
_BATCH_TOO_LARGE: Final = (400, 413)
_RATE_WORDS: Final = ("rate limit", "too many requests", "throttl", "quota", "compute units")
_REVERT_DATA: Final = 4096


@frozen
class Call:
    """One call: a method and its positional parameters (JSON values)."""

    method: str
    params: tuple[Any, ...] = ()


class _Fault(msgspec.Struct):
    code: int = 0
    message: str = ""
    data: Any = None


_ABSENT: Final = Raw(b"")


class _Reply(msgspec.Struct):
    id: int | str | None = None
    result: Raw = _ABSENT
    error: _Fault | str | None = None


_ONE = msgspec.json.Decoder(_Reply)
_MANY = msgspec.json.Decoder(list[_Reply])


class _BatchRefused(Exception):
    """The node takes no batch of this size."""


class _Node:
    """One node and what is known about it."""

    def __init__(self, name: str, http: NodeHttp) -> None:
        self.name = name
        self.http = http
        self.checked_at: float | None = None
        self.batch = _BATCH

    def __repr__(self) -> str:
        return f"<{self.name}>"


class JsonRpc:
    """Calls to the nodes of one chain. Safe for threads. Urls are in no repr, error or log.

    Args:
        chain_id: what every node must serve.
        urls: in order of preference; user and password in a url are sent as HTTP basic authentication.
        timeout: seconds for one exchange with one node.
        attempts: how often the whole list is gone through before a call fails.
        max_bytes: the largest answer that is read.
        sleep, clock: how to pause and how to measure time, for tests.

    Raises:
        ConfigurationError: there is no url, or one is not http(s).

    """

    def __init__(
        self,
        *,
        chain_id: int,
        urls: Sequence[str],
        timeout: float = 10.0,
        attempts: int = 3,
        max_bytes: int = _MAX_BYTES,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not urls:
            raise ConfigurationError("a network needs the url of a node", field="rpc_urls")
        self.chain_id = chain_id
        self._nodes = [
            _Node(f"node {at} of {len(urls)}", NodeHttp(url, timeout=timeout, max_bytes=max_bytes))
            for at, url in enumerate(urls, 1)
        ]
        self._redactor = Redactor(urls)
        self._attempts, self._sleep, self._clock = attempts, sleep, clock
        self._current, self._left_home_at = 0, 0.0
        self._ids = count(1)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<JsonRpc chain_id={self.chain_id} nodes={len(self._nodes)}>"

    def call(self, method: str, *params: Any, attempts: int | None = None) -> Raw:
        """Return the result of one call.

        Raises:
            RpcUnavailable: no node answered. RpcRefused: it answered with an error. WrongChain: another chain.

        """
        result = self.batch([Call(method, params)], attempts=attempts)[0]
        if isinstance(result, RpcRefused):
            raise result
        return result

    def batch(self, calls: Sequence[Call], *, attempts: int | None = None) -> list[Raw | RpcRefused]:
        """Return the result of every call in order, or the error that the node gave for it; all from one node.

        Raises:
            RpcUnavailable: no node answered. WrongChain: another chain.

        """
        assert_network_allowed()
        reason = "none is configured"
        for turn in range(attempts or self._attempts):
            if turn:
                self._sleep(min(_FIRST_PAUSE * 2 ** (turn - 1), _LONGEST_PAUSE))
            for node in self._in_order():
                try:
                    return self._ask(node, calls)
                except NoAnswer as silence:
                    reason = f"{node.name}: {silence}"
                    self._leave(node)
        raise RpcUnavailable(f"no node of chain {self.chain_id} answered ({reason})", chain_id=self.chain_id)

    @contextlib.contextmanager
    def session(self, head_at_least: int | None = None) -> Iterator[NodeSession]:
        """Yield one node, to which every call inside goes: answers that must fit together come from one place.

        Args:
            head_at_least: the node's own head has to reach this block.

        Raises:
            RpcUnavailable: no node answered, or none has come so far. Inside: this node does not answer any more.
            WrongChain: another chain.

        """
        assert_network_allowed()
        reason, chosen = "none is configured", None
        for node in self._in_order():
            session = NodeSession(self, node)
            try:
                session.look(head_at_least)
            except NoAnswer as silence:
                reason = f"{node.name}: {silence}"
                self._leave(node)
                continue
            chosen = session
            break
        if chosen is None:
            raise RpcUnavailable(f"no node of chain {self.chain_id} answered ({reason})", chain_id=self.chain_id)
        yield chosen

    def check_chain(self) -> None:
        """Compare the chain id of the node in use now.

        Raises:
            WrongChain: it serves another one. RpcUnavailable: no node answered.

        """
        for node in self._nodes:
            node.checked_at = None
        self.batch([])

    def close(self) -> None:
        """Close idle connections."""
        for node in self._nodes:
            node.http.close()

    def _in_order(self) -> Iterator[_Node]:
        """The node in use first, then the others; back to the preferred one after a minute."""
        with self._lock:
            if self._current and self._clock() - self._left_home_at > _HOME_SECONDS:
                self._current = 0
            first = self._current
        for step in range(len(self._nodes)):
            yield self._nodes[(first + step) % len(self._nodes)]

    def _leave(self, node: _Node) -> None:
        with self._lock:
            node.checked_at = None
            at = self._nodes.index(node)
            if at == self._current and len(self._nodes) > 1:
                self._current, self._left_home_at = (at + 1) % len(self._nodes), self._clock()

    def _ask(self, node: _Node, calls: Sequence[Call]) -> list[Raw | RpcRefused]:
        if node.checked_at is None or self._clock() - node.checked_at > _CHECK_SECONDS:
            self._check(node)
        results: list[Raw | RpcRefused] = []
        while len(results) < len(calls):
            part = calls[len(results) : len(results) + node.batch]
            try:
                results += self._exchange(node, part)
            except _BatchRefused:
                node.batch = max(1, len(part) // 2)
        return results

    def _check(self, node: _Node) -> None:
        answer = self._exchange(node, [Call("eth_chainId")])[0]
        if isinstance(answer, RpcRefused):
            raise NoAnswer("it does not tell its chain id")
        served = _read_chain_id(answer)
        if served != self.chain_id:
            raise WrongChain(
                f"{node.name} serves chain {served}, not {self.chain_id}", chain_id=self.chain_id, served=served
            )
        node.checked_at = self._clock()

    def _exchange(self, node: _Node, calls: Sequence[Call]) -> list[Raw | RpcRefused]:
        ids = [next(self._ids) for _ in calls]
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": call.method, "params": call.params}
            for number, call in zip(ids, calls, strict=True)
        ]
        status, body = node.http.post(msgspec.json.encode(requests if len(calls) > 1 else requests[0]))
        replies = {reply.id: reply for reply in _read_replies(status, body, batch=len(calls) > 1)}
        if len(calls) == 1 and None in replies:  # some nodes answer an error without the id
            replies = {ids[0]: replies[None]}
        if replies.keys() != set(ids):
            raise NoAnswer("the answer does not fit the question")
        return [self._result(call, replies[number]) for number, call in zip(ids, calls, strict=True)]

    def _result(self, call: Call, reply: _Reply) -> Raw | RpcRefused:
        if reply.error is None:
            if reply.result is _ABSENT:
                raise NoAnswer("the answer holds neither a result nor an error")
            return reply.result
        fault = _Fault(message=reply.error) if isinstance(reply.error, str) else reply.error
        if _is_rate_limit(fault):
            raise NoAnswer("too many requests")
        return RpcRefused(
            f"{call.method}: {self._redactor.clean(fault.message)}",
            method=call.method,
            rpc_code=fault.code,
            refusal=classify(status=None, code=fault.code, message=fault.message, data=fault.data),
            data=_revert_data(fault.data),
        )


class NodeSession:
    """One node for a while; see :meth:`JsonRpc.session`.

    Attributes:
        name: which node it is, without its url.
        head: its own head when the session began.

    """

    def __init__(self, rpc: JsonRpc, node: _Node) -> None:
        self._rpc, self._node = rpc, node
        self.name = node.name
        self.head = 0

    def __repr__(self) -> str:
        return f"<NodeSession {self.name}>"

    def call(self, method: str, *params: Any) -> Raw:
        """Return the result of one call.

        Raises:
            RpcUnavailable: the node does not answer. RpcRefused: it answered with an error.

        """
        result = self.batch([Call(method, params)])[0]
        if isinstance(result, RpcRefused):
            raise result
        return result

    def batch(self, calls: Sequence[Call]) -> list[Raw | RpcRefused]:
        """Return the result of every call in order, or the error that the node gave for it.

        Raises:
            RpcUnavailable: the node does not answer.

        """
        silence = ""
        try:
            return self._rpc._ask(self._node, calls)  # noqa: SLF001  - one module
        except NoAnswer as error:
            silence = f"{self.name}: {error}"
        self._rpc._leave(self._node)  # noqa: SLF001
        raise RpcUnavailable(silence, chain_id=self._rpc.chain_id)

    def discredit(self, reason: str) -> None:
        """Say that the node's answers contradict each other: another one is asked for a while."""
        del reason
        self._rpc._leave(self._node)  # noqa: SLF001

    def look(self, head_at_least: int | None) -> None:
        """Read the node's head."""
        answer = self._rpc._ask(self._node, [Call("eth_blockNumber")])[0]  # noqa: SLF001
        if isinstance(answer, RpcRefused):
            raise NoAnswer("it does not tell its head")
        self.head = _read_chain_id(answer)
        if head_at_least is not None and self.head < head_at_least:
            raise NoAnswer("it has not come so far")


def _read_replies(status: int, body: bytes, *, batch: bool) -> list[_Reply]:
    """Read an answer; an error object is an answer whatever the HTTP status."""
    replies: list[_Reply] | None = None
    try:
        replies = _MANY.decode(body) if body.lstrip()[:1] == b"[" else [_ONE.decode(body)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        replies = None
    if replies is not None and status == _OK and (len(replies) > 1 or not batch):
        return replies
    refusal = replies[0].error if replies and len(replies) == 1 else None
    if status == _TOO_MANY or (refusal and _is_rate_limit(refusal)):
        raise NoAnswer("too many requests")
    if batch and (refusal or status in _BATCH_TOO_LARGE):
        raise _BatchRefused
    if replies and refusal:
        return replies
    raise NoAnswer("the answer is no JSON-RPC" if status == _OK else f"HTTP status {status}")


def _read_chain_id(answer: Raw) -> int:
    served = None
    try:
        served = read_quantity(msgspec.json.decode(answer, type=str))
    except (msgspec.MsgspecError, ValueError):
        served = None
    if served is None:
        raise NoAnswer("it does not tell its chain id")
    return served


def _is_rate_limit(fault: _Fault | str) -> bool:
    code, text = (0, fault) if isinstance(fault, str) else (fault.code, fault.message.lower())
    if code == _REVERTED or "revert" in text:
        return False  # a contract chooses its own words
    return code == _TOO_MANY or any(word in text.lower() for word in _RATE_WORDS)


def _revert_data(data: Any) -> str | None:
    """Keep what a contract reverted with; a node's other data is its own affair and could repeat our url."""
    if isinstance(data, str) and data.startswith("0x") and len(data) <= _REVERT_DATA:
        digits = data[2:]
        return data if not digits.strip("0123456789abcdefABCDEF") else None
    return None
