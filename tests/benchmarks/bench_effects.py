"""Payments, webhooks, deliveries, verification, and hosts that hold their transactions; ratios within one run.

Nothing is asserted that depends on the machine.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import bm_effects
import pytest
from bm_effects import CLIENTS, EFFECTS, Stand, cost_of, deliveries_per_second, hosts_per_second
from bm_shops import postgres_copies, sqlite_files


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request, sqlite_folder):
    if request.param == "sqlite":
        folder = sqlite_folder / "effects"
        folder.mkdir()
        yield sqlite_files(folder)
    else:
        with postgres_copies(request.getfixturevalue("postgres_server")) as copies:
            yield copies


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.name.replace(" ", "_"))
def test_effects_against_the_raw_statements(database, effect, plan):
    items, rounds = (300, 3) if plan.quick else (1_000, 7)
    cost = cost_of(effect, database, items, rounds)
    print(f"\n{database.name}, {effect.name}: {cost.per_second:.0f}/s; medians of {rounds} rounds of {items}")
    print(f"  {in_range(cost.to_bound)} x the bound, {in_range(cost.to_raw)} x the driver alone")
    print(f"  each: {cost.calls:.2f} calls of the driver, {cost.rows:.1f} rows written; rows added: {cost.grown}")
    print(f"  calls for {items}: {cost.kinds}")
    assert sum(cost.grown.values()) >= 1
    assert cost.calls < 20


def in_range(ratios):
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def test_deliveries(database, plan):
    events = 400 if plan.quick else 4_000
    rates = {workers: deliveries_per_second(database, events, workers) for workers in (1, 4)}
    one, four = rates[1], rates[4]
    print(f"\n{database.name}, deliveries/s: 1 worker {one:.0f}, 4 workers {four:.0f} ({four / one:.2f} x)")
    assert all(rate > 0 for rate in rates.values())


def test_verify(database, plan):
    orders = 2_000 if plan.quick else 100_000
    with database.fresh() as url:
        stand = Stand(url)
        stand.pay(orders)
        stand.take_in()
        while stand.engine.seal(limit=5_000).sealed:
            pass
        stand.engine.close()
        done = subprocess.run(
            [sys.executable, str(Path(bm_effects.__file__)), url], check=True, capture_output=True, text=True
        )
    found = json.loads(done.stdout)
    peak, idle = found["peak_kib"] / 1024, found["idle_kib"] / 1024
    took = found["seconds"]
    print(f"\n{database.name}, verify of {orders} orders: {took:.1f} s, peak {peak:.0f} MiB ({idle:.0f} idle)")
    print(f"  {found['counts']}, differences {found['differences']}")
    assert set(found["differences"]) <= {"unproved"}


def test_hosts_that_hold_their_transactions(postgres_server, plan):
    """Only on PostgreSQL: SQLite has one writer, so nobody holds a transaction beside another's."""
    rounds, each = (3, 6) if plan.quick else (9, 20)
    ratios, sealed = [], 0
    with postgres_copies(postgres_server) as database, database.fresh() as url:
        for number in range(rounds):
            rates = {}
            for sealing in (True, False) if number % 2 else (False, True):
                rates[sealing], more = hosts_per_second(url, each, sealing=sealing, mark=f"{number}-{sealing}")
                sealed += more
            ratios.append(rates[True] / rates[False])
    print(
        f"\n{database.name}, {CLIENTS} clients, transactions open 50 ms: with sealing {median(ratios):.2f} x without"
        f" ({min(ratios):.2f} to {max(ratios):.2f}); {rates[False]:.0f} checkouts/s, {sealed} rows sealed"
    )
    assert len(ratios) == rounds
