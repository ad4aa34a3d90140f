"""What makes tables and indexes, written as SQLAlchemy writes it, but without the objects that it writes it from.

An upgrade from nothing makes some fifty tables. To build each with its columns and checks, and to visit every one of
them, took as long as the database takes to make the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import field, frozen
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement

from evmbilling.adapters.sqlalchemy.tables import maker
from evmbilling.adapters.sqlalchemy.types import PlainText

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.schema import SchemaItem
    from sqlalchemy.types import TypeEngine

    from evmbilling.adapters.sqlalchemy.names import Names

_BETWEEN = ", \n\t"
_KINDS: dict[tuple[object, str], str] = {}
"""Types as a database writes them: they are attributes of our own types' classes, and stay."""


class Statement(ExecutableDDLElement):
    """A statement that is text already, and has no parameter."""

    def __init__(self, text: str) -> None:
        self.text = text


@compiles(Statement)
def _as_it_is(element: Statement, _compiler: object, **_: object) -> str:
    return element.text


@frozen
class Making:
    """The statements that make one table with its indexes.

    Attributes:
        names: prefix and schema.
        short: the table.
        items: its definition, by the functions of :mod:`~evmbilling.adapters.sqlalchemy.tables.maker`, named already.
        dialect: of the database.

    """

    names: Names
    short: str
    items: Sequence[SchemaItem]
    dialect: Dialect
    _on_sqlite: bool = field(init=False)

    @_on_sqlite.default
    def _is_on_sqlite(self) -> bool:
        return self.dialect.name == "sqlite"

    def statements(self) -> Iterator[str]:
        """Yield the table first, then each index in the order of the definition."""
        columns = [item for item in self.items if isinstance(item, sa.Column)]
        parts = [
            *map(self._column, columns),
            *(self._key(item) for item in self.items if isinstance(item, sa.PrimaryKeyConstraint)),
            *(self._reference(item) for item in self.items if isinstance(item, sa.ForeignKeyConstraint)),
            *filter(None, map(self._check, columns)),
        ]
        table = self._within(self._quoted(self.names.table(self.short)))
        strict = "\n STRICT" if self._on_sqlite else ""
        yield f"\nCREATE TABLE {table} (\n\t{_BETWEEN.join(parts)}\n){strict}\n\n"
        yield from (self._index(item) for item in self.items if isinstance(item, sa.Index))

    def _quoted(self, *names: str) -> str:
        return ", ".join(map(self.dialect.identifier_preparer.quote, names))

    def _within(self, name: str) -> str:
        schema = self.names.schema
        return name if schema is None else f"{self._quoted(schema)}.{name}"

    def _column(self, column: sa.Column[Any]) -> str:
        return f"{self._quoted(column.name)} {self._kind(column.type)}{'' if column.nullable else ' NOT NULL'}"

    def _kind(self, kind: TypeEngine[Any]) -> str:
        stored = kind.load_dialect_impl(self.dialect) if isinstance(kind, PlainText) else kind
        known = (stored, self.dialect.name)
        if known not in _KINDS:
            _KINDS[known] = stored.compile(dialect=self.dialect)
        return _KINDS[known]

    def _key(self, key: sa.PrimaryKeyConstraint) -> str:
        return f"CONSTRAINT {self._quoted(str(key.name))} PRIMARY KEY ({self._quoted(*key.info['columns'])})"

    def _reference(self, reference: sa.ForeignKeyConstraint) -> str:
        own, target, remote = (reference.info[name] for name in ("columns", "target", "remote"))
        table = self._quoted(self.names.table(target))
        return (
            f"CONSTRAINT {self._quoted(str(reference.name))} FOREIGN KEY({self._quoted(*own)})"
            # On SQLite a reference stays within its database, and names none.
            f" REFERENCES {table if self._on_sqlite else self._within(table)} ({self._quoted(*remote)})"
        )

    def _check(self, column: sa.Column[Any]) -> str | None:
        check = maker.check_of(self.short, column, self.dialect.name)
        return None if check is None else f"CONSTRAINT {self._quoted(check[0])} CHECK ({check[1]})"

    def _index(self, index: sa.Index) -> str:
        name, table = self._quoted(str(index.name)), self._quoted(self.names.table(self.short))
        # On SQLite an index is named within a schema, on PostgreSQL its table is.
        place = f"{self._within(name)} ON {table}" if self._on_sqlite else f"{name} ON {self._within(table)}"
        where = index.info["where"]
        return (
            f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {place} ({self._quoted(*index.info['columns'])})"
            f"{'' if where is None else f' WHERE {where}'}"
        )
