"""JSON-RPC over HTTP to one chain through several nodes: fail-over, bounded retries, one node for what must fit.

A node that does not answer usably is left for the next one; what a node refuses is asked of another when another may
know better, and believed otherwise. Before a node is asked anything else its chain id is compared, again after every
switch, and once a minute.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from typing import Any, Final, Protocol, TypeVar

from attrs import define
from msgspec import Raw

from evmbilling.adapters.evm.rpc.endpoint import LONGEST_WAIT, Endpoint
from evmbilling.adapters.evm.rpc.exchange import Call, Results
from evmbilling.adapters.evm.rpc.http import NoAnswer
from evmbilling.adapters.evm.rpc.pool import MAX_BYTES, Measure, Pool, Tell
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.session import NodeSession, asks_head, head_in
from evmbilling.domain.reading.nodes import NodeHealth
from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.ports.network_guard import assert_network_allowed

__all__ = ["Asker", "Call", "JsonRpc", "NodeSession"]

_FIRST_PAUSE: Final = 0.1
_ANOTHER_MAY_KNOW: Final = (RefusalKind.FAULT, RefusalKind.HEAD_LAG, RefusalKind.UNDERPRICED)
_TAGS: Final = (("safe",), ("finalized",))
_T = TypeVar("_T")


class Asker(Protocol):
    """What answers calls: a chain's nodes together, or one of them for a while."""

    def call(self, method: str, *params: Any) -> Raw:
        """Return the result of one call."""
        ...

    def batch(self, calls: Sequence[Call], *, attempts: int | None = None) -> Results:
        """Return the result of every call in order, or the error that the node gave for it; all from one node."""
        ...


@define
class _Found:
    """What a round of asking has found so far: the best answer that is not good enough, and why the last one failed.

    Attributes:
        by: who gave the answer that is returned.

    """

    answer: Results | None = None
    by: Endpoint | None = None
    head: int = -1
    silence: str = ""
    retry_after: float | None = None
    wrong: WrongChain | None = None


class JsonRpc:
    """Calls to the nodes of one chain. Safe for threads. Urls are in no repr, error or log.

    Args:
        chain_id: what every node must serve.
        urls: in order of preference; user and password in a url are sent as HTTP basic authentication.
        reserve: gives urls of nodes that are asked when none of these answers.
        timeout: seconds for one exchange with one node.
        attempts: how often the nodes are gone through before a call fails.
        max_bytes: the largest answer that is read.
        sleep, clock: how to pause and how to measure time, for tests.
        tell: told what happens to nodes: a word, the node, the reason.
        measure: told of every exchange: the node, how many calls, how many seconds, whether it gave an answer.

    Raises:
        ConfigurationError: there is no url, or one is not http(s).

    """

    def __init__(
        self,
        *,
        chain_id: int,
        urls: Sequence[str],
        reserve: Callable[[], Sequence[str]] | None = None,
        timeout: float = 10.0,
        attempts: int = 3,
        max_bytes: int = MAX_BYTES,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        tell: Tell | None = None,
        measure: Measure | None = None,
    ) -> None:
        self.chain_id, self._attempts = chain_id, attempts
        self._unwanted: tuple[str, ...] = ()
        self._pool = Pool(
            chain_id=chain_id,
            urls=urls,
            reserve=reserve,
            timeout=timeout,
            max_bytes=max_bytes,
            sleep=sleep,
            clock=clock,
            tell=tell,
            measure=measure,
        )

    def __repr__(self) -> str:
        return f"<JsonRpc chain_id={self.chain_id} nodes={len(self._pool)}>"

    def call(self, method: str, *params: Any, attempts: int | None = None) -> Raw:
        """Return the result of one call.

        Raises:
            RpcUnavailable: no node answered. RpcRefused: it answered with an error. WrongChain: another chain.

        """
        result = self.batch([Call(method, params)], attempts=attempts)[0]
        if isinstance(result, RpcRefused):
            raise result
        return result

    def batch(self, calls: Sequence[Call], *, attempts: int | None = None) -> Results:
        """Return the result of every call in order, or the error that the node gave for it; all from one node.

        Raises:
            RpcUnavailable: no node answered; ``details`` hold ``retry_after`` in seconds when they are only busy.
            WrongChain: those that answered serve another chain.

        """
        return self._batch(calls, _Found(), attempts or self._attempts)

    def understood(self, calls: Sequence[Call], understand: Callable[[Results], _T]) -> _T:
        """Return what is made of the results of these calls; a node whose results make no sense is asked last for long.

        Raises:
            ChainMismatch: by ``understand``. RpcUnavailable, WrongChain: as :meth:`batch`.

        """
        found = _Found()
        results = self._batch(calls, found, self._attempts)
        try:
            return understand(results)
        except ChainMismatch as contradiction:
            if found.by is not None:
                found.by.set_aside(contradiction.message)
            raise

    @contextlib.contextmanager
    def session(self, head_at_least: int | None = None, *, other_than: Collection[str] = ()) -> Iterator[NodeSession]:
        """Yield one node, to which every call inside goes: answers that must fit together come from one place.

        Args:
            head_at_least: the node's own head has to reach this block.
            other_than: names of nodes that are not wanted: for a second opinion.

        Raises:
            RpcUnavailable: no node answered, or none has come so far. Inside: this node does not answer any more.
            WrongChain: those that answered serve another chain.

        """
        assert_network_allowed()
        found = _Found()
        session = next(self._sessions(found, head_at_least, other_than), None)
        if session is None:
            raise self._unavailable(found)
        if not other_than and not self._unwanted:
            self._pool.use(session.endpoint)
        yield session

    def each_node(self, head_at_least: int | None = None) -> Iterator[NodeSession]:
        """Yield every node that answers and whose own head reaches a block, one after another, the best first."""
        assert_network_allowed()
        for session in self._sessions(_Found(), head_at_least, ()):
            if not session.reserve:
                yield session

    def set_aside_current(self, reason: str) -> None:
        """Ask others before the node that was used last, for a while."""
        self._pool.current.set_aside(reason)

    def elsewhere(self) -> JsonRpc:
        """Return the same nodes without the one in use now, where there are others. One pool: do not close it."""
        if len(self._pool) == 1:
            return self
        other = copy(self)
        other._unwanted = (self._pool.current.name,)  # noqa: SLF001  - one of ours
        return other

    @property
    def has_better(self) -> bool:
        """Whether nothing is held against one of the nodes, other than the one in use, at the moment."""
        return bool(self._pool.ready(other_than=[self._pool.current.name, *self._unwanted]))

    def check_chain(self) -> None:
        """Compare the chain id of the node in use now.

        Raises:
            WrongChain: those that answered serve another one. RpcUnavailable: no node answered.

        """
        self._pool.forget_checks()
        self.batch([])

    def health(self) -> tuple[NodeHealth, ...]:
        """Return what is known of every node, in order of preference; nobody is asked."""
        return self._pool.health()

    @property
    def best_head(self) -> int | None:
        """The highest head that a good node named lately."""
        return self._pool.best_head()

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    # -- inside

    def _batch(self, calls: Sequence[Call], found: _Found, attempts: int) -> Results:
        assert_network_allowed()
        about_head = any(map(asks_head, calls))
        if about_head:
            self._pool.survey()
        for turn in range(attempts):
            if turn:
                self._pause(turn, found)
            answer = self._round(calls, found, about_head=about_head)
            if answer is not None:
                return answer
        raise self._unavailable(found)

    def _round(self, calls: Sequence[Call], found: _Found, *, about_head: bool) -> Results | None:
        """Go through the nodes once; None when none of them gave anything."""
        tried: list[str] = []
        for endpoint in self._pool.candidates(other_than=self._unwanted):
            tried.append(endpoint.name)
            results = self._ask(endpoint, calls, found)
            if results is None:
                continue
            if self._suffices(endpoint, calls, results, found, about_head=about_head):
                return results
            # It has answered: others are only asked when they are likely to know better.
            for other in self._pool.ready(other_than=[*tried, *self._unwanted]):
                better = self._ask(other, calls, found)
                if better is not None and self._suffices(other, calls, better, found, about_head=about_head):
                    return better
            break
        return found.answer

    def _suffices(
        self, endpoint: Endpoint, calls: Sequence[Call], results: Results, found: _Found, *, about_head: bool
    ) -> bool:
        """Whether an answer is as good as any; the best one that is not is kept."""
        head = head_in(calls, results) if about_head else None
        if head is not None:
            endpoint.saw(head)
        is_behind = head is not None and head < (self._pool.best_head() or 0)
        if not is_behind and not any(map(_another_may_know, calls, results)):
            if not self._unwanted:
                self._pool.use(endpoint)
            found.by = endpoint
            return True
        if found.answer is None or (head or 0) > found.head:
            found.answer, found.head, found.by = results, head or 0, endpoint
        return False

    def _ask(self, endpoint: Endpoint, calls: Sequence[Call], found: _Found) -> Results | None:
        try:
            return endpoint.ask(calls, trust=self._pool.trust(endpoint))
        except NoAnswer as silence:
            found.silence, found.retry_after = f"{endpoint.name}: {silence}", silence.retry_after
        except WrongChain as wrong:
            found.wrong = wrong
        return None

    def _sessions(self, found: _Found, head_at_least: int | None, other_than: Collection[str]) -> Iterator[NodeSession]:
        for endpoint in self._pool.candidates(other_than={*other_than, *self._unwanted}):
            session = NodeSession(self._pool, endpoint, attempts=self._attempts)
            try:
                session.begin(head_at_least)
            except NoAnswer as silence:
                found.silence, found.retry_after = f"{endpoint.name}: {silence}", silence.retry_after
                continue
            except WrongChain as wrong:
                found.wrong = wrong
                continue
            yield session

    def _pause(self, turn: int, found: _Found) -> None:
        pause = _FIRST_PAUSE * 2 ** (turn - 1)
        if found.retry_after is not None and found.retry_after <= LONGEST_WAIT:
            pause = max(pause, found.retry_after)
        self._pool.sleep(min(pause, LONGEST_WAIT))

    def _unavailable(self, found: _Found) -> RpcUnavailable | WrongChain:
        if found.wrong is not None:
            return found.wrong
        reason = found.silence or "all of them failed just now and are left alone for a while"
        details: dict[str, Any] = {} if found.retry_after is None else {"retry_after": found.retry_after}
        return RpcUnavailable(
            f"no node of chain {self.chain_id} answered ({reason})", chain_id=self.chain_id, **details
        )


def _another_may_know(call: Call, result: Raw | RpcRefused) -> bool:
    """Whether it is worth asking others. A tag that one node of a chain does not know, none does."""
    if not isinstance(result, RpcRefused) or call.params[:1] in _TAGS:
        return False
    return refusal_of(result).kind in _ANOTHER_MAY_KNOW
