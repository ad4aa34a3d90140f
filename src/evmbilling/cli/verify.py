"""``evmbilling verify``: prove what is stored, and name every difference."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import FAILED, counted, one_line, reporting, say, say_json
from evmbilling.errors import ConfigurationError

if TYPE_CHECKING:
    from evmbilling.engine.verify.report import Report

_STEP = 10_000
"""How many rows pass between two lines of progress."""


def verify(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Compare every sealed row again, not only those since the last run.")
    ] = False,
    head: Annotated[
        str | None, typer.Option("--head", help="number:mac of a link that the sealer logged; it must still be there.")
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="Write what was found into this file too, for Prometheus's textfile collector."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Prove the books, the projections, the seals and the treasuries of the configured database.

    Ends with 1 when there is any difference. What a node could not say is one, of the kind unproved.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        write = None if metrics is None else _writer(metrics)
        engine = BillingEngine.from_settings()
        try:
            report = engine.verify(full=full, head=head, progress=None if quiet else RowsDone())
        finally:
            engine.close()
        if write is not None:
            write(report)
        say_json(as_document(report)) if as_json else _say(report)
        if not report.ok:
            raise typer.Exit(FAILED)


def _writer(path: Path) -> Callable[[Report], None]:
    """Return what writes a report for Prometheus.

    Raises:
        MissingExtra: the extra ``metrics`` is not installed.
        ConfigurationError: by what is returned: the file cannot be written.

    """
    from evmbilling.adapters.prometheus import write_verified

    def write(report: Report) -> None:
        try:
            write_verified(path, [difference.code for difference in report.differences], time.time())
        except OSError as error:
            raise ConfigurationError(f"cannot be written: {error.strerror}", field="metrics") from None

    return write


def as_document(report: Report) -> dict[str, Any]:
    """Return a report as JSON values; amounts are strings of base units."""
    return {
        "ok": report.ok,
        "differences": [
            {
                "code": d.code,
                "subject": d.subject,
                "expected": d.expected,
                "found": d.found,
                "reason": d.reason,
            }
            for d in report.differences
        ],
        "counts": report.counts,
        "waiting": report.waiting,
        "seals": report.seals,
        "head": report.head,
        "watermark": report.watermark,
        "coins": [
            {
                "chain_id": c.chain_id,
                "treasury": c.treasury,
                "balance": str(c.balance),
                "booked": str(c.booked),
                "delta": str(c.delta),
            }
            for c in report.coins
        ],
    }


class RowsDone:
    """Tells on standard error how far it has come."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(self, name: str, rows: int) -> None:
        """Say so when another ten thousand rows are done."""
        if rows // _STEP > self._told.get(name, 0):
            self._told[name] = rows // _STEP
            sys.stderr.write(f"{name}: {rows}\n")


def _say(report: Report) -> None:
    for difference in report.differences:
        facts = {"expected": difference.expected, "found": difference.found, "reason": difference.reason}
        words = " ".join(f"{name} {value}" for name, value in facts.items() if value)
        say(one_line(f"{difference.code} {difference.subject} {words}"))
    looked_at = ", ".join(f"{rows} {name.replace('_', ' ')}" for name, rows in report.counts.items())
    say(f"looked at {looked_at or 'nothing'}")
    if report.waiting:
        say(f"waiting for the intake: {counted(report.waiting, 'movement')}")
    say({"proved": f"seals hold, head {report.head}", "off": "sealing is off", "no_key": "no seal key"}[report.seals])
    for coin in report.coins:
        if coin.delta:
            say(f"{coin.treasury} on chain {coin.chain_id} holds {coin.delta} of its coin beyond the books")
    say("everything is proved" if report.ok else counted(len(report.differences), "difference"))
