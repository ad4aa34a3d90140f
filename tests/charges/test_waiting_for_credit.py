"""Rows of before: a charge whose money became credit, and a subscription that waits for it for ever."""

from __future__ import annotations

import attrs
import pytest
import sqlalchemy as sa
from charge_bench import ChargeBench
from test_paid_otherwise import goes_on, taken_twice

from evmbilling.adapters.sqlalchemy.migrating import head, upgrade
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.domain import decisions as d
from evmbilling.domain.states import OrderStatus

both = pytest.mark.parametrize("storage", ["sqlite", "postgres"])


def as_it_was(bench: ChargeBench) -> None:
    """Put the rows as the version before had left them: its charge still on its way."""
    order, held = bench.renewals()[0], bench.held()
    waiting = attrs.evolve(order, status=OrderStatus.SUBMITTED, pull="submitted", version=order.version + 1)
    forgotten = attrs.evolve(held, look_at=None, version=held.version + 1)
    with bench.engine._ports.storage.unit() as unit:
        unit.apply([d.StoreOrder(waiting), d.StoreSubscription(forgotten)])
    named = bench.differences()
    assert ("order_projection_differs", f"order:{order.ledger_id}", "status") in named


def upgraded(bench: ChargeBench, times: int = 1) -> None:
    """Take the step that looks for such rows, and no other, anew."""
    engine = bench.engine._ports.storage._engine
    stamp = sa.text(f"UPDATE {Names().version_table} SET version_num = :revision")
    for _ in range(times):
        with engine.begin() as connection:
            connection.execute(stamp, {"revision": "0029"})
            upgrade(connection, to="0030")
            connection.execute(stamp, {"revision": head()})


@both
def test_who_leaves_is_gone_after_the_upgrade(open_bench, storage: str) -> None:
    bench = open_bench(storage=storage)
    taken_twice(bench)
    bench.engine.cancel_subscription(bench.held().subscription_id)
    as_it_was(bench)
    until = bench.held().paid_until
    assert until is not None
    bench.until(until)
    assert bench.held().status == "active", "nobody looks at it"
    upgraded(bench, times=2)
    bench.settle()
    assert (bench.held().status, bench.held().look_at) == ("ended", None)
    assert bench.renewals()[0].status == "cancelled"
    assert bench.differences() == []
    upgraded(bench)
    assert bench.held().look_at is None, "what is over stays so"


@both
def test_who_stays_is_charged_for_the_next_period(open_bench, storage: str) -> None:
    bench = open_bench(storage=storage)
    taken_twice(bench)
    as_it_was(bench)
    upgraded(bench)
    bench.settle()
    assert bench.renewals()[0].status == "cancelled"
    goes_on(bench)


@both
def test_a_charge_that_is_on_its_way_indeed_is_waited_for(open_bench, storage: str) -> None:
    bench = open_bench(storage=storage)
    bench.subscribe()
    bench.give()
    bench.requested()
    bench.engine.run_charges()
    before = bench.renewals()[0], bench.held().look_at
    upgraded(bench)
    bench.engine.run_renewals()
    assert (bench.renewals()[0], bench.held().look_at) == before
    bench.settle()
    bench.settle()
    assert (bench.renewals()[0].status, bench.held().paid_periods) == ("confirmed", 2)
    assert bench.differences() == []
