"""When a node that fails is asked again, and how fast one that is busy."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_time import Time

from evmbilling.adapters.evm.rpc.breaker import TOLERATED, Breaker
from evmbilling.adapters.evm.rpc.bucket import LONGEST_PAUSE, Bucket


class TestBreaker:
    def test_pauses_double_up_to_a_minute_and_an_answer_forgets_them(self, time_: Time) -> None:
        breaker = Breaker(time_)
        pauses = []
        for _ in range(9):
            breaker.failed()
            pauses.append(breaker.waits)
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        breaker.succeeded()
        assert (breaker.standing, breaker.waits) == ("closed", 0)
        breaker.failed()
        assert breaker.waits == 1

    def test_doubtful_then_open_then_half_open_for_one_caller(self, time_: Time) -> None:
        breaker = Breaker(time_)
        opened = []
        for _ in range(TOLERATED):
            opened.append(breaker.failed())
            assert breaker.admit(5) == (len(opened) < TOLERATED)
        assert opened == [False] * (TOLERATED - 1) + [True]
        assert breaker.standing == "open"
        time_.now += breaker.waits
        assert breaker.standing == "half_open"
        assert [breaker.admit(5) for _ in range(3)] == [True, False, False]
        assert not breaker.failed()  # it was open before
        assert breaker.standing == "open"
        time_.now += breaker.waits
        assert breaker.admit(5)
        breaker.succeeded()
        assert breaker.standing == "closed"
        assert all(breaker.admit(5) for _ in range(3))

    def test_a_trial_that_never_came_back_lets_the_next_one_try(self, time_: Time) -> None:
        breaker = Breaker(time_)
        for _ in range(TOLERATED):
            breaker.failed()
        time_.now += breaker.waits
        assert breaker.admit(5)
        time_.now += 4.9
        assert not breaker.admit(5)
        time_.now += 0.1
        assert breaker.admit(5)

    def test_after_its_pause_a_doubtful_node_is_as_good_as_before(self, time_: Time) -> None:
        breaker = Breaker(time_)
        breaker.failed()
        assert breaker.standing == "doubtful"
        time_.now += 1
        assert breaker.standing == "closed"

    def test_of_many_threads_one_tries(self, time_: Time) -> None:
        breaker = Breaker(time_)
        for _ in range(TOLERATED):
            breaker.failed()
        time_.now += breaker.waits
        admitted: list[bool] = []
        barrier = threading.Barrier(8)

        def ask() -> None:
            barrier.wait()
            admitted.append(breaker.admit(5))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(admitted) == [False] * 7 + [True]

    @given(st.lists(st.sampled_from(["fail", "succeed", "wait"]), max_size=60))
    def test_whatever_happens_a_node_is_asked_again(self, steps: list[str]) -> None:
        clock = Time()
        breaker = Breaker(clock)
        for step in steps:
            if step == "fail":
                breaker.failed()
            elif step == "succeed":
                breaker.succeeded()
            else:
                clock.now += 7
            assert breaker.waits <= 60
        clock.now += 60
        assert breaker.admit(5)


class TestBucket:
    def test_nothing_waits_before_a_refusal(self, time_: Time) -> None:
        bucket = Bucket(time_)
        assert [bucket.reserve(50) for _ in range(100)] == [0] * 100
        assert bucket.rate is None

    @pytest.mark.parametrize(("told", "waits"), [(3, 3), (0, 0), (10_000, LONGEST_PAUSE), (None, 1), (-5, 0)])
    def test_what_the_node_says_is_honoured_up_to_a_cap(self, time_: Time, told: float | None, waits: float) -> None:
        bucket = Bucket(time_)
        bucket.reserve(1)
        bucket.refused(told)
        assert bucket.waits == waits

    def test_our_own_pauses_double_until_it_answers(self, time_: Time) -> None:
        bucket = Bucket(time_)
        pauses = []
        for _ in range(7):
            bucket.refused(None)
            pauses.append(bucket.waits)
            time_.now += bucket.waits
        assert pauses == [1, 2, 4, 8, 16, 30, 30]
        bucket.answered()
        bucket.refused(None)
        assert bucket.waits == 1

    def test_the_rate_is_learned_from_what_was_asked_and_kept_to(self, time_: Time) -> None:
        bucket = Bucket(time_)
        for _ in range(100):  # 100 calls a second for two seconds
            bucket.reserve(2)
            time_.now += 0.02
        bucket.refused(0)
        assert bucket.rate == pytest.approx(70, rel=0.1)
        began, made = time_.now, 0
        while made < 700:
            wait = bucket.reserve(5)
            time_.now += wait
            made += 5
        assert made / (time_.now - began) <= 71

    def test_a_second_refusal_lowers_the_rate_once_for_requests_that_were_under_way_together(self, time_: Time) -> None:
        bucket = Bucket(time_)
        bucket.reserve(100)
        bucket.refused(0)
        first = bucket.rate
        assert first is not None
        bucket.refused(0)
        assert bucket.rate == first
        time_.now += 1.5
        bucket.refused(0)
        assert bucket.rate == pytest.approx(first * 0.7)
        for _ in range(60):
            time_.now += 1.5
            bucket.refused(0)
        assert bucket.rate == 0.5

    def test_the_rate_grows_while_nothing_is_refused_and_is_forgotten(self, time_: Time) -> None:
        bucket = Bucket(time_)
        bucket.reserve(10)
        bucket.refused(0)
        before = bucket.rate
        assert before is not None
        time_.now += 11
        bucket.reserve(1)
        assert bucket.rate == pytest.approx(before * 1.05)
        time_.now += 600
        assert bucket.reserve(1) == 0
        assert bucket.rate is None

    def test_a_batch_larger_than_a_second_is_made_and_paid_for_later(self, time_: Time) -> None:
        bucket = Bucket(time_)
        bucket.reserve(10)
        bucket.refused(0)
        assert bucket.rate == pytest.approx(7)
        time_.now += 1
        assert bucket.reserve(28) == 0
        assert bucket.reserve(7) == pytest.approx(4)
        bucket.give_back(7)
        time_.now += 4
        assert bucket.reserve(7) == pytest.approx(0)
