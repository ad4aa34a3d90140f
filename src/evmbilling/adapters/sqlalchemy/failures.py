"""What a database error means: one of ours, or the host's own affair.

Only a *named* unique constraint is a duplicate. Any other integrity error is a failure: "already exists" must never
hide a full disk or a missing column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import exc

from evmbilling.errors import (
    AppendOnlyViolation,
    BillingError,
    HostTransactionError,
    InvalidAmount,
    RetryTransaction,
    SchemaError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

APPEND_ONLY_STATE = "EVB01"
"""The SQLSTATE that our PostgreSQL triggers raise."""
APPEND_ONLY_TEXT = "evmbilling append-only"
"""How the message of our triggers begins on both databases."""

_AGAIN = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "25P03": "idle transaction timeout",
    "25P04": "transaction timeout",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting",
    "53300": "too many connections",
}
_HOST = {
    "25P02": "the host's transaction has already failed; roll it back",
    "25006": "the host's transaction is read-only",
}
_SQLITE_READ_ONLY = "attempt to write a readonly database"
_ABSENT = {"42P01", "42703", "3F000"}
_LOCKED_STATE = "55P03"
_ROW = re.compile(r'\(\d+,\d+\).*"(?P<name>[^"]+)"')
_UNIQUE_STATE = "23505"
_CHECK_STATE = "23514"
_SUMS = ("ck_balances_debit", "ck_balances_credit")
"""The CHECKs that refuse a sum which the database made itself."""
_SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: (?P<what>.+)")
_SQLITE_ABSENT = re.compile(r"no such (?:table|column)|has no column named")


class Duplicate(StorageError):
    """A named unique constraint refused a row.

    Attributes:
        constraint: the constraint's name without the table prefix.

    """

    code = "duplicate"

    def __init__(self, constraint: str) -> None:
        super().__init__(f"the unique constraint {constraint} refused a row", constraint=constraint)
        self.constraint = constraint


def sqlstate_of(error: exc.DBAPIError) -> str | None:
    """Return PostgreSQL's five characters; ``None`` from SQLite or from a lost connection."""
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


Uniques = Mapping[tuple[str, frozenset[str]], str]


def unique_columns(metadata: sa.MetaData) -> Uniques:
    """Map (table, columns) to the name of its unique constraint or index: SQLite names columns only."""
    found: dict[tuple[str, frozenset[str]], str] = {}
    for table in metadata.tables.values():
        for constraint in table.constraints:
            if isinstance(constraint, (sa.UniqueConstraint, sa.PrimaryKeyConstraint)) and constraint.name:
                found[table.name, frozenset(c.name for c in constraint.columns)] = str(constraint.name)
        for index in table.indexes:
            if index.unique and index.name:
                found[table.name, frozenset(c.name for c in index.columns)] = str(index.name)
    return found


def constraint_of(error: exc.IntegrityError, uniques: Uniques) -> str | None:
    """Return the name of the unique constraint that refused the row, or ``None`` when something else did."""
    if sqlstate_of(error) is not None:
        if sqlstate_of(error) != _UNIQUE_STATE:
            return None
        diagnosis = getattr(error.orig, "diag", None) or getattr(error.orig, "__cause__", None)
        name = getattr(diagnosis, "constraint_name", None)
        return name if isinstance(name, str) else None
    match = _SQLITE_UNIQUE.search(str(error.orig))
    if match is None:
        return None
    columns = [item.strip().partition(".") for item in match["what"].split(",")]
    return uniques.get((columns[0][0], frozenset(column for _, _, column in columns)))


def _too_large(error: exc.IntegrityError) -> str | None:
    """Return which sum went beyond what a column holds."""
    if sqlstate_of(error) != _CHECK_STATE:
        return None
    diagnosis = getattr(error.orig, "diag", None) or getattr(error.orig, "__cause__", None)
    name = str(getattr(diagnosis, "constraint_name", None))
    return name.rpartition("_")[2] if name in _SUMS else None


def meaning_of(error: exc.DBAPIError, *, prefix: str = "") -> BillingError:
    """Translate a driver's error into one of ours; the driver's own stays as its cause.

    Of a row that somebody else kept for too long, ``details`` tell the table (``held``), without the prefix.
    """
    state = sqlstate_of(error)
    text = str(error.orig)
    if state == APPEND_ONLY_STATE or APPEND_ONLY_TEXT in text:
        return AppendOnlyViolation()
    again = _reason_to_run_again(error, state, text)
    if again is not None:
        return RetryTransaction(
            f"{again}: run your whole transaction again", reason=again, **_held(error, state, prefix)
        )
    if state in _HOST or (state is None and _SQLITE_READ_ONLY in text):
        return HostTransactionError(_HOST[state or "25006"])
    if state in _ABSENT or (state is None and _SQLITE_ABSENT.search(text)):
        return SchemaError()
    # Drivers put values of the row into their messages; ours names the kind of failure only.
    what = "there is no connection to the database" if error.statement is None else "the database refused a statement"
    return StorageError(f"{what} ({state or type(error.orig).__name__})", sqlstate=state)


def _held(error: exc.DBAPIError, state: str | None, prefix: str) -> dict[str, str]:
    """Return the table of the row that somebody else kept; nothing for a whole table, or anything else."""
    if state != _LOCKED_STATE:
        return {}
    diagnosis = getattr(error.orig, "diag", None) or getattr(error.orig, "__cause__", None)
    # Where a row was waited for, the context names its place and its table, in whatever language.
    found = _ROW.search(str(getattr(diagnosis, "context", None)))
    return {"held": found["name"].removeprefix(prefix)} if found else {}


def _reason_to_run_again(error: exc.DBAPIError, state: str | None, text: str) -> str | None:
    if state in _AGAIN:
        return _AGAIN[state]
    if error.connection_invalidated or (state or "").startswith("08"):
        return "connection lost"
    if state is None and ("is locked" in text or "is busy" in text):
        return "database is locked"
    return None


def translate(error: exc.SQLAlchemyError, uniques: Uniques, *, prefix: str) -> BillingError | None:
    """Return what an error means to a caller of ours; ``None`` for a mistake in a statement, which nobody can handle.

    A taken key is a ``Duplicate``; a value that a column type refused is the error of that type.
    """
    if isinstance(error, exc.IntegrityError):
        name = constraint_of(error, uniques)
        if name is None:
            return InvalidAmount(field=_too_large(error)) if _too_large(error) else meaning_of(error, prefix=prefix)
        return Duplicate(name.removeprefix(prefix))
    if isinstance(error, exc.DBAPIError):
        return meaning_of(error, prefix=prefix)
    if isinstance(error, exc.StatementError) and isinstance(error.orig, BillingError):
        return error.orig
    if isinstance(error, exc.TimeoutError):
        return RetryTransaction("no free connection in the pool", reason="pool timeout")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Turn every database error inside the block into one of ours; for work on no particular table."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        meaning = translate(error, {}, prefix="")
        if meaning is None:
            raise
        raise meaning from error
