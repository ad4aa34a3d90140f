"""The ``evmbilling`` command: looking after the tables, and a demonstration on a real chain."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with 0 (fine), 1 (differences or a failure) or 2 (usage)."""
    try:
        from evmbilling.cli.app import app
    except ModuleNotFoundError as absent:
        if absent.name != "typer":
            raise
        sys.stderr.write(f"the evmbilling command needs its extra: pip install 'evmbilling[{_extra(sys.argv[1:])}]'\n")
        raise SystemExit(1) from None
    app(prog_name="evmbilling")


def _extra(words: list[str]) -> str:
    """Name the extra with which these words will work: the demonstration needs more than the other commands."""
    if words[:1] != ["demo"]:
        return "cli"
    return "shop" if "--serve" in words else "demo"
