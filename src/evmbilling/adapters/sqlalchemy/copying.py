"""Moving our tables to another database: every row, in one transaction, compared before it is committed.

The source stands still meanwhile: nobody can write to it. Rows are read and written a page at a time in the order of
their keys, which both databases sort alike, so memory does not grow with the tables. What is stored as text is taken
over byte for byte. No table has a sequence or an identity column: every key is made by the engine.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy import comparing
from evmbilling.adapters.sqlalchemy.engines import Waits, open_engine
from evmbilling.adapters.sqlalchemy.failures import translated
from evmbilling.adapters.sqlalchemy.migrating import current_revision, head, upgrade, wait_for_turn
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX, Names
from evmbilling.adapters.sqlalchemy.renewing import unguarded
from evmbilling.adapters.sqlalchemy.tables import Tables, build_tables
from evmbilling.adapters.sqlalchemy.types import PlainText
from evmbilling.adapters.sqlalchemy.writing.leases import LeaseStatements, database_now
from evmbilling.errors import Conflict, SchemaError, StorageError
from evmbilling.ports.crash import crash_point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import URL, Connection

    Progress = Callable[[str, int, int], None]
    """Told after each page: the table, the rows done so far in all tables, and how many there are."""

PAGE: Final = 500
_HOUR: Final = 3600
_WAITS: Final = Waits(pool_size=1, statement=_HOUR, idle=_HOUR)
"""One statement counts a whole table, and one side waits while the other one is read."""


@frozen
class CopiedTable:
    """One table as it stands on both sides: how many rows, and a digest of everything in them."""

    rows: int
    sha256: str


@frozen
class Copied:
    """What was copied.

    Attributes:
        revision: of both databases.
        tables: by their short names, in the order in which they were copied.

    """

    revision: str
    tables: Mapping[str, CopiedTable]

    @property
    def rows(self) -> int:
        """In all tables."""
        return sum(table.rows for table in self.tables.values())


def copy_database(
    source: str | URL,
    target: str | URL,
    *,
    prefix: str = DEFAULT_PREFIX,
    source_schema: str | None = None,
    target_schema: str | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Copy every row of ours to a database without any; all or nothing.

    Tables are made where there are none. While it runs, whoever wants to write to the source waits, and fails after the
    lock timeout; the source keeps all its rows. Indexes, CHECKs, foreign keys and append-only triggers of the target
    stand all the time.

    Args:
        source, target: urls of SQLite or PostgreSQL, either way.
        prefix: stands before the name of every table, on both sides.
        source_schema, target_schema: as in :func:`evmbilling.adapters.sqlalchemy.migrating.upgrade`.
        progress: told after each page.

    Raises:
        SchemaError: the tables are absent, or not of this version, on either side.
        Conflict: workers hold leases of the source (``field="source"``), or the target holds rows (``field="target"``).
        RetryTransaction: somebody writes to the source for longer than the lock timeout, or fills the target as well.
        StorageError: what came to stand in the target differs; nothing of it was kept.

    """
    origin, place = (Names(prefix=prefix, schema=schema) for schema in (source_schema, target_schema))
    with _transaction(source) as reading:
        _check_revision(reading, origin, "source")
        tables = build_tables(origin)
        _stand_still(reading, tables)
        with _transaction(target) as writing:
            if current_revision(writing, place) is None:
                upgrade(writing, schema=target_schema, prefix=prefix)
            wait_for_turn(writing, place)
            _check_revision(writing, place, "target")
            copied = _Copy(reading, tables, writing, build_tables(place), progress).run()
    return Copied(head(), copied)


@contextmanager
def _transaction(url: str | URL) -> Iterator[Connection]:
    """Open a transaction with patience; on SQLite it keeps other writers out from the beginning."""
    engine = open_engine(url, waits=_WAITS)
    try:
        with translated(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _check_revision(connection: Connection, names: Names, which: str) -> None:
    current = current_revision(connection, names)
    if current != head():
        raise SchemaError(
            f"the {which} is at revision {current or 'none'} and this version expects {head()};"
            " run `evmbilling db upgrade` there",
            field=which,
        )


def _stand_still(connection: Connection, tables: Tables) -> None:
    """Keep writers out, and see that no worker is at anything that it holds a lease for."""
    if connection.dialect.name == "postgresql":
        listed = ", ".join(tables.names.qualified(_short(tables, table)) for table in tables.metadata.sorted_tables)
        connection.exec_driver_sql(f"LOCK TABLE {listed} IN SHARE MODE")
    leases = tables["leases"]
    now = database_now(connection, LeaseStatements(tables, connection.dialect.name), None)
    held = connection.scalars(sa.select(leases.c.name).where(leases.c.until > now).order_by(leases.c.name)).all()
    if held:
        raise Conflict(
            f"workers hold leases of the source: {', '.join(held)}; stop every process, and wait a minute for one that"
            " was killed",
            field="source",
        )


def _short(tables: Tables, table: sa.Table) -> str:
    return table.name.removeprefix(tables.names.prefix)


class _Copy:
    """Copies the tables one after another, in the order of their foreign keys, and compares them."""

    def __init__(
        self,
        reading: Connection,
        origin: Tables,
        writing: Connection,
        place: Tables,
        progress: Progress | None,
    ) -> None:
        self._reading = reading
        self._origin = origin
        self._writing = writing
        self._place = place
        self._progress = progress
        self._done = 0
        self._names = [_short(place, table) for table in place.metadata.sorted_tables]

    def run(self) -> dict[str, CopiedTable]:
        """Copy all tables and return what stands in them."""
        self._check_empty()
        total = sum(_count(self._reading, self._origin[short]) for short in self._names)
        copied = {short: self._copy(short, total) for short in self._names}
        for short, wanted in copied.items():
            self._compare(short, wanted)
        differences = comparing.differences(self._writing, self._place.names)
        if differences:
            raise SchemaError(f"the target is not what this version expects: {differences[0]}", field="target")
        if self._writing.dialect.name == "postgresql":
            for short in self._names:  # the planner knows nothing of rows that came a moment ago
                self._writing.exec_driver_sql(f"ANALYZE {self._place.names.qualified(short)}")
        crash_point("copy.before_commit")
        return copied

    def _check_empty(self) -> None:
        """Look for rows; the one that the first migration makes is replaced."""
        found = [
            short
            for short in self._names
            if short != "instance"
            and self._writing.execute(sa.select(sa.literal(1)).select_from(self._place[short]).limit(1)).first()
        ]
        if found:
            raise Conflict(
                f"the target holds rows: {', '.join(found)}; a copy needs tables without any", field="target"
            )

    def _copy(self, short: str, total: int) -> CopiedTable:
        source, target = self._origin[short], self._place[short]
        digest = _Digest()
        if short == "instance":
            with unguarded(self._writing, self._place.names, target):
                self._writing.execute(sa.delete(target))
                self._write(target, _rows(self._reading, source), digest, total)
        else:
            self._write(target, _rows(self._reading, source), digest, total)
        return digest.result()

    def _write(self, target: sa.Table, pages: Iterable[Sequence[Any]], digest: _Digest, total: int) -> None:
        values = {column.name: bindparam(f"v_{column.name}", type_=_as_stored(column)) for column in target.columns}
        statement = sa.insert(target).values(values)
        keys = [f"v_{column.name}" for column in target.columns]
        for page in pages:
            digest.add(page)
            self._writing.execute(statement, [dict(zip(keys, row, strict=True)) for row in page])
            self._done += len(page)
            crash_point("copy.page")
            if self._progress is not None:
                self._progress(_short(self._place, target), self._done, total)

    def _compare(self, short: str, wanted: CopiedTable) -> None:
        digest = _Digest()
        for page in _rows(self._writing, self._place[short]):
            digest.add(page)
        found = digest.result()
        if found != wanted or wanted.rows != _count(self._reading, self._origin[short]):
            raise StorageError(f"{short} is not in the target as it is in the source; nothing of the copy was kept")


def _count(connection: Connection, table: sa.Table) -> int:
    counted: int = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    return counted


def _rows(connection: Connection, table: sa.Table) -> Iterator[Sequence[Any]]:
    """Read a table in the order of its key, a page at a time, each page by the last key of the one before."""
    key = list(table.primary_key.columns)
    places = [table.columns.keys().index(column.name) for column in key]
    first = sa.select(*(sa.type_coerce(column, _as_stored(column)) for column in table.columns))
    first = first.order_by(*key).limit(PAGE)
    last = [bindparam(f"after_{number}", type_=column.type) for number, column in enumerate(key)]
    following = first.where(sa.tuple_(*key) > sa.tuple_(*last))
    page = connection.execute(first).all()
    while page:
        yield page
        after = {f"after_{number}": page[-1][place] for number, place in enumerate(places)}
        page = connection.execute(following, after).all() if len(page) == PAGE else []


def _as_stored(column: sa.Column[Any]) -> PlainText:
    """Return the type to read and write a column with: text as it stands, when both databases store text."""
    kind = column.type
    if not isinstance(kind, PlainText):
        raise TypeError(f"{column} has a type that is not one of ours")
    is_text = kind.on_postgresql is PlainText.on_postgresql and kind.on_sqlite is PlainText.on_sqlite
    return PlainText() if is_text else kind


class _Digest:
    """A digest over rows in order; every value goes in with its length, so that no two tables look alike."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0

    def add(self, rows: Sequence[Any]) -> None:
        """Take rows in."""
        self._rows += len(rows)
        self._hash.update(b"".join(_octets(value) for row in rows for value in row))

    def result(self) -> CopiedTable:
        """Return what came together."""
        return CopiedTable(self._rows, self._hash.hexdigest())


def _octets(value: object) -> bytes:
    if value is None:
        return b"-"
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, date):  # an instant is one too
        data = value.isoformat().encode()
    else:
        data = str(value).encode()
    return b"%d:%b" % (len(data), data)
