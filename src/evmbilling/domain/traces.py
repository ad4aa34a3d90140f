"""Where something was raised, without what it says: words of strangers may hold a url, a password, personal data."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import PurePath

from evmbilling.errors import BillingError

_DEEPEST = 30
_PARTS = 3


def summary_of(error: BaseException) -> str:
    """Return an error in a few words: its kind, and what it says when it is one of ours."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, BillingError) else kind


def trace_of(error: BaseException) -> str:
    """Return the frames of an error and of what caused it, innermost cause first, a line each; no values, no words."""
    return "\n".join(line for each in reversed([*_chain(error)]) for line in _lines(each))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _lines(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__)[-_DEEPEST:]:
        place = "/".join(PurePath(frame.filename).parts[-_PARTS:])
        yield f"{place}:{frame.lineno} {frame.name}"
    yield summary_of(error)
