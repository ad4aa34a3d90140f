"""What a database has and what this package expects: every difference by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import evolve

from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.triggers import GUARDS, live_triggers, wanted_triggers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection, Inspector

    from evmbilling.adapters.sqlalchemy.names import Names
    from evmbilling.adapters.sqlalchemy.tables import Tables


def is_ours(table: str, names: Names) -> bool:
    """Whether a table is one of ours by its whole name: with an empty prefix the host's tables look alike."""
    return table == names.version_table or table in {t.name for t in build_tables(names).metadata.tables.values()}


def differences(connection: Connection, names: Names) -> list[str]:
    """Return what is absent, different or too much, one sentence each.

    Compared: tables, columns with type and nullability, keys, indexes (unique, partial), foreign keys,
    CHECKs, STRICT on SQLite, and the triggers of append-only tables.
    """
    inspector = sa.inspect(connection)
    if names.schema == inspector.default_schema_name:
        names = evolve(names, schema=None)
    tables = build_tables(names)
    live = set(inspector.get_table_names(schema=names.schema))
    found: list[str] = []
    for short, table in _by_short_name(tables):
        if table.name in live:
            found += _table_differences(connection, inspector, short, table)
        else:
            found.append(f"table {short} is absent")
    return [*found, *_trigger_differences(connection, tables, live)]


def _by_short_name(tables: Tables) -> Iterator[tuple[str, sa.Table]]:
    for table in tables.metadata.tables.values():
        yield table.name.removeprefix(tables.names.prefix), table


def _table_differences(connection: Connection, inspector: Inspector, short: str, table: sa.Table) -> Iterator[str]:
    parts = {
        "column": (_wanted_columns(connection, table), _live_columns(connection, inspector, table)),
        "key": (_wanted_key(table), _live_key(inspector, table)),
        "index": (_wanted_indexes(table), _live_indexes(inspector, table)),
        "foreign key": (_wanted_references(table), _live_references(inspector, table)),
        "check": (_wanted_checks(connection, table), _live_checks(inspector, table)),
    }
    for kind, (wanted, live) in parts.items():
        yield from _compare(f"{kind} {short}.", wanted, live)
    if connection.dialect.name == "sqlite":
        options = inspector.get_table_options(table.name, schema=table.schema)
        if not options.get("sqlite_strict"):
            yield f"table {short} is not STRICT"


def _compare(what: str, wanted: Mapping[str, str], live: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(wanted.keys() | live.keys()):
        if name not in live:
            yield f"{what}{name} is absent"
        elif name not in wanted:
            yield f"{what}{name} is not ours"
        elif wanted[name] != live[name]:
            yield f"{what}{name} is {live[name]} instead of {wanted[name]}"


def _column(connection: Connection, kind: Any, nullable: object) -> str:
    text = str(kind.compile(dialect=connection.dialect)).replace(' COLLATE "C"', "")
    return f"{text}{'' if nullable else ' NOT NULL'}"


def _wanted_columns(connection: Connection, table: sa.Table) -> dict[str, str]:
    return {column.name: _column(connection, column.type, column.nullable) for column in table.columns}


def _live_columns(connection: Connection, inspector: Inspector, table: sa.Table) -> dict[str, str]:
    rows = inspector.get_columns(table.name, schema=table.schema)
    return {row["name"]: _column(connection, row["type"], row["nullable"]) for row in rows}


def _wanted_key(table: sa.Table) -> dict[str, str]:
    return {str(table.primary_key.name): _listed(table.primary_key.columns.keys())}


def _live_key(inspector: Inspector, table: sa.Table) -> dict[str, str]:
    row = inspector.get_pk_constraint(table.name, schema=table.schema)
    return {str(row["name"]): _listed(row["constrained_columns"])} if row["constrained_columns"] else {}


def _wanted_indexes(table: sa.Table) -> dict[str, str]:
    return {
        str(index.name): _index(
            index.columns.keys(), bool(index.unique), partial=index.dialect_kwargs.get("sqlite_where") is not None
        )
        for index in table.indexes
    }


def _live_indexes(inspector: Inspector, table: sa.Table) -> dict[str, str]:
    found = {}
    for row in inspector.get_indexes(table.name, schema=table.schema):
        options = row.get("dialect_options", {})
        partial = "postgresql_where" in options or "sqlite_where" in options
        found[str(row["name"])] = _index([str(name) for name in row["column_names"]], row["unique"], partial=partial)
    return found


def _index(columns: list[str], unique: bool, *, partial: bool) -> str:
    return f"{'unique ' if unique else ''}{_listed(columns)}{' partial' if partial else ''}"


def _wanted_references(table: sa.Table) -> dict[str, str]:
    found = {}
    for constraint in table.foreign_key_constraints:
        remote = [element.target_fullname.rpartition(".")[2] for element in constraint.elements]
        found[str(constraint.name)] = f"{constraint.referred_table.name}{_listed(remote)}"
    return found


def _live_references(inspector: Inspector, table: sa.Table) -> dict[str, str]:
    rows = inspector.get_foreign_keys(table.name, schema=table.schema)
    return {str(row["name"]): f"{row['referred_table']}{_listed(row['referred_columns'])}" for row in rows}


def _wanted_checks(connection: Connection, table: sa.Table) -> dict[str, str]:
    compiler: Any = connection.dialect.ddl_compiler(connection.dialect, None)  # type: ignore[arg-type]  # no statement
    found = {}
    for constraint in table.constraints:
        if isinstance(constraint, sa.CheckConstraint) and constraint._should_create_for_compiler(compiler):  # noqa: SLF001
            found[str(constraint.name)] = _normal(str(constraint.sqltext))
    if connection.dialect.name == "postgresql":
        return dict.fromkeys(found, "present")
    return found


def _live_checks(inspector: Inspector, table: sa.Table) -> dict[str, str]:
    rows = inspector.get_check_constraints(table.name, schema=table.schema)
    if inspector.dialect.name == "postgresql":
        return {str(row["name"]): "present" for row in rows}
    return {str(row["name"]): _normal(row["sqltext"]) for row in rows}


def _trigger_differences(connection: Connection, tables: Tables, live: set[str]) -> Iterator[str]:
    names = tables.names
    columns = {guard.table: tables[guard.table].columns.keys() for guard in GUARDS}
    wanted = {
        trigger.name: _normal(trigger.shape)
        for trigger in wanted_triggers(names, connection.dialect.name, columns)
        if names.table(trigger.table) in live
    }
    standing = {name: _normal(shape) for name, shape in live_triggers(connection, names).items()}
    for name in sorted(wanted):
        if name not in standing:
            yield f"trigger {name} is absent"
        elif standing[name] != wanted[name]:
            yield f"trigger {name} is different or disabled"


def _listed(columns: Any) -> str:
    return f"({', '.join(columns)})"


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
