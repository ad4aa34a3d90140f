"""The nodes of one chain: in which order they are asked, and what their heads say about each other."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import Final

from evmbilling.adapters.evm.rpc.endpoint import CHECK_SECONDS, Endpoint
from evmbilling.adapters.evm.rpc.exchange import Exchange
from evmbilling.adapters.evm.rpc.http import NoAnswer, NodeHttp
from evmbilling.adapters.evm.rpc.redact import Redactor
from evmbilling.domain.reading.nodes import NodeHealth
from evmbilling.errors import ConfigurationError, WrongChain

MAX_BYTES: Final = 64 << 20
SURVEY_SECONDS: Final = 30.0
_HEAD_LASTS: Final = 300.0
_RESERVE_SECONDS: Final = 10.0
_SWITCH_SECONDS: Final = 5.0
_LAG_TOLERATED: Final = 5

Tell = Callable[[str, str, str], None]
"""Told what happens to nodes: a word, the node, the reason."""

Measure = Callable[[str, int, float, bool], None]
"""Told of every exchange: the node, how many calls, how many seconds, and whether it gave an answer."""


class Pool:
    """The endpoints of one chain. Safe for threads.

    Asked first is the first in the order of preference that has not failed just now; one that failed is asked last for
    a while, and one that fails again and again not at all until its pause is over. Reserve nodes come after all others
    and are only looked up when nobody else answers.

    Args:
        urls: of the nodes, in order of preference; one that stands twice counts once.
        reserve: gives the urls of the reserve.
        tell: told of failures, switches and open circuits.
        measure: told of every exchange.

    Raises:
        ConfigurationError: there is no url, or one is not http(s).

    """

    def __init__(
        self,
        *,
        chain_id: int,
        urls: Sequence[str],
        reserve: Callable[[], Sequence[str]] | None = None,
        timeout: float,
        max_bytes: int = MAX_BYTES,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        tell: Tell | None = None,
        measure: Measure | None = None,
    ) -> None:
        if not urls:
            raise ConfigurationError("a network needs the url of a node", field="rpc_urls")
        self.chain_id, self._timeout, self._max_bytes = chain_id, timeout, max_bytes
        self.sleep, self.clock = sleep, clock
        self._tell, self._measure, self._ids = tell, measure, count(1)
        distinct = list(dict.fromkeys(urls))
        self._endpoints = [self._open(f"node {at} of {len(distinct)}", url) for at, url in enumerate(distinct, 1)]
        self._known = frozenset(map(_fingerprint, distinct))
        self._find_reserve = reserve
        self._reserve_known: tuple[bytes, ...] = ()
        self._reserve: list[Endpoint] = []
        self._reserve_at: float | None = None
        self._current = self._endpoints[0]
        self._surveyed_at = clock()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Pool chain_id={self.chain_id} nodes={len(self._endpoints)}>"

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def current(self) -> Endpoint:
        """The endpoint that answered last."""
        return self._current

    def candidates(self, *, other_than: Collection[str] = ()) -> Iterator[Endpoint]:
        """Yield the endpoints that may be asked now, the best first; the reserve after all others.

        Whoever takes one asks it: for a node that was away this may be the one trial.
        """
        yield from self._admitted(self._endpoints, other_than)
        yield from self._admitted(self._look_up_reserve(), other_than)

    def ready(self, *, other_than: Collection[str] = ()) -> list[Endpoint]:
        """Return the endpoints, without the reserve, that nothing is held against."""
        return [known for known in self._endpoints if known.rank[0] == 0 and known.name not in other_than]

    def trust(self, endpoint: Endpoint) -> float:
        """Return for how many seconds its chain id is trusted: hardly, when another one was in use until now."""
        return CHECK_SECONDS if endpoint is self._current else _SWITCH_SECONDS

    def use(self, endpoint: Endpoint) -> None:
        """Note who answered."""
        with self._lock:
            left, self._current = self._current, endpoint
        if left is not endpoint:
            self._note("rpc_switched", endpoint, left.name)

    def _admitted(self, endpoints: Sequence[Endpoint], other_than: Collection[str]) -> Iterator[Endpoint]:
        best = self.best_head()
        for endpoint in sorted(endpoints, key=lambda known: (known.rank[0], self._lags(known, best), known.rank[1])):
            if endpoint.name not in other_than and endpoint.admit():
                yield endpoint

    # -- heads

    def best_head(self) -> int | None:
        """Return the highest head that a node named lately which nothing is held against."""
        since = self.clock() - _HEAD_LASTS
        heads = [known.head(since=since) for known in self._endpoints if known.rank[0] == 0]
        return max((head for head in heads if head is not None), default=None)

    def _lags(self, endpoint: Endpoint, best: int | None) -> bool:
        head = endpoint.head(since=self.clock() - 2 * SURVEY_SECONDS)
        return head is not None and best is not None and best - head > _LAG_TOLERATED

    def survey(self) -> None:
        """Ask the nodes that are not in use for their heads, when that is due: one that stands still is found so.

        A node in front that stops moving fails nothing and delays everything.
        """
        with self._lock:
            if len(self._endpoints) == 1 or self.clock() - self._surveyed_at < SURVEY_SECONDS:
                return
            self._surveyed_at = self.clock()
            current = self._current
        for endpoint in self._endpoints:
            if endpoint is not current and endpoint.admit():
                try:
                    endpoint.look()
                except (NoAnswer, WrongChain):
                    continue  # it is noted with the endpoint

    # -- what is known

    def health(self) -> tuple[NodeHealth, ...]:
        """Return every node in order of preference, the reserve last; nobody is asked."""
        best = self.best_head()
        return tuple(endpoint.health(best) for endpoint in (*self._endpoints, *self._reserve))

    def forget_checks(self) -> None:
        """Compare every node's chain id before it is asked anything else."""
        for endpoint in (*self._endpoints, *self._reserve):
            endpoint.forget_check()

    def close(self) -> None:
        """Close idle connections."""
        for endpoint in (*self._endpoints, *self._reserve):
            endpoint.exchange.http.close()

    # -- making them

    def _open(self, name: str, url: str, *, reserve: bool = False) -> Endpoint:
        http = NodeHttp(url, timeout=self._timeout, max_bytes=self._max_bytes)
        return Endpoint(
            name,
            Exchange(http, Redactor([url]), self._ids),
            chain_id=self.chain_id,
            timeout=self._timeout,
            clock=self.clock,
            sleep=self.sleep,
            note=self._note,
            asked=self._asked,
            reserve=reserve,
        )

    def _look_up_reserve(self) -> list[Endpoint]:
        if self._find_reserve is None:
            return []
        now = self.clock()
        with self._lock:
            if self._reserve_at is not None and now - self._reserve_at < _RESERVE_SECONDS:
                return self._reserve
            self._reserve_at = now
        urls = [url for url in dict.fromkeys(self._find_reserve()) if _fingerprint(url) not in self._known]
        known = tuple(map(_fingerprint, urls))
        with self._lock:
            if known == self._reserve_known:
                return self._reserve
        fresh = []
        for at, url in enumerate(urls, 1):
            with contextlib.suppress(ConfigurationError):
                fresh.append(self._open(f"reserve {at}", url, reserve=True))
        with self._lock:
            left, self._reserve, self._reserve_known = self._reserve, fresh, known
        for endpoint in left:
            endpoint.exchange.http.close()
        return fresh

    def _note(self, word: str, endpoint: Endpoint, reason: str) -> None:
        if self._tell is not None:
            self._tell(word, endpoint.name, reason)

    def _asked(self, endpoint: Endpoint, calls: int, seconds: float, answered: bool) -> None:
        if self._measure is not None:
            self._measure(endpoint.name, calls, seconds, answered)


def _fingerprint(url: str) -> bytes:
    """Return what tells urls apart and says nothing about them."""
    return hashlib.sha256(url.encode()).digest()
