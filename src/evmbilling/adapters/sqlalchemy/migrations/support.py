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


def add_columns(short: str, *columns: sa.Column[Any], filled: Mapping[str, str] | None = None) -> None:
    """Give a table that is there more columns, each with the CHECK that its type asks for.

    Args:
        short: the table.
        columns: the new ones, in the order of the models.
        filled: SQL literals for what must not be null, in the rows that are there.

    """
    compiling = op.get_context().dialect
    for column in columns:
        kind = str(column.type.compile(dialect=compiling))
        needed = "" if column.nullable else f" NOT NULL DEFAULT {(filled or {})[column.name]}"
        check = maker.check_of(short, column, dialect())
        checked = "" if check is None else f" CONSTRAINT {check[0]} CHECK ({check[1]})"
        op.execute(f"ALTER TABLE {names().qualified(short)} ADD COLUMN {column.name} {kind}{needed}{checked}")


def widen_words(short: str, column: sa.Column[Any], definition: Callable[[Creator], None], kept: Sequence[str]) -> None:
    """Let a column of a table take more words; ``definition`` makes the table as it is then, ``kept`` names what is.

    SQLite cannot change a CHECK: there the table is made anew and its rows are copied, and what guarded it has to be
    put in place again.
    """
    table = names().qualified(short)
    if dialect() == "postgresql":
        name, text = maker.check_of(short, column, "postgresql") or ("", "")
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({text})")
        return
    old = names().table(f"{short}_old")
    op.execute(f"ALTER TABLE {table} RENAME TO {old}")
    create(definition)
    place = f"{names().schema}.{old}" if names().schema else old
    listed = ", ".join(kept)
    op.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {place}")  # noqa: S608  - names of ours
    op.execute(f"DROP TABLE {place}")


def add_column(short: str, added: sa.Column[Any]) -> None:
    """Give a table that is there another column, with the CHECK of its type; its rows hold NULL there."""
    add_columns(short, added)


def add_index(short: str, made: sa.Index) -> None:
    """Give a table that is there another index, named as the models name it."""
    columns = [str(column) for column in made.expressions]
    maker.prepare(names(), short, [made])
    sa.Table(names().table(short), sa.MetaData(), *map(sa.Column, columns), made, schema=names().schema)
    op.execute(sa.schema.CreateIndex(made))


def add_unique(short: str, purpose: str, *columns: str) -> None:
    """Give a table that is there another unique index, named as the models name it."""
    add_index(short, maker.unique(purpose, *columns))


def change_words(short: str, *items: SchemaItem, columns: Sequence[str]) -> None:
    """Let columns of a table hold the words of its new definition; every row stays.

    SQLite changes no CHECK, so the table is made anew there: not for tables with triggers, nor for those that others
    refer to.

    Args:
        short: the table.
        items: its whole new definition.
        columns: those whose words change.

    """
    table = names().qualified(short)
    if dialect() == "postgresql":
        for name, text in _checks(short, items).items():
            if name in {f"ck_{short}_{column}" for column in columns}:
                op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
                op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({text})")
        return
    for item in items:
        if isinstance(item, sa.Index):
            kind, purpose = str(item.name)[:2], str(item.name)[3:]
            op.execute(f"DROP INDEX {names().qualified(f'{kind}_{short}_{purpose}')}")
    op.execute(f"ALTER TABLE {table} RENAME TO {names().table(short)}_old")
    creator = Creator()
    creator(short, *items)
    listed = ", ".join(creator.columns[short])
    op.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {table}_old")  # noqa: S608  - names of ours
    op.execute(f"DROP TABLE {table}_old")


def _checks(short: str, items: Sequence[SchemaItem]) -> dict[str, str]:
    """Return the CHECKs of a table's columns on this database: their text by name."""
    on_postgresql = dialect() == "postgresql"
    found: dict[str, str] = {}
    for item in items:
        if isinstance(item, sa.Column) and isinstance(item.type, PlainText):
            text = item.type.check(item.name, on_postgresql=on_postgresql)
            if text is not None:
                found[f"ck_{short}_{item.name}"] = text
    return found


def guard(columns: Mapping[str, Sequence[str]], guards: Sequence[Guard]) -> None:
    """Put append-only triggers in place; run again after anything that rebuilds a guarded table."""
    for statement in guard_statements(names(), dialect(), columns, guards):
        op.execute(statement)
