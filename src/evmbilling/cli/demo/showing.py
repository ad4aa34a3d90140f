"""The demo for people: a table that fills as the steps are verified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from evmbilling.cli.demo.checks import Outcome, Step

_WIDEST = 44


class Board:
    """Shows the steps of one run: those that are verified, the one at work, those to come."""

    def __init__(self, console: Console, steps: Iterable[Step]) -> None:
        self._console = console
        self._steps = tuple(steps)
        self._outcomes: dict[str, Outcome] = {}
        self._at_work: str | None = None
        self._live = Live(self._picture(), console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._at_work = None
        self._live.stop()
        self._console.print(self._table())
        for outcome in self._outcomes.values():
            if outcome.shown:
                self._console.print()
                self._console.print(_facts(outcome))

    def started(self, step: Step) -> None:
        """Show that a step is at work."""
        self._at_work = step.key
        self._live.update(self._picture(), refresh=True)

    def ended(self, outcome: Outcome) -> None:
        """Show how a step went."""
        self._outcomes[outcome.key] = outcome
        self._at_work = None
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        bar = ProgressBar(total=len(self._steps), completed=len(self._outcomes), width=60)
        return Group(self._table(), bar)

    def _table(self) -> Table:
        table = Table(
            title="evmbilling: paid on a chain, end to end", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("step", min_width=_WIDEST, no_wrap=True)
        table.add_column("ok", justify="right", no_wrap=True)
        table.add_column("seen in", no_wrap=True)
        table.add_column("s", justify="right", no_wrap=True)
        for step in self._steps:
            outcome = self._outcomes.get(step.key)
            if outcome is not None:
                table.add_row(*_row(outcome, ascii_only=self._console.options.ascii_only))
            elif step.key == self._at_work:
                table.add_row(Spinner("dots", text=Text(step.title, style="bold")), "", "", "")
            else:
                table.add_row(Text(step.title, style="dim"), "", "", "")
        return table


def show_end(console: Console, outcomes: list[Outcome], steps: int, seconds: float) -> None:
    """Say how it ended; of a step that was not verified, what was expected and what was found."""
    failed = next((outcome for outcome in outcomes if not outcome.ok), None)
    if failed is None and len(outcomes) == steps:
        checks = sum(len(outcome.checks) for outcome in outcomes)
        console.print()
        console.print(
            Text(f"{steps} steps verified by {checks} looks at chain and database in {seconds:.1f} s", style="green")
        )
        return
    if failed is None:
        return
    console.print(Text(f"not verified: {failed.key} ({failed.title})", style="bold red"))
    if failed.error:
        console.print(Text(f"  raised    {failed.error}"))
    for check in failed.failures:
        console.print(Text(f"  {check.source}: {check.what}"))
        console.print(Text(f"    expected  {check.expected}"))
        console.print(Text(f"    found     {check.found}"))


def as_json(outcomes: list[Outcome], steps: Iterable[Step], seconds: float) -> dict[str, Any]:
    """Return the run for programs; steps that were not begun have ``ok`` null."""
    by_key = {outcome.key: outcome for outcome in outcomes}
    wanted = tuple(steps)
    return {
        "ok": len(outcomes) == len(wanted) and all(outcome.ok for outcome in outcomes),
        "seconds": round(seconds, 3),
        "steps": [_step_json(step, by_key.get(step.key)) for step in wanted],
    }


def _row(outcome: Outcome, *, ascii_only: bool) -> tuple[Text, str, str, str]:
    good, bad = ("+ ", "- ") if ascii_only else ("✓ ", "✗ ")
    mark = Text(good, style="green") if outcome.ok else Text(bad, style="bold red")
    held = sum(check.ok for check in outcome.checks)
    sources = sorted({check.source for check in outcome.checks if check.source != "answer"})
    return (
        mark + Text(outcome.title, style="" if outcome.ok else "red"),
        f"{held}/{len(outcome.checks)}",
        ", ".join(sources),
        f"{outcome.seconds:.2f}",
    )


def _facts(outcome: Outcome) -> Table:
    table = Table(title=outcome.title, title_justify="left", box=None, show_header=False, padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in outcome.shown.items():
        table.add_row(name, Text(str(value)))
    return table


def _step_json(step: Step, outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {"key": step.key, "title": step.title, "ok": None}
    return {
        "key": step.key,
        "title": step.title,
        "ok": outcome.ok,
        "seconds": round(outcome.seconds, 3),
        "error": outcome.error,
        "shown": outcome.shown,
        "checks": [
            {"source": c.source, "what": c.what, "expected": c.expected, "found": c.found, "ok": c.ok}
            for c in outcome.checks
        ],
    }
