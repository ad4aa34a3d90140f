"""Decisions: everything that a rule can want written. Storage applies a list of them in one transaction.

The union is closed: an adapter dispatches on the class and ends with ``assert_never``.
Order within a list is kept between classes that depend on each other; an adapter may group equal classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from evmbilling.domain.books.figure_records import RecordFigures
from evmbilling.domain.books.ledger import Entry
from evmbilling.domain.books.receipt_documents import IssueDocument
from evmbilling.domain.books.seals import Seal, SealItem
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.messages.events import AuditEntry, Event
from evmbilling.domain.messages.messages import Delivery, InboxItem, WebhookEndpoint
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.payments.treasury import Movement, Treasury
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.people.usage import WalletChallenge
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, IntakeItem
from evmbilling.domain.refunds.proofs import RefundProof
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.selling.orders import KeyRecord, Order
from evmbilling.domain.selling.pay_links import OpenPayLink
from evmbilling.domain.sending.transmissions import SignedTransaction, Transmission
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange


@frozen
class SaveNetwork:
    """Insert version 1, or replace the row whose version is one below (else VersionConflict)."""

    network: Network


@frozen
class SaveGateway:
    """Insert version 1, or replace the row whose version is one below (else VersionConflict)."""

    gateway: PaymentGateway


@frozen
class SaveContract:
    """Insert version 1, or replace the row whose version is one below (else VersionConflict)."""

    contract: PaymentContract


@frozen
class AddPlanVersion:
    """Insert a new plan version; an existing (slug, version) is AlreadyExists."""

    plan: SubscriptionPlan


@frozen
class ArchivePlan:
    """Set ``archived_at`` on every version of the slug; the only change that a plan version takes."""

    plan: SubscriptionPlan


@frozen
class StoreCustomer:
    """Replace a customer's row, which the caller has locked."""

    customer: Customer


@frozen
class ConfirmWallet:
    """Insert a confirmed wallet, or replace the chains of the one that is there; ``confirmed_at`` stays the first.

    Another user's wallet is AlreadyExists.
    """

    wallet: Wallet


@frozen
class OpenOrder:
    """Insert an order.

    A second open order for the same (subscription, period) is a Conflict, and so is a second renewal of one, ever.
    """

    order: Order


@frozen
class StoreOrder:
    """Replace the projection of an order.

    That is its status, closed_as, completion, failure_reason, external_id, manual, and what the biller notes: claim,
    pull, attempts, attempted_at, retry_at, reminded_at.
    ``order.version`` is the new version; the stored one must be one below (else VersionConflict).
    """

    order: Order


@frozen
class BindKey:
    """Insert an idempotency key; a taken key is AlreadyExists."""

    record: KeyRecord


@frozen
class OpenSubscription:
    """Insert a subscription; a second live one for (user, product) is a Conflict."""

    subscription: Subscription


@frozen
class StoreSubscription:
    """Replace the projection of a subscription; versions as in StoreOrder."""

    subscription: Subscription


@frozen
class RecordChange:
    """Append a subscription change, unique by (subscription, seq)."""

    change: SubscriptionChange


@frozen
class StoreEntitlement:
    """Insert or replace what a source gives a user."""

    entitlement: Entitlement


@frozen
class StoreReceipt:
    """Insert version 1 (its credit identity taken is AlreadyExists), or replace as StoreOrder does."""

    receipt: Receipt


@frozen
class AppendEntry:
    """Append to a receipt's journal; (receipt, seq) taken is AlreadyExists: the effect happened before."""

    entry: ReceiptEntry


@frozen
class StoreRefund:
    """Insert version 1, or replace as StoreOrder does."""

    refund: Refund


@frozen
class StoreProof:
    """Insert version 1 ((chain, transaction) taken is AlreadyExists), or replace as StoreOrder does."""

    proof: RefundProof


@frozen
class StoreMandate:
    """Insert version 1 (its digest taken is AlreadyExists), or replace as StoreOrder does."""

    mandate: Mandate


@frozen
class Publish:
    """Append an event to the outbox; (aggregate, seq) is unique."""

    event: Event


@frozen
class RecordAudit:
    """Append an audit entry."""

    entry: AuditEntry


@frozen(kw_only=True)
class RecordEvidence:
    """Store what a range of blocks said, in one transaction with the cursor, if our fence is the newest.

    Headers replace the window at their heights; a log that exists by (chain, block hash, log index) becomes canonical
    again. For every log the intake item of its credit identity is set to wait ``now``. Window headers below
    ``keep_from`` are dropped, except the highest of them.

    Raises (from storage): LeaseLost when the stored fence is newer than ``cursor.fence``.
    """

    cursor: Cursor
    headers: tuple[BlockHeader, ...]
    logs: Sequence[ChainLog]
    keep_from: int


@frozen(kw_only=True)
class Rewind:
    """Take back everything above ``cursor.block`` on its chain, if our fence is the newest.

    Logs above it become orphaned, window headers above it go, and the intake item of each orphaned log's credit
    identity is set to wait ``now``.
    """

    cursor: Cursor


@frozen
class StoreCursor:
    """Insert or replace a cursor, if our fence is the newest."""

    cursor: Cursor


@frozen
class HaltChain:
    """Store a cursor whose ``halt`` is set, if our fence is the newest.

    The intake item of every canonical log above ``halt.at_block`` is set to wait ``now``, so that touched credits
    become disputed.
    """

    cursor: Cursor


@frozen
class StoreItem:
    """Replace an intake item, which the caller has claimed."""

    item: IntakeItem


@frozen
class PostEntry:
    """Append a ledger entry and add it to the balance rows of its owners (``owned_changes``).

    A taken source is AlreadyExists; a side of a balance above 2**256 - 1 is InvalidAmount.
    """

    entry: Entry


@frozen
class WatchTreasury:
    """Insert a treasury; one that is there stays as it is, with the start that it has."""

    treasury: Treasury


@frozen
class StoreMovement:
    """Insert version 1 (its identity taken is AlreadyExists), or replace as StoreOrder does."""

    movement: Movement


@frozen
class StoreQueueItem:
    """Insert version 1 ((kind, subject) taken is AlreadyExists), or replace as StoreOrder does."""

    item: QueueItem


@frozen
class StoreInboxItem:
    """Insert version 1 ((source, event id) taken is AlreadyExists), or replace as StoreOrder does."""

    item: InboxItem


@frozen
class SaveEndpoint:
    """Insert version 1, or replace the row whose version is one below (else VersionConflict)."""

    endpoint: WebhookEndpoint


@frozen
class OpenDeliveries:
    """Insert the deliveries of one event, and note that it has been handed out; both again change nothing."""

    event_id: str
    deliveries: tuple[Delivery, ...]


@frozen
class StoreDelivery:
    """Replace a delivery, which the caller has claimed; versions as in StoreOrder."""

    delivery: Delivery


@frozen
class AddSeal:
    """Append a link of the seal chain and the rows that it covers; a taken number or row is AlreadyExists."""

    seal: Seal
    items: tuple[SealItem, ...]


@frozen
class OpenChallenge:
    """Insert a wallet challenge; a taken nonce is AlreadyExists."""

    challenge: WalletChallenge


@frozen
class StoreTransmission:
    """Insert version 1, or replace as StoreOrder does.

    A second open one for (purpose, subject), a taken attempt, or a nonce that the sender used is a Conflict.
    """

    transmission: Transmission


@frozen
class RecordSigned:
    """Append a signed version of a transmission; (transmission, seq) or a hash taken is AlreadyExists."""

    signed: SignedTransaction


@frozen
class StoreDeposit:
    """Insert version 1 (its order's is there is VersionConflict), or replace as StoreOrder does."""

    deposit: Deposit


@frozen
class EraseCustomer:
    """Replace a customer's row (erased, zone and locale reset).

    Their wallets, challenges and buyer notes are removed.

    Append-only rows hold the opaque user id and chain evidence only; they stay. So do the counters of used limits: they
    hold numbers under the opaque id, and without them a period that runs on would have its whole quota again.
    """

    customer: Customer


Decision = (
    SaveNetwork
    | SaveGateway
    | SaveContract
    | AddPlanVersion
    | ArchivePlan
    | StoreCustomer
    | ConfirmWallet
    | OpenOrder
    | StoreOrder
    | BindKey
    | OpenSubscription
    | StoreSubscription
    | RecordChange
    | StoreEntitlement
    | StoreReceipt
    | AppendEntry
    | StoreRefund
    | StoreProof
    | StoreMandate
    | Publish
    | RecordAudit
    | RecordEvidence
    | Rewind
    | StoreCursor
    | HaltChain
    | StoreItem
    | PostEntry
    | WatchTreasury
    | StoreMovement
    | StoreQueueItem
    | StoreInboxItem
    | SaveEndpoint
    | OpenDeliveries
    | StoreDelivery
    | AddSeal
    | OpenChallenge
    | StoreTransmission
    | RecordSigned
    | StoreDeposit
    | StoreCharge
    | OpenPayLink
    | RecordFigures
    | IssueDocument
    | EraseCustomer
)
