"""How a table of ours is written down: once, with the checks that its column types ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from evmbilling.adapters.sqlalchemy.types import PlainText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.schema import SchemaItem

    from evmbilling.adapters.sqlalchemy.names import Names


class MakeTable(Protocol):
    """What a definition of tables is given: the models and the migrations each bring their own."""

    @property
    def names(self) -> Names:
        """Prefix and schema."""
        ...

    def __call__(self, short: str, *items: SchemaItem) -> sa.Table:
        """Make the table with this short name."""
        ...


def key(*columns: str) -> sa.PrimaryKeyConstraint:
    """Return the primary key; its name is filled in by the maker."""
    return sa.PrimaryKeyConstraint(*columns)


def unique(purpose: str, *columns: str, where: str | None = None) -> sa.Index:
    """Return a unique index, partial when ``where`` is given; ``purpose`` is its name after ``uq_``."""
    return _index(f"uq_{purpose}", columns, where, is_unique=True)


def index(purpose: str, *columns: str, where: str | None = None) -> sa.Index:
    """Return an index, partial when ``where`` is given; ``purpose`` is its name after ``ix_``."""
    return _index(f"ix_{purpose}", columns, where, is_unique=False)


def _index(name: str, columns: tuple[str, ...], where: str | None, *, is_unique: bool) -> sa.Index:
    partial: dict[str, Any] = {}
    if where is not None:
        partial = {"postgresql_where": sa.text(where), "sqlite_where": sa.text(where)}
    return sa.Index(name, *columns, unique=is_unique, **partial)


def column(name: str, kind: PlainText, *, null: bool = False) -> sa.Column[Any]:
    """Return a column; NOT NULL unless said otherwise."""
    return sa.Column(name, kind, nullable=null)


def refers(names: Names, columns: str, target: str, target_columns: str | None = None) -> sa.ForeignKeyConstraint:
    """Return a foreign key; several columns are separated by spaces."""
    own = columns.split()
    remote = (target_columns or columns).split()
    table = names.qualified(target)
    return sa.ForeignKeyConstraint(own, [f"{table}.{name}" for name in remote], name=f"fk_{'_'.join(own)}")


def prepare(names: Names, short: str, items: Sequence[SchemaItem]) -> list[SchemaItem]:
    """Name every key and index of a table, and add the CHECK that each column type asks for.

    Index and key names carry the prefix: on both databases they share one space per schema.
    """
    for item in items:
        if isinstance(item, sa.PrimaryKeyConstraint):
            item.name = names.table(f"pk_{short}")
        elif isinstance(item, sa.Index):
            kind, purpose = str(item.name)[:2], str(item.name)[3:]
            item.name = quoted_name(names.table(f"{kind}_{short}_{purpose}"), quote=None)
    return [*items, *(check for item in items if isinstance(item, sa.Column) for check in _checks(short, item))]


def check_of(short: str, item: sa.Column[Any], dialect: str) -> tuple[str, str] | None:
    """Return name and text of the CHECK that a column's type asks for on a database; None when it asks for none."""
    kind = item.type
    text = kind.check(item.name, on_postgresql=dialect == "postgresql") if isinstance(kind, PlainText) else None
    return None if text is None else (f"ck_{short}_{item.name}", text)


def _checks(short: str, item: sa.Column[Any]) -> list[sa.CheckConstraint]:
    found = []
    for dialect in ("postgresql", "sqlite"):
        check = check_of(short, item, dialect)
        if check is not None:
            found.append(sa.CheckConstraint(check[1], name=check[0]).ddl_if(dialect=dialect))
    return found
