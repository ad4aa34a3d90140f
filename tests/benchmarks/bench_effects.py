"""Payments, webhooks, deliveries, verification, and hosts that hold their transactions; ratios within one run.

Nothing is asserted that depends on the machine.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import os
from statistics import median

import pytest
from bm_clones import PAID, clone, model_of
from bm_effects import (
    CLIENTS,
    EFFECTS,
    Stand,
    cost_curve,
    cost_of,
    hosts_per_second,
    with_open_orders,
    with_unfinal_money,
)
from bm_shops import postgres_copies, sqlite_files
from bm_worker import seconds_of, undone, verified


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
    print(f"  of processor time: {in_range(cost.to_bound_spent)} x, {in_range(cost.to_raw_spent)} x")
    print(f"  each: {cost.calls:.2f} calls of the driver, {cost.rows:.1f} rows written; rows added: {cost.grown}")
    print(f"  calls for {items}: {cost.kinds}")
    assert sum(cost.grown.values()) >= 1
    assert cost.calls < 20


def in_range(ratios):
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def test_deliveries(database, plan):
    """A notifier that does nothing shows the dispatcher; one that takes 5 ms, as a near server does, what it is for."""
    events, rounds = (400, 3) if plan.quick else (2_000, 5)
    for seconds in (0, 0.005):
        rates = {workers: [] for workers in (1, 2, 4)}
        with database.fresh() as prepared:
            stand = Stand(prepared)
            stand.publish(events)
            stand.engine.close()
            for _ in range(rounds):
                for workers, found in rates.items():
                    with database.copy(prepared) as url:
                        found.append(events / seconds_of("deliver", url, workers, seconds))
                        assert undone(url) == 0
        print(f"\n{database.name}, deliveries/s of a notifier that takes {seconds * 1000:g} ms, {by_processes(rates)}")


def test_effects_in_processes(postgres_server, plan):
    """Only on PostgreSQL: SQLite has one writer."""
    payments, rounds = (400, 3) if plan.quick else (2_000, 5)
    rates = {workers: [] for workers in (1, 2, 4)}
    with postgres_copies(postgres_server) as database, database.fresh() as prepared:
        stand = Stand(prepared)
        stand.pay(payments)
        at = stand.clock.now()
        stand.engine.close()
        for _ in range(rounds):
            for workers, found in rates.items():
                with database.copy(prepared) as url:
                    found.append(payments / seconds_of("intake", url, workers, at))
    print(f"\n{database.name}, payments applied/s, {by_processes(rates)}; {os.cpu_count()} processors for all")
    assert all(rate > 0 for found in rates.values() for rate in found)


def by_processes(rates):
    one = rates[1]
    parts = [
        f"{workers}: {median(found):.0f}/s ({median(a / b for a, b in zip(found, one, strict=True)):.2f} x)"
        for workers, found in rates.items()
    ]
    return "processes " + ", ".join(parts)


GROWTHS = {"open orders": (with_open_orders, 1_000_000), "unfinal movements": (with_unfinal_money, 100_000)}


@pytest.mark.parametrize("name", GROWTHS, ids=lambda name: name.replace(" ", "_"))
def test_cost_curve(database, plan, name):
    """The cost of a payment stays flat, however much there is that it has nothing to do with."""
    grow, most = GROWTHS[name]
    sizes = [size for size in (100, 1_000, 10_000, 100_000, 1_000_000) if size <= (10_000 if plan.quick else most)]
    found = cost_curve(database, grow, sizes, payments=100 if plan.quick else 300, rounds=3 if plan.quick else 5)
    print(f"\n{database.name}, cost of a payment among {name}, against one among {sizes[0]}:")
    print("\n".join(f"  {size:>9}: {in_range(ratios)}" for size, ratios in found.items()))
    assert list(found) == sizes


def test_verify(database, plan):
    """Memory must not grow with the orders: those of a tenth as many are measured beside it."""
    sizes = (200, 2_000) if plan.quick else (10_000, 100_000)
    with database.fresh() as url:
        stand = Stand(url)
        stand.pay(3)
        stand.take_in()
        model, there = model_of(url, "user-0", PAID), 0
        for orders in sizes:
            clone(url, model, there, orders - 3)
            there = orders - 3
            found = verified(url)
            peak, idle = found["peak_kib"] / 1024, found["idle_kib"] / 1024
            took, spent = found["seconds"], found["processor"]
            print(f"\n{database.name}, verify of {orders} orders: {took:.1f} s, {spent:.1f} of processor time", end="")
            print(f", peak {peak:.0f} MiB ({idle:.0f} idle)")
            print(f"  {found['counts']}, differences {found['differences']}")
            print(f"  {found['sealed']} more rows sealed before, in {found['sealing']:.1f} s")
            assert set(found["differences"]) <= {"unproved"}
            assert found["counts"]["orders"] == orders
        stand.engine.close()


BESIDE = {"nothing": (), "sealing": ("seal",), "sealing and rollups": ("seal", "fold")}


def test_hosts_that_hold_their_transactions(postgres_server, plan):
    """Only on PostgreSQL: SQLite has one writer, so nobody holds a transaction beside another's."""
    rounds, each = (3, 6) if plan.quick else (9, 20)
    found = {name: [] for name in BESIDE}
    with postgres_copies(postgres_server) as database, database.fresh() as url:
        stand = Stand(url)
        for number in range(rounds):
            for name in sorted(BESIDE, key=lambda name: (list(BESIDE).index(name) - number) % len(BESIDE)):
                mark = f"{number}-{len(BESIDE[name])}"
                found[name].append(hosts_per_second(stand, url, each, beside=BESIDE[name], mark=mark))
        stand.engine.close()
    quiet = [held.per_second for held in found["nothing"]]
    print(f"\n{database.name}, {CLIENTS} clients, transactions open 50 ms: {median(quiet):.0f} checkouts/s; beside")
    for name in list(BESIDE)[1:]:
        ratios = [held.per_second / alone for held, alone in zip(found[name], quiet, strict=True)]
        sealed, folded = (sum(getattr(held, what) for held in found[name]) for what in ("sealed", "folded"))
        print(f"  {name} {in_range(ratios)} x as many; {sealed} rows sealed, {folded} facts folded")
        assert sealed
        assert bool(folded) == ("fold" in BESIDE[name])
    assert all(held.taken for several in found.values() for held in several)
