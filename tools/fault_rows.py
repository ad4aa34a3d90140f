# ruff: noqa: INP001  - a folder of scripts, not a package
"""List the rows of the fault catalogue that tests demonstrate, and the tests that do.

::

    python tools/fault_rows.py                 every row that has a test
    python tools/fault_rows.py C01 C02 T14     those rows; exit 1 when one of them has none

A test names its rows in ``@pytest.mark.fault("C05")``; the mark may stand at a class or in ``pytestmark`` too. The
standard tests of the conformance kits, which our own adapters pass, count like those in ``tests``.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "tests", ROOT / "src/evmbilling/testing/conformance")


def rows_of(node: ast.AST) -> set[str]:
    """The rows that the ``fault`` marks within an expression name."""
    return {
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "fault"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def _in_body(body: list[ast.stmt], inherited: set[str]) -> Iterator[tuple[str, set[str]]]:
    for node in body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytestmark" for t in node.targets):
            inherited = inherited | rows_of(node.value)
    for node in body:
        if isinstance(node, ast.ClassDef):
            marked = set[str]().union(*map(rows_of, node.decorator_list))
            yield from _in_body(node.body, inherited | marked)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node.name, inherited.union(*map(rows_of, node.decorator_list))


@cache
def marked_tests(*folders: Path) -> dict[str, list[str]]:
    """Row -> the tests that demonstrate it, as ``path::name``."""
    found = defaultdict[str, list[str]](list)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text()
            for name, rows in _in_body(ast.parse(text).body, set()) if "fault" in text else ():
                for row in rows:
                    found[row].append(f"{path.relative_to(folder.parent).as_posix()}::{name}")
    return dict(found)


def main(wanted: list[str]) -> int:
    """Print the rows; the exit status says whether a wanted row is missing."""
    found = marked_tests(*FOLDERS)
    for row in wanted or sorted(found):
        print(row, *found.get(row, ["no test"]), sep="\n    ")
    missing = [row for row in wanted if row not in found]
    print(f"{len(found)} rows have tests" + (f"; missing: {' '.join(missing)}" if missing else ""))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
