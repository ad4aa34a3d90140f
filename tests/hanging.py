"""A test that hangs is told of, with what every thread was doing, and ends its process: after ten to eleven minutes.

Pytest's own ``faulthandler_timeout`` starts a thread before each test and waits for it to end afterwards, which on busy
cores takes longer than most tests do. Here one watches over a minute of tests. ``-o longest_test=0`` watches nothing.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Iterator

import pytest

EACH = 60.0
"""Seconds after which the watch begins anew."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("longest_test", "seconds after which a test is taken for stuck; 0 for never", default="600")


def pytest_configure(config: pytest.Config) -> None:
    longest = float(config.getini("longest_test"))
    if longest > 0:
        config.pluginmanager.register(Watch(longest), "evmbilling-watch")


class Watch:
    """Ends the process when nothing has begun for so long."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._since = float("-inf")
        # The process itself has no other error output while a test's is captured.
        self._told = os.dup((sys.__stderr__ or sys.stderr).fileno())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        now = time.monotonic()
        if now - self._since > EACH:
            self._since = now
            faulthandler.dump_traceback_later(self._longest + EACH, file=self._told, exit=True)
        return (yield)

    def pytest_enter_pdb(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._since = float("-inf")

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        os.close(self._told)
