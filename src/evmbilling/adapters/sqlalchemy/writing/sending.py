"""Sending changes: few statements and few round trips for a list of decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy.failures import Duplicate
from evmbilling.adapters.sqlalchemy.meanings import meaning_of_duplicate
from evmbilling.adapters.sqlalchemy.reading.session import Session
from evmbilling.adapters.sqlalchemy.writing.batching import Pending, values_of
from evmbilling.adapters.sqlalchemy.writing.changes import PREVIOUS, Change
from evmbilling.errors import AlreadyExists, BillingError, InputError, NotFound, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from evmbilling.adapters.sqlalchemy.rows.catalogue import Values

ROWS_AS_COLUMNS = 32
"""From so many rows on they are written as columns."""
MOST_IN_BATCH = 8
"""Rows of one table that a batch takes: each number of them is a statement of its own."""


class Sender(Session):
    """What writing decisions is made of."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pending: list[Pending] = []

    def _save(self, short: str, pairs: Iterable[tuple[Any, Values]]) -> None:
        """Insert rows of version 1 and replace the others, each run of the same kind at once."""
        run: list[Values] = []
        fresh = True
        for record, values in pairs:
            if run and fresh != (record.version == 1):
                self._save_run(short, run, fresh=fresh)
                run = []
            fresh = record.version == 1
            run.append(values)
        self._save_run(short, run, fresh=fresh)

    def _save_run(self, short: str, rows: list[Values], *, fresh: bool) -> None:
        if fresh:
            self._change(self._statements.changes.inserts[short], rows)
        else:
            self._replace(short, rows)

    def _replace(self, short: str, rows: Sequence[Values]) -> None:
        change = self._statements.changes.replacements[short]
        named = [{**change.named(row), PREVIOUS: row["version"] - 1} for row in rows]
        self._change(change, named, missing=VersionConflict())

    def _store(self, change: Change, rows: Sequence[Values], what: str) -> None:
        named = [change.named(row) for row in rows]
        self._change(change, named, missing=NotFound(f"there is no such {what}"))

    def _change(self, change: Change, rows: Sequence[Values], *, missing: BillingError | None = None) -> None:
        """Run a statement for many rows, or keep it for the batch; ``missing`` is raised unless each row is met."""
        if not rows:
            return
        if self._statements.batches is not None and len(rows) <= (MOST_IN_BATCH if change.distinct else 1):
            if any(waiting.change.table is change.table for waiting in self._pending):
                self._send()
            self._pending += [Pending(change, row, missing) for row in rows]
            return
        self._send()
        self._run_change(change, rows, missing)

    def _change_columns(self, change: Change, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert rows that are given as columns: so many that no record of each should be made on the way."""
        count = len(next(iter(columns.values())))
        if self._driver is None or count < ROWS_AS_COLUMNS:
            self._change(change, _rows_of(columns))
            return
        self._send()
        try:
            with self._told():
                self._statements.bulk(change, self._driver.dialect).run_columns(self._driver, columns)
        except InputError as error:
            raise named_error(error, change, _rows_of(columns), self._connection.dialect) from None

    def _send(self) -> None:
        """Run what waits to be sent."""
        pending, self._pending = self._pending, []
        batches = self._statements.batches
        if len(pending) == 1 or batches is None:
            for one in pending:
                self._run_change(one.change, [one.row], one.missing)
        elif pending:
            self._run_batch(batches.statement([one.change for one in pending]), pending)

    def _run_batch(self, statement: Any, pending: Sequence[Pending]) -> None:
        try:
            (counts,), _ = self._run_single(statement, [one.row for one in pending])
        except InputError as error:
            named = (named_error(error, one.change, [one.row], self._connection.dialect) for one in pending)
            raise next((other for other in named if other is not error), error) from None
        expected = [one for one in pending if one.change.counted]
        for met, one in zip(counts, expected, strict=False):
            self._check_met(one.change, met, 1, one.missing)

    def _run_single(self, statement: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Any], int]:
        """Return the rows and the number of rows of a statement that is made of changes of single rows."""
        if self._driver is not None:
            self._check_open()
            try:
                return self._straight(self._driver, statement).run_rows(self._driver, rows)
            except BaseException as error:
                self._tell(error)
                raise
        done = self._run(statement, values_of(rows))
        return done.all() if done.returns_rows else (), done.rowcount

    def _run_change(self, change: Change, rows: Sequence[Mapping[str, Any]], missing: BillingError | None) -> None:
        try:
            met = self._run_rows(change, rows)
        except AlreadyExists as error:
            self._prefer_primary_key(change, rows, error)
            raise
        except InputError as error:
            raise named_error(error, change, rows, self._connection.dialect) from None
        self._check_met(change, met, len(rows), missing)

    def _check_met(self, change: Change, met: int, given: int, missing: BillingError | None) -> None:
        """Raise what it means when not all rows were met."""
        if met == given:
            return
        if missing is not None:
            raise missing
        if change.sparing:
            raise self._taken(change)

    def _run_rows(self, change: Change, rows: Sequence[Mapping[str, Any]]) -> int:
        """Return how many rows a change met that is counted; how many were given to any other."""
        if len(rows) == 1:
            _, met = self._run_single(change.alone, rows)
            return met if change.counted else 1
        if self._driver is not None:
            with self._told():
                return self._statements.bulk(change, self._driver.dialect).run(self._driver, rows)
        if not change.counted:
            self._run(change.statement, rows)
            return len(rows)
        if not self._connection.dialect.supports_sane_multi_rowcount:
            return sum(self._run(change.statement, row).rowcount for row in rows)
        return self._run(change.statement, rows).rowcount

    def _prefer_primary_key(self, change: Change, rows: Sequence[Mapping[str, Any]], error: AlreadyExists) -> None:
        """Name the primary key when one row takes several keys: PostgreSQL does, SQLite names the newest index.

        Raises:
            BillingError: what a taken primary key of this table means.

        """
        if self._connection.dialect.name != "sqlite" or len(rows) != 1:
            return
        key = change.table.primary_key
        same = (column == rows[0].get(column.name) for column in key.columns)
        if self._connection.execute(sa.select(sa.literal(1)).where(*same)).one_or_none() is not None:
            raise self._taken(change) from error.__cause__

    def _taken(self, change: Change) -> BillingError:
        """Return what a taken primary key means."""
        name = str(change.table.primary_key.name).removeprefix(self._statements.names.prefix)
        return meaning_of_duplicate(Duplicate(name))


def _rows_of(columns: Mapping[str, Sequence[Any]]) -> list[Values]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def named_error(error: InputError, change: Change, rows: Iterable[Mapping[str, Any]], dialect: Dialect) -> InputError:
    """Return the same error with the name of the column whose value cannot be stored."""
    for row in rows:
        for name, value in row.items():
            column = change.table.columns.get(name.removeprefix("key_").removeprefix("new_"))
            if column is not None and _refused(column.type.bind_processor(dialect), value):
                return type(error)(error.message, field=column.name)
    return error


def _refused(check: Callable[[Any], Any] | None, value: object) -> bool:
    if check is None:
        return False
    try:
        check(value)
    except InputError:
        return True
    return False
