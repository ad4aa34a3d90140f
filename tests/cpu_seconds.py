"""``pytest --cpu`` prints the CPU seconds of the run by folder: what a continuous integration pays for.

Counted are this process (each worker under xdist) with all its threads, the processes it started and their
children, and the PostgreSQL servers, which are nobody's children. What a run costs before the first test and after
the last one has lines of its own. ``--cpu=tests`` lists single tests too, dearest first.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_TICKS = os.sysconf("SC_CLK_TCK")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu", nargs="?", const="folders", choices=["folders", "tests"], help="print CPU seconds (Linux)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("cpu"):
        config.pluginmanager.register(CpuSeconds(config))


class CpuSeconds:
    """Adds up CPU seconds by test; a worker hands its sums to the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._postmasters: dict[int, float] = {}
        self._spent: Counter[str] = Counter()
        self._seen = 0.0
        from evmbilling.testing.postgres import PostgresServer

        start = PostgresServer.__enter__

        def entered(server: Any) -> Any:
            start(server)
            (row,) = server._admin.execute("SHOW data_directory").fetchall()
            self._postmasters[int(Path(row[0], "postmaster.pid").read_text().split()[0])] = 0.0
            return server

        PostgresServer.__enter__ = entered

    def _count(self, what: str) -> None:
        """Put what was spent since the last call to this account."""
        now = time.process_time()
        if not self._config.getoption("numprocesses", None):  # else the workers count for themselves
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            now += ended.ru_utime + ended.ru_stime + sum(map(_seconds, _children(os.getpid())))
        for pid, before in self._postmasters.items():
            self._postmasters[pid] = max(before, _seconds(pid) + sum(map(_seconds, _children(pid))))
        now += sum(self._postmasters.values())
        self._spent[what] += max(now - self._seen, 0)
        self._seen = now

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._count("(before)" if not self._spent else "(between)")
        try:
            return (yield)
        finally:
            self._count(item.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._count("(after)")
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["cpu_seconds"] = dict(self._spent)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._spent.update(getattr(node, "workeroutput", {}).get("cpu_seconds", {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("CPU seconds")
        folders: Counter[str] = Counter()
        for test, spent in self._spent.items():
            folders[str(Path(test.partition("::")[0]).parent) if "::" in test else test] += spent
        shown = folders.most_common()
        if self._config.getoption("cpu") == "tests":
            shown += [("", 0.0), *self._spent.most_common()]
        for name, spent in [("all", sum(folders.values())), *shown]:
            terminalreporter.write_line(f"{spent:9.3f}  {name}")


def _children(parent: int) -> list[int]:
    tasks = f"/proc/{parent}/task"
    return [int(pid) for thread in _names(tasks) for pid in _text(f"{tasks}/{thread}/children").split()]


def _seconds(pid: int) -> float:
    """Return the CPU seconds of a process that runs, with those of its children that have ended."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  - a path for each of them costs more than many a test
    except OSError:  # it has ended
        return []


def _text(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, 1 << 16).decode()
        finally:
            os.close(file)
    except OSError:  # it has ended
        return ""
