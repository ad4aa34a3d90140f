"""``evmbilling db``: the tables in a host's database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from evmbilling.cli.copying import copy
from evmbilling.cli.output import FAILED, reporting, say, say_json
from evmbilling.errors import ConfigurationError, InputError

db = typer.Typer(no_args_is_help=True, help="The tables in your database.")
db.command()(copy)

Url: TypeAlias = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="BILLING_DATABASE_URL",
        show_envvar=True,
        help="For example sqlite:///billing.db or postgresql://user@host/name; BILLING_DATABASE_URL_FILE is read too.",
    ),
]
Schema: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--schema", envvar="BILLING_SCHEMA", help="PostgreSQL schema of the tables; the connection's own when absent."
    ),
]
Prefix: TypeAlias = Annotated[
    str | None, typer.Option("--prefix", envvar="BILLING_TABLE_PREFIX", help="What the table names begin with.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]


@db.command()
def upgrade(
    url: Url = "",
    schema: Schema = None,
    prefix: Prefix = None,
    to: Annotated[str, typer.Option("--to", help="A revision, or head.")] = "head",
    as_json: AsJson = False,
) -> None:
    """Bring the tables to the newest revision, or to the one given."""
    with reporting(as_json=as_json):
        from evmbilling.adapters.sqlalchemy import migrating
        from evmbilling.adapters.sqlalchemy.engines import is_in_memory, parse_url

        url = _place(url)
        if is_in_memory(parse_url(url)):
            raise InputError("a database in memory is gone when this command ends: name a file", field="url")
        reached = migrating.upgrade(url, schema=schema, prefix=_prefix(prefix), to=to)
        if as_json:
            say_json({"revision": reached})
        else:
            say(f"the tables are at revision {reached}")


@db.command()
def check(url: Url = "", schema: Schema = None, prefix: Prefix = None, as_json: AsJson = False) -> None:
    """List every difference between the database and this version; exit with 1 when there is one."""
    with reporting(as_json=as_json):
        from evmbilling.adapters.sqlalchemy import migrating

        url = _place(url)
        found = absent_file(url) or migrating.check(url, schema=schema, prefix=_prefix(prefix))
        if as_json:
            say_json({"ok": not found, "differences": found})
        else:
            say("\n".join(found) if found else "the database is what this version expects")
        if found:
            raise typer.Exit(FAILED)


@db.command("renew-instance")
def renew_instance(url: Url = "", schema: Schema = None, prefix: Prefix = None, as_json: AsJson = False) -> None:
    """Make a copy of a database, such as a restored backup, an instance of its own beside the original.

    Its new orders then have references that the original does not take for its own, and the other way round. Stop
    every process that uses the copy first.
    """
    with reporting(as_json=as_json):
        from evmbilling.adapters.sqlalchemy import renewing

        url = _place(url)
        for absent in absent_file(url):
            raise InputError(absent, field="url")
        done = renewing.renew_instance(url, schema=schema, prefix=_prefix(prefix))
        if as_json:
            say_json({"before": done.before.hex(), "after": done.after.hex()})
        else:
            say(f"this database was instance {done.before.hex()} and is {done.after.hex()} from now on")


@db.command()
def sql(
    url: Annotated[
        str,
        typer.Option(
            "--url",
            envvar="BILLING_DATABASE_URL",
            show_envvar=True,
            help="sqlite, postgresql, or a url of which only the kind of database is read.",
        ),
    ] = "",
    schema: Schema = None,
    prefix: Prefix = None,
    to: Annotated[str, typer.Option("--to", help="A revision, head, or a range from:to.")] = "head",
    as_json: AsJson = False,
) -> None:
    """Print the SQL of an upgrade, for a person to read and run. Nothing is connected.

    On PostgreSQL it makes the schema if it is absent, as the upgrade does; not before a range of revisions.
    """
    with reporting(as_json=as_json):
        from evmbilling.adapters.sqlalchemy import migrating

        dialect = migrating.dialect_of(_place(url))
        text = migrating.sql(dialect, schema=schema, prefix=_prefix(prefix), to=to)
        if as_json:
            say_json({"dialect": dialect, "sql": text})
        else:
            say(text.rstrip())


def _place(given: str) -> str:
    """Return the url that was given, or the one in the file that ``BILLING_DATABASE_URL_FILE`` names."""
    from evmbilling.settings import BillingSettings, database_url

    try:
        return given or database_url(BillingSettings())
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None


def _prefix(given: str | None) -> str:
    from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX

    return DEFAULT_PREFIX if given is None else given


def absent_file(url: str) -> list[str]:
    """Say so when SQLite's file is not there: looking at it would make it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return []  # the adapter refuses it in our words
    named = parsed.database
    in_memory = named in {None, "", ":memory:"} or "uri" in parsed.query
    if parsed.get_backend_name() != "sqlite" or in_memory or Path(str(named)).exists():
        return []
    return [f"there is no file {named}"]
