"""Which rows there are, and by what they are found."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from operator import attrgetter
from typing import Any

import attrs
from attrs import field, frozen

from evmbilling.adapters.memory.rows import Index, Rows
from evmbilling.domain.books.figure_records import FigureState, JournalMark
from evmbilling.domain.books.ledger import Account, Balance, Entry
from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.receipt_documents import BuyerNote, ReceiptDocument
from evmbilling.domain.books.rollups import Cell, CellKey
from evmbilling.domain.books.seals import Seal, SealItem
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.mandates.charges import Charge
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
from evmbilling.domain.selling.pay_links import PayLink
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, SignedTransaction, Transmission
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, OPEN_ORDERS, PAYABLE_ORDERS
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange


@frozen
class StoredLog:
    """A log, and whether its block is in the chain as we know it."""

    log: ChainLog
    canonical: bool


@frozen
class StoredHeader:
    """A header in the window of a chain."""

    chain_id: int
    header: BlockHeader


@frozen(kw_only=True)
class AppendedRow:
    """An append-only row that no seal covers yet: its table and key, and when it was recorded."""

    place: tuple[str, str]
    recorded_at: datetime


@frozen(kw_only=True)
class UsedWindow:
    """What was used of one limit in one window."""

    user_id: str
    limit: str
    source_id: str
    starts_at: datetime
    used: int


def _open_period(order: Order) -> Hashable:
    if order.status not in OPEN_ORDERS or order.subscription_id is None or order.period is None:
        return None
    return (order.subscription_id, order.period)


def _mark(order: Order) -> Hashable:
    return (order.call.mark or None) if order.call is not None else None


def _offer(order: Order) -> Hashable:
    return order.chain_id if order.status in PAYABLE_ORDERS and order.closed_as is None else None


def _live(subscription: Subscription) -> Hashable:
    is_live = subscription.status in LIVE_SUBSCRIPTIONS
    return (subscription.user_id, subscription.product) if is_live else None


def _renewal(order: Order) -> Hashable:
    if order.origin != "renewal" or order.subscription_id is None or order.period is None:
        return None
    return (order.subscription_id, order.period)


def _look(subscription: Subscription) -> Hashable:
    return subscription.chain_id if subscription.look_at is not None else None


def _open_charge(charge: Charge) -> Hashable:
    return (charge.chain_id, charge.state) if charge.state != "failed" else None


def _canonical_identity(stored: StoredLog) -> Hashable:
    return stored.log.identity if stored.canonical else None


def _canonical_chain(stored: StoredLog) -> Hashable:
    return stored.log.chain_id if stored.canonical else None


def _canonical_transaction(stored: StoredLog) -> Hashable:
    return (stored.log.chain_id, stored.log.tx_hash) if stored.canonical else None


def _deferred(balance: Balance) -> Hashable:
    return True if balance.account is Account.DEFERRED_REVENUE and balance.net_credit > 0 else None


def _waiting(delivery: Delivery) -> Hashable:
    return delivery.sink if delivery.state == "waiting" else None


def _suspense(receipt: Receipt) -> Hashable:
    return True if receipt.allocation == "suspense" else None


def _open_lane(transmission: Transmission) -> Hashable:
    if transmission.status not in OPEN_TRANSMISSIONS:
        return None
    return (transmission.chain_id, transmission.sender)


def _watched(deposit: Deposit) -> Hashable:
    return deposit.chain_id if deposit.next_at is not None else None


def _open_proof(proof: RefundProof) -> Hashable:
    return proof.chain_id if proof.state == "open" else None


def _moved(refund: Refund) -> Hashable:
    return refund.identity.tx_hash if refund.identity is not None else None


def _burned(refund: Refund) -> Hashable:
    return refund.burn.identity.tx_hash if refund.burn is not None and refund.burn.identity is not None else None


def _burn_mark(refund: Refund) -> Hashable:
    return (refund.burn.mark or None) if refund.burn is not None else None


def _rows(**indexes: str | Index[Any]) -> Callable[[], Rows[Any, Any]]:
    """Return a maker of empty rows; an index is named by a field or given as a function."""
    ready = {name: attrgetter(by) if isinstance(by, str) else by for name, by in indexes.items()}
    return lambda: Rows(ready)


@frozen(kw_only=True)
class Tables:
    """All rows of one storage, or one layer over all of them."""

    networks: Rows[str, Network] = field(factory=_rows(chain="chain_id"))
    gateways: Rows[str, PaymentGateway] = field(factory=_rows())
    contracts: Rows[tuple[str, str], PaymentContract] = field(factory=_rows(chain="chain_id"))
    plans: Rows[tuple[str, int], SubscriptionPlan] = field(factory=_rows(slug="slug"))
    customers: Rows[str, Customer] = field(factory=_rows())
    wallets: Rows[tuple[str, str], Wallet] = field(factory=_rows(user="user_id", address="address"))
    entitlements: Rows[tuple[str, Product, str], Entitlement] = field(factory=_rows(user="user_id"))
    keys: Rows[tuple[str, str, str], KeyRecord] = field(factory=_rows())
    orders: Rows[str, Order] = field(
        factory=_rows(
            user="user_id",
            reference="reference",
            mark=_mark,
            subscription="subscription_id",
            open=_open_period,
            offer=_offer,
            renewal=_renewal,
        )
    )
    subscriptions: Rows[str, Subscription] = field(factory=_rows(user="user_id", live=_live, look=_look))
    changes: Rows[tuple[str, int], SubscriptionChange] = field(factory=_rows(subscription="subscription_id"))
    charges: Rows[tuple[str, int], Charge] = field(factory=_rows(order="ledger_id", open=_open_charge))
    pay_links: Rows[bytes, PayLink] = field(factory=_rows(order="ledger_id"))
    receipts: Rows[str, Receipt] = field(factory=_rows(identity="identity", order="ledger_id", suspense=_suspense))
    entries: Rows[tuple[str, int], ReceiptEntry] = field(factory=_rows(receipt="receipt_id"))
    refunds: Rows[str, Refund] = field(
        factory=_rows(
            order="ledger_id",
            user="user_id",
            address="address",
            on_chain="on_chain_id",
            moved=_moved,
            burned=_burned,
            mark=_burn_mark,
        )
    )
    events: Rows[str, Event] = field(factory=_rows(aggregate="aggregate", seq=attrgetter("aggregate", "seq")))
    audit: Rows[str, AuditEntry] = field(factory=_rows(object="object"))
    cursors: Rows[int, Cursor] = field(factory=_rows())
    window: Rows[tuple[int, int], StoredHeader] = field(factory=_rows(chain="chain_id"))
    logs: Rows[tuple[int, bytes, int], StoredLog] = field(
        factory=_rows(identity=_canonical_identity, chain=_canonical_chain, tx=_canonical_transaction)
    )
    items: Rows[CreditIdentity, IntakeItem] = field(
        factory=_rows(wait=lambda item: (item.identity.chain_id, item.wait))
    )

    postings: Rows[str, Entry] = field(factory=_rows(source="source", order="ledger_id"))
    balances: Rows[tuple[str, Account, int, str], Balance] = field(factory=_rows(owner="owner", deferred=_deferred))
    treasuries: Rows[tuple[int, str], Treasury] = field(factory=_rows())
    movements: Rows[CreditIdentity, Movement] = field(factory=_rows())
    queue: Rows[str, QueueItem] = field(factory=_rows(subject="subject"))
    inbox: Rows[tuple[str, str], InboxItem] = field(factory=_rows(state="state"))
    endpoints: Rows[str, WebhookEndpoint] = field(factory=_rows())
    unsent: Rows[str, Event] = field(factory=_rows())
    deliveries: Rows[tuple[str, str], Delivery] = field(factory=_rows(waiting=_waiting))
    unsealed: Rows[tuple[str, str], AppendedRow] = field(factory=_rows())
    seals: Rows[int, Seal] = field(factory=_rows())
    seal_items: Rows[tuple[str, str], SealItem] = field(factory=_rows(seal="seal"))
    challenges: Rows[str, WalletChallenge] = field(factory=_rows(user="user_id"))
    usage: Rows[tuple[str, str, str, datetime], UsedWindow] = field(factory=_rows(user="user_id"))
    transmissions: Rows[str, Transmission] = field(
        factory=_rows(
            subject=attrgetter("purpose", "subject"), sender=attrgetter("chain_id", "sender"), lane=_open_lane
        )
    )
    signed: Rows[tuple[str, int], SignedTransaction] = field(factory=_rows(of="transmission_id", hash="tx_hash"))

    deposits: Rows[str, Deposit] = field(factory=_rows(chain=_watched))
    proofs: Rows[tuple[int, bytes], RefundProof] = field(factory=_rows(refund="refund_id", chain=_open_proof))

    mandates: Rows[str, Mandate] = field(
        factory=_rows(
            user="user_id",
            subscription="subscription_id",
            digest="digest",
            given=lambda mandate: mandate.on_chain and mandate.on_chain.identity,
            revoked=lambda mandate: mandate.revocation and mandate.revocation.identity,
        )
    )

    figure_moves: Rows[tuple[str, int], Move] = field(factory=_rows())
    figure_sums: Rows[CellKey, Cell] = field(factory=_rows())
    journal_marks: Rows[tuple[str, str], JournalMark] = field(factory=_rows())
    figure_states: Rows[str, FigureState] = field(factory=_rows())
    documents: Rows[tuple[str, int], ReceiptDocument] = field(
        factory=_rows(series="series", source="source", subject="subject", user="user_id")
    )
    buyer_notes: Rows[tuple[str, int], BuyerNote] = field(factory=_rows(user="user_id"))

    def over(self) -> Tables:
        """Return an empty layer over every table."""
        return _Layer(self)

    def settle(self) -> None:
        """Hand every layer down; the ground has nothing below it."""


class _Layer(Tables):
    """A layer over tables: over each of them when it is first looked at, for a unit looks at few."""

    __slots__ = ("_below", "_made")

    _below: Tables
    _made: list[Rows[Any, Any]]

    def __init__(self, below: Tables) -> None:
        object.__setattr__(self, "_below", below)
        object.__setattr__(self, "_made", [])

    def __getattr__(self, name: str) -> Rows[Any, Any]:
        if name not in _NAMES:
            raise AttributeError(name)
        rows: Rows[Any, Any] = getattr(self._below, name).over()
        object.__setattr__(self, name, rows)
        self._made.append(rows)
        return rows

    def settle(self) -> None:
        """Hand down what was looked at; nothing else can have changed."""
        for rows in self._made:
            rows.settle()


_NAMES = frozenset(attribute.name for attribute in attrs.fields(Tables))
