"""Reads of the ledger: balances, entries, what is still deferred."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import Session, several
from evmbilling.adapters.sqlalchemy.rows import billing, books

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.books.ledger import Balance, Entry
    from evmbilling.domain.selling.orders import Order

DEFERRED = "account = 'deferred_revenue' AND credit > debit"
"""The condition of the partial index on balances, in its own words."""
_ORDER = "order:"


class LedgerStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        balances, entries, lines = tables["balances"], tables["ledger_entries"], tables["ledger_lines"]
        orders = tables["payment_transactions"]
        ordered = sa.select(balances).order_by(*balances.primary_key.columns)
        self.balances = ordered.where(balances.c.owner.in_(several("owners")))
        self.balance_page = ordered.where(balances.c.owner > bindparam("after")).limit(bindparam("most"))
        self.deferred = (
            sa.select(balances.c.owner)
            .where(sa.text(DEFERRED), balances.c.owner > bindparam("after"), balances.c.owner.startswith(_ORDER))
            .distinct()
            .order_by(balances.c.owner)
            .limit(bindparam("most"))
        )
        self.orders = sa.select(orders).where(orders.c.ledger_id.in_(several("ledger_ids")))
        self.entries = (
            sa.select(entries)
            .where(entries.c.entry_id > bindparam("after"))
            .order_by(entries.c.entry_id)
            .limit(bindparam("most"))
        )
        self.entries_of_order = self.entries.where(entries.c.ledger_id == bindparam("ledger_id"))
        self.lines = (
            sa.select(lines).where(lines.c.entry_id.in_(several("entry_ids"))).order_by(lines.c.entry_id, lines.c.seq)
        )


class LedgerReader(Session):
    """Implements :class:`evmbilling.ports.books.LedgerReads`."""

    def balances(self, owners: Collection[str]) -> Sequence[Balance]:
        """Return the balance rows of these owners, by (owner, account, chain id, token)."""
        return [books.read_balance(row) for row in self._in(self._statements.ledger.balances, "owners", owners)]

    def all_balances(self, *, after: str = "", limit: int = 1000) -> Sequence[Balance]:
        """Return a page of balance rows in that order: as many whole owners as fit, at least one."""
        statements = self._statements.ledger
        found = self._all(statements.balance_page, after=after, most=limit + 1)
        page = whole_groups(found, "owner", limit)
        if found and not page:
            return self.balances([found[0].owner])
        return [books.read_balance(row) for row in page]

    def ledger_entries(self, *, ledger_id: str | None = None, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """Return a page of entries by entry id, all or of one order."""
        statements = self._statements.ledger
        if ledger_id is None:
            rows = self._all(statements.entries, after=after, most=limit)
        else:
            rows = self._all(statements.entries_of_order, after=after, most=limit, ledger_id=ledger_id)
        lines = self._lines_of([row.entry_id for row in rows])
        return [books.read_posting(row, lines.get(row.entry_id, ())) for row in rows]

    def deferred_orders(self, *, after: str = "", limit: int = 1000) -> Sequence[Order]:
        """Return a page of orders, by ledger id, whose deferred revenue is above zero."""
        statements = self._statements.ledger
        owners = self._all(statements.deferred, after=_ORDER + after, most=limit)
        ledger_ids = [row.owner.removeprefix(_ORDER) for row in owners]
        found = self._in(statements.orders, "ledger_ids", ledger_ids)
        return sorted((billing.read_order(row) for row in found), key=lambda order: order.ledger_id)

    def _lines_of(self, entry_ids: Collection[str]) -> dict[str, list[Any]]:
        found = self._in(self._statements.ledger.lines, "entry_ids", entry_ids)
        return {entry_id: list(lines) for entry_id, lines in groupby(found, key=lambda line: line.entry_id)}


def whole_groups(found: Sequence[Any], name: str, limit: int) -> Sequence[Any]:
    """Return the rows of as many whole groups as fit into ``limit``, of up to ``limit + 1`` rows that were found."""
    if len(found) <= limit:
        return found
    cut = getattr(found[limit], name)
    return list(_until(found, name, cut))


def _until(found: Iterable[Any], name: str, cut: object) -> Iterable[Any]:
    return (row for row in found if getattr(row, name) != cut)
