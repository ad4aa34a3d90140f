"""``evmbilling reader``: reading of the networks."""

from __future__ import annotations

import typer

from evmbilling.cli.backfill import backfill

reader = typer.Typer(no_args_is_help=True, help="Reading of the networks.")
reader.command()(backfill)


@reader.callback()
def _reading() -> None:
    """Reading of the networks."""
