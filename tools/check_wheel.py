# ruff: noqa: INP001  - a folder of scripts, not a package
"""Check that a built wheel holds what the installed package needs beside its modules.

::

    python tools/check_wheel.py dist/evmbilling-1.0-py3-none-any.whl
"""

from __future__ import annotations

import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

#: Patterns that at least one file of the wheel must match.
NEEDED = (
    "evmbilling/py.typed",
    "evmbilling/contracts/artifacts/Checkout.json",
    "evmbilling/adapters/sqlalchemy/migrations/versions/*.py",
    "evmbilling/adapters/sqlalchemy/migrations/env.py",
    "evmbilling/testing/pytest_plugin.py",
    "*.dist-info/licenses/LICENSE",
    "*.dist-info/entry_points.txt",
)
#: Patterns that no file of the wheel may match.
FOREIGN = ("tests/*", "examples/*", "docs/*", "tools/*", "*.pyc", "*/node_modules/*", "*.sqlite*")


def problems(names: list[str], sources: list[str]) -> list[str]:
    """What is wrong with a wheel of these files, built from those source files of the package."""
    absent = [f"nothing matches {pattern}" for pattern in NEEDED if not any(fnmatch(n, pattern) for n in names)]
    foreign = [f"{name} does not belong there" for name in names if any(fnmatch(name, p) for p in FOREIGN)]
    left_out = [f"{source} was left out" for source in sources if source not in names]
    return absent + foreign + left_out


def main(arguments: list[str]) -> int:
    """Print what is wrong with each wheel; the exit status says whether anything is."""
    root = Path(__file__).resolve().parent.parent / "src"
    sources = [
        path.relative_to(root).as_posix()
        for path in sorted((root / "evmbilling").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    status = 0
    for argument in arguments:
        with zipfile.ZipFile(argument) as wheel:
            names = wheel.namelist()
        found = problems(names, sources)
        print(f"{Path(argument).name}: {len(names)} files", *found, sep="\n  ")
        status = max(status, int(bool(found)))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
