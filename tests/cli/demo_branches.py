"""One healthy run of the demo from which broken ones branch off, each where something breaks.

A branch is a fork of the process that runs the demo: it breaks something before a step and goes on as the command that
it is, to its own answer and its own end. Meanwhile the healthy run waits; then it puts chain and files back as they
were, and goes on. So a broken demo costs its own steps, and not those before them.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from demo_runs import Run, demo, surroundings

import forks

SECONDS = 60
"""For a branch; then a signal ends it."""
TRUNK = "trunk"
_NODES: list[Any] = []


@attrs.frozen
class Break:
    """What breaks: as code from the beginning on, and in a branch before the step of that key, perhaps on the chain."""

    before: str
    code: str
    on_chain: Callable[[Any], None] | None = None

    def happen(self, world: Any) -> None:
        """Break it, where the demo has come to now."""
        if self.on_chain is not None:
            self.on_chain(world)
        else:
            exec(self.code, {})  # written in these tests


def run_branching_demo(
    folder: Path, breaks: Mapping[str, Break], *arguments: str, **environment: str
) -> tuple[Run, dict[str, Run]]:
    """Run the demo in a fork; return how it went, and how the branches did, by name.

    It shows its table to people, and each run knows the answer for programs as well.
    """
    done = forks.run(_trunk, folder, dict(breaks), arguments, env=surroundings() | environment)
    assert "Traceback" not in done.stderr, done.stderr
    told = (folder / f"{TRUNK}.json").read_text()
    return Run(done.returncode, done.stdout, done.stderr, told), {name: _run(folder, name) for name in breaks}


def _run(folder: Path, name: str) -> Run:
    code, *said = ((folder / f"{name}.{what}").read_text() for what in ("code", "out", "err", "json"))
    return Run(int(code), *said)


def _trunk(folder: Path, breaks: dict[str, Break], arguments: Sequence[str]) -> None:
    from evmbilling.cli.demo import runner, showing

    run_steps = runner.run_steps
    _write_answers(showing, folder, TRUNK)

    def branching(steps: Any, world: Any, started: Any) -> Any:
        return run_steps(steps, world, partial(_begin, folder, breaks, world, started))

    runner.run_steps = branching
    demo("", *arguments)


def _write_answers(showing: Any, folder: Path, name: str) -> None:
    """Write down, too, what the command would answer a program."""

    def answered(*how: Any) -> Any:
        told = as_json(*how)
        (folder / f"{name}.json").write_text(json.dumps(told))
        return told

    as_json, showing.as_json = showing.as_json, answered


def _begin(folder: Path, breaks: dict[str, Break], world: Any, started: Any, step: Any) -> None:
    for name in [name for name, broken in breaks.items() if broken.before == step.key]:
        if _is_branch(folder, name, world, started.__self__):
            breaks[name].happen(world)
            breaks.clear()  # a branch has none of its own
            break
    started(step)


def _is_branch(folder: Path, name: str, world: Any, board: Any) -> bool:
    """Fork; in the process that runs on, wait for the fork to end, and put back what it changed."""
    if "engine" in vars(world):
        world.engine._ports.storage._engine.dispose()  # no connection is open in two processes
    kept = Path(shutil.copytree(world.folder, folder / f"{name}.kept"))
    snapshot = world.node.snapshot()
    sys.stdout.flush()
    gc.freeze()  # a look for garbage would copy what the two share
    with board._live._lock:  # the table's own thread is not in the fork, and would hold it there for ever
        child = os.fork()
    if child == 0:
        _become(folder, name, world)
        return True
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (folder / f"{name}.code").write_text(str(code))
    world.node.revert(snapshot)
    shutil.rmtree(world.folder, ignore_errors=True)  # which the command has done at its end
    shutil.copytree(kept, world.folder)
    return False


def _become(folder: Path, name: str, world: Any) -> None:
    from evmbilling.cli.demo import showing

    signal.alarm(SECONDS)
    gc.disable()
    _write_answers(showing, folder, name)
    for stream, what in ((sys.stdout, "out"), (sys.stderr, "err")):
        with (folder / f"{name}.{what}").open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    world.node._finalizer.detach()  # the node is not its own, to end or to miss
    _NODES.append(world.node._process)
    world.node._snapshots.clear()
