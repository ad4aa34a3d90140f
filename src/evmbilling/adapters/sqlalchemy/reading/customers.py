"""Reads and locks of customers."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy.reading.session import Session, several
from evmbilling.adapters.sqlalchemy.rows import billing as rows
from evmbilling.adapters.sqlalchemy.types import PlainText

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.people.customers import Customer, Wallet
    from evmbilling.domain.subscriptions.access import Entitlement


class CustomerStatements:
    """Built once per prefix, schema and database.

    The lock is FOR NO KEY UPDATE: it excludes every other unit of ours, and lets through the foreign key checks of rows
    that refer to the customer.
    """

    def __init__(self, tables: Tables, dialect: str) -> None:
        customers, wallets, entitlements = tables["customers"], tables["wallets"], tables["entitlements"]
        self.customer = sa.select(customers).where(customers.c.user_id == bindparam("user_id", type_=PlainText()))
        self.lock_customer = self.customer.with_for_update(key_share=True)
        ordered = sa.select(customers).order_by(customers.c.user_id)
        several_customers = ordered.where(customers.c.user_id.in_(several("user_ids")))
        self.lock_customers = several_customers.with_for_update(key_share=True)
        self.lock_free_customers = several_customers.with_for_update(key_share=True, skip_locked=True)
        self.customers = ordered.where(customers.c.user_id > bindparam("after")).limit(bindparam("most"))
        self.wallets = sa.select(wallets).where(wallets.c.user_id == bindparam("user_id")).order_by(wallets.c.address)
        self.entitlements = (
            sa.select(entitlements)
            .where(entitlements.c.user_id.in_(several("user_ids")))
            .order_by(*entitlements.primary_key.columns)
        )
        self.first_sight = _upsert((postgresql if dialect == "postgresql" else sqlite).insert(customers), customers)
        self.row = _row_of(customers)
        self.lock_or_insert = _lock_or_insert(customers, self.lock_customer) if dialect == "postgresql" else None


def _row_of(table: sa.Table) -> Any:
    """Return a class of rows with the names of all columns."""
    return namedtuple("row", table.columns.keys())  # noqa: PYI024  - the columns are a table's


def _upsert(insert: Any, customers: sa.Table) -> Any:
    """Insert a customer and return the row that is then there, locked.

    DO NOTHING could return no row when two first sights meet. No column of the key is set: that would lock the row
    against the foreign key checks of rows that refer to it.
    """
    return insert.on_conflict_do_update(
        index_elements=[customers.c.user_id], set_={"version": customers.c.version}
    ).returning(customers)


def _lock_or_insert(customers: sa.Table, lock: Any) -> Any:
    """Lock a customer's row, or insert it when there is none: one round trip, and no write to a row that exists."""
    here = lock.cte("here")
    values = sa.select(*(bindparam(c.name, type_=c.type).label(c.name) for c in customers.columns))
    absent = values.where(~sa.exists(sa.select(here.c.user_id)))
    fresh = _upsert(postgresql.insert(customers).from_select(list(customers.columns.keys()), absent), customers)
    return sa.select(here).union_all(sa.select(fresh.cte("fresh")))


class CustomerReader(Session):
    """Implements :class:`evmbilling.ports.storage.CustomerReads`."""

    def lock_customer(self, fresh: Customer) -> Customer:
        """Lock the customer's row until the unit ends, inserting ``fresh`` on first sight; return the stored row."""
        self._begin_writing()
        statements, values = self._statements.customers, rows.customer_values(fresh)
        if statements.lock_or_insert is not None:
            (row,) = self._rows(statements.lock_or_insert, values)
            return rows.read_customer(statements.row(*row))
        found = self._rows(statements.lock_customer, {"user_id": fresh.user_id})
        if not found:
            found = self._rows(statements.first_sight, values)
        return rows.read_customer(statements.row(*found[0]))

    def lock_customers(self, user_ids: Collection[str], *, skip_locked: bool = False) -> Mapping[str, Customer]:
        """Lock existing customers in order of their id; with ``skip_locked`` leave out those that others hold."""
        self._begin_writing()
        statements = self._statements.customers
        statement = statements.lock_free_customers if skip_locked else statements.lock_customers
        return {row.user_id: rows.read_customer(row) for row in self._in(statement, "user_ids", user_ids)}

    def customer(self, user_id: str) -> Customer | None:
        """Return a customer without locking."""
        row = self._one(self._statements.customers.customer, user_id=user_id)
        return None if row is None else rows.read_customer(row)

    def customers(self, *, after: str = "", limit: int = 100) -> Sequence[Customer]:
        """Return a page of customers by id."""
        found = self._all(self._statements.customers.customers, after=after, most=limit)
        return [rows.read_customer(row) for row in found]

    def wallets(self, user_id: str) -> Sequence[Wallet]:
        """Return a customer's confirmed wallets by address."""
        return [rows.read_wallet(row) for row in self._all(self._statements.customers.wallets, user_id=user_id)]

    def entitlements(self, user_ids: Collection[str]) -> Sequence[Entitlement]:
        """Return what these users are entitled to by (user, product, source): one indexed read."""
        found = self._in(self._statements.customers.entitlements, "user_ids", user_ids)
        return [rows.read_entitlement(row) for row in found]
