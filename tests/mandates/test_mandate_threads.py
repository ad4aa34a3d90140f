"""Several at once: one consent is one consent, and a customer whom somebody holds stops nobody."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from pulls_bench import BOB, USER, Pulls

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.mandates.mandates import MandateStatus
from evmbilling.errors import Conflict
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.mandate_logs import revoked_log
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def crowded(open_database: Callable[..., SqlAlchemyStorage]) -> tuple[Pulls, SqlAlchemyStorage]:
    storage = open_database("postgres", FrozenClock(START), waits=Waits())
    return Pulls(simulated_merchant(storage=storage, chain=FakeChain(31337, start=START))), storage


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at the same time; return what each answered or raised."""
    start = Barrier(len(calls))

    def attempt(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except Conflict as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(attempt, calls))


def test_many_who_give_at_once_give_once(crowded: tuple[Pulls, SqlAlchemyStorage]) -> None:
    pulls, _ = crowded
    prepared = pulls.prepare(pulls.subscribe())
    signature = pulls.sign(prepared)

    def give() -> Any:
        return pulls.engine.mandates.give(USER, prepared.mandate.mandate_id, signature=signature)

    answers = together(*[give] * 6)
    assert answers == [pulls.only()] * 6
    assert pulls.told() == ["given"]


def test_giving_and_cancelling_at_once_end_in_one_of_two_orders(crowded: tuple[Pulls, SqlAlchemyStorage]) -> None:
    pulls, _ = crowded
    prepared = pulls.prepare(pulls.subscribe())
    mandate_id, signature = prepared.mandate.mandate_id, pulls.sign(prepared)
    together(
        lambda: pulls.engine.mandates.give(USER, mandate_id, signature=signature),
        lambda: pulls.engine.mandates.cancel(USER, mandate_id),
    )
    assert pulls.only().status is MandateStatus.CANCELLED
    assert pulls.told() in ([], ["given", "cancelled"])


def test_many_who_prepare_at_once_prepare_one(crowded: tuple[Pulls, SqlAlchemyStorage]) -> None:
    pulls, _ = crowded
    subscription = pulls.subscribe()
    answers = together(*[lambda: pulls.prepare(subscription)] * 6)
    assert {answer.mandate.mandate_id for answer in answers} == {pulls.only().mandate_id}


def test_a_customer_whom_somebody_holds_is_left_and_the_others_flow(
    crowded: tuple[Pulls, SqlAlchemyStorage],
) -> None:
    pulls, storage = crowded
    given = pulls.give(pulls.subscribe())
    second = pulls.subscribe("user-2", BOB.address)
    prepared = pulls.prepare(second, "user-2", BOB.address)
    signature = pulls.sign(prepared, BOB.key)
    bobs = pulls.engine.mandates.give("user-2", prepared.mandate.mandate_id, signature=signature)
    pulls.shop.chain.send(revoked_log(given))
    pulls.shop.chain.send(revoked_log(bobs))
    pulls.shop.chain.mine(1)
    pulls.engine.read_chain(pulls.shop.network)
    with storage.unit() as held:
        held.lock_customers([USER])
        with ThreadPoolExecutor(1) as pool:
            report = pool.submit(pulls.engine.run_intake).result()
    assert (report.taken, report.left) == (1, 1)
    assert pulls.only("user-2").status is MandateStatus.REVOKED
    assert pulls.only().status is MandateStatus.GIVEN
    assert pulls.engine.run_intake().taken == 1
    assert pulls.only().status is MandateStatus.REVOKED
