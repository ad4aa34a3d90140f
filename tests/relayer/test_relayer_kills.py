"""A relayer that is killed at any place and started again sends each transaction once."""

from __future__ import annotations

import os
import signal
from datetime import datetime

import pytest
from relay_bench import Relay, both

import forks
from evmbilling import BillingEngine
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import IRREVERSIBLE_DEPTH, repeatable_secrets

PLACES = (
    "relayer.signed",
    "relayer.sent",
    "transaction.before_commit",
    "transaction.after_commit",
    "transaction.after_commit:2",
)


def relay_once(url: str, now: datetime) -> None:
    clock = FrozenClock(now)
    storage = SqlAlchemyStorage.open(url, clock=clock)
    BillingEngine(storage=storage, clock=clock, secrets=repeatable_secrets()).relay()


@both
@pytest.mark.in_turn
@pytest.mark.fault("D16")
def test_d16_a_relayer_killed_anywhere_sends_each_transaction_once(relay: Relay, url: str) -> None:
    before = relay.held()
    for number in (1, 2):
        relay.errand(number)
    for place in PLACES:
        # The lease of the killed one runs out first.
        relay.pass_time(100)
        ended = forks.run(relay_once, url, relay.clock.now(), env={**os.environ, CRASH_VARIABLE: place})
        assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr
        if place.startswith("relayer"):
            assert ended.returncode == -signal.SIGKILL
    relay.relay(seconds=100)
    relay.node.mine(IRREVERSIBLE_DEPTH + 1)
    relay.relay(seconds=3600)
    assert {relay.now(n).status for n in (1, 2)} == {T.DONE}
    assert relay.held() - before == 3
