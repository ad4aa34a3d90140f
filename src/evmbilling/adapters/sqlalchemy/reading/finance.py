"""Reads of what a person must decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import Session, any_word, several
from evmbilling.adapters.sqlalchemy.rows import books as rows
from evmbilling.domain.payments.finance import ABOUT_CONTRACTS, ABOUT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.payments.finance import QueueItem


_MAY_HALT = (ABOUT_TOKENS, ABOUT_CONTRACTS)


class FinanceStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        queue = tables["finance_queue"]
        ordered = sa.select(queue).order_by(queue.c.item_id)
        self.item = sa.select(queue).where(queue.c.item_id == bindparam("item_id"))
        self.page = ordered.where(queue.c.item_id > bindparam("after")).limit(bindparam("most"))
        self.page_in = self.page.where(any_word(queue.c.state) == bindparam("state"))
        self.about = ordered.where(queue.c.subject.in_(several("subjects")))


class FinanceReader(Session):
    """Implements :class:`evmbilling.ports.books.FinanceReads`."""

    def queue_item(self, item_id: str) -> QueueItem | None:
        """Return an item of the finance queue."""
        row = self._one(self._statements.finance.item, item_id=item_id)
        return None if row is None else rows.read_queue_item(row)

    def queue_items(self, *, state: str | None = "open", after: str = "", limit: int = 100) -> Sequence[QueueItem]:
        """Return a page of the finance queue by item id; of every state when it is None."""
        statements = self._statements.finance
        if state is None:
            found = self._all(statements.page, after=after, most=limit)
        else:
            found = self._all(statements.page_in, after=after, most=limit, state=state)
        return [rows.read_queue_item(row) for row in found]

    def queue_items_of(self, subjects: Collection[str]) -> Sequence[QueueItem]:
        """Return the items about these subjects by item id."""
        if self._ahead("items that may halt") == () and all(s.startswith(_MAY_HALT) for s in subjects):
            return ()
        found = self._in(self._statements.finance.about, "subjects", subjects)
        return sorted((rows.read_queue_item(row) for row in found), key=lambda item: item.item_id)
