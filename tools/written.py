# ruff: noqa: INP001  - a folder of scripts, not a package
"""What the tools that write a page of the reference have in common: writing it, or saying that it is out of date."""

from __future__ import annotations

import json
import sys
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"


def keep(name: str, wanted: str, *, tool: str) -> None:
    """Write a page; with ``--check`` end with 1 when it is not what would be written.

    Args:
        name: of the page, from ``docs/reference``.
        wanted: the whole page.
        tool: the name of the tool, for whoever has to run it.

    """
    target = REFERENCE / name
    if "--check" not in sys.argv[1:]:
        target.write_text(wanted, encoding="utf-8")
        return
    if not target.exists() or target.read_text(encoding="utf-8") != wanted:
        sys.exit(f"{name} is not up to date; run: python tools/{tool}")


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def quoted(value: object) -> str:
    """Return a value as a shell reads it: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}'" if any(c in text for c in ' "') else text
