"""The kit for quota backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID
from zlib import crc32

import pytest

from evmbilling.domain.messages.events import Event, EventType
from evmbilling.errors import InputError
from evmbilling.ports.quota import QuotaAnswer, QuotaBackend
from evmbilling.testing.conformance.base import Kit, needs, not_given, of_clause
from evmbilling.testing.conformance.crowds import hurried
from evmbilling.testing.conformance.processes import in_processes

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
USER, OTHER = "user-1", "user-2"
REFUSED = QuotaAnswer(allowed=False, left=0)
SPARE = 30


def plan_event(
    seq: int,
    limits: Mapping[str, int],
    *,
    user_id: str = USER,
    product: str = "api",
    plan: str | None = "pro",
    cause: str = "payment",
) -> Event:
    """Return ``billing.plan.changed.v1`` about a user: what is allowed from now on; ``plan`` None for nothing."""
    return Event(
        event_id=str(UUID(int=(0x019C << 112) | (0x7 << 76) | (0b10 << 62) | (crc32(user_id.encode()) * 1000 + seq))),
        type=EventType.PLAN_CHANGED,
        aggregate=f"customer:{user_id}",
        seq=seq,
        occurred_at=NOON,
        recorded_at=NOON,
        data={
            "user_id": user_id,
            "subscription_id": f"subscription of {product}",
            "product": product,
            "old_plan": None,
            "new_plan": plan,
            "limits": dict(limits) if plan is not None else {},
            "effective_at": NOON.isoformat(),
            "cause": cause,
        },
    )


def ended(seq: int, **about: Any) -> Event:
    """Return the event that a plan ended."""
    return plan_event(seq, {}, plan=None, cause="end", **about)


def _take_all(backend: Any, _: int) -> int:
    taken = 0
    while backend.consume(USER, "calls").allowed:
        taken += 1
    return taken


class QuotaConformance(Kit):
    """Standard tests of :class:`evmbilling.ports.quota.QuotaBackend`.

    Give ``backend``, which knows nobody yet.
    """

    port = QuotaBackend
    known: ClassVar[Mapping[str, str]] = {
        "many_processes": "several processes count together (fixture `reopen`)",
        "breakable": "a test can cut the backend off from where it counts (fixture `cut_off`)",
    }

    @pytest.fixture
    def backend(self) -> QuotaBackend:
        """The quota backend under test."""
        not_given("the fixture backend")

    @pytest.fixture
    def reopen(self) -> Callable[[], QuotaBackend]:
        """What opens the counters of ``backend`` in another process: picklable, e.g. ``partial(Backend, path)``."""
        not_given("the fixture reopen: a picklable callable")

    @pytest.fixture
    def cut_off(self) -> Any:
        """A context manager within which the backend cannot reach its counters."""
        not_given("the fixture cut_off: a context manager")

    @pytest.fixture
    def sold(self, backend: QuotaBackend) -> QuotaBackend:
        """The backend, with a user who may make 10 calls."""
        backend.plan_changed(plan_event(1, {"calls": 10}))
        return backend

    @of_clause(1)
    def test_a_use_is_taken_whole_or_not_at_all(self, sold: QuotaBackend) -> None:
        assert sold.consume(USER, "calls") == QuotaAnswer(allowed=True, left=9)
        assert sold.consume(USER, "calls", 4) == QuotaAnswer(allowed=True, left=5)
        assert sold.consume(USER, "calls", 6) == QuotaAnswer(allowed=False, left=5)
        assert sold.consume(USER, "calls", 5) == QuotaAnswer(allowed=True, left=0)
        assert sold.consume(USER, "calls", 1) == REFUSED

    @of_clause(1)
    def test_less_than_was_used_leaves_nothing_and_not_less(self, sold: QuotaBackend) -> None:
        sold.consume(USER, "calls", 8)
        sold.plan_changed(plan_event(2, {"calls": 5}, cause="change"))
        assert sold.check(USER, "calls") == sold.consume(USER, "calls") == REFUSED

    @of_clause(2)
    def test_looking_takes_nothing(self, sold: QuotaBackend) -> None:
        for amount, allowed in ((1, True), (10, True), (11, False), (10, True)):
            assert sold.check(USER, "calls", amount) == QuotaAnswer(allowed=allowed, left=10)
        assert sold.consume(USER, "calls", 10).allowed

    @of_clause(3)
    def test_threads_take_exactly_what_there_is(self, backend: QuotaBackend) -> None:
        backend.plan_changed(plan_event(1, {"calls": 50}))
        with hurried(backend), ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: backend.consume(USER, "calls"), range(50 + SPARE)))
        assert sum(answer.allowed for answer in answers) == 50
        assert sorted(answer.left for answer in answers) == [*[0] * (SPARE + 1), *range(1, 50)]

    @of_clause(3)
    def test_threads_take_large_uses_whole(self, backend: QuotaBackend) -> None:
        backend.plan_changed(plan_event(1, {"calls": 50}))
        with hurried(backend), ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: backend.consume(USER, "calls", 7), range(20)))
        assert sum(answer.allowed for answer in answers) == 7
        assert backend.check(USER, "calls") == QuotaAnswer(allowed=True, left=1)

    @of_clause(4)
    def test_who_has_no_plan_has_nothing(self, backend: QuotaBackend) -> None:
        assert backend.check(USER, "calls") == backend.consume(USER, "calls") == REFUSED

    @of_clause(4)
    def test_what_no_plan_names_is_nothing(self, sold: QuotaBackend) -> None:
        assert sold.check(USER, "seats") == sold.consume(USER, "seats") == REFUSED
        assert sold.check(USER, "Calls") == sold.check(USER, "calls ") == REFUSED

    @of_clause(4)
    def test_a_plan_that_ended_leaves_nothing(self, sold: QuotaBackend) -> None:
        sold.plan_changed(ended(2))
        assert sold.check(USER, "calls") == sold.consume(USER, "calls") == REFUSED

    @needs("breakable")
    @of_clause(4)
    def test_what_cannot_be_counted_is_refused(self, sold: QuotaBackend, cut_off: Any) -> None:
        with cut_off():
            assert sold.check(USER, "calls") == sold.consume(USER, "calls") == REFUSED
        assert sold.consume(USER, "calls") == QuotaAnswer(allowed=True, left=9)

    @needs("breakable")
    @of_clause(5)
    def test_a_change_that_cannot_be_kept_raises(self, sold: QuotaBackend, cut_off: Any) -> None:
        with cut_off(), pytest.raises(Exception):  # noqa: B017, PT011  - any is right: it is delivered again
            sold.plan_changed(plan_event(2, {"calls": 20}))
        sold.plan_changed(plan_event(2, {"calls": 20}))
        assert sold.check(USER, "calls").left == 20

    @needs("breakable")
    @of_clause(5)
    def test_an_end_that_cannot_be_kept_raises(self, sold: QuotaBackend, cut_off: Any) -> None:
        with cut_off(), pytest.raises(Exception):  # noqa: B017, PT011  - any is right: it is delivered again
            sold.plan_changed(ended(2))
        sold.plan_changed(ended(2))
        assert sold.check(USER, "calls") == REFUSED

    @of_clause(5)
    @pytest.mark.parametrize("cause", ["payment", "reversal", "change", "end", "pause", "admin"])
    def test_why_a_plan_changed_does_not_matter(self, sold: QuotaBackend, cause: str) -> None:
        sold.plan_changed(plan_event(2, {}, plan=None, cause=cause))
        assert sold.check(USER, "calls") == sold.consume(USER, "calls") == REFUSED
        sold.plan_changed(plan_event(3, {"calls": 20}, cause=cause))
        assert sold.consume(USER, "calls") == QuotaAnswer(allowed=True, left=19)

    @of_clause(5)
    def test_a_smaller_plan_forgets_nothing_that_was_used(self, sold: QuotaBackend) -> None:
        sold.consume(USER, "calls", 8)
        sold.plan_changed(plan_event(2, {"calls": 5}, cause="change"))
        sold.plan_changed(plan_event(3, {"calls": 10}, cause="change"))
        assert sold.check(USER, "calls") == QuotaAnswer(allowed=True, left=2)

    @of_clause(5)
    def test_a_larger_plan_allows_more_and_what_was_used_stays_used(self, sold: QuotaBackend) -> None:
        sold.consume(USER, "calls", 8)
        sold.plan_changed(plan_event(2, {"calls": 100}, cause="change"))
        assert sold.check(USER, "calls") == QuotaAnswer(allowed=True, left=92)

    @of_clause(5)
    def test_what_a_new_plan_does_not_name_is_over(self, backend: QuotaBackend) -> None:
        backend.plan_changed(plan_event(1, {"calls": 10, "seats": 3}))
        backend.plan_changed(plan_event(2, {"seats": 5}, cause="change"))
        assert backend.check(USER, "calls") == backend.consume(USER, "calls") == REFUSED
        assert backend.check(USER, "seats").left == 5

    @of_clause(5)
    def test_a_repeated_event_changes_nothing(self, sold: QuotaBackend) -> None:
        sold.consume(USER, "calls", 8)
        for _ in range(3):
            sold.plan_changed(plan_event(1, {"calls": 10}))
        assert sold.check(USER, "calls") == QuotaAnswer(allowed=True, left=2)

    @of_clause(5)
    def test_an_event_that_came_too_late_changes_nothing(self, sold: QuotaBackend) -> None:
        sold.plan_changed(plan_event(5, {"calls": 20}))
        sold.plan_changed(ended(4))
        sold.plan_changed(plan_event(3, {"calls": 1000}))
        assert sold.check(USER, "calls").left == 20
        sold.plan_changed(ended(6))
        sold.plan_changed(plan_event(5, {"calls": 20}))
        assert sold.check(USER, "calls") == REFUSED

    @of_clause(5)
    def test_an_end_before_its_beginning_stays_the_end(self, backend: QuotaBackend) -> None:
        backend.plan_changed(ended(2))
        backend.plan_changed(plan_event(1, {"calls": 10}))
        assert backend.check(USER, "calls") == REFUSED

    @of_clause(5)
    def test_what_is_reversed_and_restored_is_not_used_twice(self, sold: QuotaBackend) -> None:
        sold.consume(USER, "calls", 8)
        sold.plan_changed(plan_event(2, {}, plan=None, cause="reversal"))
        assert sold.consume(USER, "calls") == REFUSED
        sold.plan_changed(plan_event(3, {"calls": 10}))
        assert sold.check(USER, "calls") == QuotaAnswer(allowed=True, left=2)

    @of_clause(6)
    def test_users_and_limits_are_apart(self, sold: QuotaBackend) -> None:
        for hostile in (f"{USER}:calls", "%", "", "' OR 1=1 --", f" {USER} ", USER.upper()):
            assert sold.check(hostile, "calls") == REFUSED
        sold.plan_changed(plan_event(1, {"calls": 10, "seats": 3}, user_id=OTHER))
        sold.consume(USER, "calls", 10)
        sold.consume(OTHER, "seats", 2)
        assert sold.check(OTHER, "calls").left == 10
        assert sold.check(OTHER, "seats").left == 1
        assert sold.check(USER, "seats") == REFUSED

    @of_clause(6)
    @pytest.mark.parametrize("alike", [USER.upper(), f"{USER} ", f"{USER}\u200b"], ids=ascii)
    def test_users_who_look_alike_count_for_themselves(self, sold: QuotaBackend, alike: str) -> None:
        sold.plan_changed(plan_event(1, {"calls": 10}, user_id=alike))
        for left in (9, 8):
            assert sold.consume(USER, "calls") == sold.consume(alike, "calls") == QuotaAnswer(allowed=True, left=left)

    @of_clause(6)
    @pytest.mark.parametrize("between", [":", "/", "|", ".", " ", "%3A"])
    def test_names_do_not_run_together(self, backend: QuotaBackend, between: str) -> None:
        long, short = f"a{between}b", f"b{between}c"
        backend.plan_changed(plan_event(1, {short: 5}, user_id="a"))
        backend.plan_changed(plan_event(1, {"c": 5}, user_id=long))
        assert backend.consume("a", short, 5) == QuotaAnswer(allowed=True, left=0)
        assert backend.consume(long, "c", 5) == QuotaAnswer(allowed=True, left=0)

    @of_clause(5)
    def test_what_is_late_for_one_product_is_in_time_for_another(self, backend: QuotaBackend) -> None:
        """A delivery that failed is tried again behind later ones; those may be about another product."""
        backend.plan_changed(plan_event(3, {"storage": 5}, product="disk"))
        backend.plan_changed(plan_event(2, {"calls": 10}))
        backend.plan_changed(plan_event(1, {"calls": 99}))
        assert (backend.check(USER, "calls").left, backend.check(USER, "storage").left) == (10, 5)

    @of_clause(6)
    def test_the_end_of_one_product_leaves_the_other(self, sold: QuotaBackend) -> None:
        sold.plan_changed(plan_event(2, {"storage": 5}, product="disk"))
        assert (sold.check(USER, "calls").left, sold.check(USER, "storage").left) == (10, 5)
        sold.plan_changed(ended(3, product="disk"))
        assert sold.check(USER, "calls").left == 10
        assert sold.check(USER, "storage") == REFUSED

    @of_clause(7)
    @pytest.mark.parametrize("most", [2**31, 2**53 + 1, 2**63, 2**64, 2**255 + 1], ids=hex)
    def test_large_amounts_are_exact(self, backend: QuotaBackend, most: int) -> None:
        backend.plan_changed(plan_event(1, {"bytes": most}))
        assert backend.consume(USER, "bytes", most - 1) == QuotaAnswer(allowed=True, left=1)
        assert backend.consume(USER, "bytes", 2) == QuotaAnswer(allowed=False, left=1)
        assert backend.consume(USER, "bytes", 1) == QuotaAnswer(allowed=True, left=0)

    @of_clause(8)
    @pytest.mark.parametrize("amount", [0, -1, True, 1.0, "1", None], ids=repr)
    @pytest.mark.parametrize("operation", ["check", "consume"])
    def test_an_amount_is_a_whole_number_above_zero(self, sold: QuotaBackend, operation: str, amount: Any) -> None:
        with pytest.raises(InputError) as refused:
            getattr(sold, operation)(USER, "calls", amount)
        assert refused.value.field == "amount"
        assert sold.check(USER, "calls").left == 10

    @needs("many_processes")
    @of_clause(9)
    def test_processes_take_exactly_what_there_is(self, backend: QuotaBackend, reopen: Any) -> None:
        backend.plan_changed(plan_event(1, {"calls": 40}))
        assert sum(in_processes(reopen, _take_all)) == 40
        assert backend.check(USER, "calls") == REFUSED
