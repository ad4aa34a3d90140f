"""Reads of tamper evidence: what is sealed, what is not yet, and rows as they stand now."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.canonical import encode_json
from evmbilling.adapters.sqlalchemy.reading.session import Session, several
from evmbilling.adapters.sqlalchemy.rows import books as rows
from evmbilling.adapters.sqlalchemy.values import instant_text
from evmbilling.domain.books.seals import SealedRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.books.seals import Seal, SealItem

SEALED = ("audit", "ledger_entries", "outbox", "receipt_entries", "subscription_changes")
"""Whose rows are sealed. The lines of a ledger entry are part of its row: none can be added or taken away unseen."""
NUMBERED = ("receipt_entries", "subscription_changes")
"""Whose keys have a number after the name."""
COUNTED = ("audit", "ledger_entries")
"""Whose unsealed rows are the seal's lag."""


class SealStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        seals, items = tables["seals"], tables["seal_items"]
        self.last = sa.select(seals).order_by(seals.c.number.desc()).limit(1)
        self.page = (
            sa.select(seals)
            .where(seals.c.number > bindparam("after"))
            .order_by(seals.c.number)
            .limit(bindparam("most"))
        )
        self.items = (
            sa.select(items).where(items.c.seal == bindparam("number")).order_by(items.c.table_name, items.c.row_key)
        )
        lines = tables["ledger_lines"]
        self.lines = (
            sa.select(lines).where(lines.c.entry_id.in_(several("entry_ids"))).order_by(lines.c.entry_id, lines.c.seq)
        )
        self.highest = sa.select(sa.func.max(items.c.row_key)).where(items.c.table_name == bindparam("short"))
        self.unsealed = {short: _unsealed(tables[short], short, items) for short in SEALED}
        self.stored = {short: _stored(tables[short]) for short in SEALED}
        self.lag = {short: _lag(tables[short], short, items) for short in COUNTED}


def _key(table: sa.Table) -> Any:
    """The primary key as text: a name, or a name and a number after a colon."""
    first, *rest = table.primary_key.columns
    text: Any = sa.type_coerce(first, sa.Text)
    return text + ":" + sa.cast(rest[0], sa.Text) if rest else text


def _is_sealed(table: sa.Table, short: str, items: sa.Table) -> Any:
    return sa.exists().where(
        items.c.table_name == sa.literal(short, items.c.table_name.type),
        sa.type_coerce(items.c.row_key, sa.Text) == _key(table),
    )


def _unsealed(table: sa.Table, short: str, items: sa.Table) -> tuple[Any, Any]:
    """Rows without a seal, whatever their ids: a transaction that began early may commit late.

    In two steps, so that a long backlog is not looked through again for each link: what is above everything sealed,
    where there is no seal to be looked for, and what is not.
    """
    first = next(iter(table.primary_key.columns))
    found = sa.select(table, _key(table).label("row_key"))
    found = found.order_by(*table.primary_key.columns).limit(bindparam("most"))
    highest = bindparam("highest", type_=first.type)
    return found.where(first > highest), found.where(first <= highest, ~_is_sealed(table, short, items))


def _stored(table: sa.Table) -> Any:
    first = next(iter(table.primary_key.columns))
    return sa.select(table, _key(table).label("row_key")).where(first.in_(several("names")))


def _lag(table: sa.Table, short: str, items: sa.Table) -> Any:
    return (
        sa.select(sa.func.count())
        .select_from(table)
        .where(table.c.recorded_at < bindparam("instant"), ~_is_sealed(table, short, items))
    )


class SealReader(Session):
    """Implements :class:`evmbilling.ports.books.SealReads`."""

    def last_seal(self) -> Seal | None:
        """Return the newest link of the chain."""
        row = self._one(self._statements.sealing.last)
        return None if row is None else rows.read_seal(row)

    def seals(self, *, after: int = 0, limit: int = 1000) -> Sequence[Seal]:
        """Return a page of links by number."""
        return [rows.read_seal(row) for row in self._all(self._statements.sealing.page, after=after, most=limit)]

    def seal_items(self, number: int) -> Sequence[SealItem]:
        """Return what a link covers, by (table, key)."""
        return [rows.read_seal_item(row) for row in self._all(self._statements.sealing.items, number=number)]

    def unsealed_rows(self, limit: int) -> Sequence[SealedRow]:
        """Return append-only rows that no link covers yet."""
        unsealed = self._statements.sealing.unsealed
        highest = {short: self._highest(short) for short in unsealed}
        found: list[SealedRow] = []
        # What is below everything sealed is looked for once nothing is left above: that looks through the whole table.
        for step in (0, 1):
            for short, steps in unsealed.items():
                if len(found) < limit:
                    wanted = {"highest": highest[short], "most": limit - len(found)}
                    found += self._as_sealed(short, self._all(steps[step], **wanted))
        return found

    def sealed_rows(self, table: str, keys: Collection[str]) -> Mapping[str, SealedRow]:
        """Return append-only rows by key, as they are stored now; none of a table whose rows are not sealed."""
        if table not in SEALED:
            return {}
        wanted = set(keys)
        names = {_name(table, key) for key in wanted}
        found = [
            row for row in self._in(self._statements.sealing.stored[table], "names", names) if row.row_key in wanted
        ]
        return {row.key: row for row in self._as_sealed(table, found)}

    def unsealed_before(self, instant: datetime) -> int:
        """Count ledger and audit rows recorded before an instant that no link covers."""
        counts = self._statements.sealing.lag.values()
        return sum(int(self._run(count, {"instant": instant}).scalar_one()) for count in counts)

    def _highest(self, short: str) -> str:
        """Return the highest name of a sealed row; empty when none is."""
        return _name(short, self._run(self._statements.sealing.highest, {"short": short}).scalar_one() or "")

    def _as_sealed(self, short: str, found: Sequence[Any]) -> list[SealedRow]:
        lines: dict[str, list[Any]] = {}
        if short == "ledger_entries":
            listed = self._in(self._statements.sealing.lines, "entry_ids", [row.entry_id for row in found])
            lines = {key: [_plain_row(line) for line in group] for key, group in groupby(listed, _entry_id)}
        return [
            SealedRow(table=short, key=row.row_key, content=_content(short, row, lines.get(row.row_key, ())))
            for row in found
        ]


def _name(short: str, key: str) -> str:
    """Return the first column of a key."""
    return key.rpartition(":")[0] if short in NUMBERED else key


def _entry_id(line: Any) -> str:
    found: str = line.entry_id
    return found


_ADDED = {"subscription_changes": frozenset({"period", "zone", "reason", "terms", "adoption", "paid_to"})}
"""Columns that came later: left out while they hold nothing, so that rows sealed before stay what they were."""


def _content(short: str, row: Any, lines: Iterable[Any]) -> bytes:
    """Write every column as canonical JSON, the same bytes on both databases."""
    added = _ADDED.get(short, frozenset())
    values = {name: value for name, value in _plain_row(row).items() if value is not None or name not in added}
    del values["row_key"]
    return encode_json(values | {"lines": list(lines)} if lines else values).encode()


def _plain_row(row: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row._asdict().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant_text(value)
    return value.hex() if isinstance(value, bytes) else value
