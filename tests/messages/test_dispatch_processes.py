"""Dispatchers in processes: killed at every step, stopped, and four at once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

import crash_child
import pytest
from engine_shop import START
from messages_bench import make_bench

import forks
from databases import open_sql
from evmbilling.domain.decisions import Publish
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.ports.crash import CRASH_VARIABLE, crash_point
from evmbilling.testing.clock import FrozenClock
from sampling import EVERYTHING

HOUR = "ahead=3600"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, fresh_url, tmp_path):
    """A database, and a bench that publishes into it."""
    url = fresh_url(request.param)
    storage = open_sql(url, FrozenClock(START))
    yield url, tmp_path / "told.txt", make_bench(storage, FrozenClock(START))
    storage.close()


def start(url, path, *options, crash=None):
    env = os.environ | ({CRASH_VARIABLE: crash} if crash else {})
    return forks.begin(crash_child.main, url, str(path), *options, env=env)


def run(url, path, *options, crash=None):
    child = start(url, path, *options, crash=crash)
    return _ended(child, seconds=60)


def told(path):
    """Return (aggregate, seq, event id) of everything that left, in order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(aggregate, int(seq), event_id) for _, aggregate, seq, event_id in (line.split() for line in lines)]


def seqs(path):
    return [seq for _, seq, _ in told(path)]


def finish(place):
    url, path, bench = place
    assert run(url, path, HOUR, "rounds=3") == 0
    assert {(d.state, d.attempts) for d in bench.deliveries()} == {("done", 1)}


@pytest.mark.fault("O10")
@pytest.mark.parametrize("crash", ["dispatch.handed_out", "dispatch.claimed"])
def test_o10_killed_before_anything_left_it_leaves_after_the_restart(place, crash):
    url, path, bench = place
    bench.publish(3)
    assert run(url, path, crash=crash) == -signal.SIGKILL
    assert told(path) == []
    finish(place)
    assert seqs(path) == [1, 2, 3]


@pytest.mark.fault("O11")
@pytest.mark.parametrize(("crash", "left"), [("dispatch.sent", [1]), ("dispatch.sent:2", [1, 2])])
def test_o11_killed_before_the_outcome_is_stored_the_same_event_leaves_twice(place, crash, left):
    url, path, bench = place
    events = bench.publish(3)
    # A slow receiver: nothing of the batch is stored before the kill, which comes from the lane's thread.
    assert run(url, path, "slow=0.05", crash=crash) == -signal.SIGKILL
    assert seqs(path) == left
    finish(place)
    count = Counter(event_id for _, _, event_id in told(path))
    assert set(count) == {event.event_id for event in events}
    assert count[events[len(left) - 1].event_id] == 2
    assert max(count.values()) == 2
    assert count[events[2].event_id] == 1


@pytest.mark.fault("O16")
def test_o16_what_a_killed_dispatcher_held_waits_for_its_lease_and_is_told_once(place):
    url, path, bench = place
    bench.publish(3)
    assert run(url, path, crash="dispatch.claimed") == -signal.SIGKILL
    assert run(url, path, "rounds=2") == 0
    assert told(path) == []
    finish(place)
    assert seqs(path) == [1, 2, 3]


@pytest.mark.fault("O16")
def test_o16_killed_after_the_outcome_is_stored_nothing_is_told_again(place):
    url, path, bench = place
    bench.publish(1)
    assert run(url, path, crash="dispatch.stored") == -signal.SIGKILL
    finish(place)
    assert seqs(path) == [1]


@pytest.mark.fault("O17")
def test_o17_a_stopped_dispatcher_that_wakes_up_late_changes_nothing(place):
    url, path, bench = place
    bench.publish(4)
    child = start(url, path, "gate=1")
    try:
        # The first outcome is stored: what is stopped then waits at the gate, and holds no lock of the file.
        _wait_for(lambda: any(d.state == "done" for d in bench.deliveries()))
        time.sleep(0.2)
        os.kill(child.pid, signal.SIGSTOP)
        finish(place)
        rows = bench.deliveries()
        Path(f"{path}.open").touch()
        os.kill(child.pid, signal.SIGCONT)
        assert _ended(child, seconds=60) == 0
    finally:
        child.kill()
    assert bench.deliveries() == rows
    assert set(seqs(path)) == {1, 2, 3, 4}


@pytest.mark.fault("O20")
def test_o20_a_dispatcher_that_is_ended_in_the_middle_ends_at_once_and_loses_nothing(place):
    url, path, bench = place
    bench.publish(20)
    child = start(url, path, "slow=0.2")
    try:
        _wait_for(lambda: len(told(path)) >= 2)
        began = time.monotonic()
        child.terminate()
        code = _ended(child, seconds=60)
    finally:
        child.kill()
    assert code == 0
    assert time.monotonic() - began < 30
    assert len(told(path)) < 20
    finish(place)
    assert set(seqs(path)) == set(range(1, 21))
    assert len(told(path)) <= 22


@pytest.mark.fault("O13")
def test_o13_four_dispatchers_tell_each_event_once_and_in_order(place):
    url, path, bench = place
    users, each = (12, 12) if EVERYTHING else (6, 9)
    for user in range(users):
        bench.publish(each, user=f"u{user}")
    children = [start(url, path, "rounds=40", "limit=7") for _ in range(4)]
    try:
        for child in children:
            assert _ended(child, seconds=120) == 0
    finally:
        for child in children:
            child.kill()
    by_user = defaultdict(list)
    for aggregate, seq, _ in told(path):
        by_user[aggregate].append(seq)
    assert dict(by_user) == {f"customer:u{user}": list(range(1, each + 1)) for user in range(users)}
    assert {(d.state, d.attempts) for d in bench.deliveries()} == {("done", 1)}


@pytest.mark.fault("D28")
def test_d28_an_event_that_commits_later_than_a_younger_one_is_not_missed(fresh_url, tmp_path):
    url, path = fresh_url("postgres"), tmp_path / "told.txt"
    clock = FrozenClock(START)
    first, second = (open_sql(url, clock) for _ in range(2))
    early, late = make_bench(first, clock, seed=1), make_bench(second, clock, seed=2)
    with first.unit() as unit:
        unit.apply([Publish(_event(early))])
        late.publish(user="u2")
        assert run(url, path, "rounds=2") == 0
        assert [aggregate for aggregate, _, _ in told(path)] == ["customer:u2"]
    assert run(url, path, "rounds=2") == 0
    assert [aggregate for aggregate, _, _ in told(path)] == ["customer:u2", "customer:u1"]
    for storage in (first, second):
        storage.close()


def _event(bench):
    now = bench.clock.now()
    return Event(
        event_id=bench.ports.ids.new_id(),
        type=EventType.PAYMENT_SEEN,
        aggregate="customer:u1",
        seq=1,
        occurred_at=now,
        recorded_at=now,
    )


def test_a_crash_point_that_is_not_named_does_nothing(monkeypatch):
    monkeypatch.delenv(CRASH_VARIABLE, raising=False)
    crash_point("anywhere")
    monkeypatch.setenv(CRASH_VARIABLE, "somewhere else:3")
    crash_point("anywhere")
    killed = []
    monkeypatch.setattr("evmbilling.ports.crash.os.kill", lambda pid, sig: killed.append((pid, sig)))
    monkeypatch.setenv(CRASH_VARIABLE, "anywhere:2")
    for _ in range(3):
        crash_point("anywhere")
    assert killed == [(os.getpid(), signal.SIGKILL)]


def _ended(child, *, seconds):
    """Return the exit code, negative for a signal."""
    child.join(seconds)
    assert child.exitcode is not None, "it is still there"
    return child.exitcode


def _wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
