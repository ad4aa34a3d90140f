"""Storages that are opened by a url share the statements that were built for the first of their kind.

So do the looks at a database's tables, and copies between databases, share what they compare and copy: they only read
it, and building it anew costs more than most comparisons. Migrations share the revisions, whose modules Alembic would
run for each of them.

Two storages of one process share none, by promise; building them costs a third of a second, which is more than most
tests do with one. Nothing in them knows a connection, and :mod:`databases` shares them on purpose. A storage over an
engine that a test made itself builds its own. In the process that others are forked from (``warm_server``) they are
built before.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory

from evmbilling.adapters.sqlalchemy import comparing, copying, migrating, storage, tables
from evmbilling.adapters.sqlalchemy.names import Names

_opening: ContextVar[bool] = ContextVar("opening", default=False)
_build, _open = storage.Statements, storage.SqlAlchemyStorage.open.__func__
_build_tables = comparing.build_tables
_built: dict[tuple[Names, str], storage.Statements] = {}


def _statements(names: Names, dialect: str) -> storage.Statements:
    if not _opening.get():
        return _build(names, dialect)
    if (names, dialect) not in _built:
        _built[names, dialect] = _build(names, dialect)
    return _built[names, dialect]


@cache
def _tables_by(names: Names, definitions: tuple[Any, ...]) -> tables.Tables:
    return _build_tables(names)


def _tables(names: Names) -> tables.Tables:
    return _tables_by(names, tables.DEFINITIONS)  # a test may stand for the version that comes next


_read_revisions = ScriptDirectory.from_config.__func__
_ours = migrating._FOLDER
_revisions: list[ScriptDirectory] = []


def _known_revisions(cls: type[ScriptDirectory], config: Any) -> ScriptDirectory:
    """Return our revisions as they were read first; a host's, or those that stand for ours in a test, are read anew."""
    if Path(config.get_main_option("script_location")) != _ours:
        return _read_revisions(cls, config)
    if not _revisions:
        _revisions.append(_read_revisions(cls, config))
    return _revisions[0]


def _opened(cls: type[storage.SqlAlchemyStorage], *args: Any, **how: Any) -> storage.SqlAlchemyStorage:
    token = _opening.set(True)
    try:
        return _open(cls, *args, **how)
    finally:
        _opening.reset(token)


def share_statements() -> None:
    """Let storages of this process share from now on."""
    storage.Statements = _statements
    comparing.build_tables = copying.build_tables = _tables
    storage.SqlAlchemyStorage.open = classmethod(_opened)
    ScriptDirectory.from_config = classmethod(_known_revisions)


def build_statements() -> None:
    """Build what the processes that are forked from this one will need."""
    comparing.build_tables(Names())
    for dialect in ("sqlite", "postgresql"):
        _built[Names(), dialect] = _build(Names(), dialect)
