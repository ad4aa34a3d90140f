"""The program of a page as the main program of a process that has imported the library before."""

from __future__ import annotations

import runpy
import sqlite3
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from databases import make_sqlite
from evmbilling.adapters.sqlalchemy import migrating
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX


@cache
def tables_script() -> str:
    """Return the SQL that makes our tables in SQLite."""
    with TemporaryDirectory() as folder:
        make_sqlite(Path(folder, "migrated.db"))
        with closing(sqlite3.connect(Path(folder, "migrated.db"))) as migrated:
            return "\n".join(migrated.iterdump())


def be(script: str, tables: str) -> None:
    """Run a file as if it were what the interpreter was started with; an empty SQLite file gets its tables by a script.

    Migrating it costs more than most pages do. What the page asks for is asked of the database that has them.
    """
    upgrade = migrating.upgrade

    def upgraded(where: object, *, prefix: str = DEFAULT_PREFIX, **how: str) -> str:
        if isinstance(where, str) and where.startswith("sqlite:///") and not how:
            _make_tables(where.removeprefix("sqlite:///"), prefix, tables)
        return upgrade(where, prefix=prefix, **how)

    migrating.upgrade = upgraded
    sys.argv = [script]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


def _make_tables(path: str, prefix: str, tables: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        version = f"{prefix}alembic_version"
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [version]).fetchone():
            connection.executescript(Path(tables).read_text().replace(DEFAULT_PREFIX, prefix))
