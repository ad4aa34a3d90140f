"""The whole provider kit."""

from __future__ import annotations

from evmbilling.testing.conformance.provider.base import ProviderKit
from evmbilling.testing.conformance.provider.chain import (
    BalancesChecks,
    HeadersChecks,
    LogsChecks,
    PoolsChecks,
    ReaderOverItChecks,
    ReorganisationsChecks,
)
from evmbilling.testing.conformance.provider.exactness import ExactnessChecks
from evmbilling.testing.conformance.provider.faces import FacesChecks
from evmbilling.testing.conformance.provider.named import TransactionsChecks
from evmbilling.testing.conformance.provider.reading import ReadingChecks
from evmbilling.testing.conformance.provider.selling import SellingChecks
from evmbilling.testing.conformance.provider.sending import SendingChecks
from evmbilling.testing.conformance.provider.settling import SettlingChecks


class ProviderConformance(
    HeadersChecks,
    LogsChecks,
    ReorganisationsChecks,
    PoolsChecks,
    BalancesChecks,
    ReaderOverItChecks,
    SellingChecks,
    ReadingChecks,
    ExactnessChecks,
    SettlingChecks,
    SendingChecks,
    TransactionsChecks,
    FacesChecks,
    ProviderKit,
):
    """Standard tests of :class:`evmbilling.ports.provider.Provider`; see :class:`ProviderKit` for what to give."""
