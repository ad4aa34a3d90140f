"""A test that hangs does not hold up a run for ever."""

from __future__ import annotations

import time

import forks
import hanging


def hang() -> None:
    hanging.EACH = 0.0
    watch = hanging.Watch(0.2)
    list(watch.pytest_runtest_protocol())
    time.sleep(60)


def test_what_every_thread_does_is_told_and_the_process_ends():
    done = forks.run(hang)
    assert done.returncode == 1
    assert "Timeout (0:00:00.2" in done.stderr
    assert "in hang" in done.stderr


def test_a_watch_lasts_a_minute_of_tests(monkeypatch):
    begun = []
    monkeypatch.setattr(hanging.faulthandler, "dump_traceback_later", lambda *how, **_: begun.append(how))
    monkeypatch.setattr(hanging.faulthandler, "cancel_dump_traceback_later", lambda: None)
    watch = hanging.Watch(600)
    for now in (0, 30, 60, 61, 90, 121, 122):
        monkeypatch.setattr(hanging.time, "monotonic", lambda now=now: float(now))
        list(watch.pytest_runtest_protocol())
    watch.pytest_unconfigure()
    assert begun == [(660.0,)] * 3
