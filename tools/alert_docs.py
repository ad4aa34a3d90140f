# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/alerts.md`` from ``docs/operations/alerts.yml``, so that the two cannot drift apart.

::

    python tools/alert_docs.py             write it
    python tools/alert_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from written import keep

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = """\
# Alerts

Written by `tools/alert_docs.py` from [alerts.yml](../operations/alerts.yml). `page` wakes somebody up, `ticket` waits
until morning. What the metrics mean stands in [Metrics](metrics.md).

| alert | it says | severity | after | playbook |
|---|---|---|---|---|
"""


def render() -> str:
    """The whole file."""
    (group,) = yaml.safe_load((DOCS / "operations" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = group["rules"]
    return HEAD + "".join(map(_row, rules)) + "\n" + "\n".join(line for rule in rules for line in _entry(rule))


def _row(rule: dict[str, Any]) -> str:
    name, notes = rule["alert"], rule["annotations"]
    said = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", notes["summary"])
    place = notes["playbook"].removeprefix("docs/")
    title = place.partition("#")[2].replace("-", " ")
    link = f"[{title}](../{place})"
    return f"| [`{name}`](#{name.lower()}) | {said} | {rule['labels']['severity']} | {rule.get('for', '')} | {link} |\n"


def _entry(rule: dict[str, str]) -> Iterator[str]:
    yield f"## `{rule['alert']}`\n"
    yield f"```promql\n{rule['expr']}\n```\n"


if __name__ == "__main__":
    keep("alerts.md", render(), tool="alert_docs.py")
