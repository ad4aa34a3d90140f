"""Copies of a PostgreSQL database that are lent to one test after another, each made like new in between.

Copying a database costs the server a quarter of a second, because every relation is a file; putting rows back costs
some milliseconds. So a copy whose tables, functions, triggers and settings a test left as they were gets its rows
back, and any other one is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Connection = psycopg.Connection[tuple[Any, ...]]
    State = list[tuple[Any, ...]]

_MOST = 2 << 20
"""Bytes of tables that hold rows: copying more again is cheaper, and nothing vacuums these databases."""

_SESSION = b"SET search_path = ''; SET session_replication_role = replica; SET lock_timeout = 5000"
"""Every name is written in full; foreign keys and ordinary triggers look away."""
_THIS = "(SELECT oid FROM pg_database WHERE datname = current_database())"
_PARTS = [
    # From 16384 on are the things that were made after initdb.
    "pg_attrdef WHERE adrelid >= 16384",
    "pg_attribute WHERE attrelid >= 16384",
    "pg_class WHERE oid >= 16384",
    "pg_constraint WHERE conrelid >= 16384",
    "pg_index WHERE indexrelid >= 16384",
    "pg_namespace WHERE oid >= 16384 OR nspname = 'public'",
    "pg_policy WHERE polrelid >= 16384",
    "pg_proc WHERE oid >= 16384",
    "pg_rewrite WHERE ev_class >= 16384",
    "pg_trigger WHERE tgrelid >= 16384",
    "pg_type WHERE oid >= 16384",
    "pg_default_acl",
    "pg_event_trigger",
    "pg_extension",
    "pg_largeobject_metadata",
    f"pg_database WHERE oid = {_THIS}",
    f"pg_db_role_setting WHERE setdatabase = {_THIS}",
]
_LAST = "SELECT count(*)::text || ' ' || coalesce(max(xmin::text::bigint), 0)::text FROM "
_SEQUENCES = "SELECT coalesce(string_agg(pg_sequences::text, ' '), '') FROM pg_sequences"
_STATE = " UNION ALL ".join([*(_LAST + part for part in _PARTS), _SEQUENCES]).encode()
"""All that is in a database besides rows, a line for each part; whatever is altered gets a new ``xmin``."""

_OTHERS = b"""
SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND (pid <> ALL(%s) OR state <> 'idle')
"""
_TABLES = b"""
SELECT c.oid::regclass::text,
    array_agg(quote_ident(t.tgname)) FILTER (WHERE t.tgenabled = 'A'),
    array_agg(quote_ident(t.tgname)) FILTER (WHERE t.tgenabled = 'R')
FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
WHERE c.oid >= 16384 AND c.relkind = 'r' AND c.relpersistence <> 't' GROUP BY c.oid
"""


@frozen
class _Table:
    """A table, and its triggers that fire whoever writes."""

    name: str
    always: tuple[str, ...]
    replica: tuple[str, ...]

    @property
    def look(self) -> str:
        """A query for its name and size, when it holds rows."""
        quoted = self.name.replace("'", "''")
        size = f"SELECT '{quoted}', pg_relation_size('{quoted}')"
        return f"{size} WHERE EXISTS (SELECT FROM {self.name})"

    def put(self, connection: Connection, rows: bytes) -> None:
        """Let it hold these rows only."""
        guards = [*self.always, *self.replica]
        emptying = [
            *(f"ALTER TABLE {self.name} DISABLE TRIGGER {guard}" for guard in guards),
            f"DELETE FROM {self.name}",  # noqa: S608  - the name comes from pg_class, quoted
        ]
        connection.execute("; ".join(emptying).encode())
        if rows:
            with connection.cursor() as cursor, cursor.copy(f"COPY {self.name} FROM STDIN".encode()) as copy:
                copy.write(rows)
        guarding = [
            *(f"ALTER TABLE {self.name} ENABLE ALWAYS TRIGGER {guard}" for guard in self.always),
            *(f"ALTER TABLE {self.name} ENABLE REPLICA TRIGGER {guard}" for guard in self.replica),
        ]
        if guarding:
            connection.execute("; ".join(guarding).encode())

    def rows(self, connection: Connection) -> bytes:
        """What it holds, as ``COPY`` writes it."""
        with connection.cursor() as cursor, cursor.copy(f"COPY {self.name} TO STDOUT".encode()) as copy:
            return b"".join(map(bytes, copy))


@frozen
class _Template:
    """What every copy looks like before anybody used it."""

    tables: dict[str, _Table]
    look: bytes
    rows: dict[str, bytes]

    @classmethod
    def read(cls, connection: Connection) -> _Template:
        found = connection.execute(_TABLES).fetchall()
        tables = {name: _Table(name, tuple(always or ()), tuple(replica or ())) for name, always, replica in found}
        sizes = ["SELECT '', pg_relation_size('pg_trigger')", *(table.look for table in tables.values())]
        look = " UNION ALL ".join(sizes).encode()
        filled: dict[str, int] = dict(connection.execute(look).fetchall())
        light = sum(filled.values()) < _MOST
        return cls(tables, look, {name: tables[name].rows(connection) for name in filled if name} if light else {})

    def restore(self, connection: Connection) -> bool:
        """Put back the rows, in one transaction; False when there are too many to be worth it."""
        filled: dict[str, int] = dict(connection.execute(self.look).fetchall())
        if sum(filled.values()) > _MOST:
            return False
        with connection.transaction():
            for name, table in self.tables.items():
                rows = self.rows.get(name, b"")
                if (name in filled) != bool(rows) or (rows and table.rows(connection) != rows):
                    table.put(connection, rows)
        return True


class Copies:
    """The copies of one template, which stays as it is as long as they are used.

    Args:
        connect: opens a connection to a database by name, as a superuser, in autocommit.

    """

    def __init__(self, connect: Callable[[str], Connection]) -> None:
        self._connect = connect
        self._template: _Template | None = None
        self._states: dict[str, State] = {}
        self._keepers: dict[str, Connection] = {}
        self._idle: list[str] = []

    def take(self) -> str | None:
        """Return a copy like new; None when there is none to be had."""
        return self._idle.pop() if self._idle else None

    def add(self, name: str) -> None:
        """Remember what a new copy looks like."""
        keeper = self._keeper(name)
        self._template = self._template or _Template.read(keeper)
        self._states[name] = keeper.execute(_STATE).fetchall()

    def give_back(self, name: str, kept: Sequence[int] = ()) -> bool:
        """Make a copy like new, to be taken again; False when it is to be dropped instead.

        Connections to it are ended, but for those among ``kept`` (process ids of the server) that have nothing open.
        """
        before = self._states.pop(name, None)
        try:
            keeper = self._keeper(name)
            keeper.execute(_OTHERS, (list(kept),))
            unchanged = keeper.execute(_STATE).fetchall() == before
            if self._template is None or not unchanged or not self._template.restore(keeper):
                self.leave(name)
                return False
            self._states[name] = keeper.execute(_STATE).fetchall()
        except psycopg.Error:  # somebody dropped it, or keeps it locked
            self.leave(name)
            return False
        self._idle.append(name)
        return True

    def forget(self) -> list[str]:
        """Return the copies that nobody uses now; they are lent no more, and all connections are closed."""
        idle, self._idle = self._idle, []
        for name in list(self._keepers):
            self.leave(name)
        return idle

    def keepers(self) -> list[int]:
        """Return the server's process ids of the connections that are kept here."""
        return [keeper.info.backend_pid for keeper in self._keepers.values()]

    def leave(self, name: str) -> None:
        """Close the connection to a copy, so that it can be copied or dropped."""
        if name in self._keepers:
            self._keepers.pop(name).close()

    def _keeper(self, name: str) -> Connection:
        """Return the connection to a copy that is kept, because a fresh one would read the whole catalogue again."""
        if name not in self._keepers:
            self._keepers[name] = self._connect(name)
            self._keepers[name].execute(_SESSION)
        return self._keepers[name]
