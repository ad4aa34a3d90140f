"""The ``evmbilling`` command: looking after the tables, and a demonstration on a real chain."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Final

_NOT_TAKEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def main() -> None:
    """Run the command line; ends the process with 0 (fine), 1 (differences or a failure) or 2 (usage)."""
    try:
        from evmbilling.cli.app import app
    except ModuleNotFoundError as absent:
        if absent.name != "typer":
            raise
        sys.stderr.write(f"the evmbilling command needs its extra: pip install 'evmbilling[{_extra(sys.argv[1:])}]'\n")
        raise SystemExit(1) from None
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal does not have ends nothing
    try:
        try:
            app(prog_name="evmbilling")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in _NOT_TAKEN or error.filename is not None:
            raise
        sys.stderr.write(f"error: standard output cannot be written: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter would try once more at its end
        raise SystemExit(1) from None


def _extra(words: list[str]) -> str:
    """Name the extra with which these words will work: the demonstration needs more than the other commands."""
    if words[:1] != ["demo"]:
        return "cli"
    return "shop" if "--serve" in words else "demo"
