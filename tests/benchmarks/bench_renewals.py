"""Renewals a second, what one costs, and how what is due is found among many; printed.

``nox -s bench -- tests/benchmarks/bench_renewals.py [--quick]``
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import pytest
from bm_pulls import Pulling
from bm_renewals import fill, lines, lookup_seconds, renewals_per_second, statements_of
from bm_shops import postgres_copies, sqlite_files

from evmbilling.engine.sending.relayer import MOST_IN_FLIGHT


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request, sqlite_folder):
    if request.param == "sqlite":
        folder = sqlite_folder / "renewals"
        folder.mkdir()
        yield sqlite_files(folder)
    else:
        with postgres_copies(request.getfixturevalue("postgres_server")) as copies:
            yield copies


@pytest.mark.parametrize("pull", [False, True], ids=["ask", "pull"])
def test_renewals_a_second(database, plan, pull):
    """Among 100,000 that are due the first 5,000 are renewed: all of them, run after run, would take an hour."""
    number, most = (2_000, 2_000) if plan.quick else (100_000, 5_000)
    for workers in (1, 4):
        with database.fresh() as url:
            fill(url, number)
            rate, by_processor, made, peak = renewals_per_second(url, workers, most, pull=pull)
        kind = "pull" if pull else "ask"
        print(f"\n{database.name}, {kind}, {workers} workers, {made} of {number} due: {rate:.0f}/s", end="")
        print(f", {by_processor:.0f} for each second of processor time, peak {peak:.0f} MiB a worker")
        assert made >= most


def test_pull_on_the_fake_chain(database, plan):
    customers = 2 * MOST_IN_FLIGHT if plan.quick else 10 * MOST_IN_FLIGHT
    with database.fresh() as url:
        shop = Pulling(url, customers)
        took = shop.pull()
        paid = shop.paid()
        shop.engine.close()
    whole = sum(took.values())
    print(f"\n{database.name}, pull on the fake chain: {paid / whole:.0f}/s from due to paid; ms each: ", end="")
    print(", ".join(f"{name} {seconds / paid * 1000:.2f}" for name, seconds in took.items()))
    assert paid == customers


@pytest.mark.parametrize("pull", [False, True], ids=["ask", "pull"])
def test_what_one_costs(database, plan, pull):
    statements, rows = statements_of(database, 600 if plan.quick else 2_000, pull=pull)
    print(f"\n{database.name}, {'pull' if pull else 'ask'}: {statements:.3f} statements a renewal; rows: ", end="")
    print(", ".join(lines(rows)))
    assert rows["payment_transactions"] == 1


def test_what_is_due_is_found_among_many(database, plan):
    sizes = (2_000, 20_000) if plan.quick else (10_000, 100_000, 1_000_000)
    took = {}
    for size in sizes:
        with database.fresh() as url:
            fill(url, size, due_every=size // 1_000)
            took[size], how = lookup_seconds(url, 15)
        print(f"\n{database.name}, the next 100 of 1000 due among {size}: {took[size] * 1000:.2f} ms")
        assert "ix_subscriptions_look" in how
    print(f"  {how}")
    print(f"  {took[sizes[-1]] / took[sizes[0]]:.2f} x the time for {sizes[-1] // sizes[0]} x the rows")
