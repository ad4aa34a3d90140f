"""Which request something happens in: what is logged on the way can be found by what its caller was told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("evmbilling_correlation", default=None)


@contextmanager
def correlated(name: str) -> Iterator[None]:
    """Let everything in the block, and in threads that it awaits, belong to a request."""
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def correlation() -> Mapping[str, str]:
    """Return the field of a log line that names the request; nothing outside of one."""
    name = _current.get()
    return {} if name is None else {"correlation_id": name}
