# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/logs.md`` from the list of loggers and fields, so that the two cannot drift apart.

::

    python tools/log_docs.py             write it
    python tools/log_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

from collections.abc import Mapping

from written import keep

from evmbilling.domain.log_fields import FIELDS, LOGGERS

HEAD = """\
# Logs

Written by `tools/log_docs.py` from `evmbilling.domain.log_fields`. The package logs through Python's own `logging`.
What stands beside the sentence are attributes of the record (`extra`), which structured handlers write by themselves.

`evmbilling worker` writes one line each to standard error: time (UTC), level, logger, sentence, and those of the fields
below that apply, as `name=value`. With `--json` a line is one object: `time`, `level`, `logger`, `message`, and the
fields. Control characters are never written.

* A payment is one line each time it comes to stand somewhere else: `seen`, `credited`, `final`; `gone`, `reversed` and
  `disputed` when a reorganisation took its block back. It has `ledger_id`, `tx_hash`, `user_id`, `contract_slug` and
  `network`, and is written after the commit.
* What strangers can cause, and what fails with every look, is said the first, second, fourth, eighth … time.
* An exception is logged as where it was raised. What others say in theirs is left out: it may hold a url, a password
  or what a customer typed.
"""


def render() -> str:
    """The whole file."""
    return "\n".join([HEAD, *_table("Fields", "field", FIELDS), *_table("Loggers", "logger", LOGGERS)])


def _table(title: str, what: str, rows: Mapping[str, str]) -> list[str]:
    listed = [f"| `{name}` | {text} |" for name, text in rows.items()]
    return [f"## {title}\n", f"| {what} | meaning |", "|---|---|", *listed, ""]


if __name__ == "__main__":
    keep("logs.md", render(), tool="log_docs.py")
