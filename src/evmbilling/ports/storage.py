"""Storage: reads that return domain records, and lists of decisions committed in one transaction.

Clauses of the contract; ``evmbilling.testing.conformance.StorageConformance`` holds a storage to each of them:

1. What one :class:`Unit` applied is visible to others entirely or not at all.
2. A unit that raises leaves nothing behind, and neither does one in which a list of decisions failed.
3. Natural keys are unique, versions follow each other, and a row refers only to what is there: see each decision for
   the error that it means.
4. Rows of append-only tables (audit, documents, figure moves, ledger entries, outbox, receipt entries, seals, signed
   transactions, subscription changes) never change or disappear.
5. Amounts up to 2**256 - 1, instants to the microsecond and any text come back exactly, or are refused by name before
   anything is written.
6. ``lock_customers`` serialises everything that concerns a customer until the unit ends; nothing else that two
   customers share is locked or updated by a unit that a host can join.
7. What is claimed (items, events, deliveries, hints, subscriptions that are due) is never in two open units, and what
   another unit holds is passed over; events and deliveries keep their order within an aggregate.
8. Evidence is written only under the newest fence; what a reorganisation took away is kept as orphaned and not
   answered as canonical, and chains do not touch each other.
9. A lease has one owner until its time is over by the storage's clock; a new owner has a newer fence.
10. A read answers with what is stored now, whole records, in the order and the pages that its docstring promises.
11. Each use of a counter or a challenge is one conditional write: never above what is allowed, never twice.
12. ``prune`` removes what ended before an instant, of the named tables only, up to the limit.
13. Every append-only row is offered to the sealer once it is committed, whenever that is, until a link covers it; its
    content is the same at each look.
14. With ``many_processes``: all of this holds between processes, and one that is killed leaves nothing behind.
15. With ``host_transaction``: a joined unit is a savepoint; only the host commits, and its rollback undoes all.
16. A call to the database that fails is a StorageError; the unit never happened, its connection is given back, and the
    storage works on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.decisions import Decision
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.messages.events import AuditEntry, Event
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, IntakeItem, Lease
from evmbilling.domain.selling.offering import CheckoutRequest
from evmbilling.domain.selling.orders import KeyRecord, Order
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.ports.books import FinanceReads, LedgerReads, SealReads, TreasuryReads
from evmbilling.ports.figures import DocumentReads, FigureReads
from evmbilling.ports.mandates import MandateReads
from evmbilling.ports.messages import DeliveryReads, InboxReads, UsageOperations
from evmbilling.ports.proofs import ProofReads
from evmbilling.ports.renewals import RenewalReads
from evmbilling.ports.sending import TransmissionReads
from evmbilling.ports.watching import WatchReads


class CatalogueReads(Protocol):
    """What is configured. Archived rows are returned too; the caller decides."""

    def network(self, name: str) -> Network | None:
        """Return a network by name."""
        ...

    def networks(self) -> Sequence[Network]:
        """Return all networks by name."""
        ...

    def gateway(self, slug: str) -> PaymentGateway | None:
        """Return a gateway by slug."""
        ...

    def gateways(self) -> Sequence[PaymentGateway]:
        """Return all gateways by slug."""
        ...

    def contract(self, slug: str, network: str) -> PaymentContract | None:
        """Return the contract of that slug on a network."""
        ...

    def contracts(self, chain_id: int | None = None) -> Sequence[PaymentContract]:
        """Return all contracts, or those of one chain, by (slug, network)."""
        ...

    def plan(self, slug: str, version: int | None = None) -> SubscriptionPlan | None:
        """Return one version of a plan, or the newest."""
        ...

    def plans(self) -> Sequence[SubscriptionPlan]:
        """Return the newest version of every plan by slug."""
        ...

    def plan_versions(self, keys: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], SubscriptionPlan]:
        """Return the named (slug, version) pairs that exist."""
        ...


class CustomerReads(Protocol):
    """Customers and what they hold."""

    def lock_customer(self, fresh: Customer) -> Customer:
        """Lock the customer's row until the unit ends, inserting ``fresh`` on first sight; return the stored row.

        Raises:
            RetryTransaction: the row stayed locked longer than the lock timeout; ``details`` say that it was the row,
                and not something larger: ``held`` is ``customers``.

        """
        ...

    def lock_customers(self, user_ids: Collection[str], *, skip_locked: bool = False) -> Mapping[str, Customer]:
        """Lock existing customers in order of their id; with ``skip_locked`` leave out those that others hold."""
        ...

    def customer(self, user_id: str) -> Customer | None:
        """Return a customer without locking."""
        ...

    def customers(self, *, after: str = "", limit: int = 100) -> Sequence[Customer]:
        """Return a page of customers by id."""
        ...

    def wallets(self, user_id: str) -> Sequence[Wallet]:
        """Return a customer's confirmed wallets."""
        ...

    def entitlements(self, user_ids: Collection[str]) -> Sequence[Entitlement]:
        """Return what these users are entitled to: one indexed read."""
        ...


class OrderReads(Protocol):
    """Orders, subscriptions, receipts."""

    def key(self, operation: str, user_id: str, key: str) -> KeyRecord | None:
        """Return an idempotency key."""
        ...

    def order(self, ledger_id: str) -> Order | None:
        """Return an order."""
        ...

    def orders_of_user(self, user_id: str, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of a user's orders, newest first, below the given ledger id."""
        ...

    def find_orders(self, wanted: OrderFilter, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of the orders that meet all conditions, newest first, below the given ledger id."""
        ...

    def orders(self, ledger_ids: Collection[str]) -> Mapping[str, Order]:
        """Return orders by id."""
        ...

    def orders_by_reference(self, references: Collection[bytes]) -> Mapping[bytes, Order]:
        """Return the orders that these references name, or the hashes by which events name them."""
        ...

    def orders_of_subscriptions(self, subscription_ids: Collection[str]) -> Sequence[Order]:
        """Return all orders of these subscriptions by ledger id."""
        ...

    def overdue_offers(self, chain_id: int, before: datetime, limit: int) -> Sequence[Order]:
        """Return orders of a chain whose deadline is before an instant, the oldest deadline first.

        Only those that are pending, partially paid or reversed and have no ``closed_as``.
        """
        ...

    def live_subscription(self, user_id: str, product: Product) -> Subscription | None:
        """Return the user's live subscription to a product."""
        ...

    def subscriptions(self, subscription_ids: Collection[str]) -> Mapping[str, Subscription]:
        """Return subscriptions by id."""
        ...

    def subscriptions_of_user(self, user_id: str) -> Sequence[Subscription]:
        """Return a user's subscriptions by id."""
        ...

    def changes(self, subscription_ids: Collection[str]) -> Sequence[SubscriptionChange]:
        """Return the changes of these subscriptions by (subscription, seq)."""
        ...

    def receipts_of_orders(self, ledger_ids: Collection[str]) -> Sequence[Receipt]:
        """Return the receipts of these orders by identity."""
        ...

    def receipts_by_identity(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, Receipt]:
        """Return the receipts of these movements."""
        ...

    def unmatched_receipts(self, limit: int = 100) -> Sequence[Receipt]:
        """Return receipts in suspense, oldest first."""
        ...

    def entries(self, receipt_id: str) -> Sequence[ReceiptEntry]:
        """Return a receipt's journal by seq."""
        ...

    def refunds_of_order(self, ledger_id: str) -> Sequence[Refund]:
        """Return the refunds of an order by id."""
        ...


class EvidenceReads(Protocol):
    """What the chain said."""

    def cursor(self, chain_id: int) -> Cursor | None:
        """Return how far a chain has been read."""
        ...

    def cursors(self) -> Sequence[Cursor]:
        """Return all cursors by chain id."""
        ...

    def window(self, chain_id: int, *, above: int = -1) -> Sequence[BlockHeader]:
        """Return the stored headers with a number greater than ``above``, in order."""
        ...

    def logs_of(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, ChainLog]:
        """Return the canonical log of each movement; a movement whose logs are all orphaned is left out."""
        ...

    def logs_between(self, chain_id: int, first: int, last: int) -> Sequence[ChainLog]:
        """Return the canonical logs of the blocks ``first`` to ``last`` in chain order."""
        ...

    def log_blocks(self, chain_id: int, *, below: int, limit: int = 500) -> Sequence[tuple[int, bytes]]:
        """Return number and hash of the blocks below a height that hold canonical logs, the highest first."""
        ...

    def claim_items(self, chain_id: int, cursor: Cursor, now: datetime, limit: int) -> Sequence[IntakeItem]:
        """Claim intake items of a chain that are due, by identity, until the unit ends; skips what others hold.

        Of more than ``limit`` items, half may be others than those that wait ``now``, and of these the ones with the
        lowest ``height``, their block, come first: a customer's payments are taken in as they were made.

        Due: ``now`` always; ``head``/``safe``/``finalized`` when the cursor's height is at least ``height`` (a tag that
        the node does not have is never reached); ``time`` when ``retry_at`` is not after ``now``.
        """
        ...

    def waiting_below(self, chain_id: int, block: int) -> int:
        """Count items of a chain that wait ``now`` and whose canonical log is at or below a block."""
        ...

    def parked_items(self, limit: int = 100) -> Sequence[IntakeItem]:
        """Return items parked with a reason (wait ``time``), for people."""
        ...


class RecordReads(Protocol):
    """What was recorded for others."""

    def events(self, *, aggregate: str | None = None, type_: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Return events of the outbox by (recorded_at, event id), oldest first."""
        ...

    def audit(self, *, object_: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """Return audit entries, oldest first."""
        ...


class Unit(
    CatalogueReads,
    CustomerReads,
    OrderReads,
    RenewalReads,
    EvidenceReads,
    RecordReads,
    LedgerReads,
    TreasuryReads,
    FinanceReads,
    SealReads,
    InboxReads,
    DeliveryReads,
    UsageOperations,
    TransmissionReads,
    ProofReads,
    MandateReads,
    WatchReads,
    FigureReads,
    DocumentReads,
    Protocol,
):
    """One transaction, or one savepoint of the host's."""

    def read_ahead(self, *, operation: str, key: str, request: CheckoutRequest) -> None:
        """Hear what a checkout will ask of this unit, so that a database can look it up at once; changes no answer."""
        ...

    def apply(self, decisions: Sequence[Decision]) -> None:
        """Write the decisions, all or none; see each decision for its errors.

        After a failure the unit answers nothing more (StorageError) and commits nothing, whoever caught the error.
        """
        ...


class JoinedStorage(Protocol):
    """Storage bound to one connection of the host."""

    def unit(self) -> AbstractContextManager[Unit]:
        """Open a savepoint: committed with the host's transaction, undone alone when it raises."""
        ...


class Storage(Protocol):
    """A database."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do beyond the contract: ``host_transaction``, ``many_processes``."""
        ...

    def unit(self, *, write: bool = True, durable: bool = True) -> AbstractContextManager[Unit]:
        """Open a transaction on a connection of our own; commits at the end, rolls back when it raises.

        Args:
            write: whether it may change anything.
            durable: False lets the commit not wait for the disk. A loss of power may then take it back, with nothing
                that was committed before it and everything after it, until a durable one has been committed.

        Raises:
            RetryTransaction: also from what is asked of the unit. The ``reason`` in ``details`` is ``lock timeout``,
                ``database is locked``, ``pool timeout`` or ``statement timeout`` where the storage has waited as long
                as it may; the engine then does not try again by itself.

        """
        ...

    def prepare(self, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
        """Return the same logs in the form that a unit records with the least work; any sequence of them will do.

        It is called outside every unit, and in other threads than the one that writes.
        """
        ...

    def join(self, host: object) -> AbstractContextManager[JoinedStorage]:
        """Join the host's transaction on its connection or session; never commits it.

        Raises:
            HostTransactionError: the connection is in AUTOCOMMIT, or joining is not supported; from units: the
                connection leads to another database, or to other tables.

        """
        ...

    def now(self) -> datetime:
        """Return the database's clock; the injected one where the database has none."""
        ...

    def instance_id(self) -> bytes:
        """Return the 8 random bytes that the first migration made."""
        ...

    def acquire_lease(self, name: str, owner: str, seconds: int) -> Lease | None:
        """Take or renew a lease by the database's clock; None while another owner holds it.

        A new owner raises the fence by one.
        """
        ...

    def leases(self) -> Sequence[Lease]:
        """Return every lease that was ever taken, by name; those whose time is over too. For people, not for work."""
        ...

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back if it is still ours."""
        ...

    def prune(self, table: str, before: datetime, limit: int) -> int:
        """Remove up to ``limit`` erasable rows of a table that ended before an instant; return how many.

        Tables, and when a row of it ended: ``webhook_inbox`` (done or dead; when received), ``deliveries`` (done or
        dead; ``done_at``, else ``next_at``), ``wallet_challenges`` (``expires_at``), ``chain_logs`` (orphaned ones;
        block time), ``usage`` (when the next window of the same limit and source began), ``pay_links``
        (``expires_at``). Any other is InputError: append-only rows and everything that money hangs on never go.
        """
        ...

    def close(self) -> None:
        """Let go of what we opened."""
        ...
