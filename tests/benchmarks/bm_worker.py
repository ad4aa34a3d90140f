"""Work that is measured in processes of its own.

``python bm_worker.py intake URL NUMBER AT`` and ``… deliver URL NUMBER SECONDS`` connect, say ``ready``, wait for a
line, work until nothing is left, and say ``done``. ``… seal URL`` seals everything, ``… verify URL`` verifies; they say
what it took.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bm_effects import Stand
from bm_program import alone

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import repeatable_secrets


def seconds_of(what: str, url: str, workers: int, how: object) -> float:
    """Return how long so many processes took until the last of them found nothing more to do.

    ``how`` is the instant at which evidence is taken in, or the seconds that a notifier takes.
    """
    command = [sys.executable, __file__, what, url]
    children = [
        subprocess.Popen([*command, str(number), str(how)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(workers)
    ]
    try:
        for child in children:
            _expect(child, "ready")
        begun = time.perf_counter()
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in children:
            _expect(child, "done")
        return time.perf_counter() - begun
    finally:
        for child in children:
            child.communicate()


def verified(url: str, run: Callable[..., str] = alone) -> dict[str, Any]:
    """Seal and verify a database, each in a process that has done nothing else."""
    return {key: value for what in ("seal", "verify") for key, value in json.loads(run(__file__, what, url)).items()}


def undone(url: str) -> int:
    """Return how many deliveries are left."""
    storage = SqlAlchemyStorage.open(url)
    with storage.unit(write=False) as unit:
        left = len(unit.deliveries(state="waiting", limit=1_000_000)) + len(unit.deliveries(state="dead", limit=1))
    storage.close()
    return left


def _expect(child: subprocess.Popen[str], word: str) -> None:
    said = child.stdout.readline().strip()
    if said != word:
        raise AssertionError(f"a worker said {said!r}")


def _take_in(stand: Stand) -> None:
    while True:
        report = stand.engine.run_intake()
        if not report.taken + report.left:
            return


def _deliver(stand: Stand) -> None:
    while True:
        report = stand.engine.dispatch()
        if report.handed_out + report.delivered:
            continue
        # What another one is handing out at this moment is passed over: nothing to do now is not the end.
        with stand.storage.unit(write=False) as unit:
            if not unit.deliveries(state="waiting", limit=1) and not unit.outbox_depth().count:
                return
        time.sleep(0.002)


def _work(work: Callable[[Stand], None], stand: Stand) -> None:
    # Connected, without touching anything.
    for write in (True, False):
        with stand.storage.unit(write=write) as unit:
            unit.cursors()
    print("ready", flush=True)
    sys.stdin.readline()
    work(stand)
    print("done", flush=True)
    stand.engine.close()


def _open(url: str) -> BillingEngine:
    return BillingEngine(storage=SqlAlchemyStorage.open(url), secrets=repeatable_secrets(), seal_key=b"s" * 32)


def _seal(url: str) -> dict[str, Any]:
    engine, rows = _open(url), 0
    begun = time.perf_counter()
    while sealed := engine.seal(limit=5_000).sealed:
        rows += sealed
    took = time.perf_counter() - begun
    engine.close()
    return {"sealed": rows, "sealing": took}


def _verify(url: str) -> dict[str, Any]:
    engine = _open(url)
    idle = _peak_kib()
    begun, spent = time.perf_counter(), time.process_time()
    report = engine.verify(full=True)
    took, spent = time.perf_counter() - begun, time.process_time() - spent
    peak = _peak_kib()
    engine.close()
    return {
        "seconds": took,
        "processor": spent,
        "idle_kib": idle,
        "peak_kib": peak,
        "counts": report.counts,
        "differences": dict(Counter(d.code for d in report.differences)),
    }


def _peak_kib() -> int:
    """Return the most memory that this program held; getrusage would count its parent's until the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    what, url, *rest = sys.argv[1:]
    if what in {"seal", "verify"}:
        print(json.dumps({"seal": _seal, "verify": _verify}[what](url)))
        return
    number, how = rest
    if what == "intake":
        _work(_take_in, Stand(url, number, at=datetime.fromisoformat(how)))
    else:
        _work(_deliver, Stand(url, number, notifying=float(how)))


if __name__ == "__main__":
    main()
