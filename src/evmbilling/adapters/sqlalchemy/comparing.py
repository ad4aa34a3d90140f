"""What a database has and what this package expects: every difference by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from attrs import evolve, frozen

from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.triggers import GUARDS, live_triggers, wanted_triggers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection, Dialect, Inspector

    from evmbilling.adapters.sqlalchemy.names import Names
    from evmbilling.adapters.sqlalchemy.tables import Tables


Rows: TypeAlias = "Mapping[tuple[str | None, str], Any]"
"""What an inspector gives: by schema and table."""


def our_tables(names: Names) -> frozenset[str]:
    """Return the whole names of our tables: by its beginning alone, with an empty prefix, any table would be ours."""
    return frozenset({names.version_table, *(table.name for table in build_tables(names).metadata.tables.values())})


@frozen
class Live:
    """What a database has, read with one query per kind."""

    columns: Rows
    keys: Rows
    indexes: Rows
    references: Rows
    checks: Rows
    options: Rows

    @classmethod
    def read(cls, inspector: Inspector, schema: str | None, tables: list[str]) -> Live:
        """Read the parts of these tables."""
        wanted: dict[str, Any] = {"schema": schema, "filter_names": tables}
        return cls(
            columns=inspector.get_multi_columns(**wanted),
            keys=inspector.get_multi_pk_constraint(**wanted),
            indexes=inspector.get_multi_indexes(**wanted),
            references=inspector.get_multi_foreign_keys(**wanted),
            checks=inspector.get_multi_check_constraints(**wanted),
            options=inspector.get_multi_table_options(**wanted),
        )


def differences(connection: Connection, names: Names) -> list[str]:
    """Return what is absent, different or too much, one sentence each.

    Compared: tables, columns with type and nullability, keys, indexes (unique, partial), foreign keys,
    CHECKs, STRICT on SQLite, and the triggers of append-only tables.
    """
    inspector = sa.inspect(connection)
    if names.schema == inspector.default_schema_name:
        names = evolve(names, schema=None)
    tables = build_tables(names)
    known = {table.name: table for table in tables.metadata.tables.values()}
    present = set(inspector.get_table_names(schema=names.schema)) & known.keys()
    live = Live.read(inspector, names.schema, sorted(present)) if present else None
    found: list[str] = []
    for name, table in known.items():
        short = name.removeprefix(names.prefix)
        if live is None or name not in present:
            found.append(f"table {short} is absent")
        else:
            found += _table_differences(connection.dialect, live, short, table)
    return [*found, *_trigger_differences(connection, tables, present)]


def _table_differences(dialect: Dialect, live: Live, short: str, table: sa.Table) -> Iterator[str]:
    place = (table.schema, table.name)
    parts = {
        "column": (_wanted_columns(dialect, table), _live_columns(dialect, live.columns[place])),
        "key": (_wanted_key(table), _live_key(live.keys[place])),
        "index": (_wanted_indexes(table), _live_indexes(live.indexes[place])),
        "foreign key": (_wanted_references(table), _live_references(live.references[place])),
        "check": (_wanted_checks(dialect, table), _live_checks(dialect, live.checks[place])),
    }
    for kind, (wanted, standing) in parts.items():
        yield from _compare(f"{kind} {short}.", wanted, standing)
    if dialect.name == "sqlite" and not live.options[place].get("sqlite_strict"):
        yield f"table {short} is not STRICT"


def _compare(what: str, wanted: Mapping[str, str], live: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(wanted.keys() | live.keys()):
        if name not in live:
            yield f"{what}{name} is absent"
        elif name not in wanted:
            yield f"{what}{name} is not ours"
        elif wanted[name] != live[name]:
            yield f"{what}{name} is {live[name]} instead of {wanted[name]}"


def _column(dialect: Dialect, kind: Any, nullable: object) -> str:
    text = str(kind.compile(dialect=dialect))
    return f"{text}{'' if nullable else ' NOT NULL'}"


def _wanted_columns(dialect: Dialect, table: sa.Table) -> dict[str, str]:
    return {column.name: _column(dialect, column.type, column.nullable) for column in table.columns}


def _live_columns(dialect: Dialect, rows: Any) -> dict[str, str]:
    return {row["name"]: _column(dialect, row["type"], row["nullable"]) for row in rows}


def _wanted_key(table: sa.Table) -> dict[str, str]:
    return {str(table.primary_key.name): _listed(table.primary_key.columns.keys())}


def _live_key(row: Any) -> dict[str, str]:
    return {str(row["name"]): _listed(row["constrained_columns"])} if row["constrained_columns"] else {}


def _wanted_indexes(table: sa.Table) -> dict[str, str]:
    return {
        str(index.name): _index(
            index.columns.keys(), bool(index.unique), partial=index.dialect_kwargs.get("sqlite_where") is not None
        )
        for index in table.indexes
    }


def _live_indexes(rows: Any) -> dict[str, str]:
    found = {}
    for row in rows:
        partial = any(option.endswith("_where") for option in row.get("dialect_options", {}))
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


def _live_references(rows: Any) -> dict[str, str]:
    return {str(row["name"]): f"{row['referred_table']}{_listed(row['referred_columns'])}" for row in rows}


def _wanted_checks(dialect: Dialect, table: sa.Table) -> dict[str, str]:
    compiler: Any = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]  # there is no statement
    checks = [item for item in table.constraints if isinstance(item, sa.CheckConstraint)]
    wanted = [item for item in checks if item._should_create_for_compiler(compiler)]  # noqa: SLF001  - what DDL asks
    return {str(item.name): _check(dialect, str(item.sqltext)) for item in wanted}


def _live_checks(dialect: Dialect, rows: Any) -> dict[str, str]:
    return {str(row["name"]): _check(dialect, row["sqltext"]) for row in rows}


def _check(dialect: Dialect, text: str) -> str:
    """Return a CHECK for comparison; PostgreSQL keeps it in words of its own, so there only its name is compared."""
    return "present" if dialect.name == "postgresql" else _normal(text)


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
