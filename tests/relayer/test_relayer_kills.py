"""A relayer that is killed at any place and started again sends each transaction once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from relay_bench import Relay, both

from evmbilling.domain.transmissions import TransmissionStatus as T
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.merchant import IRREVERSIBLE_DEPTH

PROGRAM = """
import sys
from datetime import datetime
sys.path.insert(0, sys.argv[1])
from evmbilling import BillingEngine
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import repeatable_secrets
clock = FrozenClock(datetime.fromisoformat(sys.argv[3]))
engine = BillingEngine(
    storage=SqlAlchemyStorage.open(sys.argv[2], clock=clock), clock=clock, secrets=repeatable_secrets()
)
engine.relay()
"""
PLACES = (
    "relayer.signed",
    "relayer.sent",
    "transaction.before_commit",
    "transaction.after_commit",
    "transaction.after_commit:2",
)


@both
@pytest.mark.fault("D16")
def test_d16_a_relayer_killed_anywhere_sends_each_transaction_once(relay: Relay, url: str, tmp_path) -> None:
    before = relay.held()
    for number in (1, 2):
        relay.errand(number)
    for place in PLACES:
        # The lease of the killed one runs out first.
        relay.pass_time(100)
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), url, relay.clock.now().isoformat()]
        ended = subprocess.run(command, env={**os.environ, CRASH_VARIABLE: place}, check=False, capture_output=True)
        assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr.decode()
        if place.startswith("relayer"):
            assert ended.returncode == -signal.SIGKILL
    relay.relay(seconds=100)
    relay.node.mine(IRREVERSIBLE_DEPTH + 1)
    relay.relay(seconds=3600)
    assert {relay.now(n).status for n in (1, 2)} == {T.DONE}
    assert relay.held() - before == 3
