"""The program of a page as the main program of a process that has imported the library before."""

from __future__ import annotations

import runpy
import sys


def be(script: str) -> None:
    """Run a file as if it were what the interpreter was started with."""
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")
