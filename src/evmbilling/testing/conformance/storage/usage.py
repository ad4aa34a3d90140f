"""What is used once or counted: limits, challenges, hints. One conditional write each, exact under any crowd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import AlreadyExists, Conflict, InputError, StorageError
from evmbilling.testing.conformance.crowds import again, crowd, elsewhere
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

WINDOW = b.window()


def consume(storage: Any, window: Any, amount: Any = 1) -> Any:
    with storage.unit() as unit:
        return unit.consume(window, amount)


def used(storage: Any, window: Any = WINDOW) -> Any:
    with b.looking(storage) as unit:
        return unit.used(window)


def claim(storage: Any, now: Any = b.T0, limit: Any = 100) -> Any:
    with storage.unit() as unit:
        return [item.event_id for item in unit.claim_inbox(now, limit)]


class UsageChecks(StorageKit):
    """What is used once or counted: limits, challenges, hints. One conditional write each, exact under any crowd."""

    clause = 11

    def test_a_window_is_filled_up_to_what_is_allowed(self, storage: Any) -> None:
        b.seed(storage)
        taken = [consume(storage, b.window(allowed=10), amount) for amount in (4, 6, 1, 0)]
        assert taken == [4, 10, None, 10]
        assert used(storage) == 10
        assert consume(storage, b.window(allowed=9), 0) is None
        assert consume(storage, b.window(allowed=3), 1) is None
        assert consume(storage, b.window(allowed=11), 1) == 11
        assert used(storage) == 11

    @pytest.mark.parametrize(
        ("allowed", "amount", "left"), [(0, 1, None), (0, 0, 0), (5, 6, None), (5, 5, 5), (-1, 0, None)]
    )
    def test_the_first_use_of_a_window_is_bounded_too(self, storage: Any, allowed: Any, amount: Any, left: Any) -> None:
        b.seed(storage)
        assert consume(storage, b.window(allowed=allowed), amount) == left
        assert used(storage) == (left or 0)

    @pytest.mark.parametrize("allowed", [2**53 - 1, 2**63 - 1, 10**20], ids=hex)
    def test_large_limits_are_exact(self, storage: Any, allowed: Any) -> None:
        b.seed(storage)
        most = min(allowed, 2**63 - 1)
        window = b.window(allowed=allowed)
        assert consume(storage, window, most - 1) == most - 1
        assert consume(storage, window, 1) == most
        assert used(storage) == most
        if allowed == most:
            assert consume(storage, window, 1) is None

    @pytest.mark.parametrize("amount", [-1, -(2**70), 1.5, True, "1", None], ids=repr)
    def test_nothing_is_given_back_by_using_less_than_nothing(self, storage: Any, amount: Any) -> None:
        b.seed(storage)
        consume(storage, WINDOW, 5)
        with pytest.raises(InputError):
            consume(storage, WINDOW, amount)
        assert used(storage) == 5

    @pytest.mark.parametrize(
        "other",
        [
            {"user_id": b.BOB},
            {"limit": "API"},
            {"limit": "api%"},
            {"source_id": b.ident(2)},
            {"starts_at": b.at(0.000001)},
            {"starts_at": b.at(-1)},
        ],
        ids=str,
    )
    def test_windows_are_apart(self, storage: Any, other: Any) -> None:
        b.seed(storage)
        assert consume(storage, WINDOW, 7) == 7
        assert used(storage, b.window(**other)) == 0
        assert consume(storage, b.window(**other), 1) == 1
        assert used(storage) == 7

    def test_a_use_counts_with_its_unit(self, storage: Any) -> None:
        b.seed(storage)
        with storage.unit() as unit:
            assert unit.consume(WINDOW, 3) == 3
            assert unit.used(WINDOW) == 3
            assert unit.consume(WINDOW, 2) == 5
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            assert unit.consume(WINDOW, 90) == 95
            raise ZeroDivisionError
        assert used(storage) == 5

    @pytest.mark.fault("D14")
    def test_d14_a_window_belongs_to_a_customer(self, storage: Any) -> None:
        with pytest.raises(StorageError):
            consume(storage, b.window(user_id="nobody"))
        assert used(storage, b.window(user_id="nobody")) == 0

    def test_a_naive_start_is_refused(self, storage: Any) -> None:
        b.seed(storage)
        naive = b.window(starts_at=datetime(2026, 1, 1))  # noqa: DTZ001  - the fault itself
        with pytest.raises(InputError):
            consume(storage, naive)

    @pytest.mark.fault("H18")
    @pytest.mark.parametrize("amount", [1, 3])
    def test_h18_200_parallel_callers_use_exactly_what_is_allowed(self, storage: Any, amount: Any) -> None:
        b.seed(storage)
        window = b.window(allowed=100)
        answers = crowd(lambda _: consume(storage, window, amount), size=200)
        granted = sorted(answer for answer in answers if answer is not None)
        assert len(answers) == 200
        assert granted == list(range(amount, 101, amount))
        assert used(storage) == granted[-1] == 100 // amount * amount

    @pytest.mark.parametrize(
        "challenge", [b.challenge(), b.challenge(purpose="refund", used_at=b.at(1.000001), chain_id=b.OTHER_CHAIN)]
    )
    def test_a_challenge_is_opened_once(self, storage: Any, challenge: Any) -> None:
        b.seed(storage, d.OpenChallenge(challenge))
        for again_ in (challenge, attrs.evolve(challenge, user_id=b.BOB, message="x")):
            with pytest.raises(AlreadyExists):
                b.write(storage, d.RecordAudit(b.audit()), d.OpenChallenge(again_))
        with storage.unit() as unit:
            expected = None if challenge.used_at else attrs.evolve(challenge, used_at=b.at(2))
            assert unit.use_challenge(challenge.nonce, b.at(2)) == expected
            assert list(unit.audit()) == []

    @pytest.mark.fault("S01")
    @pytest.mark.parametrize(
        ("now", "wins"),
        [(b.at(0), True), (b.at(299.999999), True), (b.at(300), False), (b.at(10**9), False)],
        ids=["at-once", "just-in-time", "expired", "long-after"],
    )
    def test_s01_a_challenge_is_used_once_and_in_time(self, storage: Any, now: Any, wins: Any) -> None:
        b.seed(storage, d.OpenChallenge(b.challenge()), d.OpenChallenge(b.challenge(2)))

        def use(nonce: Any) -> Any:
            with storage.unit() as unit:
                return unit.use_challenge(nonce, now)

        answers = [use("nonce-1"), use("nonce-1"), use("NONCE-1"), use("")]
        assert answers == [b.challenge(used_at=now) if wins else None, None, None, None]
        assert (use("nonce-2") is not None) == wins

    @pytest.mark.fault("S01")
    def test_s01_one_of_50_threads_uses_a_challenge(self, storage: Any) -> None:
        b.seed(storage, d.OpenChallenge(b.challenge()))

        def use(number: Any) -> Any:
            with storage.unit() as unit:
                found = unit.use_challenge("nonce-1", b.at(number + 1))
                unit.apply([d.RecordAudit(b.audit(number + 1))] if found else [])
                return found

        (winner,) = [answer for answer in crowd(use, size=50) if answer is not None]
        with b.looking(storage) as unit:
            (entry,) = unit.audit()
        assert winner == b.challenge(used_at=entry.recorded_at)

    @pytest.mark.fault("S01")
    def test_s01_a_use_that_is_rolled_back_is_none(self, storage: Any) -> None:
        b.seed(storage, d.OpenChallenge(b.challenge()))
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            assert unit.use_challenge("nonce-1", b.at(1)) is not None
            raise ZeroDivisionError
        with storage.unit() as unit:
            assert unit.use_challenge("nonce-1", b.at(2)) == b.challenge(used_at=b.at(2))

    @pytest.mark.fault("D14")
    def test_d14_a_challenge_is_of_a_customer(self, storage: Any) -> None:
        with pytest.raises(StorageError):
            b.write(storage, d.OpenChallenge(b.challenge(user_id="nobody")))

    @pytest.mark.parametrize(
        "use",
        [
            lambda unit: unit.consume(WINDOW, 1),
            lambda unit: unit.use_challenge("nonce-1", b.T0),
            lambda unit: unit.claim_inbox(b.T0, 1),
        ],
        ids=["consume", "challenge", "inbox"],
    )
    def test_a_unit_for_reading_uses_and_claims_nothing(self, storage: Any, use: Any) -> None:
        b.seed(storage, d.OpenChallenge(b.challenge()), d.StoreInboxItem(b.hint()))
        with b.looking(storage) as unit, pytest.raises(StorageError):
            use(unit)
        assert used(storage) == 0

    @pytest.mark.parametrize(
        "hint",
        [b.hint(), b.hint(body=b"", reason=None, attempts=0, state="dead"), b.hint(body=bytes(range(256)) * 300)],
        ids=["full", "bare", "large"],
    )
    def test_a_hint_comes_back_with_every_byte(self, storage: Any, hint: Any) -> None:
        b.write(storage, d.StoreInboxItem(hint))
        with b.looking(storage) as unit:
            assert unit.inbox_item("relay", "msg_1") == hint
            assert unit.inbox_item("relay", "MSG_1") is unit.inbox_item("Relay", "msg_1") is None

    def test_a_hint_is_accepted_once_per_source(self, storage: Any) -> None:
        b.write(storage, d.StoreInboxItem(b.hint()))
        with pytest.raises(AlreadyExists):
            b.write(storage, d.StoreInboxItem(b.hint(digest=b.word(9), body=b"other")))
        b.write(storage, d.StoreInboxItem(b.hint(source="other")))
        with b.looking(storage) as unit:
            assert unit.inbox_item("relay", "msg_1") == b.hint()

    def test_one_of_many_threads_stores_a_hint(self, storage: Any) -> None:
        def accept(number: Any) -> Any:
            b.write(storage, d.StoreInboxItem(b.hint(body=bytes([number]))))
            return number

        (winner,) = [outcome for outcome in crowd(accept) if not isinstance(outcome, Conflict)]
        with b.looking(storage) as unit:
            assert unit.inbox_item("relay", "msg_1").body == bytes([winner])

    def test_hints_are_claimed_when_they_are_due_oldest_first(self, storage: Any) -> None:
        now = b.at(100)
        hints = [
            b.hint(1, received_at=b.at(3), retry_at=now),
            b.hint(2, received_at=b.at(1), retry_at=b.at(99)),
            b.hint(3, received_at=b.at(2), retry_at=b.at(100.000001)),
            b.hint(4, received_at=b.at(0), retry_at=b.at(1), state="done"),
            b.hint(5, received_at=b.at(0), retry_at=b.at(1), state="parked"),
            b.hint(6, received_at=b.at(0), retry_at=b.at(1), state="dead"),
        ]
        b.write(storage, *map(d.StoreInboxItem, hints))
        assert claim(storage, now) == ["msg_2", "msg_1"]
        assert claim(storage, now, limit=1) == ["msg_2"]
        assert claim(storage, b.at(101)) == ["msg_2", "msg_3", "msg_1"]

    def test_four_threads_claim_each_hint_once(self, storage: Any) -> None:
        b.write(storage, *(d.StoreInboxItem(b.hint(n, retry_at=b.T0)) for n in range(1, 31)))

        def work(_: Any) -> Any:
            with storage.unit() as unit:
                items = unit.claim_inbox(b.T0, 3)
                unit.apply([d.StoreInboxItem(attrs.evolve(item, state="done", version=2)) for item in items])
                return [item.event_id for item in items]

        def drain(number: Any) -> Any:
            taken = []
            while some := again(lambda: work(number)):
                taken += some
            return taken

        taken = [event_id for mine in crowd(drain, size=4) for event_id in mine]
        assert sorted(taken) == sorted(f"msg_{n}" for n in range(1, 31))

    def test_hints_that_another_unit_holds_are_passed_over(self, storage: Any) -> None:
        b.write(storage, *(d.StoreInboxItem(b.hint(n, retry_at=b.T0)) for n in (1, 2, 3)))

        @contextmanager
        def holding() -> Iterator[Any]:
            with storage.unit() as unit:
                assert [item.event_id for item in unit.claim_inbox(b.T0, 2)] == ["msg_1", "msg_2"]
                yield unit

        if self.concurrent_writers:
            with elsewhere(holding):
                assert claim(storage) == ["msg_3"]
        assert claim(storage) == ["msg_1", "msg_2", "msg_3"]
