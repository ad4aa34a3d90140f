"""Our migrations, on the host's connection or on one of our own; and what a database lacks.

There is no downgrade: append-only tables cannot be unmade without losing what they prove. The way back is a backup.
"""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.engine import URL

from evmbilling.adapters.sqlalchemy import comparing
from evmbilling.adapters.sqlalchemy.engines import open_engine, parse_url
from evmbilling.adapters.sqlalchemy.failures import translated
from evmbilling.adapters.sqlalchemy.joining import connection_of, savepoint
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX, Names
from evmbilling.errors import InputError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

REVISION = "revision "
"""How the difference begins that explains all the others."""
_FOLDER = Path(__file__).parent / "migrations"
# Alembic's `op` and `context` belong to the module, so one process migrates one database at a time.
_one_at_a_time = threading.Lock()


def upgrade(
    url_or_connection: object, *, schema: str | None = None, prefix: str = DEFAULT_PREFIX, to: str = "head"
) -> str:
    """Bring our tables to a revision, and return the one that they are at: a newer one is never taken back.

    Args:
        url_or_connection: a url, for a connection and a commit of our own; or the host's ``Connection`` or ``Session``,
            in whose transaction everything happens and which the host commits.
        schema: a PostgreSQL schema, made when it is absent; or a database attached to SQLite.
        prefix: stands before the name of every table.
        to: a revision, ``head`` or ``+1``.

    Raises:
        InputError: there is no such revision.
        SchemaError: the database is newer than this package.
        HostTransactionError: the host's connection cannot be joined.
        RetryTransaction: somebody else migrated or wrote for longer than the lock timeout.

    """
    names = Names(prefix=prefix, schema=schema)
    _check_target(to)
    with connecting(url_or_connection) as connection:
        wait_for_turn(connection, names)
        with _one_at_a_time, _readable_errors():
            command.upgrade(_config(names, connection=connection), to)
        return str(current_revision(connection, names))


def check(url_or_connection: object, *, schema: str | None = None, prefix: str = DEFAULT_PREFIX) -> list[str]:
    """Return every difference between the database and this package, triggers included; none is an empty list."""
    names = Names(prefix=prefix, schema=schema)
    with connecting(url_or_connection) as connection:
        found = comparing.differences(connection, names)
        current, newest = current_revision(connection, names), head()
    return found if current == newest else [f"{REVISION}{current or 'none'} instead of {newest}", *found]


def sql(url_or_dialect: str | URL, *, schema: str | None = None, prefix: str = DEFAULT_PREFIX, to: str = "head") -> str:
    """Return the SQL of an upgrade from nothing, for a person to read and run; nothing is connected.

    Args:
        url_or_dialect: ``sqlite``, ``postgresql`` or a url, of which only the kind of database is read.
        schema: as in :func:`upgrade`; SQL from nothing begins with what makes it on PostgreSQL.
        prefix: as in :func:`upgrade`.
        to: a revision, ``head``, or a range ``from:to``.

    Raises:
        InputError: there is no such revision, or a range runs backwards.
        ConfigurationError, SchemaError: the database is none of ours; see :func:`dialect_of`.

    """
    _check_range(to)
    dialect = dialect_of(url_or_dialect)
    names, text = Names(prefix=prefix, schema=schema), io.StringIO()
    if dialect == "postgresql" and names.schema is not None and ":" not in to:
        text.write(_making_schema(names.schema))
    with _one_at_a_time, _readable_errors():
        command.upgrade(_config(names, dialect=dialect, output=text), to, sql=True)
    return text.getvalue()


def _making_schema(schema: str) -> str:
    """Return what makes a schema that is not there; whoever was given one may lack the right to make any."""
    absent = f"NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{schema}')"
    return f'DO $$ BEGIN\n    IF {absent} THEN CREATE SCHEMA "{schema}"; END IF;\nEND $$;\n\n'


def dialect_of(url_or_dialect: str | URL) -> Literal["sqlite", "postgresql"]:
    """Return which of the two databases is meant.

    Raises:
        ConfigurationError: a url that cannot be read.
        SchemaError: another database.

    """
    given = str(parse_url(url_or_dialect).drivername if ":" in str(url_or_dialect) else url_or_dialect)
    backend = given.partition("+")[0]
    if backend == "sqlite":
        return "sqlite"
    if backend in {"postgresql", "postgres"}:
        return "postgresql"
    raise SchemaError(f"databases are sqlite and postgresql, not {backend}")


def include_name(
    prefix: str = DEFAULT_PREFIX, schema: str | None = None
) -> Callable[[str | None, str, dict[str, str | None]], bool]:
    """Return a filter for a host's ``env.py``, whose autogenerate would otherwise propose to drop our tables.

    ::

        context.configure(..., include_name=include_name(prefix="evmbilling_"))

    A host with a filter of its own calls both. It names what the *host's* migrations look at: everything but ours.
    """
    ours = comparing.our_tables(Names(prefix=prefix, schema=schema))

    def keep(name: str | None, type_: str, parent_names: dict[str, str | None]) -> bool:
        if type_ != "table" or name is None:
            return True
        return name not in ours or parent_names.get("schema_name") != schema

    return keep


def head() -> str:
    """Return the newest revision that this package knows."""
    return _known(_FOLDER)[-1]


def revisions() -> list[str]:
    """Return every revision of this package, the first one first."""
    return list(_known(_FOLDER))


@cache
def _known(folder: Path) -> tuple[str, ...]:
    # Alembic runs every module of the folder for it; they are part of the package, and do not change while it runs.
    return tuple(step.revision for step in ScriptDirectory(str(folder)).walk_revisions())[::-1]


def current_revision(connection: Connection, names: Names) -> str | None:
    """Return the revision of a database; ``None`` when there are no tables of ours."""
    options = {"version_table": names.version_table, "version_table_schema": names.schema}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def run_in(context: Any) -> None:
    """Configure Alembic and run it; called by ``env.py``."""
    attributes = context.config.attributes
    names: Names = attributes["names"]
    connection: Connection | None = attributes.get("connection")
    options: dict[str, Any] = {
        "version_table": names.version_table,
        "version_table_schema": names.schema,
        "evmbilling_names": names,
        # SQLite rolls DDL back like anything else once a transaction is really open, and here it is.
        "transactional_ddl": True,
    }
    if connection is None:
        context.configure(dialect_name=attributes["dialect"], literal_binds=True, **options)
    else:
        context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()


def _check_target(to: str) -> None:
    """Refuse what names no revision, before anything is connected.

    Raises:
        InputError: there is no such revision.

    """
    steps = to.removeprefix("+") if isinstance(to, str) and to.startswith("+") else ""
    if steps.isascii() and steps.isdigit() and 0 < int(steps[:9]) <= len(revisions()):
        return
    if to != "head" and to not in revisions():
        raise InputError(f"there is no revision {to!r}; they go from {revisions()[0]} to {head()}", field="to")


def _check_range(to: str) -> None:
    first, colon, last = to.partition(":") if isinstance(to, str) else (to, "", "")
    if not colon:
        _check_target(to)
        return
    known = revisions()
    for each in (first, last):
        if each not in (*known, "head"):
            raise InputError(f"there is no revision {each!r}; they go from {known[0]} to {head()}", field="to")
    ahead, behind = (known.index(head() if each == "head" else each) for each in (last, first))
    if ahead <= behind:
        raise InputError(f"a range of revisions runs forwards, and {to} does not", field="to")


def _config(names: Names, *, output: Any = None, **attributes: Any) -> Config:
    config = Config(output_buffer=output, stdout=io.StringIO())
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes.update(names=names, **attributes)
    return config


@contextmanager
def connecting(url_or_connection: object) -> Iterator[Connection]:
    """Give a connection inside a transaction: the host's, in a savepoint, or one of our own, committed at the end."""
    with translated():
        if not isinstance(url_or_connection, (str, URL)):
            connection = connection_of(url_or_connection)
            with savepoint(connection):
                yield connection
            return
        engine = open_engine(url_or_connection)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


def wait_for_turn(connection: Connection, names: Names) -> None:
    """Let one process migrate or fill these tables at a time; the next one then finds it done."""
    if connection.dialect.name != "postgresql":
        return
    connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"evmbilling migrations {names.qualified('')}")))
    )
    if names.schema is not None and names.schema not in sa.inspect(connection).get_schema_names():
        connection.execute(sa.schema.CreateSchema(names.schema))


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise SchemaError(f"the migrations cannot run: {error}") from error
