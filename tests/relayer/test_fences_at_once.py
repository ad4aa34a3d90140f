"""Two people who have the nonces of one wallet used up at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from relay_bench import Relay, both

from evmbilling.domain.sending.fences import fence_post, is_fence
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.engine.sending import sending
from evmbilling.errors import Conflict
from evmbilling.testing.merchant import ADMIN, IRREVERSIBLE_DEPTH


@both
def test_of_two_who_ask_at_once_one_is_told_that_it_is_done_already(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each nonce costs gas: the database sees to it that a wallet has one fence, and the next one when that is over."""
    monkeypatch.setattr(sending, "fence_post", met(Barrier(2)))

    def ask(_: int) -> int:
        try:
            return len(relay.engine.sending(ADMIN).fence("main", "local", count=3))
        except Conflict:
            return 0

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, range(2))) == [0, 3]
    monkeypatch.undo()
    for _ in range(2):
        relay.relay(seconds=60)
        relay.node.mine(IRREVERSIBLE_DEPTH + 1)
    relay.relay(seconds=3600)
    assert ask(0) == 3
    fences = [one.status for one in relay.engine.sending(ADMIN).transmissions() if is_fence(one)]
    assert sorted(fences) == [T.DONE] * 3 + [T.QUEUED] * 3


def met(both_are_here: Barrier) -> Callable[..., Any]:
    """Let two who have looked write at once, where a database lets two look."""

    def post(*given: Any, **named: Any) -> Any:
        with suppress(BrokenBarrierError):
            both_are_here.wait(2)
        return fence_post(*given, **named)

    return post
