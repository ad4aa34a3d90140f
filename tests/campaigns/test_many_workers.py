"""Two readers and two intakes on PostgreSQL, killed and paused while the chain reorganises: nothing lost or twice."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from campaign_chain import DEEPEST, RestlessChain
from campaign_crowd import Crowd
from campaign_digest import differing, digest
from campaign_seed import campaign_seed, is_long
from campaign_zygote import open_engine

from evmbilling.errors import RetryTransaction
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.drain import NotSettled, drain
from evmbilling.testing.merchant import ADMIN, IRREVERSIBLE_DEPTH, anvil_merchant
from sampling import EVERYTHING

PAYMENTS, TROUBLES, STRAYS = (600, 120, 30) if is_long() else (200, 20, 10) if EVERYTHING else (140, 16, 8)
SPEED = 20
"""A lease of 30 seconds runs out in one and a half."""


@pytest.mark.fault("O16")
@pytest.mark.fault("O17")
def test_o16_o17_killed_and_paused_at_random_nothing_is_lost_and_nothing_happens_twice(
    databases, postgres_server, tmp_path
):
    seed = random.Random(campaign_seed(7))
    began = datetime.now(UTC)
    clock = f"{(began + timedelta(hours=1)).isoformat()},{began.timestamp()},{SPEED}"
    with AnvilNode() as node, made(postgres_server, databases) as url:
        with closing(open_engine(url, clock)) as engine:
            shop = anvil_merchant(engine, node, order_ttl=7 * 86_400)
            chain = RestlessChain(node, shop, seed)
            offers = [
                shop.checkout(f"user-{n}", plan=(shop.plan, shop.pack)[n % 2], wallet=chain.wallet(n))
                for n in range(PAYMENTS)
            ]
        before = postgres_server.create(template=url.rpartition("/")[2].partition("?")[0])
        words = tmp_path / "workers"
        with Crowd(url, clock, words, seed) as crowd, closing(open_engine(url, clock)) as engine:
            drive(chain, offers, crowd, seed, lambda: moved(engine, node))
            crowd.calm()
            chain.mine(IRREVERSIBLE_DEPTH + 2)
            wait_until_taken_in(engine, node)
        sys.stderr.write(f"{crowd.kills} kills, {crowd.pauses} pauses, {dict(chain.reorgs)} at {node.block_number}\n")
        assert words.read_text() == ""
        assert crowd.kills + crowd.pauses >= TROUBLES
        assert sum(chain.reorgs.values()) > 5
        with (
            closing(open_engine(url, clock)) as engine,
            closing(open_engine(postgres_server.url(before), clock)) as calm,
        ):
            patiently(lambda: drain(engine))
            drain(calm)
            found, expected = digest(engine), digest(calm)
            assert differing(found, expected) == {}
            assert len(expected["receipts"]) == PAYMENTS + STRAYS
            assert (len(expected["suspense"]), {row[1] for row in map(eval_status, expected["orders"])}) == (
                STRAYS,
                {"final"},
            )
            assert [d for e in (engine, calm) for d in e.verify().differences] == []
            assert told_unevenly(engine) == {}
        postgres_server.drop(before)


@contextmanager
def made(server, databases):
    """Make a migrated database to which nobody is connected: what happened until then is copied from it."""
    name = server.create(template=databases.postgres_template(server))
    yield server.url(name)
    server.drop(name)


def drive(chain, offers, crowd, seed, moved):
    """Let everything be paid, in part again and again, until there was trouble enough; workers keep up now and then."""
    todo, strays = list(offers), STRAYS
    seed.shuffle(todo)
    while todo or strays or crowd.kills + crowd.pauses < TROUBLES:
        for _ in range(seed.randint(1, 16)):
            if todo:
                chain.pay(todo.pop())
        if strays and seed.random() < 0.5:
            chain.stray(1000 + strays)
            strays -= 1
        chain.mine(seed.randint(1, 2))
        if seed.random() < 0.4:
            todo += chain.reorganise()
        if seed.random() < 0.8:
            crowd.trouble()
        patience = time.monotonic() + 0.4
        while not moved() and time.monotonic() < patience:
            time.sleep(0.05)


def moved(engine, node):
    """Whether the workers are near the head."""
    with engine._ports.storage.unit(write=False) as unit:
        cursors, due = unit.cursors(), unit.stuck_items(limit=20)
    return bool(cursors) and cursors[0].block.number > node.block_number - DEEPEST and len(due) < 20


def wait_until_taken_in(engine, node):
    """Wait for the workers: until the head has been read and nothing is due."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with engine._ports.storage.unit(write=False) as unit:
            cursor = unit.cursor(node.chain_id)
            stuck = unit.stuck_items(limit=1)
        if cursor is not None and cursor.block.number == node.block_number and not stuck:
            return
        time.sleep(0.2)
    raise AssertionError(f"read up to {cursor} of {node.block_number}; due: {stuck}")


def patiently(work):
    """Do something that rows and leases held by killed sessions may keep from it for a while."""
    for _ in range(60):
        with suppress(RetryTransaction, NotSettled):
            return work()
        time.sleep(0.5)
    return work()


def told_unevenly(engine):
    """Return the orders that were not told once more confirmed than reversed."""
    events = engine.admin(ADMIN).events(limit=10_000)
    total: Counter[str] = Counter()
    for event in events:
        if event.type == "billing.payment.confirmed.v1":
            total[event.data["ledger_id"]] += 1
        elif event.type == "billing.payment.reversed.v1":
            total[event.data["ledger_id"]] -= 1
    numbers: Counter[str] = Counter(e.aggregate for e in events)
    for aggregate, count in numbers.items():
        assert sorted(e.seq for e in events if e.aggregate == aggregate) == list(range(1, count + 1))
    return {ledger_id: count for ledger_id, count in total.items() if count != 1}


def eval_status(row):
    """Return an order's row of a digest as (ledger id, status)."""
    ledger_id, status = row.split("'")[1::2][:2]
    return ledger_id, status
