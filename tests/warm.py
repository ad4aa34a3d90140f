"""Storages that are opened by a url share the statements that were built for the first of their kind.

Two storages of one process share none, by promise; building them costs a third of a second, which is more than most
tests do with one. Nothing in them knows a connection, and :mod:`databases` shares them on purpose. A storage over an
engine that a test made itself builds its own. In the process that others are forked from (``warm_server``) they are
built before.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from evmbilling.adapters.sqlalchemy import storage
from evmbilling.adapters.sqlalchemy.names import Names

_opening: ContextVar[bool] = ContextVar("opening", default=False)
_build, _open = storage.Statements, storage.SqlAlchemyStorage.open.__func__
_built: dict[tuple[Names, str], storage.Statements] = {}


def _statements(names: Names, dialect: str) -> storage.Statements:
    if not _opening.get():
        return _build(names, dialect)
    if (names, dialect) not in _built:
        _built[names, dialect] = _build(names, dialect)
    return _built[names, dialect]


def _opened(cls: type[storage.SqlAlchemyStorage], *args: Any, **how: Any) -> storage.SqlAlchemyStorage:
    token = _opening.set(True)
    try:
        return _open(cls, *args, **how)
    finally:
        _opening.reset(token)


def share_statements() -> None:
    """Let storages of this process share from now on."""
    storage.Statements = _statements
    storage.SqlAlchemyStorage.open = classmethod(_opened)


def build_statements() -> None:
    """Build what the processes that are forked from this one will need."""
    for dialect in ("sqlite", "postgresql"):
        _built[Names(), dialect] = _build(Names(), dialect)
