"""How long a report takes, and how that grows with the number of orders; printed.

``nox -s bench -- tests/benchmarks/bench_overview.py [--quick] [--million]``

Three networks with ten tokens each, three years of orders, on PostgreSQL. Orders, movements and sums are made by the
database, so that a million are there in minutes; that the engine comes to the same sums is asked of the fewest. What
folding itself costs is measured with ledger entries.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import time
from contextlib import closing

import pytest
from bm_overview import (
    REPORTS,
    DatabaseCpu,
    Took,
    fill,
    fold_rate,
    measure_report,
    open_figures,
    rebuild,
    reports_of,
)


@pytest.fixture(scope="module")
def sizes(request, plan) -> tuple[int, ...]:
    if plan.quick:
        return (2_000, 10_000)
    return (10_000, 100_000, 1_000_000) if request.config.getoption("million") else (10_000, 100_000)


def test_reports_are_quick_and_stay_so(postgres_server, sizes, plan):
    took: dict[int, dict[str, Took]] = {}
    for orders in sizes:
        with postgres_server.database() as url, closing(open_figures(url)) as engine:
            started = time.perf_counter()
            moves = fill(engine, orders)
            print(f"\n{orders} orders, {moves} movements, made in {time.perf_counter() - started:.1f} s")
            if orders == min(sizes):
                print(f"  all sums anew in {rebuild(engine):.1f} s, and they are the same")
            database, took[orders] = DatabaseCpu(url), {}
            for name, report in reports_of(engine):
                took[orders][name] = one = measure_report(report, 10 if plan.quick else 40, database)
                cpu = f"CPU {one.own:6.1f} ms, database {one.database:6.1f} ms"
                print(f"  {name:<34} p95 {one.p95:7.1f} ms, {cpu}")
    first, last = min(sizes), max(sizes)
    print(f"\ngrowth of processor time from {first} to {last} orders ({last // first} x):")
    for name in took[last]:
        after, before = took[last][name], took[first][name]
        print(f"  {name:<34} {(after.own + after.database) / (before.own + before.database):6.2f} x")
    assert len(took[last]) == len(REPORTS)


def test_what_folding_costs(postgres_server, plan):
    entries = 1_000 if plan.quick else 10_000
    with postgres_server.database() as url, closing(open_figures(url)) as engine:
        rate = fold_rate(engine, entries)
    print(f"\n{entries} ledger entries folded: {rate:.0f} a second")
    assert rate > 0
