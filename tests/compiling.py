"""In a fresh clone nothing is compiled, and every worker would compile everything: here each compiles its share.

Workers of xdist import all tests, in the same order and at the same time. Rewriting the assertions of the tests and
compiling the package takes a worker longer than everything else it does before the first test. Whoever comes to a file
that another has not finished compiles it too; what is compiled already costs a look at its first bytes.
"""

from __future__ import annotations

import importlib.util
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _pytest.assertion import rewrite

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "src/evmbilling"
REWRITTEN = (("test_*.py", TESTS), ("conftest.py", TESTS), ("*.py", PACKAGE / "testing/conformance"))
"""What pytest rewrites, and does not find compiled by Python."""
_NEEDED = ("_rewrite_test", "_write_pyc", "get_cache_dir", "PYC_TAIL", "assertstate_key")
"""Of pytest's own; where it has other names, each worker compiles for itself, as ever."""


def compile_share(config: Any) -> None:
    """Compile what falls to this worker; nothing where there is one process, or where nothing may be written."""
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode or not all(hasattr(rewrite, name) for name in _NEEDED):
        return
    mine = slice(int(worker["workerid"].removeprefix("gw")), None, int(worker["workercount"]))
    rewritten = sorted({path for pattern, folder in REWRITTEN for path in folder.rglob(pattern)})
    for path in rewritten[mine]:
        _rewrite(path, config)
    for path in sorted(set(_sources()) - set(rewritten))[mine]:
        compiled = Path(importlib.util.cache_from_source(str(path)))
        if not compiled.exists():
            py_compile.compile(str(path), doraise=False, quiet=2)


def _sources() -> Iterator[Path]:
    for folder in (PACKAGE, TESTS):
        yield from (path for path in folder.rglob("*.py") if not path.name.startswith("bench_"))


def _rewrite(path: Path, config: Any) -> None:
    """Do what pytest does before it runs a module, and leave it for whoever runs it."""
    compiled = rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
    if not compiled.exists():
        compiled.parent.mkdir(exist_ok=True)
        about, code = rewrite._rewrite_test(path, config)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, about, compiled)
