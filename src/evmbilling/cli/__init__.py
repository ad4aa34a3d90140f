"""The ``evmbilling`` command: looking after the tables, and a demonstration on a real chain."""

from __future__ import annotations

import sys

_HINT = "the evmbilling command needs its extra: pip install 'evmbilling[cli]'"


def main() -> None:
    """Run the command line; ends the process with 0 (fine), 1 (differences or a failure) or 2 (usage)."""
    try:
        from evmbilling.cli.app import app
    except ModuleNotFoundError as absent:
        if absent.name != "typer":
            raise
        sys.stderr.write(f"{_HINT}\n")
        raise SystemExit(1) from None
    app(prog_name="evmbilling")
