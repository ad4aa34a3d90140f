"""Programs that are measured in a process of their own.

``python bm_program.py signing COUNT [URL] [--without-coincurve]`` prints the share of a checkout that is spent signing,
in a stocked database or in one of its own.
``python bm_program.py memory URL FIRST LAST`` prints the resident memory after so many checkouts.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def alone(file: str, *arguments: str) -> str:
    """Run a file as a program that begins from nothing, and return what it prints."""
    return subprocess.run([sys.executable, file, *arguments], check=True, capture_output=True, text=True).stdout


def run_program(*arguments: object, run: Callable[..., str] = alone) -> dict[str, Any]:
    """Run this file and return what it prints."""
    return json.loads(run(__file__, *map(str, arguments)))


def measure_signing(checkouts: int, url: str | None) -> dict[str, Any]:
    """Return the share of the time of checkouts that their signatures take, and what is said about the backend."""
    from bm_shops import buy, open_engine, stock

    from evmbilling.adapters.evm.provider import EvmProvider
    from evmbilling.adapters.signers.backend import signing_backend
    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage

    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("evmbilling").addHandler(handler)
    spent = 0.0

    class Timed(EvmProvider):
        def sign(self, *args: Any) -> Any:
            nonlocal spent
            begun = time.perf_counter()
            signed = super().sign(*args)
            spent += time.perf_counter() - begun
            return signed

    with tempfile.TemporaryDirectory() as folder:
        if url is None:
            url = f"sqlite:///{folder}/signing.db"
            stock(url)
        storage = SqlAlchemyStorage.open(url)
        engine = open_engine(storage, Timed)
        for number in range(min(10, checkouts)):
            buy(engine, f"warm-{number}")
        spent, begun = 0.0, time.perf_counter()
        for number in range(checkouts):
            buy(engine, f"user-{number}")
        total = time.perf_counter() - begun
        storage.close()
    return {
        "backend": signing_backend(),
        "warnings": warnings,
        "share": spent / total,
        "milliseconds": spent / checkouts * 1000,
    }


def measure_memory(url: str, first: int, last: int) -> dict[str, Any]:
    """Return the resident bytes after ``first`` and after ``last`` checkouts in one process."""
    from bm_shops import buy, open_engine

    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage

    storage = SqlAlchemyStorage.open(url)
    engine, resident = open_engine(storage), {}
    begun = time.perf_counter()
    for number in range(1, last + 1):
        buy(engine, f"user-{number}")
        if number in (first, last):
            resident[number] = resident_bytes()
    rate = last / (time.perf_counter() - begun)
    storage.close()
    return {"first": resident[first], "last": resident[last], "per_second": rate}


def resident_bytes() -> int:
    """Return the resident memory of this process; its peak where there is no ``/proc``."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    what, *arguments = sys.argv[1:]
    if "--without-coincurve" in arguments:
        arguments.remove("--without-coincurve")
        sys.modules["coincurve"] = None  # type: ignore[assignment]  # as if it were not installed
    if what == "signing":
        print(json.dumps(measure_signing(int(arguments[0]), *(arguments[1:] or [None]))))
    else:
        print(json.dumps(measure_memory(arguments[0], int(arguments[1]), int(arguments[2]))))


if __name__ == "__main__":
    main()
