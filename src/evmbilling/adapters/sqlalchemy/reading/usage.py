"""Counters that only their own statement changes: the database decides, and nobody reads first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy.reading.session import Session, plus
from evmbilling.adapters.sqlalchemy.rows import messages as rows
from evmbilling.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.people.usage import WalletChallenge, Window

_LARGEST = 2**63 - 1


class UsageStatements:
    """Built once per prefix, schema and database."""

    def __init__(self, tables: Tables, dialect: str) -> None:
        usage, challenges = tables["usage"], tables["wallet_challenges"]
        keys = list(usage.primary_key.columns)
        self.used = sa.select(usage.c.used).where(*(column == bindparam(column.name) for column in keys))
        insert = (postgresql if dialect == "postgresql" else sqlite).insert(usage)
        # One statement decides: the row is locked, its newest state is compared, and no row comes back when it is full.
        self.consume = insert.on_conflict_do_update(
            index_elements=keys,
            set_={"used": plus(usage.c.used, insert.excluded.used)},
            where=usage.c.used <= bindparam("room", type_=usage.c.used.type),
        ).returning(usage.c.used)
        self.use_challenge = (
            sa.update(challenges)
            .where(
                challenges.c.nonce == bindparam("given"),
                challenges.c.used_at.is_(None),
                challenges.c.expires_at > bindparam("now", type_=challenges.c.expires_at.type),
            )
            .values(used_at=bindparam("now", type_=challenges.c.used_at.type))
            .returning(challenges)
        )


class UsageCounter(Session):
    """Implements :class:`evmbilling.ports.messages.UsageOperations`."""

    def used(self, window: Window) -> int:
        """Return what was used in a window."""
        row = self._one(self._statements.usage.used, **rows.window_key(window))
        return 0 if row is None else int(row.used)

    def consume(self, window: Window, amount: int) -> int | None:
        """Add to a window if the sum stays at or below ``window.allowed``; return the sum, or None.

        Raises:
            InputError: the amount is negative.

        """
        self._begin_writing()
        if type(amount) is not int or amount < 0:
            raise InputError("an amount that is used is a whole number from 0", field="amount")
        if amount > window.allowed:
            return None
        values = {**rows.window_key(window), "used": amount, "room": min(window.allowed, _LARGEST) - amount}
        row = self._one(self._statements.usage.consume, **values)
        return None if row is None else int(row.used)

    def use_challenge(self, nonce: str, now: datetime) -> WalletChallenge | None:
        """Mark an unused, unexpired challenge as used and return it; one caller gets it."""
        self._begin_writing()
        row = self._one(self._statements.usage.use_challenge, given=nonce, now=now)
        return None if row is None else rows.read_challenge(row)
