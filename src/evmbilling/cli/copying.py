"""``evmbilling db copy``: every row of ours to another database, compared and proved."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import FAILED, counted, reporting, say, say_json
from evmbilling.errors import InputError

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.copying import Copied
    from evmbilling.adapters.sqlalchemy.copying import Progress as Told


def copy(
    *,
    source: Annotated[str, typer.Option("--from", metavar="URL", help="The database that is left.")],
    target: Annotated[
        str, typer.Option("--to", metavar="URL", help="A database without rows of ours; tables are made when absent.")
    ],
    from_schema: Annotated[
        str | None, typer.Option("--from-schema", metavar="SCHEMA", help="PostgreSQL schema of the source's tables.")
    ] = None,
    to_schema: Annotated[
        str | None, typer.Option("--to-schema", metavar="SCHEMA", help="PostgreSQL schema of the target's tables.")
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", envvar="BILLING_TABLE_PREFIX", help="What the table names begin with, on both sides."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Prove the books of the target afterwards; asks the nodes.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """Copy every row to another database, SQLite to PostgreSQL or the other way; all or nothing.

    Stop hosts and workers first: it refuses while a worker holds a lease, and nobody can write to the source while it
    runs. Row counts and a digest of every table are compared before anything is committed. The instance stays the same,
    so never run workers on both. When it is interrupted, the target is as it was: run it again.
    """
    with reporting(as_json=as_json):
        from evmbilling.adapters.sqlalchemy.copying import copy_database
        from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
        from evmbilling.cli.database import absent_file

        if (source, from_schema) == (target, to_schema):
            raise InputError("source and target are the same", field="to")
        for said in absent_file(source):
            raise InputError(said, field="from")
        names = DEFAULT_PREFIX if prefix is None else prefix
        with _bar(quiet=quiet) as told:
            done = copy_database(
                source, target, prefix=names, source_schema=from_schema, target_schema=to_schema, progress=told
            )
        proved = _verify(target, to_schema, names, quiet=quiet) if verify else None
        say_json(_document(done, proved)) if as_json else _say(done, proved)
        if proved is not None and not proved["ok"]:
            raise typer.Exit(FAILED)


def _verify(url: str, schema: str | None, prefix: str, *, quiet: bool) -> dict[str, Any]:
    from evmbilling.cli.verify import RowsDone, as_document
    from evmbilling.factory import BillingEngine
    from evmbilling.settings import BillingSettings

    settings = BillingSettings(database_url=url, db_schema=schema, table_prefix=prefix)
    engine = BillingEngine.from_settings(settings)
    try:
        return as_document(engine.verify(full=True, progress=None if quiet else RowsDone()))
    finally:
        engine.close()


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Told]:
    """Show how many rows are done on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("rows", total=None)

        def told(table: str, done: int, total: int) -> None:
            progress.update(task, description=table, completed=done, total=total)

        yield told


def _document(done: Copied, proved: dict[str, Any] | None) -> dict[str, Any]:
    tables = {name: {"rows": table.rows, "sha256": table.sha256} for name, table in done.tables.items()}
    return {"revision": done.revision, "rows": done.rows, "tables": tables, "verify": proved}


def _say(done: Copied, proved: dict[str, Any] | None) -> None:
    filled = sum(1 for table in done.tables.values() if table.rows)
    say(f"{done.rows} rows in {filled} tables are in the target as they are in the source")
    if proved is None:
        say("the books were not proved: run `evmbilling verify` on the target")
    elif proved["ok"]:
        say("the books of the target are proved")
    else:
        found = counted(len(proved["differences"]), "difference")
        say(f"verify found {found}: run `evmbilling verify` on source and target")
