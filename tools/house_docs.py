# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write the map of the house in ``CONTRIBUTING.md``: each package, by its docstring's first line.

::

    python tools/house_docs.py             write it
    python tools/house_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docstrings import plain
from written import cell, keep

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "evmbilling"
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- map: begin -->\n", "<!-- map: end -->\n"


def parts() -> Iterator[tuple[str, str]]:
    """Each package, and each module that stands at the top, with what it is."""
    modules = [path for path in SOURCE.glob("*.py") if path.name != "__init__.py"]
    packages = [path for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE]
    named = {path.parent if path.name == "__init__.py" else path: path for path in [*modules, *packages]}
    for shown, path in sorted(named.items(), key=lambda item: item[0].as_posix()):
        text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        if len(text) < len("What it is."):
            raise ValueError(f"{path.relative_to(ROOT)} does not say what it is")
        yield shown.relative_to(SOURCE).as_posix() + ("/" if path.name == "__init__.py" else ""), text


def table() -> str:
    """The map."""
    rows = [f"| `{name}` | {cell(plain(text))} |" for name, text in parts()]
    return "\n".join(["| in `src/evmbilling/` | what |", "|---|---|", *rows]) + "\n"


def render() -> str:
    """The whole page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE.name} has no place for the map")
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    keep("../../CONTRIBUTING.md", render(), tool="house_docs.py")
