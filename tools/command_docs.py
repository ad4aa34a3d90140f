# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/commands.md`` from the commands themselves, so that the two cannot drift apart.

::

    python tools/command_docs.py             write it
    python tools/command_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command
from written import cell, keep

from evmbilling.cli.app import app

HEAD = """\
# Commands

Written by `tools/command_docs.py` from the commands themselves. Database and keys come from the `BILLING_…` settings.
Exit codes: 0 fine; 1 a difference or a failure; 2 something was given wrongly. With `--json` the answer is one JSON
document on standard output, and so is an error: `{"error": {"code", "field", "message"}}`. Words that cannot be
understood have the code `usage`.
"""


def render() -> str:
    """The whole file."""
    return "\n".join([HEAD, *_command(get_command(app), "evmbilling")]).rstrip() + "\n"


def _command(command: Any, name: str) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is not None:
        for each in sorted(below):
            yield from _command(below[each], f"{name} {each}")
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    words = " ".join(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)
    yield f"## `{f'{name} {words}'.strip()}`\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    if arguments or options:
        yield "| given | meaning |"
        yield "|---|---|"
        for given in arguments:
            yield f"| `{given.name.upper()}` | {cell(given.help or '')} |"
        for option in options:
            metavar = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
            yield f"| `{option.opts[0]}{metavar}` | {cell(option.help or '')} |"
        yield ""


if __name__ == "__main__":
    keep("commands.md", render(), tool="command_docs.py")
