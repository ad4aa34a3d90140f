"""Workers that sleep longer than they may: what they write when they wake up is refused, and nothing happens twice."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paused_child
import pytest
from attrs import frozen
from campaign_digest import differing, digest

import forks
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.drain import drain
from evmbilling.testing.merchant import ADMIN, anvil_merchant, repeatable_secrets
from sampling import EVERYTHING


class Later:
    """The machine's clock, some seconds ahead: every lease of who does not know it is over."""

    def __init__(self, seconds: int) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, databases) -> Iterator[str]:
    with databases.lend(request.param) as url:
        yield url


@pytest.fixture
def node() -> Iterator[AnvilNode]:
    with AnvilNode() as node:
        yield node


@contextmanager
def engine_at(url, seconds=0):
    storage = SqlAlchemyStorage.open(url, clock=Later(seconds), waits=Waits(lock=5))
    engine = BillingEngine(storage=storage, clock=Later(seconds), secrets=repeatable_secrets())
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def stopped(url, kind):
    """Start a worker and wait until it has stopped itself; it is killed at the end, whatever happens."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told")
        yield from _stopped(forks.begin(paused_child.main, url, kind, out=told), told)


def _stopped(child, told):
    try:
        deadline = time.monotonic() + 60
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert child.is_alive(), "the worker ended before it stopped"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield Worker(child, told)
    finally:
        child.kill()
        child.join()


@frozen
class Worker:
    """A process that has stopped itself, and the file of what it says."""

    child: Any
    told: Path


def woken(worker):
    """Let a worker go on and return how its call ended."""
    os.kill(worker.child.pid, signal.SIGCONT)
    worker.child.join(60)
    assert worker.child.exitcode == 0
    return json.loads(worker.told.read_text())["done"]


def pay(node, shop, user, account):
    offer = shop.checkout(user, asset="ETH", wallet=node.accounts[account].address)
    node.send(offer.payload.as_rpc(node.accounts[account].address))
    return offer


def stored(engine):
    """Return everything that a reader or an intake writes."""
    with engine._ports.storage.unit(write=False) as unit:
        (cursor,) = unit.cursors()
        logs = unit.log_blocks(cursor.chain_id, below=10**9, limit=10_000)
        return cursor, list(unit.window(cursor.chain_id)), logs, len(unit.events(limit=10_000)), digest(engine)


@pytest.mark.fault("O17")
def test_o17_a_reader_that_slept_past_its_lease_writes_nothing(url, node):
    with engine_at(url) as first:
        shop = anvil_merchant(first, node)
        drain(first)
        lost, kept = pay(node, shop, "lost", 1), pay(node, shop, "kept", 2)
        node.mine(4)
    with stopped(url, "reader") as child, engine_at(url, 3600) as other:
        # The sleeper has read both payments. Meanwhile the chain changes its mind about one, and another worker reads.
        node.reorg(4, [(node.raw_transaction(_hash_of(node, 2)), 0)])
        node.mine()
        drain(other)
        before = stored(other)
        assert [str(other.order(o.ledger_id).status) for o in (lost, kept)] == ["pending", "confirmed"]
        assert woken(child) == "lease_lost"
        assert stored(other) == before
        drain(other)
        assert stored(other) == before
        assert other.verify().differences == ()
    assert before[0].block.number == node.block_number


@pytest.mark.fault("O17")
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize("where", ["intake", "written", "heard"] if EVERYTHING else ["intake", "written"])
def test_o17_an_intake_that_slept_through_its_transaction_changes_nothing(url, node, where):
    with engine_at(url) as first:
        shop = anvil_merchant(first, node)
        offers = [pay(node, shop, f"user-{n}", n) for n in range(1, 6)]
        node.mine(4)
        first.read_chain("local")
    with stopped(url, where) as child, engine_at(url) as other:
        # It holds every movement and every customer; the database ends its session soon.
        deadline = time.monotonic() + 60
        while not other.run_intake().taken:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        drain(other)
        before = stored(other)
        assert {str(other.order(o.ledger_id).status) for o in offers} == {"confirmed"}
        assert woken(child) in (0, "retry_transaction", "storage_error")
        drain(other)
        assert stored(other) == before
        assert other.verify().differences == ()
        confirmed = [e for e in other.admin(ADMIN).events(limit=1000) if e.type == "billing.payment.confirmed.v1"]
        assert len(confirmed) == len(offers)


@pytest.mark.fault("O17")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_o17_an_intake_that_sleeps_on_sqlite_goes_on_where_it_was(url, node):
    with engine_at(url) as first:
        shop = anvil_merchant(first, node)
        offers = [pay(node, shop, f"user-{n}", n) for n in range(1, 6)]
        node.mine(4)
        first.read_chain("local")
    with stopped(url, "intake") as child, engine_at(url) as other:
        assert {str(other.order(o.ledger_id).status) for o in offers} == {"pending"}  # readers are not held up
        assert woken(child) == len(offers)
        assert {str(other.order(o.ledger_id).status) for o in offers} == {"confirmed"}
        before = digest(other)
        drain(other)
        assert differing(digest(other), before) == {}
        assert other.verify().differences == ()


def _hash_of(node, account):
    """Return the hash of the last transaction of an account."""
    for height in range(node.block_number, 0, -1):
        for transaction in (node.block(height, full=True) or {})["transactions"]:
            if transaction["from"] == node.accounts[account].address.lower():
                return transaction["hash"]
    raise AssertionError("it sent nothing")
