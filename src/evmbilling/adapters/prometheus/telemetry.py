"""Counters of one process, with a bounded number of series whatever is counted."""

from __future__ import annotations

import re
import threading
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Histogram as PrometheusHistogram

from evmbilling.adapters.prometheus.catalogue import COUNTERS, HISTOGRAMS, LIMIT, NOT_COUNTED, PREFIX, SERIES
from evmbilling.ports.telemetry import NoTracing

OTHER: Final = "other"
_WORD: Final = re.compile(r"(?!.* $)[A-Za-z0-9_.:-][A-Za-z0-9_.: -]{0,63}")
_ADDRESS: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{16,}")
_NODE_EVENTS: Final = frozenset({"network", "node", "reason"})
_MEASURED: Final = {known.counted: (name, known) for name, known in HISTOGRAMS.items()}


class PrometheusTelemetry(NoTracing):
    """Counts into a registry of its own (port :class:`evmbilling.ports.telemetry.Telemetry`).

    Series are bounded: names and labels come from a list, a label has at most 64 values, and what is no short word, or
    looks like an address or a key, is ``other``.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._counters = {
            name: PrometheusCounter(PREFIX + name, known.text, known.labels, registry=self.registry)
            for name, known in COUNTERS.items()
        }
        self._histograms = {
            name: PrometheusHistogram(
                PREFIX + name, known.text, known.labels, registry=self.registry, buckets=known.buckets
            )
            for name, known in HISTOGRAMS.items()
        }

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        """Add to a counter, or note one value of a histogram."""
        if name in NOT_COUNTED:
            return
        if name in _MEASURED:
            self._measure(name, value, labels)
            return
        known, given = name, labels
        if name not in COUNTERS:
            # What a pool tells of its nodes has a word of its own for each event.
            known = "node_events" if labels.keys() == _NODE_EVENTS else OTHER
            given = labels | {"event": name}
        counter = self._counters[known]
        wanted = COUNTERS[known].labels
        if wanted:
            counter = counter.labels(*self._labels(known, wanted, given))
        counter.inc(value)

    def _measure(self, counted: str, value: int, given: dict[str, str]) -> None:
        name, known = _MEASURED[counted]
        self._histograms[name].labels(*self._labels(name, known.labels, given)).observe(value / known.divisor)

    def _labels(self, name: str, wanted: tuple[str, ...], given: dict[str, str]) -> tuple[str, ...]:
        return self._among(name, tuple(self._bounded(name, label, given.get(label, "")) for label in wanted))

    def _among(self, name: str, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return a series of this counter: one more while there are few of them, and ``other`` from then on."""
        with self._lock:
            known = self._series.setdefault(name, set())
            if values not in known and len(known) >= SERIES:
                return (OTHER,) * len(values)
            known.add(values)
        return values

    def _bounded(self, name: str, label: str, value: object) -> str:
        text = str(value)
        if label == "depth" and text.isdigit():
            text = str(1 << (int(text[:9]).bit_length() - 1)) if int(text[:9]) else "0"
        if not _WORD.fullmatch(text) or _ADDRESS.search(text):
            return OTHER
        with self._lock:
            seen = self._seen.setdefault((name, label), set())
            if text not in seen and len(seen) >= LIMIT:
                return OTHER
            seen.add(text)
        return text
