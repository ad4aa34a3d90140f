"""Processes that begin warm: forks of one that has imported the library and what it stands on.

An interpreter that imports SQLAlchemy, Alembic and the key libraries, and builds the statements of a storage, costs
more than most of what such a process is started for. The one that is forked has one thread, and warnings are errors in
it and in its forks, as with ``python -W error``. A fork has signals, environment, folder and output of its own and ends
like any other process. What an import costs, and that a program starts from nothing, is for tests that start an
interpreter.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from attrs import frozen

_IMPORTED = [
    "pytest",
    "coincurve",
    "eth_account",
    "evmbilling.adapters.evm.abi.contracts",  # web3, which a plan's first look at a chain imports
    "evmbilling.adapters.evm.provider",
    "evmbilling.adapters.lanes",
    "evmbilling.adapters.signers.local",
    "evmbilling.adapters.sqlalchemy.migrating",
    "evmbilling.adapters.sqlalchemy.storage",
    "evmbilling.adapters.sqlalchemy.migrations.support",
    "evmbilling.cli.app",
    "evmbilling.cli.demo.command",
    "evmbilling.cli.demo.runner",
    "evmbilling.cli.demo.showing",
    "evmbilling.cli.demo.steps",
    "evmbilling.cli.demo.world",
    "evmbilling.factory",
    "evmbilling.settings",
    "evmbilling.testing.merchant",
    "filelock",
    "platformdirs",
    "psycopg",
    "rich.console",
    "warm_server",
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_IMPORTED)
_SERVER = forkserver._forkserver
_ensure_running = _SERVER.ensure_running
_WHERE = ("_forkserver_address", "_forkserver_authkey")
"""What a process asks the server by; newer interpreters have the second."""


def lend() -> dict[str, Any]:
    """Start the process that others are forked from, and return what another process asks it by."""
    _SERVER.ensure_running()
    return {name: getattr(_SERVER, name) for name in _WHERE if hasattr(_SERVER, name)}


def borrow(server: Mapping[str, Any]) -> None:
    """Have this process's forks come from another's server, which lives as long as that one."""
    for name, value in server.items():
        setattr(_SERVER, name, value)
    _SERVER._forkserver_alive_fd = os.pipe()[1]  # a fork is given one; the server does not look at this


def begin(
    work: Callable[..., object],
    *args: object,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    out: Path | None = None,
    err: Path | None = None,
) -> ForkServerProcess:
    """Start a process that does this work: a function of a module, with arguments that can be pickled.

    It has this environment (else the present one) and writes to these files.
    """
    around = _Around(env=dict(os.environ if env is None else env), folder=folder, out=out, err=err, server=lend())
    process = _CONTEXT.Process(target=_live, args=(around, work, args))
    process.start()
    return process


def run(work: Callable[..., object], *args: object, seconds: float = 120, **how: Any) -> CompletedProcess[str]:
    """Do this work in a process of its own, to its end."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = (Path(scratch, name) for name in ("out", "err"))
        process = begin(work, *args, out=out, err=err, **how)
        try:
            process.join(seconds)
            assert process.exitcode is not None, f"it has not ended within {seconds} seconds"
        finally:
            process.kill()
            process.join()
        return CompletedProcess(args, process.exitcode, out.read_text(), err.read_text())


def program(path: Path, *arguments: object, **how: Any) -> CompletedProcess[str]:
    """Run a file as a program, to its end, with what it imports imported before."""
    return run(_be, str(path), *map(str, arguments), **how)


def in_children(count: int, work: Callable[[int], object]) -> None:
    """Do work in plain forks of this process, one number each, and wait for them to end well."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            try:
                work(number)
            except BaseException:  # noqa: BLE001  - whatever it is, a fork must not go on as the test
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count


def _be(path: str, *arguments: str) -> None:
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(Path(path).parent))
    runpy.run_path(path, run_name="__main__")


@contextmanager
def _as_the_server_starts() -> Iterator[None]:
    """Have the options and the environment with which the first process of all, the server, is started."""
    warned, path = list(sys.warnoptions), os.environ.get("PYTHONPATH")
    sys.warnoptions.append("error")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([path] if path else [])])
    try:
        yield
    finally:
        sys.warnoptions[:] = warned
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path


def _ensure_warm() -> None:
    if _SERVER._forkserver_pid is None and _SERVER._forkserver_address is not None:
        return  # a fork, which has its forks from the server that it comes from, or a worker of xdist
    with _as_the_server_starts():
        _ensure_running()


_SERVER.ensure_running = _ensure_warm  # a process has one server, and the conformance kits may be the first to want it


@frozen(kw_only=True)
class _Around:
    """What a process finds around it."""

    env: Mapping[str, str]
    folder: Path | None
    out: Path | None
    err: Path | None
    server: Mapping[str, Any]

    def enter(self) -> None:
        for name, value in self.server.items():
            setattr(_SERVER, name, value)
        os.environ.clear()
        os.environ.update(self.env)
        if self.folder is not None:
            os.chdir(self.folder)
        for path, stream in ((self.out, sys.stdout), (self.err, sys.stderr)):
            if path is not None:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, stream.fileno())
                os.close(file)


def _live(around: _Around, work: Callable[..., object], args: tuple[object, ...]) -> None:
    around.enter()
    try:
        work(*args)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
