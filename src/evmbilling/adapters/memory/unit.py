"""One transaction in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from evmbilling.adapters.memory import (
    catalogue,
    customers,
    evidence,
    figures,
    ledger,
    messages,
    records,
    renewals,
    sales,
    sending,
    treasury,
    usage,
)
from evmbilling.adapters.memory.catalogue import MemoryCatalogue
from evmbilling.adapters.memory.customers import MemoryCustomers
from evmbilling.adapters.memory.evidence import MemoryEvidence
from evmbilling.adapters.memory.figures import MemoryFigures
from evmbilling.adapters.memory.ledger import MemoryLedger
from evmbilling.adapters.memory.mandates import MemoryMandates
from evmbilling.adapters.memory.messages import MemoryMessages
from evmbilling.adapters.memory.orders import MemoryOrders
from evmbilling.adapters.memory.records import MemoryRecords
from evmbilling.adapters.memory.renewals import MemoryRenewals
from evmbilling.adapters.memory.sending import MemorySending
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.treasury import MemoryTreasury
from evmbilling.adapters.memory.usage import MemoryUsage
from evmbilling.adapters.memory.values import checked
from evmbilling.adapters.memory.watching import MemoryWatch
from evmbilling.domain import decisions as d
from evmbilling.domain.selling.offering import CheckoutRequest


class MemoryUnit(
    MemoryCatalogue,
    MemoryCustomers,
    MemoryOrders,
    MemoryRenewals,
    MemoryEvidence,
    MemoryRecords,
    MemoryLedger,
    MemoryTreasury,
    MemoryMessages,
    MemoryUsage,
    MemorySending,
    MemoryMandates,
    MemoryWatch,
    MemoryFigures,
):
    """Implements :class:`evmbilling.ports.storage.Unit` on a layer over the committed rows."""

    def read_ahead(self, *, operation: str, key: str, request: CheckoutRequest) -> None:
        """Do nothing: memory is as quick at any time."""

    def apply(self, decisions: Sequence[d.Decision]) -> None:
        """Write the decisions, all or none: after an error the unit answers nothing and is not committed."""
        self._must_write()
        tables = self._tables
        try:
            for decision in decisions:
                _apply(tables, checked(decision))
        except BaseException:
            self.end("a write failed in this unit; nothing of it is kept")
            raise

    def commit(self) -> None:
        """Hand the unit's layer down.

        Raises:
            StorageError: a write failed in the unit.

        """
        self._tables.settle()


def _apply(tables: Tables, decision: d.Decision) -> None:  # noqa: C901, PLR0912  - one flat table of all decisions
    if isinstance(decision, catalogue.CatalogueDecision):
        catalogue.write(tables, decision)
    elif isinstance(decision, customers.CustomerDecision):
        customers.write(tables, decision)
    elif isinstance(decision, sales.SaleDecision):
        sales.write(tables, decision)
    elif isinstance(decision, renewals.RenewalDecision):
        renewals.write(tables, decision)
    elif isinstance(decision, records.RecordDecision):
        records.write(tables, decision)
    elif isinstance(decision, ledger.LedgerDecision):
        ledger.write(tables, decision)
    elif isinstance(decision, treasury.TreasuryDecision):
        treasury.write(tables, decision)
    elif isinstance(decision, messages.MessageDecision):
        messages.write(tables, decision)
    elif isinstance(decision, usage.UsageDecision):
        usage.write(tables, decision)
    elif isinstance(decision, sending.SendingDecision):
        sending.write(tables, decision)
    elif isinstance(decision, figures.FigureDecision):
        figures.write(tables, decision)
    elif isinstance(decision, evidence.EvidenceDecision):
        evidence.write(tables, decision)
    else:
        assert_never(decision)
