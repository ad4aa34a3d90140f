"""pytest within a test: as an author would run it, in a process that begins warm."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import forks


def _main(folder: str, arguments: tuple[str, ...]) -> None:
    import pytest

    sys.path.insert(0, folder)
    sys.exit(pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]))


def run_pytest(folder: Path, *arguments: str) -> CompletedProcess[str]:
    """Run pytest in a folder."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    return forks.run(_main, str(folder), arguments, folder=folder, env=os.environ | {"COLUMNS": "300"})
