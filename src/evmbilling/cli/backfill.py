"""``evmbilling reader backfill``: read a network up to its head, or read blocks again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import FAILED, reporting, say, say_json
from evmbilling.engine.reading.base import LEASE_SECONDS
from evmbilling.errors import BillingError, RequestInProgress, RpcRefused

if TYPE_CHECKING:
    from evmbilling.engine.reading.base import Progress as Told
    from evmbilling.engine.reading.base import ReadReport
    from evmbilling.factory import BillingEngine

_AT_ONCE = 1_000_000
_FAILURES_IN_A_ROW = 5
_PAUSE = 0.5
_LOOK = 1
_DONE = {"idle": "it is read up to its head", "nothing_to_watch": "there is nothing to watch on it yet"}
_STOPPED = {
    "busy": "another worker reads this network at the moment",
    "behind": "the node is behind what was read",
    "halted": "the network is halted: a person has to resume it",
}


def backfill(
    *,
    network: Annotated[str, typer.Argument(help="The network, by name.")],
    from_block: Annotated[
        int | None, typer.Option("--from", min=0, metavar="BLOCK", help="Read again what was read, from this block on.")
    ] = None,
    to_block: Annotated[
        int | None, typer.Option("--to", min=0, metavar="BLOCK", help="The last block; the head when left out.")
    ] = None,
    wait: Annotated[
        int, typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for another worker's lease.")
    ] = LEASE_SECONDS + 10,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Read a network up to its head. It can be killed at any time: run it again, without --from, and it goes on.

    The lease of a worker that was killed runs out after half a minute.

    With --from, blocks that were read before are read again beside: what is missing or was altered is stored, and
    nothing is taken back. Receipts follow when the intake runs.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            if from_block is not None:
                wait = _ask_rescan(engine, network, from_block, to_block, wait=wait)
            with _bar(quiet=quiet) as told:
                found = _read_all(engine, network, to_block, told=told, wait=wait)
        finally:
            engine.close()
        say_json(found) if as_json else say(_line(found))
        if found["outcome"] in _STOPPED:
            raise typer.Exit(FAILED)


def _ask_rescan(engine: BillingEngine, network: str, from_block: int, to_block: int | None, *, wait: int) -> int:
    """Note what is to be read again; return how many seconds are left to wait for leases."""
    while True:
        try:
            engine.rescan(network, from_block, to_block=to_block)
        except RequestInProgress:
            if wait <= 0:
                raise
            time.sleep(_LOOK)
            wait -= _LOOK
        else:
            return wait


def _read_all(engine: BillingEngine, network: str, to_block: int | None, *, told: Told, wait: int) -> dict[str, Any]:
    """Read until nothing is left; a node that fails is asked again for a while, and a lease is waited for."""
    sums = {"blocks": 0, "logs": 0, "rescanned": 0, "rewound": 0}
    while True:
        report = _read(engine, network, to_block, told)
        if report.outcome == "busy" and wait > 0:
            time.sleep(_LOOK)
            wait -= _LOOK
            continue
        for name in sums:
            sums[name] += getattr(report, name)
        if report.outcome != "read":
            return {"network": network, "outcome": report.outcome} | sums


def _read(engine: BillingEngine, network: str, to_block: int | None, told: Told) -> ReadReport:
    for failures in range(_FAILURES_IN_A_ROW):
        try:
            return engine.read_chain(network, max_blocks=_AT_ONCE, to_block=to_block, progress=told)
        except BillingError as error:
            if not (error.retry_safe or isinstance(error, RpcRefused)):
                raise
            time.sleep(_PAUSE * 2**failures)
    return engine.read_chain(network, max_blocks=_AT_ONCE, to_block=to_block, progress=told)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Told]:
    """Show how far it is on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        shown: dict[int, Any] = {}

        def told(block: int, end: int) -> None:
            if end not in shown:
                for done in shown.values():
                    progress.remove_task(done)
                shown.clear()
                shown[end] = progress.add_task(f"up to block {end}", total=end, completed=block)
            progress.update(shown[end], completed=block)

        yield told


def _line(found: dict[str, Any]) -> str:
    read = f"{found['network']}: {found['blocks']} blocks and {found['logs']} logs read"
    again = f", {found['rescanned']} blocks read again" if found["rescanned"] else ""
    return f"{read}{again}; {(_DONE | _STOPPED)[found['outcome']]}"
