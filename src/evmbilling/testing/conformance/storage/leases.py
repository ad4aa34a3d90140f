"""Leases go by the storage's clock; a new owner has a newer fence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import attrs
import pytest

from evmbilling.errors import RetryTransaction
from evmbilling.testing.clock import FrozenClock


class LeasesChecks:
    """Leases go by the storage's clock; a new owner has a newer fence."""

    clause = 9

    def test_another_owner_is_refused_until_the_lease_ends(self, storage: Any, clock: FrozenClock) -> None:
        start = clock.now()
        first = storage.acquire_lease("reader:1", "a", 30)
        assert (first.name, first.owner, first.fence) == ("reader:1", "a", 1)
        assert (first.until - start).total_seconds() == 30
        assert storage.acquire_lease("reader:1", "b", 30) is None
        clock.advance(seconds=29, microseconds=999_999)
        assert storage.acquire_lease("reader:1", "b", 30) is None
        clock.advance(microseconds=1)
        second = storage.acquire_lease("reader:1", "b", 30)
        assert (second.owner, second.fence) == ("b", 2)
        assert storage.acquire_lease("reader:1", "a", 30) is None

    def test_an_owner_renews_under_the_same_fence(self, storage: Any, clock: FrozenClock) -> None:
        first = storage.acquire_lease("x", "a", 10)
        clock.advance(seconds=9)
        renewed = storage.acquire_lease("x", "a", 10)
        assert renewed.fence == first.fence
        assert (renewed.until - first.until).total_seconds() == 9
        clock.advance(seconds=9)
        assert storage.acquire_lease("x", "b", 10) is None

    def test_a_released_lease_is_free_and_its_fence_stays_used(self, storage: Any) -> None:
        first = storage.acquire_lease("x", "a", 1000)
        storage.release_lease(first)
        second = storage.acquire_lease("x", "b", 1000)
        assert second.fence == first.fence + 1
        storage.release_lease(first)
        assert storage.acquire_lease("x", "c", 1000) is None
        storage.release_lease(attrs.evolve(second, owner="c"))
        assert storage.acquire_lease("x", "c", 1000) is None

    def test_a_lease_that_is_not_there_is_released_in_silence(self, storage: Any) -> None:
        lease = storage.acquire_lease("x", "a", 10)
        storage.release_lease(attrs.evolve(lease, name="y"))
        assert storage.acquire_lease("x", "b", 10) is None
        assert storage.acquire_lease("y", "b", 10).fence == 1

    def test_leases_of_other_names_are_free(self, storage: Any) -> None:
        assert [storage.acquire_lease(name, name, 10).fence for name in ("x", "X", "x ", "%", "x_")] == [1] * 5

    @pytest.mark.fault("O18")
    def test_o18_one_of_many_workers_gets_the_lease(self, storage: Any, clock: FrozenClock) -> None:
        barrier = Barrier(6)

        def acquire(owner: Any) -> Any:
            barrier.wait()
            while True:
                try:
                    return storage.acquire_lease("x", owner, 60)
                except RetryTransaction:
                    continue

        for turn in range(5):
            with ThreadPoolExecutor(6) as pool:
                leases = list(pool.map(acquire, [f"{turn}-{n}" for n in range(6)]))
            held = [lease for lease in leases if lease is not None]
            assert [lease.fence for lease in held] == [turn + 1]
            clock.advance(seconds=60)
