"""No network while a billing transaction is open: a slow node must never hold a database lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FORBIDDEN: ContextVar[bool] = ContextVar("evmbilling_network_forbidden", default=False)


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse calls to nodes inside the block, in this thread or task only; blocks may be nested."""
    token = _FORBIDDEN.set(True)
    try:
        yield
    finally:
        _FORBIDDEN.reset(token)


def assert_network_allowed() -> None:
    """Return if the network may be used here.

    Raises:
        RuntimeError: a billing transaction is open in this thread or task: a mistake in the program, not a fault.

    """
    if _FORBIDDEN.get():
        raise RuntimeError("the network was about to be used while a billing transaction is open")
