"""Records of the books and of messages for tests of storage; see ``builders``."""

from __future__ import annotations

from typing import Any

import attrs

from evmbilling.domain.books.ledger import Account, Entry, EntryKind, Line, customer_owner, treasury_owner
from evmbilling.domain.books.seals import Seal, SealedRow, SealItem
from evmbilling.domain.messages.messages import Delivery, InboxItem, WebhookEndpoint
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.payments.treasury import Movement, Treasury
from evmbilling.domain.people.usage import WalletChallenge, Window
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.states import ReceiptStatus, RefundStatus
from evmbilling.testing.conformance.storage.chain_records import (
    ALICE,
    BOB,
    CHAIN,
    OTHER_WALLET,
    T0,
    TREASURY,
    WALLET,
    asset,
    at,
    evidence,
    ident,
    identity,
    word,
)

SINK = "webhook:main"


def receipt(number: int = 1, **changes: Any) -> Receipt:
    """Return a receipt in suspense; its credit identity is made from its number."""
    full = Receipt(
        receipt_id=ident(number),
        identity=identity(number),
        ledger_id=None,
        user_id=None,
        allocation="suspense",
        reason="unknown_reference",
        asset=asset(),
        amount=19_990_000,
        payer=WALLET,
        treasury=TREASURY,
        evidence=evidence(),
        status=ReceiptStatus.SEEN,
        first_seen_at=at(61),
    )
    return attrs.evolve(full, **changes)


def entry(**changes: Any) -> ReceiptEntry:
    full = ReceiptEntry(
        receipt_id=ident(1),
        seq=1,
        kind="credited",
        amount=19_990_000,
        evidence=evidence(),
        occurred_at=at(60),
        recorded_at=at(61),
    )
    return attrs.evolve(full, **changes)


def refund(number: int = 1, **changes: Any) -> Refund:
    full = Refund(
        refund_id=ident(number),
        ledger_id=ident(1),
        user_id=ALICE,
        network="anvil",
        asset=asset(),
        amount=5,
        treasury=TREASURY,
        reference=word(1),
        on_chain_id=word(number),
        via="transfer",
        address=OTHER_WALLET,
        address_confirmed_at=at(3),
        reason="asked for it",
        requested_by=BOB,
        approved_by="user-boss",
        status=RefundStatus.REQUESTED,
        tx_hash=word(77),
        failure_reason="wrong_amount",
        identity=identity(77),
        evidence=evidence(),
        created_at=T0,
    )
    return attrs.evolve(full, **changes)


def line(account: Account, owner: str, side: str, amount: int) -> Line:
    return Line(account=account, owner=owner, side="debit" if side == "debit" else "credit", amount=amount)


def moved(debit: tuple[Account, str], credit: tuple[Account, str], amount: int) -> tuple[Line, Line]:
    """Return the lines that move an amount from one account to another."""
    return line(*debit, "debit", amount), line(*credit, "credit", amount)


def received(amount: int, owner: str = customer_owner(ALICE)) -> tuple[Line, Line]:
    """Return the lines of money that came in for a customer."""
    return (
        line(Account.TREASURY, treasury_owner(CHAIN, TREASURY), "debit", amount),
        line(Account.CUSTOMER_CREDIT, owner, "credit", amount),
    )


def posting(number: int = 1, **changes: Any) -> Entry:
    """Return a ledger entry; its source is made from its number."""
    full = Entry(
        entry_id=ident(number),
        source=f"receipt:{ident(number)}:1",
        kind=EntryKind.RECEIVED,
        asset=asset(),
        lines=received(19_990_000),
        ledger_id=None,
        user_id=ALICE,
        identity=identity(number),
        occurred_at=at(60),
        recorded_at=at(61),
    )
    return attrs.evolve(full, **changes)


def treasury(number: int = 1, **changes: Any) -> Treasury:
    return attrs.evolve(Treasury(chain_id=CHAIN, address=TREASURY, since_block=16 + number), **changes)


def movement(number: int = 1, **changes: Any) -> Movement:
    """Return a transfer that nobody explained; its identity is made from its number."""
    full = Movement(
        identity=identity(number),
        direction="out",
        treasury=TREASURY,
        counterparty=OTHER_WALLET,
        asset=asset(),
        amount=19_990_000,
        kind="external",
        evidence=evidence(),
        live=False,
    )
    return attrs.evolve(full, **changes)


def queued(number: int = 1, **changes: Any) -> QueueItem:
    """Return an item of the finance queue; its subject is made from its number."""
    full = QueueItem(
        item_id=ident(number),
        kind="suspense",
        subject=f"receipt:{ident(number)}",
        reason="unknown_payer",
        user_id=ALICE,
        asset=asset(),
        amount=19_990_000,
        opened_at=at(62),
        note="größer 漢字",
    )
    return attrs.evolve(full, **changes)


def hint(number: int = 1, **changes: Any) -> InboxItem:
    full = InboxItem(
        source="relay",
        event_id=f"msg_{number}",
        digest=word(number),
        body=b'{"type":"\xff\x00"}',
        chain_id=CHAIN,
        tx_hash=word(70 + number),
        received_at=at(number),
        attempts=2,
        retry_at=at(number),
        reason="not_mined",
    )
    return attrs.evolve(full, **changes)


def endpoint(number: int = 1, **changes: Any) -> WebhookEndpoint:
    full = WebhookEndpoint(
        endpoint_id=ident(number),
        url="https://example.org/hooks?x=%20",
        secrets=(SecretRef("enc", "gAAAA-new"), SecretRef("env", "OLD_SECRET")),
        events=("billing.order.opened.v1", "billing.payment.final.v1"),
        ordered=True,
        created_at=at(1),
        disabled_at=at(2),
        disabled_reason="gone",
    )
    return attrs.evolve(full, **changes)


def delivery(number: int = 1, **changes: Any) -> Delivery:
    """Return the delivery of the event with that number; see ``builders.event``."""
    full = Delivery(
        event_id=ident(number), sink=SINK, aggregate=f"customer:{ALICE}", seq=number, next_at=T0, attempts=0
    )
    return attrs.evolve(full, **changes)


def seal(number: int = 1, **changes: Any) -> Seal:
    full = Seal(
        number=number, previous=word(number - 1), mac=word(number), rows=1, sealed_at=at(number), key_id="5ea1c0de"
    )
    return attrs.evolve(full, **changes)


def seal_item(row: SealedRow, number: int = 1) -> SealItem:
    """Return that a row is covered by a link."""
    return SealItem(table=row.table, key=row.key, digest=row.digest, seal=number)


def challenge(number: int = 1, **changes: Any) -> WalletChallenge:
    full = WalletChallenge(
        nonce=f"nonce-{number}",
        user_id=ALICE,
        address=WALLET,
        chain_id=CHAIN,
        message="example.org wants you to sign in\n\nÜ 漢字",
        purpose="confirm_wallet",
        issued_at=at(0),
        expires_at=at(300),
    )
    return attrs.evolve(full, **changes)


def window(**changes: Any) -> Window:
    full = Window(user_id=ALICE, limit="api", source_id=ident(1), starts_at=at(0), allowed=100)
    return attrs.evolve(full, **changes)
