"""Optional dependencies."""

from __future__ import annotations

from importlib.util import find_spec

from evmbilling.errors import MissingExtra


def needs(module: str, *, extra: str) -> None:
    """Say what to install when an optional dependency is absent.

    Raises:
        MissingExtra: it is; the message holds the command.

    """
    if find_spec(module) is None:
        raise MissingExtra(f"{module} is not installed: pip install 'evmbilling[{extra}]'", field=extra)
