"""A worker of xdist tells the process that hands out the tests only what that one uses.

Of a test it tells six things, each a message that wakes two threads of the other process: that it begins and ends, what
came of its three phases, and that the next one may be sent. Of one that passes, only the phase of the test itself and
the last are used: the terminal counts by the first, and the tests are handed out by the second. Everything is told as
ever where durations, a report in a file or more words are asked for, and of a phase that failed or wrote something.
"""

from __future__ import annotations

from typing import Any

import pytest

_USERS = ("durations", "xmlpath", "pastebin", "report_log", "debug")
"""Options that use the reports of a phase before or after the test."""
_NAME = "WorkerInteractor"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") or config.option.verbose > 0:
        return
    if any(getattr(config.option, name, None) for name in _USERS):
        return
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == _NAME:
            name = config.pluginmanager.get_name(plugin)
            config.pluginmanager.unregister(plugin)
            plugin.__class__ = _terse(type(plugin))
            config.pluginmanager.register(plugin, name)


def _terse(speaker: Any) -> Any:
    class Terse(speaker):
        @pytest.hookimpl
        def pytest_runtest_logstart(self) -> None:
            pass

        @pytest.hookimpl
        def pytest_runtest_logfinish(self) -> None:
            pass

        @pytest.hookimpl
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if not (report.passed and report.when != "call") or report.sections or report.user_properties:
                super().pytest_runtest_logreport(report)

    Terse.__name__ = Terse.__qualname__ = _NAME
    return Terse
