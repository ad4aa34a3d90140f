"""One node: its exchange, and everything that is known about how it behaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from evmbilling.adapters.evm.rpc.breaker import Breaker
from evmbilling.adapters.evm.rpc.bucket import Bucket
from evmbilling.adapters.evm.rpc.exchange import Call, Exchange, Results, read_number
from evmbilling.adapters.evm.rpc.http import NoAnswer
from evmbilling.domain.reading.nodes import NodeHealth, NodeState
from evmbilling.errors import WrongChain

CHECK_SECONDS: Final = 60.0
SET_ASIDE_SECONDS: Final = 300.0
LONGEST_WAIT: Final = 2.0
CLOSED_SECONDS: Final = 60.0
_SHORTEST_TRIAL: Final = 1.0
_TRIAL_SHARE: Final = 0.25
_SMOOTHING: Final = 0.2
_LONGEST_REASON: Final = 200

Note = Callable[[str, "Endpoint", str], None]
"""Told what happens: a word, the node, the reason."""

Asked = Callable[["Endpoint", int, float, bool], None]
"""Told of every exchange: the node, how many calls, how many seconds, and whether it gave an answer."""


class Endpoint:
    """One node of one chain. Safe for threads; its url is in no repr.

    Args:
        name: how people and logs call it.
        reserve: whether it is asked only when no other answers.
        timeout: seconds for one exchange; a first look at a node that was away gets a quarter of it.
        clock, sleep: how time is measured and passed.
        note, asked: told what happens, and of every exchange.

    """

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        *,
        chain_id: int,
        timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        note: Note,
        asked: Asked,
        reserve: bool = False,
    ) -> None:
        self.name, self.exchange, self.reserve = name, exchange, reserve
        self._chain_id, self._timeout, self._clock, self._sleep = chain_id, timeout, clock, sleep
        self._trial = min(max(timeout * _TRIAL_SHARE, _SHORTEST_TRIAL), timeout)
        self._note, self._measure = note, asked
        self._breaker, self._bucket = Breaker(clock), Bucket(clock)
        self._lock = threading.Lock()
        self._checked_at: float | None = None
        self._served: int | None = None
        self._aside_until = 0.0
        self._head: tuple[int, float] | None = None
        self._latency: float | None = None
        self._asked = self._failed = 0
        self._reason = ""

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # -- whether to ask it

    @property
    def state(self) -> NodeState:
        """How it stands now."""
        standing = self._breaker.standing
        if self._served not in (None, self._chain_id):
            return "wrong_chain"
        if standing in ("open", "half_open"):
            return "open"
        if self._clock() < self._aside_until:
            return "set_aside"
        if self._bucket.waits:
            return "limited"
        return "doubtful" if standing == "doubtful" else "ready"

    @property
    def rank(self) -> tuple[int, float]:
        """Where it stands in the order of asking, the lowest first; the second part orders those that wait."""
        if self._breaker.standing == "doubtful":
            return 2, self._breaker.waits
        waits = max(self._aside_until - self._clock(), self._bucket.waits, 0.0)
        return (1, waits) if waits else (0, 0.0)

    def admit(self) -> bool:
        """Say whether it may be asked now: not while its circuit is open, and by one caller alone for a trial."""
        return self._breaker.admit(2 * self._timeout)

    def waits(self) -> float:
        """Return the seconds until it is asked again as if nothing had been."""
        return max(self._breaker.waits, self._bucket.waits, self._aside_until - self._clock(), 0.0)

    def head(self, *, since: float = 0.0) -> int | None:
        """Return the head that it named last, unless that was before ``since`` by the clock."""
        known = self._head
        return known[0] if known is not None and known[1] >= since else None

    # -- asking

    def ask(self, calls: Sequence[Call], *, trust: float = CHECK_SECONDS) -> Results:
        """Return the results of all calls in order; first its chain id, unless that was compared ``trust`` seconds ago.

        Raises:
            NoAnswer: it gave none that can be used, or is not to be asked so much now.
            WrongChain: it serves another chain.

        """
        known = self._checked_at
        if known is None or self._clock() - known > trust:
            self._check()
        results: Results = []
        while len(results) < len(calls):
            results += self._some(calls[len(results) :], None)
        return results

    def look(self, *, trust: float = CHECK_SECONDS) -> int:
        """Ask for its head.

        Raises:
            NoAnswer, WrongChain: as :meth:`ask`.

        """
        answer = self.ask([Call("eth_blockNumber")], trust=trust)[0]
        try:
            head = read_number(answer, "head")
        except NoAnswer as silence:
            self._missed(silence)
            raise
        self.saw(head)
        return head

    def saw(self, head: int) -> None:
        """Note the head that it named just now."""
        self._head = (head, self._clock())

    def forget_check(self) -> None:
        """Compare its chain id before it is asked anything else."""
        self._checked_at = None

    def set_aside(self, reason: str) -> None:
        """Ask others first for a while: its answers contradict each other."""
        self._aside_until = self._clock() + SET_ASIDE_SECONDS
        self._reason, self._head, self._checked_at = reason[:_LONGEST_REASON], None, None
        self._note("rpc_set_aside", self, "contradiction")

    def refused(self) -> None:
        """Ask others first for a minute: it answers, and refuses what they may answer.

        It is no failure of the connection: the circuit stays closed.
        """
        with self._lock:
            self._failed += 1
            self._reason = "refused"
            self._aside_until = max(self._aside_until, self._clock() + CLOSED_SECONDS)
        self._note("rpc_failed", self, "refused")

    def health(self, best: int | None) -> NodeHealth:
        """Return what is known, compared with the best head."""
        head = self.head()
        return NodeHealth(
            node=self.name,
            state=self.state,
            head=head,
            lag=None if head is None or best is None else max(best - head, 0),
            latency_ms=None if self._latency is None else round(self._latency * 1000),
            asked=self._asked,
            failed=self._failed,
            reason=self._reason,
            waits=-int(-self.waits() // 1),
        )

    def _check(self) -> None:
        was_away = self._checked_at is None
        answer = self._some([Call("eth_chainId")], self._trial if was_away else None)[0]
        try:
            served = read_number(answer, "chain id")
        except NoAnswer as silence:
            self._missed(silence)
            raise
        self._served = served
        if served != self._chain_id:
            self._fail("wrong_chain", rest=CHECK_SECONDS)
            raise WrongChain(
                f"{self.name} serves chain {served}, not {self._chain_id}", chain_id=self._chain_id, served=served
            )
        self._checked_at = self._clock()

    def _some(self, calls: Sequence[Call], timeout: float | None) -> Results:
        """Ask for the first calls, as many as it takes at once."""
        part = calls[: self.exchange.batch]
        self._wait(len(part))
        began = self._clock()
        with self._lock:
            self._asked += 1
        try:
            results = self.exchange.ask(part, timeout=timeout)
        except NoAnswer as silence:
            self._measure(self, len(part), self._clock() - began, False)
            self._missed(silence)
            raise
        took = self._clock() - began
        self._measure(self, len(part), took, True)
        with self._lock:
            self._latency = took if self._latency is None else self._latency + _SMOOTHING * (took - self._latency)
        self._bucket.answered()
        self._breaker.succeeded()
        return results

    def _wait(self, calls: int) -> None:
        pause = self._bucket.reserve(calls)
        if pause > LONGEST_WAIT:
            self._bucket.give_back(calls)
            raise NoAnswer("too many requests", "rate", retry_after=pause)
        if pause:
            self._sleep(pause)

    def _missed(self, silence: NoAnswer) -> None:
        if silence.reason == "rate":
            self._bucket.refused(silence.retry_after)
            with self._lock:
                self._failed += 1
                self._reason = "rate"
            self._note("rpc_limited", self, "rate")
            return
        rest = CLOSED_SECONDS if silence.reason == "closed" else min(silence.retry_after or 0.0, CLOSED_SECONDS)
        self._fail(silence.reason, rest=rest)

    def _fail(self, reason: str, *, rest: float = 0.0) -> None:
        """Count a failure; ask others first for ``rest`` seconds."""
        with self._lock:
            self._failed += 1
            self._reason, self._checked_at = reason, None
            if rest:
                self._aside_until = self._clock() + rest
        self._note("rpc_failed", self, reason)
        if self._breaker.failed():
            self._note("rpc_circuit_opened", self, reason)
