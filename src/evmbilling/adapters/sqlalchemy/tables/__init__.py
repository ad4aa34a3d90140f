"""The tables of one engine: built once per prefix and schema, shared by nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from attrs import field, frozen

from evmbilling.adapters.sqlalchemy.tables import maker
from evmbilling.adapters.sqlalchemy.tables.billing import (
    define_charges,
    define_customers,
    define_orders,
    define_subscriptions,
)
from evmbilling.adapters.sqlalchemy.tables.books import define_ledger, define_seals, define_treasuries
from evmbilling.adapters.sqlalchemy.tables.catalogue import define_catalogue
from evmbilling.adapters.sqlalchemy.tables.chain import define_chain
from evmbilling.adapters.sqlalchemy.tables.figures import define_documents, define_figures
from evmbilling.adapters.sqlalchemy.tables.mandates import define_mandates
from evmbilling.adapters.sqlalchemy.tables.messages import define_messages, define_usage
from evmbilling.adapters.sqlalchemy.tables.money import define_money, define_records
from evmbilling.adapters.sqlalchemy.tables.sending import define_sending

if TYPE_CHECKING:
    from sqlalchemy.schema import SchemaItem

    from evmbilling.adapters.sqlalchemy.names import Names

DEFINITIONS = (
    define_catalogue,
    define_customers,
    define_subscriptions,
    define_orders,
    define_charges,
    define_money,
    define_records,
    define_chain,
    define_ledger,
    define_treasuries,
    define_seals,
    define_messages,
    define_usage,
    define_sending,
    define_mandates,
    define_figures,
    define_documents,
)
"""In the order of their foreign keys."""


@frozen
class Tables:
    """All tables under one prefix and schema, by their short names.

    Attributes:
        names: prefix and schema.
        metadata: holds the tables; what ``check`` compares a database with.

    """

    names: Names
    metadata: sa.MetaData = field(factory=sa.MetaData)

    def __call__(self, short: str, *items: SchemaItem) -> sa.Table:
        """Make a table; the definitions call this."""
        prepared = maker.prepare(self.names, short, items)
        return sa.Table(self.names.table(short), self.metadata, *prepared, schema=self.names.schema, sqlite_strict=True)

    def __getitem__(self, short: str) -> sa.Table:
        schema = f"{self.names.schema}." if self.names.schema else ""
        return self.metadata.tables[f"{schema}{self.names.table(short)}"]


def build_tables(names: Names) -> Tables:
    """Build the tables as this version of the package knows them."""
    tables = Tables(names)
    for define in DEFINITIONS:
        define(tables)
    return tables
