# ruff: noqa: INP001  - a folder of scripts, not a package
"""What the tools that write a page of the reference have in common: writing it, or saying that it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"


def keep(name: str, wanted: str, *, tool: str) -> None:
    """Write a page of ``docs/reference``; with ``--check`` end with 1 when it is not what would be written."""
    target = REFERENCE / name
    if "--check" not in sys.argv[1:]:
        target.write_text(wanted, encoding="utf-8")
        return
    if not target.exists() or target.read_text(encoding="utf-8") != wanted:
        sys.exit(f"{name} is not up to date; run: python tools/{tool}")


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
