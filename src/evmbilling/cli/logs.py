"""Log lines of commands that run for long: one line each, for people or as JSON, without control characters."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from evmbilling.cli.output import one_line
from evmbilling.domain.traces import trace_of

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST: Final = 20_000


@contextmanager
def logging_to_stderr(*, as_json: bool) -> Iterator[None]:
    """Send what the package logs, from INFO on, to standard error; other libraries' from WARNING on.

    Afterwards logging is as it was: whoever runs a command inside their own program may close that stream.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else PlainLines())
    root, own = logging.getLogger(), logging.getLogger("evmbilling")
    handlers, levels = root.handlers, (root.level, own.level)
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(levels[0])
        own.setLevel(levels[1])


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was logged beside the sentence: names of ours, such as ``network`` or ``ledger_id``."""
    return {name: value for name, value in vars(record).items() if name not in _OWN and value is not None}


class PlainLines(logging.Formatter):
    """Time, level, logger, sentence and the fields as ``name=value``; where it was raised ends the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        told = [_time(record), record.levelname, record.name, record.getMessage()]
        told += [f"{name}={_word(value)}" for name, value in fields_of(record).items()]
        if record.exc_info:
            told.append(_trace(record))
        return one_line(" ".join(told))[:_LONGEST]


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        told = fields_of(record) | {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": one_line(record.getMessage()),
        }
        if record.exc_info:
            told["trace"] = _trace(record)[:_LONGEST]
        return json.dumps(told, default=str)


def _word(value: Any) -> str:
    """Write a field so that what it holds cannot be taken for another field: with quotes, unless it is one word."""
    text = one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if set(text) & {" ", '"', "="} or not text else text


def _trace(record: logging.LogRecord) -> str:
    """Return where an exception was raised: what others say in it may hold a secret or a customer's data."""
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else trace_of(error)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
