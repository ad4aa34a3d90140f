"""Every statement of one engine, built once: the compiled form is then found by its cache key and never built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from evmbilling.adapters.sqlalchemy.failures import Duplicate, translate, unique_columns
from evmbilling.adapters.sqlalchemy.joining import HostStatements
from evmbilling.adapters.sqlalchemy.meanings import meaning_of_duplicate
from evmbilling.adapters.sqlalchemy.reading.ahead import AheadStatements
from evmbilling.adapters.sqlalchemy.reading.catalogue import CatalogueStatements
from evmbilling.adapters.sqlalchemy.reading.customers import CustomerStatements
from evmbilling.adapters.sqlalchemy.reading.evidence import EvidenceStatements
from evmbilling.adapters.sqlalchemy.reading.figures import FigureStatements
from evmbilling.adapters.sqlalchemy.reading.finance import FinanceStatements
from evmbilling.adapters.sqlalchemy.reading.ledger import LedgerStatements
from evmbilling.adapters.sqlalchemy.reading.mandates import MandateStatements
from evmbilling.adapters.sqlalchemy.reading.messages import MessageStatements
from evmbilling.adapters.sqlalchemy.reading.orders import OrderStatements
from evmbilling.adapters.sqlalchemy.reading.records import RecordStatements
from evmbilling.adapters.sqlalchemy.reading.renewals import RenewalStatements
from evmbilling.adapters.sqlalchemy.reading.sealing import SealStatements
from evmbilling.adapters.sqlalchemy.reading.sending import SendingStatements
from evmbilling.adapters.sqlalchemy.reading.treasury import TreasuryStatements
from evmbilling.adapters.sqlalchemy.reading.usage import UsageStatements
from evmbilling.adapters.sqlalchemy.reading.watching import WatchStatements
from evmbilling.adapters.sqlalchemy.straight import Straight
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.writing.batching import Batches
from evmbilling.adapters.sqlalchemy.writing.bulk import bulk_of
from evmbilling.adapters.sqlalchemy.writing.changes import Changes
from evmbilling.adapters.sqlalchemy.writing.evidence import EvidenceChanges
from evmbilling.adapters.sqlalchemy.writing.figures import FigureChanges
from evmbilling.adapters.sqlalchemy.writing.leases import LeaseStatements
from evmbilling.adapters.sqlalchemy.writing.pruning import pruning_statements

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy.engine import Dialect

    from evmbilling.adapters.sqlalchemy.names import Names
    from evmbilling.adapters.sqlalchemy.writing.bulk import Bulk
    from evmbilling.adapters.sqlalchemy.writing.changes import Change
    from evmbilling.errors import BillingError


class Statements:
    """Built per prefix, schema and kind of database; two engines share none."""

    def __init__(self, names: Names, dialect: str) -> None:
        tables = build_tables(names)
        self.names = names
        self.dialect = dialect
        self.uniques = unique_columns(tables.metadata)
        self.straight: dict[Any, Straight] = {}
        self._bulks: dict[Any, Bulk] = {}
        self.ahead = AheadStatements(tables, dialect)
        self.catalogue = CatalogueStatements(tables)
        self.customers = CustomerStatements(tables, dialect)
        self.orders = OrderStatements(tables)
        self.renewals = RenewalStatements(tables)
        self.evidence = EvidenceStatements(tables)
        self.records = RecordStatements(tables)
        self.ledger = LedgerStatements(tables)
        self.treasury = TreasuryStatements(tables)
        self.finance = FinanceStatements(tables)
        self.sealing = SealStatements(tables)
        self.mandates = MandateStatements(tables)
        self.messages = MessageStatements(tables)
        self.sending = SendingStatements(tables)
        self.usage = UsageStatements(tables, dialect)
        self.watch = WatchStatements(tables)
        self.figures = FigureStatements(tables, dialect)
        self.figure_changes = FigureChanges(tables)
        self.pruning = pruning_statements(tables)
        self.changes = Changes(tables, dialect)
        self.evidence_changes = EvidenceChanges(tables, dialect)
        self.batches = Batches() if dialect == "postgresql" else None
        self.leases = LeaseStatements(tables, dialect)
        self.instance_id = sa.select(tables["instance"].c.instance_id)
        customers = tables["customers"]
        self.take_write_lock = sa.update(customers).where(sa.false()).values(version=customers.c.version)
        self.host = HostStatements(self.instance_id, self.take_write_lock)

    def bulk(self, change: Change, dialect: Dialect) -> Bulk:
        """Return how many rows of a change are written on a connection of ours."""
        if change not in self._bulks:
            self._bulks[change] = bulk_of(change, dialect)
        return self._bulks[change]

    def meaning(self, error: exc.SQLAlchemyError) -> BillingError | None:
        """Return what an error means to a caller of the port; ``None`` for a mistake in a statement."""
        meaning = translate(error, self.uniques, prefix=self.names.prefix)
        return meaning_of_duplicate(meaning) if isinstance(meaning, Duplicate) else meaning

    def failures(self) -> _Failures:
        """Turn every database error inside the block into one of ours."""
        return _Failures(self)


class _Failures:
    """A block whose database errors become ours; no generator, because every unit has one."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise what an error of the database means."""
        if isinstance(error, exc.SQLAlchemyError):
            meaning = self._statements.meaning(error)
            if meaning is not None:
                raise meaning from error
