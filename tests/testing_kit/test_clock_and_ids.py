"""Time and identifiers: the real ones and the repeatable ones."""

from __future__ import annotations

import itertools
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.adapters import system
from evmbilling.adapters.system import Stamps, SystemClock, SystemIds
from evmbilling.domain.identity import uuid7_text
from evmbilling.errors import InputError
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.ids import SeededIds

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def millis_of(text):
    return UUID(text).int >> 80


def test_system_clock_is_aware_and_in_utc():
    assert SystemClock().now().utcoffset() == timedelta()


def test_uuid7_of_the_rfc_test_vector():
    # RFC 9562, A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    stamp = 0x017F22E279B0 << 74 | 0xCC3 << 62 | 0x18C4DC0C0C07398F
    assert uuid7_text(stamp) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("ids", [SystemIds(), SeededIds(7, FrozenClock(START))], ids=["system", "seeded"])
def test_ids_are_canonical_uuid7_unique_and_ascending(ids):
    made = [ids.new_id() for _ in range(5_000)]
    assert all(CANONICAL.fullmatch(text) for text in made)
    assert sorted(set(made)) == made


def test_system_ids_carry_the_present_millisecond():
    made = datetime.fromtimestamp(millis_of(SystemIds().new_id()) / 1000, UTC)
    assert abs(SystemClock().now() - made) < timedelta(seconds=10)


def test_system_ids_are_unique_among_threads():
    ids = SystemIds()
    with ThreadPoolExecutor(8) as pool:
        made = [one for chunk in pool.map(lambda _: [ids.new_id() for _ in range(500)], range(8)) for one in chunk]
    assert len(set(made)) == 4_000


def test_ids_ascend_when_the_machine_clock_goes_back(monkeypatch):
    ids = SystemIds()
    before = ids.new_id()
    monkeypatch.setattr(system.time, "time_ns", lambda: 0)
    assert before < ids.new_id() < ids.new_id()


@given(st.lists(st.integers(0, 2**47), min_size=2, max_size=20), st.booleans())
def test_stamps_grow_whatever_the_clock_and_the_randomness_do(millis, worst):
    stamps = Stamps((lambda bits: (1 << bits) - 1) if worst else (lambda _: 0))
    made = [stamps.next(instant) for instant in millis]
    assert all(a < b for a, b in itertools.pairwise(made))
    assert uuid7_text(made[-1])[14] == "7"


@pytest.mark.fault("S25")
def test_s25_system_ids_and_tokens_come_from_secrets(monkeypatch):
    asked = []
    monkeypatch.setattr(secrets, "randbits", lambda bits: asked.append(bits) or 0)
    SystemIds().new_id()
    assert asked == [74]
    token = SystemIds().token()
    assert re.fullmatch(r"[A-Za-z0-9_-]{22,}", token)
    assert token != SystemIds().token()


def test_seeded_ids_repeat_and_follow_the_clock():
    def run(seed):
        clock = FrozenClock(START)
        ids = SeededIds(seed, clock)
        made = [ids.new_id(), ids.token()]
        clock.advance(days=1)
        return [*made, ids.new_id(), ids.token()]

    first = run(1)
    assert first == run(1)
    assert not set(first) & set(run(2))
    assert millis_of(first[2]) - millis_of(first[0]) == 86_400_000
    assert len(first[1]) == 22


def test_frozen_clock_moves_only_when_told():
    clock = FrozenClock(START)
    assert clock.now() == clock.now() == START
    assert clock.advance(timedelta(hours=1)) == clock.now() == START + timedelta(hours=1)
    assert clock.advance(days=1, seconds=2) == START + timedelta(days=1, hours=1, seconds=2)
    assert clock.set(START - timedelta(days=1)) == clock.now() == START - timedelta(days=1)


def test_frozen_clock_shows_utc():
    clock = FrozenClock(START.astimezone(timezone(timedelta(hours=9))))
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: FrozenClock(datetime(2026, 1, 1)),  # noqa: DTZ001  - the naive value is the point
        lambda: FrozenClock(START).set("now"),
        lambda: FrozenClock(START).advance(),
        lambda: FrozenClock(START).advance(timedelta(1), days=1),
        lambda: FrozenClock(START).advance(days=-1),
    ],
)
def test_frozen_clock_refuses(misuse):
    with pytest.raises(InputError) as refused:
        misuse()
    assert refused.value.field in {"start", "instant", "by"}


def test_frozen_clock_loses_no_move_among_threads():
    clock = FrozenClock(START)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [clock.advance(seconds=1) for _ in range(200)], range(8)))
    assert clock.now() == START + timedelta(seconds=1600)
