"""A worker that is killed: what it had committed stays, nothing is counted twice, and no number is left out."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta

import pytest

import forks
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import repeatable_secrets


def work(url: str, now: datetime, step: str) -> None:
    clock = FrozenClock(now)
    storage = SqlAlchemyStorage.open(url, clock=clock)
    engine = BillingEngine(storage=storage, clock=clock, secrets=repeatable_secrets(), clock_tolerance=None)
    getattr(engine, step)()


def killed(shop, place: str, step: str) -> None:
    """Let another process do a step, and kill it at a place."""
    url = shop.engine._ports.storage._engine.url.render_as_string(hide_password=False)
    done = forks.run(work, url, shop.now, step, env=os.environ | {CRASH_VARIABLE: place})
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_a_killed_worker_is_followed_by_another(open_shop, name):
    shop = open_shop(name)
    shop.shop.buy("user-1", plan="pack")
    shop.shop.buy("user-2")
    shop.settle(30)
    killed(shop, "fold.page", "fold")
    killed(shop, "receipts.asked", "number_receipts")
    assert shop.engine.fold().busy, "the lease of the dead worker still holds"
    shop.engine._ports.storage._clock.set(shop.now + timedelta(seconds=61))
    shop.fold()
    shop.check()
    assert shop.engine.number_receipts().issued == 2
    numbers = sorted(found.number for user in ("user-1", "user-2") for found in shop.engine.receipt_documents(user))
    assert numbers == ["R-000001", "R-000002"]
