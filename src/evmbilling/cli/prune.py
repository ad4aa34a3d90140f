"""``evmbilling prune``: rows whose time is over are removed; the books stay."""

from __future__ import annotations

from typing import Annotated

import typer

from evmbilling.cli.output import reporting, say, say_json
from evmbilling.errors import InputError


def prune(
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="TABLE=DAYS", help="Another period for a table; may be given several times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Remove webhook bodies, deliveries, challenges, orphaned logs and old usage whose period is over."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        days = _periods(keep or [])
        engine = BillingEngine.from_settings()
        try:
            removed = engine.prune(days)
        finally:
            engine.close()
        if as_json:
            say_json({"removed": dict(removed)})
        else:
            say("\n".join(f"{table}: {count} removed" for table, count in removed.items()))


def _periods(given: list[str]) -> dict[str, int]:
    periods: dict[str, int] = {}
    for item in given:
        table, equals, days = item.partition("=")
        if not equals or not (days.isascii() and days.isdigit() and len(days) < 6):  # noqa: PLR2004  - 273 years
            raise InputError("a period is written TABLE=DAYS", field="keep")
        periods[table] = int(days)
    return periods
