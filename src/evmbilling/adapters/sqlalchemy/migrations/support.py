"""What revisions are written with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

from evmbilling.adapters.sqlalchemy.tables import maker
from evmbilling.adapters.sqlalchemy.triggers import guard_statements
from evmbilling.adapters.sqlalchemy.types import PlainText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.schema import SchemaItem

    from evmbilling.adapters.sqlalchemy.names import Names
    from evmbilling.adapters.sqlalchemy.triggers import Guard


def names() -> Names:
    """Return prefix and schema of this run."""
    found: Names = op.get_context().opts["evmbilling_names"]
    return found


def dialect() -> str:
    """Return ``sqlite`` or ``postgresql``, also when no database is connected."""
    return op.get_context().dialect.name


class Creator:
    """Makes tables in the database as the definitions write them down."""

    def __init__(self) -> None:
        self.names = names()
        self.columns: dict[str, list[str]] = {}
        """The columns of each table that was made, by its short name."""

    def __call__(self, short: str, *items: SchemaItem) -> sa.Table:
        """Create one table with its indexes."""
        prepared = maker.prepare(self.names, short, items)
        indexes = [item for item in prepared if isinstance(item, sa.Index)]
        table = op.create_table(
            self.names.table(short),
            *(item for item in prepared if not isinstance(item, sa.Index)),
            schema=self.names.schema,
            sqlite_strict=True,
        )
        for index in indexes:
            # One by one: a table's own set of indexes has no order, and the offline text must not vary.
            table.append_constraint(index)
            op.execute(sa.schema.CreateIndex(index))
        self.columns[short] = [column.name for column in table.columns]
        return table


def create(*definitions: Callable[[Creator], None]) -> dict[str, list[str]]:
    """Create the tables of these definitions; return their columns by short name."""
    creator = Creator()
    for define in definitions:
        define(creator)
    return creator.columns


def add_unique(short: str, purpose: str, *columns: str) -> None:
    """Give a table that is there another unique index, named as the models name it."""
    add_index(short, maker.unique(purpose, *columns), *columns)


def add_index(short: str, made: sa.Index, *columns: str) -> None:
    """Give a table that is there another index on these columns, named as the models name it."""
    maker.prepare(names(), short, [made])
    sa.Table(names().table(short), sa.MetaData(), *map(sa.Column, columns), made, schema=names().schema)
    op.execute(sa.schema.CreateIndex(made))


def add_columns(short: str, *columns: sa.Column[Any]) -> None:
    """Give a table that is there more columns, each with the CHECK that its type asks for; they may be NULL.

    Written by hand: SQLite takes a CHECK with the column only, and Alembic would rebuild the table for it.
    """
    table = names().qualified(short)
    kind_of = op.get_context().dialect
    for column in columns:
        kind = column.type
        text = kind.check(column.name, on_postgresql=dialect() == "postgresql") if isinstance(kind, PlainText) else None
        check = f" CONSTRAINT ck_{short}_{column.name} CHECK ({text})" if text else ""
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column.name} {kind.compile(dialect=kind_of)}{check}")


def guard(columns: Mapping[str, Sequence[str]], guards: Sequence[Guard]) -> None:
    """Put append-only triggers in place; run again after anything that rebuilds a guarded table."""
    for statement in guard_statements(names(), dialect(), columns, guards):
        op.execute(statement)
