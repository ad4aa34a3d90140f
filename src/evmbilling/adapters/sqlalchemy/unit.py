"""A unit: all reads and all writes on one connection, inside one transaction or one savepoint."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.reading.ahead import AheadReader
from evmbilling.adapters.sqlalchemy.reading.catalogue import CatalogueReader
from evmbilling.adapters.sqlalchemy.reading.customers import CustomerReader
from evmbilling.adapters.sqlalchemy.reading.evidence import EvidenceReader
from evmbilling.adapters.sqlalchemy.reading.figures import FigureReader
from evmbilling.adapters.sqlalchemy.reading.finance import FinanceReader
from evmbilling.adapters.sqlalchemy.reading.mandates import MandateReader
from evmbilling.adapters.sqlalchemy.reading.messages import MessageReader
from evmbilling.adapters.sqlalchemy.reading.orders import OrderReader
from evmbilling.adapters.sqlalchemy.reading.records import RecordReader
from evmbilling.adapters.sqlalchemy.reading.renewals import RenewalReader
from evmbilling.adapters.sqlalchemy.reading.sealing import SealReader
from evmbilling.adapters.sqlalchemy.reading.sending import TransmissionReader
from evmbilling.adapters.sqlalchemy.reading.treasury import TreasuryReader
from evmbilling.adapters.sqlalchemy.reading.usage import UsageCounter
from evmbilling.adapters.sqlalchemy.reading.watching import WatchReader
from evmbilling.adapters.sqlalchemy.writing.applying import Applier


class SqlUnit(
    CatalogueReader,
    CustomerReader,
    OrderReader,
    RenewalReader,
    EvidenceReader,
    RecordReader,
    AheadReader,
    FigureReader,
    TreasuryReader,
    FinanceReader,
    SealReader,
    MessageReader,
    MandateReader,
    UsageCounter,
    TransmissionReader,
    WatchReader,
    Applier,
):
    """Implements :class:`evmbilling.ports.storage.Unit`."""
