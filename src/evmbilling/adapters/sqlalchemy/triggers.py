"""Rows that never change: triggers that hold against UPDATE, DELETE, REPLACE and TRUNCATE, whoever writes.

A migration that touches a guarded table runs :func:`guard_statements` again afterwards (SQLite's batch mode drops
triggers silently), and ``check`` names every trigger that is absent or different.

* SQLite: ``INSERT OR REPLACE`` deletes without firing delete triggers unless the connection has
  ``recursive_triggers=ON``, which the host's connection may not have. So a trigger *before INSERT* refuses a row whose
  key is already there, in the words that SQLite itself uses for a duplicate.
* PostgreSQL: a row trigger does not see TRUNCATE, so a statement trigger refuses it. The triggers fire ALWAYS: a
  session with ``session_replication_role = replica`` does not pass them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa
from attrs import frozen

from evmbilling.adapters.sqlalchemy.failures import APPEND_ONLY_STATE, APPEND_ONLY_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from evmbilling.adapters.sqlalchemy.names import Names


@frozen
class Guard:
    """What is guarded on one table.

    Attributes:
        table: its short name.
        keys: every unique key, by its columns: REPLACE can remove a row through any of them.
        mutable: columns that an UPDATE may change after all.

    """

    table: str
    keys: tuple[tuple[str, ...], ...]
    mutable: tuple[str, ...] = ()


GUARDS = (
    Guard("instance", (("single",),)),
    Guard("plans", (("slug", "version"),), mutable=("archived_at",)),
    Guard("subscription_changes", (("subscription_id", "seq"),)),
    Guard("receipt_entries", (("receipt_id", "seq"),)),
    Guard("outbox", (("event_id",), ("aggregate", "seq"))),
    Guard("audit", (("audit_id",),)),
    Guard("ledger_entries", (("entry_id",), ("source",))),
    Guard("ledger_lines", (("entry_id", "seq"),)),
    Guard("seals", (("number",),)),
    Guard("seal_items", (("table_name", "row_key"),)),
    Guard("signed_transactions", (("transmission_id", "seq"), ("tx_hash",))),
    Guard("figure_moves", (("source", "seq"),)),
    Guard("receipt_documents", (("series", "serial"), ("source",))),
)


@frozen
class Trigger:
    """One trigger as it should stand.

    Attributes:
        name: with the prefix.
        table: its short name.
        create: the statement that makes it.
        shape: what ``live_triggers`` says about it when it stands unchanged.

    """

    name: str
    table: str
    create: str
    shape: str


def wanted_triggers(
    names: Names, dialect: str, columns: Mapping[str, Sequence[str]], guards: Sequence[Guard] = GUARDS
) -> list[Trigger]:
    """Return every trigger that has to stand.

    Args:
        names: prefix and schema.
        dialect: ``sqlite`` or ``postgresql``.
        columns: the column names of each guarded table, by its short name.
        guards: what to guard; a migration names its own, as they were when it was written.

    """
    make = _postgresql if dialect == "postgresql" else _sqlite
    return [
        trigger
        for guard in guards
        for trigger in make(names, guard, [name for name in columns[guard.table] if name not in guard.mutable])
    ]


def guard_statements(
    names: Names, dialect: str, columns: Mapping[str, Sequence[str]], guards: Sequence[Guard] = GUARDS
) -> list[str]:
    """Return the statements that put every guard in place, whatever stood there before; arguments as above."""
    statements = [_function(names)] if dialect == "postgresql" else []
    for trigger in wanted_triggers(names, dialect, columns, guards):
        table = names.qualified(trigger.table)
        if dialect == "postgresql":
            statements += [
                f"DROP TRIGGER IF EXISTS {trigger.name} ON {table}",
                trigger.create,
                f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger.name}",
            ]
        else:
            statements += [f"DROP TRIGGER IF EXISTS {_in_schema(names, trigger.name)}", trigger.create]
    return statements


def _in_schema(names: Names, name: str) -> str:
    return f"{names.schema}.{name}" if names.schema else name


def _sqlite(names: Names, guard: Guard, fixed: Sequence[str]) -> Iterator[Trigger]:
    table = names.table(guard.table)
    refuse = f"SELECT RAISE(ABORT, '{APPEND_ONLY_TEXT}: {guard.table}');"
    # UPDATE OR REPLACE can push another row out by taking its rowid, without touching a column.
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in (*fixed, "rowid"))
    # REPLACE also removes the row that holds an explicitly given rowid; NEW.rowid is -1 when none is given.
    taken = " ".join(_refuse_taken(table, columns) for columns in (*guard.keys, ("rowid",)))
    events = (
        ("update", f" WHEN {changed}" if guard.mutable else "", refuse),
        ("delete", "", refuse),
        ("insert", "", taken),
    )
    for verb, when, body in events:
        name = f"{table}_guard_{verb}"
        rest = f"BEFORE {verb.upper()} ON {table} FOR EACH ROW{when} BEGIN {body} END"
        yield Trigger(
            name, guard.table, f"CREATE TRIGGER {_in_schema(names, name)} {rest}", f"CREATE TRIGGER {name} {rest}"
        )


def _refuse_taken(table: str, columns: tuple[str, ...]) -> str:
    failed = ", ".join(f"{table}.{name}" for name in columns)
    same = " AND ".join(f"{name} = NEW.{name}" for name in columns)
    exists = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608  - names of ours, validated
    return f"SELECT RAISE(ABORT, 'UNIQUE constraint failed: {failed}') WHERE {exists};"


# Without a percent sign, which drivers and offline SQL would each double in their own way.
_BODY = (
    f" BEGIN RAISE EXCEPTION USING MESSAGE = '{APPEND_ONLY_TEXT}: ' || TG_TABLE_NAME,"
    f" ERRCODE = '{APPEND_ONLY_STATE}'; END "
)


def _function(names: Names) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {names.qualified('append_only')}() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$"
    )


# Bits of pg_trigger.tgtype: row 1, before 2, delete 8, update 16, truncate 32.
_EVENTS = (("update", "ROW", 19), ("delete", "ROW", 11), ("truncate", "STATEMENT", 34))


def _postgresql(names: Names, guard: Guard, fixed: Sequence[str]) -> Iterator[Trigger]:
    run = f"EXECUTE FUNCTION {names.qualified('append_only')}()"
    for verb, level, bits in _EVENTS:
        name = f"{names.table(guard.table)}_guard_{verb}"
        watched = list(fixed) if verb == "update" and guard.mutable else []
        when = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in watched)
        yield Trigger(
            name,
            guard.table,
            f"CREATE TRIGGER {name} BEFORE {verb.upper()} ON {names.qualified(guard.table)} FOR EACH {level}"
            f"{f' WHEN ({when})' if when else ''} {run}",
            f"A {bits} {_BODY}{' '.join(watched)}",
        )


def live_triggers(connection: Connection, names: Names) -> dict[str, str]:
    """Return the shape of each trigger that stands on a table of ours, by its name."""
    if connection.dialect.name == "postgresql":
        return _live_postgresql(connection, names)
    catalogue = sa.table("sqlite_master", *map(sa.column, ("type", "name", "tbl_name", "sql")), schema=names.schema)
    query = sa.select(catalogue.c.name, catalogue.c.tbl_name, catalogue.c.sql).where(catalogue.c.type == "trigger")
    return {name: sql for name, table, sql in connection.execute(query) if names.owns(table)}


_PG_TRIGGERS = sa.text(
    "SELECT t.tgname, c.relname, t.tgenabled::text, t.tgtype::int, p.prosrc, pg_get_triggerdef(t.oid)"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_proc p ON p.oid = t.tgfoid"
    " WHERE NOT t.tgisinternal AND n.nspname = coalesce(CAST(:schema AS text), current_schema())"
)


def _live_postgresql(connection: Connection, names: Names) -> dict[str, str]:
    found = {}
    for name, table, enabled, bits, body, definition in connection.execute(_PG_TRIGGERS, {"schema": names.schema}):
        if names.owns(table):
            watched = " ".join(dict.fromkeys(re.findall(r"\bold\.\"?(\w+)", definition, re.IGNORECASE)))
            found[name] = f"{enabled} {bits} {body}{watched}"
    return found
