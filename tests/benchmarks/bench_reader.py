"""Reading a chain against a web3.py loop: the same Anvil, the same rows, interleaved; ratios within one run.

Nothing is asserted that depends on the machine.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import bm_reading
import pytest
import sqlalchemy as sa
from bm_chain import BURST, SINGLE, full_chain, open_source, overheard, read_raw
from bm_clones import insertion
from bm_reading import EVERYTHING, close, compare, decoded, fetched, open_shop, rows_of, timed, took
from bm_web3 import LOGS_AT_ONCE, TABLES, Web3Reader
from bm_wire import COMMIT, Call, Wire

from evmbilling.domain.addresses import checksum
from evmbilling.domain.reading.evidence import WatchSet
from evmbilling.sqlite import configure
from evmbilling.testing.emitter import EMITTER
from evmbilling.testing.paid_logs import TRANSFER_TOPIC

SHAPES = {"single": SINGLE, "burst": BURST}


@pytest.fixture(scope="module", params=SHAPES)
def full(request, plan):
    logs = {"single": 1_930, "burst": 9_700} if plan.quick else {"single": 19_300, "burst": 67_900}
    with full_chain(SHAPES[request.param], logs[request.param]) as chain:
        yield chain


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request, sqlite_folder):
    """Make a database: ``with fresh() as url``."""

    @contextmanager
    def file():
        with tempfile.TemporaryDirectory(dir=sqlite_folder) as folder:
            yield f"sqlite:///{folder}/evidence.db"

    if request.param == "sqlite":
        return file
    return request.getfixturevalue("postgres_server").database


def test_fetch_and_decode(full, plan):
    rounds = 3 if plan.quick else 5
    peer = Web3Reader(full.node.url, full.shape.a_block)
    url, span = full.node.url, (full.first, full.last)
    assert fetched(full) == decoded(url, *span) == peer.decoded(*span)
    same_work = compare(
        full, rounds, lambda: took(full, lambda: fetched(full)), lambda: took(full, lambda: peer.decoded(*span))
    )
    print(f"\nfetch and decode, {full.logs} logs, {full.shape.name}: {same_work}")
    standing = compare(
        full, rounds, lambda: took(full, lambda: decoded(url, *span)), lambda: took(full, lambda: peer.decoded(*span))
    )
    with overheard() as bodies:
        decoded(url, *span)
    shares = []
    for _ in range(rounds):
        raw, size = read_raw(url, bodies)
        shares.append(raw / timed(lambda: decoded(url, *span)))
    print(f"fetch, prove and decode, where the peer proves nothing: {standing}")
    print(
        f"  {median(shares):.2f} of what the node can serve: the same {len(bodies)} answers read raw, {size >> 20} MiB"
    )
    assert len(standing.ratios) == rounds


def test_node_to_committed_evidence(full, fresh, plan):
    rounds = 3 if plan.quick else 5
    kinds, checked = set(), []

    def ours():
        with fresh() as url:
            engine = open_shop(full.node.url, url)
            turn = took(full, lambda: engine.read_chain("local", max_blocks=EVERYTHING, to_block=full.last))
            close(engine)
            kinds.add(url.partition(":")[0])
            keep(url)
        return turn

    def theirs(*, receipts=True):
        with fresh() as url:
            engine = open_shop(full.node.url, url)
            engine.read_chain("local", to_block=0)
            close(engine)
            database = open_host(url)
            peer = Web3Reader(full.node.url, full.shape.a_block, receipts=receipts)
            turn = took(full, lambda: peer.written(database, full.first, full.last))
            database.dispose()
            keep(url)
        return turn

    def keep(url):
        if len(checked) < 3:
            database = open_host(url)
            checked.append(rows_of(database))
            database.dispose()

    believing = theirs(receipts=False)
    standing = compare(full, rounds, ours, theirs)
    assert len(checked[0]["chain_logs"]) == full.logs
    assert checked[0] == checked[1] == checked[2]
    print(f"\nnode to committed evidence, {kinds.pop()}, {full.logs} logs, {full.shape.name}: {standing}")
    print("  two rows a log; the peer takes all receipts (eth_getBlockReceipts), ours two of each range")
    by_clock = standing.ours * believing.clock / full.logs
    print(f"  a peer that takes no receipts and proves nothing: {by_clock:.1f} x by the clock, in one turn;", end="")
    own, node = (seconds / full.logs * 1e6 for seconds in (believing.own, believing.node))
    print(f" {own:.0f} us of processor time a log + {node:.0f} of the node's")
    assert len(standing.ratios) == rounds


def test_the_rows_alone(full, fresh, plan):
    """The bound of evidence: the driver writes rows that are there already, and does nothing else."""
    with fresh() as url:
        engine = open_shop(full.node.url, url)
        engine.read_chain("local", max_blocks=EVERYTHING, to_block=full.last)
        close(engine)
        calls = evidence_calls(url)
    turns = []
    for _ in range(3):
        with fresh() as url:
            close(open_shop(full.node.url, url))
            wire = Wire(url)
            turns.append(took(full, lambda wire=wire: wire.send(calls)))
            wire.close()
    clock, own = (median(turn) / full.logs * 1e6 for turn in zip(*((t.clock, t.own) for t in turns), strict=True))
    kind, cost = url.partition(":")[0], f"{clock:.0f} us a log, {own:.0f} of our processor time"
    print(f"\nthe rows of evidence alone, {kind}, {full.shape.name}: {cost}")
    assert len(calls) >= 3


def evidence_calls(url):
    """Return what writes the logs and items of a database again, as the driver gives and takes them."""
    database = open_host(url)
    with database.connect() as connection:
        of = [
            (short, [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {TABLES[short].name}")])
            for short in ("chain_logs", "intake_items")
        ]
    database.dispose()
    calls = []
    for at in range(0, len(of[0][1]), LOGS_AT_ONCE):
        if url.startswith("sqlite"):
            calls.append(Call("BEGIN IMMEDIATE"))
        calls += [
            insertion(short, rows[at : at + LOGS_AT_ONCE], postgres=url.startswith("postgres")) for short, rows in of
        ]
        calls.append(Call(COMMIT))
    return calls


def open_host(url):
    database = sa.create_engine(url)
    if url.startswith("sqlite"):
        configure(database)
    return database


def test_memory(plan, sqlite_folder):
    few, many = (10_000, 40_000) if plan.quick else (100_000, 1_000_000)
    peaks = {}
    for logs in (few, many):
        with full_chain(BURST, logs) as chain, tempfile.TemporaryDirectory(dir=sqlite_folder) as folder:
            command = [sys.executable, str(Path(bm_reading.__file__)), chain.node.url, f"sqlite:///{folder}/memory.db"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        assert found["logs"] == chain.logs
        peaks[logs] = found["peak_kib"]
        idle, peak = found["idle_kib"] / 1024, found["peak_kib"] / 1024
        rate = logs / found["seconds"]
        print(f"\nmemory of {logs} logs: peak {peak:.0f} MiB ({idle:.0f} before), {rate:,.0f} logs/s")
    print(f"  {peaks[many] / peaks[few]:.2f} x for {many // few} x the logs")
    assert peaks[few] > 0


def test_watched_contracts(plan):
    """What one more contract costs: the same blocks, more addresses to look for."""
    rounds, counts = (3, (1, 10, 1_000)) if plan.quick else (5, (1, 10, 100, 500, 1_000))
    with full_chain(SINGLE, 2_000) as chain:
        seconds = {count: [] for count in counts}
        calls = {}
        for _ in range(rounds):
            for count in counts:
                others = tuple(checksum(number.to_bytes(20)) for number in range(1, count))
                watch = WatchSet(addresses=(EMITTER, *others), topics=(TRANSFER_TOPIC,), start_block=0)
                with overheard() as bodies:
                    source = open_source(chain.node.url)
                    seconds[count].append(timed(lambda watch=watch, source=source: scanned(source, chain, watch)))
                    source.close()
                calls[count] = len(bodies)
    print(f"\nwatched contracts, {chain.logs} logs in {chain.last - chain.first + 1} blocks:")
    for count in counts:
        ratio = median(a / b for a, b in zip(seconds[count], seconds[1], strict=True))
        print(f"  {count:>5}: {median(seconds[count]) * 1000:.0f} ms, {ratio:.2f} x one, {calls[count]} requests")
    assert set(calls) == set(counts)


def scanned(source, chain, watch):
    with source.scan(chain.first, chain.last, watch) as ranges:
        found = sum(len(part.logs) for part in ranges)
    assert found == chain.logs
