"""Checks of the database: its tables, and the settings that money depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy.engines import open_engine
from evmbilling.adapters.sqlalchemy.failures import meaning_of
from evmbilling.adapters.sqlalchemy.migrating import REVISION, check
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from evmbilling.doctor.findings import Finding, Verdict
from evmbilling.settings import database_url

if TYPE_CHECKING:
    from evmbilling.settings import BillingSettings

_SQLITE = ("journal_mode", "synchronous", "foreign_keys")
_POSTGRESQL = ("fsync", "synchronous_commit", "full_page_writes", "default_transaction_isolation")
_REPLICA = "in_recovery"


def check_tables(settings: BillingSettings) -> Iterator[Finding]:
    """Compare the tables, indexes and triggers with this package's."""
    found = check(database_url(settings), schema=settings.db_schema, prefix=settings.table_prefix or DEFAULT_PREFIX)
    if not found:
        yield Finding(check="migrations", verdict="pass", text="the tables are this package's")
    if found and found[0].startswith(REVISION):
        # The tables of another revision differ in a hundred places, and all for one reason.
        more = f"; {len(found) - 1} more besides" if len(found) > 1 else ""
        advice = "run `evmbilling db upgrade`; `evmbilling db check` lists what remains"
        yield Finding(check="migrations", verdict="fail", text=found[0] + more, advice=advice)
        return
    for difference in found:
        advice = "it was changed by hand: restore it from `evmbilling db sql`"
        yield Finding(check="migrations", verdict="fail", text=difference, advice=advice)


def check_database(settings: BillingSettings) -> Iterator[Finding]:
    """Look at the settings of a connection of ours."""
    engine = open_engine(database_url(settings))
    try:
        with engine.connect() as connection:
            backend = connection.dialect.name
            read = _sqlite if backend == "sqlite" else _postgresql
            held = read(connection)
    except sa.exc.DBAPIError as error:
        raise meaning_of(error) from error
    finally:
        engine.dispose()
    yield from judge_database(backend, held)


def judge_database(backend: str, held: Mapping[str, str]) -> Iterator[Finding]:
    """Say what settings mean.

    Power loss with ``fsync`` off can lose or tear what was committed; with ``synchronous_commit`` off the last
    commits are lost: an effect that others have seen would be undone (PostgreSQL documentation, 20.5 Write Ahead Log).
    """
    wanted = _WANTED[backend]
    told = False
    for name, (good, verdict, advice) in wanted.items():
        if name in held and held[name] not in good:
            told = True
            yield Finding(check="database", verdict=verdict, text=f"{name} is {held[name]}", advice=advice)
    if not told:
        yield Finding(check="database", verdict="pass", text=", ".join(f"{n} {v}" for n, v in held.items()))


def _sqlite(connection: sa.Connection) -> dict[str, str]:
    return {name: str(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()) for name in _SQLITE}


def _postgresql(connection: sa.Connection) -> dict[str, str]:
    held = {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in _POSTGRESQL}
    recovering = connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one()
    return held | {_REPLICA: "yes" if recovering else "no"}


_ON = ("on",)
_WANTED: Final[dict[str, dict[str, tuple[tuple[str, ...], Verdict, str]]]] = {
    "sqlite": {
        "journal_mode": (("wal", "memory"), "fail", "the file has to be on a local disk that can share memory"),
        "synchronous": (("2", "3"), "fail", "nothing but this package may set pragmas on its connections"),
        "foreign_keys": (("1",), "fail", "use a build of SQLite with foreign keys"),
    },
    "postgresql": {
        "fsync": (_ON, "fail", "set fsync = on: after a power loss, committed payments are lost or torn without it"),
        "synchronous_commit": (
            ("on", "remote_apply", "remote_write", "local"),
            "fail",
            "set synchronous_commit = on for this role: the last commits before a crash are lost without it",
        ),
        "full_page_writes": (_ON, "fail", "set full_page_writes = on"),
        "default_transaction_isolation": (
            ("read committed",),
            "warn",
            "ALTER ROLE … SET default_transaction_isolation = 'read committed': stricter ones work, with more retries",
        ),
        _REPLICA: (("no",), "fail", "BILLING_DATABASE_URL points at a replica; money is read from the primary only"),
    },
}
