"""The whole storage kit."""

from __future__ import annotations

from evmbilling.testing.conformance.storage.answers import AnswersChecks
from evmbilling.testing.conformance.storage.book_keys import BookKeysChecks
from evmbilling.testing.conformance.storage.books import BooksChecks
from evmbilling.testing.conformance.storage.broken import BrokenChecks
from evmbilling.testing.conformance.storage.equality import EqualityChecks
from evmbilling.testing.conformance.storage.equality_books import EqualityBooksChecks
from evmbilling.testing.conformance.storage.evidence import EvidenceChecks
from evmbilling.testing.conformance.storage.figures import FiguresChecks
from evmbilling.testing.conformance.storage.host import HostChecks
from evmbilling.testing.conformance.storage.intake import IntakeChecks
from evmbilling.testing.conformance.storage.late import LateChecks
from evmbilling.testing.conformance.storage.leases import LeasesChecks
from evmbilling.testing.conformance.storage.mandates import MandatesChecks
from evmbilling.testing.conformance.storage.natural_keys import NaturalKeysChecks
from evmbilling.testing.conformance.storage.numbers import NumbersChecks
from evmbilling.testing.conformance.storage.order_queries import OrderQueriesChecks
from evmbilling.testing.conformance.storage.outbox import OutboxChecks
from evmbilling.testing.conformance.storage.outbox_threads import OutboxThreadsChecks
from evmbilling.testing.conformance.storage.paging import PagingChecks
from evmbilling.testing.conformance.storage.prepared import PreparedChecks
from evmbilling.testing.conformance.storage.processes import ProcessesChecks
from evmbilling.testing.conformance.storage.queries import QueriesChecks
from evmbilling.testing.conformance.storage.read_ahead import ReadAheadChecks
from evmbilling.testing.conformance.storage.renewals import RenewalsChecks
from evmbilling.testing.conformance.storage.replacements import ReplacementsChecks
from evmbilling.testing.conformance.storage.retention import RetentionChecks
from evmbilling.testing.conformance.storage.roundtrips import RoundtripsChecks
from evmbilling.testing.conformance.storage.seals import SealsChecks
from evmbilling.testing.conformance.storage.threads import ThreadsChecks
from evmbilling.testing.conformance.storage.transmissions import TransmissionsChecks
from evmbilling.testing.conformance.storage.treasury import TreasuryChecks
from evmbilling.testing.conformance.storage.units import UnitsChecks
from evmbilling.testing.conformance.storage.usage import UsageChecks
from evmbilling.testing.conformance.storage.values import ValuesChecks
from evmbilling.testing.conformance.storage.watching import WatchingChecks
from evmbilling.testing.conformance.storage.words import WordsChecks


class StorageConformance(
    AnswersChecks,
    BookKeysChecks,
    BooksChecks,
    BrokenChecks,
    EqualityChecks,
    EqualityBooksChecks,
    EvidenceChecks,
    FiguresChecks,
    HostChecks,
    IntakeChecks,
    LateChecks,
    LeasesChecks,
    MandatesChecks,
    NaturalKeysChecks,
    NumbersChecks,
    OrderQueriesChecks,
    OutboxChecks,
    OutboxThreadsChecks,
    PagingChecks,
    PreparedChecks,
    ProcessesChecks,
    QueriesChecks,
    ReadAheadChecks,
    RenewalsChecks,
    ReplacementsChecks,
    RetentionChecks,
    RoundtripsChecks,
    SealsChecks,
    ThreadsChecks,
    TransmissionsChecks,
    TreasuryChecks,
    UnitsChecks,
    UsageChecks,
    ValuesChecks,
    WatchingChecks,
    WordsChecks,
):
    """Standard tests of :class:`evmbilling.ports.storage.Storage`; see :class:`StorageKit` for what to give."""
