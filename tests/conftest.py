"""What every test of this project has."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from databases import Databases

LONG = frozenset({"campaigns", "charges", "cli", "conformance", "crash", "docs", "operations", "pages", "queues"})
pytest_plugins = ["cpu_seconds", "fewer_messages", "hanging", "in_memory", "sampling"]


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Have twice as many workers as there are cores: a worker waits a quarter of its time.

    It waits for processes that it has started, for locks and leases. With half as many again as cores the whole takes
    a twentieth longer. The variable is xdist's own, and says how many.
    """
    cores = yield
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else 2 * cores


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Leave a module's tests with one worker, which makes what they share once; who is idle takes from the other."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Have the forks of all workers come from one process: to begin, it takes longer than most tests do.

    Where CPU seconds are counted, each worker has its own, whose time is then the worker's.
    """
    if not node.config.getoption("cpu"):
        import forks

        node.workerinput["forks"] = forks.lend()


def pytest_configure(config: pytest.Config) -> None:
    if "forks" in getattr(config, "workerinput", {}):
        import forks

        forks.borrow(config.workerinput["forks"])


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Collect without looking for garbage: what is made here stays, and is not looked through again afterwards.

    Afterwards garbage is looked for seldom: a test makes little, and every look goes through the modules it imports.
    """
    from compiling import compile_share

    gc.disable()
    try:
        compile_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave pytest, which looks for garbage twice at the end of a process, nothing to go through in a worker of xdist.

    What comes to light so late is told nobody there.
    """
    if hasattr(session.config, "workerinput"):
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders of the longest tests: towards the end, one worker would be alone with one of them."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture(scope="session", autouse=True)
def _statements_are_built_once() -> None:
    if "evmbilling.adapters.sqlalchemy.storage" in sys.modules:
        from warm import share_statements

        share_statements()


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> None:
    """Have the runner of commands build them once, as a process does that runs one; it takes longer than most do."""
    runner = sys.modules.get("typer.testing")
    if hasattr(runner, "_get_command"):
        runner._get_command = cache(runner._get_command)


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def databases(request, tmp_path_factory) -> Iterator[Databases]:
    """Lend migrated databases: ``with databases.lend("sqlite") as url``."""
    from databases import Databases, close_kept  # the process that only hands out the tests does without

    yield Databases(tmp_path_factory.mktemp("databases"), request)
    close_kept()


@pytest.fixture
def open_database(databases) -> Iterator[Any]:
    """Open empty storages until the end of the test: ``open_database("postgres", clock)``."""
    with ExitStack() as stack:
        yield lambda name, clock, **options: stack.enter_context(databases.open(name, clock, **options))
