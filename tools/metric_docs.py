# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/metrics.md`` from the list of metrics, so that the two cannot drift apart.

::

    python tools/metric_docs.py             write it
    python tools/metric_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

from collections.abc import Iterator

from written import keep

from evmbilling.adapters.prometheus.catalogue import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    LIMIT,
    PREFIX,
    SERIES,
    VERIFIED,
    Counter,
    Gauge,
    Histogram,
)

HEAD = f"""\
# Metrics

Written by `tools/metric_docs.py` from `evmbilling.adapters.prometheus.catalogue`. What to do with them stands in
[Metrics and alerts](../operations/alerts.md). A label has at most {LIMIT} values and a metric {SERIES} series; what is
beyond that is `other`.
"""


def render() -> str:
    """The whole file."""
    gauges = [_row(PREFIX + name, known) for name, known in GAUGES.items()]
    counters = [_row(f"{PREFIX}{name}_total", known) for name, known in COUNTERS.items()]
    measured = [_row(PREFIX + name, known) for name, known in HISTOGRAMS.items()]
    proved = [_row(PREFIX + name, known) for name, known in VERIFIED.items()]
    tables = {
        "Gauges: the same in every process": gauges,
        "Counters": counters,
        "Histograms": measured,
        "Gauges in the file of `evmbilling verify --metrics`": proved,
    }
    return "\n".join([HEAD, *(line for title, rows in tables.items() for line in _table(title, rows))])


def _table(title: str, rows: list[str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| name | labels | meaning |"
    yield "|---|---|---|"
    yield from rows
    yield ""


def _row(name: str, known: Gauge | Counter | Histogram) -> str:
    return f"| `{name}` | {', '.join(f'`{label}`' for label in known.labels)} | {known.text} |"


if __name__ == "__main__":
    keep("metrics.md", render(), tool="metric_docs.py")
