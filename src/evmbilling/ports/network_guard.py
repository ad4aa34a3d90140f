"""No network while a billing transaction is open: a slow node must never hold a database lock."""

from __future__ import annotations

from contextvars import ContextVar

_FORBIDDEN: ContextVar[bool] = ContextVar("evmbilling_network_forbidden", default=False)


class no_network:  # noqa: N801  - a block; no generator, because every transaction has one
    """Refuse calls to nodes inside the block, in this thread or task only; blocks may be nested."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        """Refuse them."""
        self._token = _FORBIDDEN.set(True)

    def __exit__(self, *_: object) -> None:
        """Allow what was allowed before."""
        _FORBIDDEN.reset(self._token)


def assert_network_allowed() -> None:
    """Return if the network may be used here.

    Raises:
        RuntimeError: a billing transaction is open in this thread or task: a mistake in the program, not a fault.

    """
    if _FORBIDDEN.get():
        raise RuntimeError("the network was about to be used while a billing transaction is open")
