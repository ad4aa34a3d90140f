"""What a verification found, as a file that Prometheus's node exporter hands on (its textfile collector)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from evmbilling.adapters.prometheus.catalogue import PREFIX, VERIFIED
from evmbilling.engine.verify.report import Code


def write_verified(path: Path, differences: Iterable[str], seconds: float) -> None:
    """Write the file, at once: whoever reads it sees the old one or the new one.

    Args:
        path: ends with ``.prom``, as the exporter wants it.
        differences: the code of each; those that were not found are written with 0.
        seconds: when the verification ended, since 1970.

    Raises:
        OSError: it cannot be written there.

    """
    registry = CollectorRegistry()
    made = {name: Gauge(PREFIX + name, known.text, known.labels, registry=registry) for name, known in VERIFIED.items()}
    found = Counter(differences)
    for code in get_args(Code):
        made["verify_differences"].labels(code).set(found[code])
    made["verify_time_seconds"].set(seconds)
    write_to_textfile(str(path), registry)
