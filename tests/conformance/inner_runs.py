"""pytest within a test: as an author would run it, in a process that begins warm."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import forks


def _main(paths: Sequence[str], arguments: Sequence[str]) -> None:
    import pytest

    sys.path[:0] = paths
    # An author has what comes with evmbilling[testing]; the others are our own, and cost more than the tests.
    off = [part for name in ("cacheprovider", "xdist", "schemathesis", "anyio") for part in ("-p", f"no:{name}")]
    sys.exit(pytest.main(["-q", "-W", "error", *off, *arguments]))


def run_pytest(folder: Path, *arguments: str, paths: Sequence[Path] = ()) -> CompletedProcess[str]:
    """Run pytest in a folder, with these on the import path."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    found = [str(path) for path in (folder, *paths)]
    return forks.run(_main, found, arguments, folder=folder, env=os.environ | {"COLUMNS": "300"})
