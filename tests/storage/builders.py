"""Records for tests of storage: complete, plausible, and different in every field from the defaults.

Each function takes changes as keywords. Ids and hashes come from small numbers, so that a test can say which is first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from evmbilling.domain.access import Entitlement
from evmbilling.domain.calendar import Interval
from evmbilling.domain.catalogue import (
    DunningPolicy,
    DunningStep,
    Finality,
    Heights,
    Network,
    PaymentContract,
    PaymentGateway,
    Price,
    SubscriptionPlan,
)
from evmbilling.domain.customers import Customer, Wallet
from evmbilling.domain.decisions import AddPlanVersion, Decision, OpenOrder, OpenSubscription, StoreReceipt
from evmbilling.domain.events import AuditEntry, Event, EventType
from evmbilling.domain.evidence import BlockHeader, ChainLog, Cursor, IntakeItem
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.money import Asset, FiatEstimate
from evmbilling.domain.orders import Completion, KeyRecord, Order, OrderLine
from evmbilling.domain.receipts import Evidence, Receipt, ReceiptEntry, Refund
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.states import OrderStatus, ReceiptStatus, RefundStatus, SubscriptionStatus
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange
from evmbilling.ports.storage import Storage, Unit

CHAIN = 31337
OTHER_CHAIN = 10
T0 = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
EXTREMES = (0, 1, 2**53 + 1, 2**63, 10**18 + 1, 2**256 - 1)
"""Amounts that a float, a signed 64-bit integer or a short decimal would change."""

ALICE, BOB = "user-alice", "user-bob"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
CONTRACT = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER_WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
TREASURY = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
SITE = Product("site", "42")


def at(seconds: float) -> datetime:
    """Return an instant after (or before) T0."""
    return T0 + timedelta(seconds=seconds)


def ident(number: int) -> str:
    """Return an id in the form of a UUIDv7; they sort as their numbers do."""
    return str(UUID(int=(0x019C << 112) | (0x7 << 76) | (0b10 << 62) | number))


def word(number: int) -> bytes:
    """Return 32 bytes that sort as their numbers do."""
    return number.to_bytes(32)


def asset(**changes: Any) -> Asset:
    return attrs.evolve(Asset(chain_id=CHAIN, token=TOKEN, decimals=6, symbol="USDC"), **changes)


def network(**changes: Any) -> Network:
    full = Network(
        name="anvil",
        chain_id=CHAIN,
        rpc_urls=(SecretRef("env", "RPC_URL"), SecretRef("enc", "gAAAA-ciphertext")),
        testnet=True,
        native_symbol="xETH",
        credit_after=Finality("safe"),
        irreversible_after=Finality("finalized", 64),
        fallback_networks=("backup", "other"),
        start_block=17,
        rpc_retries=5,
        rpc_timeout=9,
        gas_price_cap=10**12,
        disputed_access=False,
        explorer_url="https://explorer.example/tx/",
    )
    return attrs.evolve(full, **changes)


def gateway(**changes: Any) -> PaymentGateway:
    full = PaymentGateway(
        slug="main",
        provider="evm",
        networks=("anvil", "other"),
        signer=SecretRef("file", "/run/secrets/signer"),
        treasuries=(("anvil", TREASURY), ("other", WALLET)),
        order_ttl=900,
        credit_after=Finality("depth", 3),
    )
    return attrs.evolve(full, **changes)


def contract(**changes: Any) -> PaymentContract:
    full = PaymentContract(
        slug="checkout",
        network="anvil",
        chain_id=CHAIN,
        address=CONTRACT,
        kind="checkout",
        abi='[{"type":"event"}]',
        mint_method="mint",
        burn_method=None,
        webhook_secret=SecretRef("env", "HOOK"),
        fallback_rpc=(SecretRef("env", "SPARE"),),
        start_block=12,
        gas={"token": 210_000, "native": 180_000},
    )
    return attrs.evolve(full, **changes)


def plan(**changes: Any) -> SubscriptionPlan:
    full = SubscriptionPlan(
        slug="pro",
        version=1,
        name="Pro, größer & <b>better</b> 漢字",
        product=SITE,
        interval=Interval("month", 3),
        prices=(
            Price(network="anvil", asset=asset(), amount=19_990_000),
            Price(network="other", asset=asset(chain_id=OTHER_CHAIN, decimals=18), amount=2**256 - 1),
        ),
        gateway_slug="main",
        contract_slug="checkout",
        price_token="USDC",
        price_usd_estimate=FiatEstimate(amount=Decimal("19.99"), currency="EUR", as_of=date(2026, 1, 30)),
        limits={"seats": 5, "api": 10**20},
        features=("export", "api"),
        trial_days=14,
        dunning=DunningPolicy(
            grace_days=3,
            steps=(DunningStep(name="late", after_days=7, actions=("notify", "block")),),
            arrears="cap",
            arrears_cap=2,
        ),
        created_at=T0,
    )
    return attrs.evolve(full, **changes)


def customer(user_id: str = ALICE, **changes: Any) -> Customer:
    return attrs.evolve(
        Customer(user_id=user_id, zone="Europe/Berlin", locale="de-DE", created_at=T0, event_seq=0, version=1),
        **changes,
    )


def wallet(**changes: Any) -> Wallet:
    return attrs.evolve(Wallet(user_id=ALICE, address=WALLET, confirmed_at=T0), **changes)


def entitlement(**changes: Any) -> Entitlement:
    full = Entitlement(
        user_id=ALICE,
        product=SITE,
        source_id=ident(1),
        subscription_id=ident(1),
        plan_slug="pro",
        plan_version=1,
        basis="paid",
        starts_at=at(1),
        until=at(2),
        grace_until=at(3),
        limits={"seats": 10, "api": 2**70},
        features=("export",),
        disputed=True,
    )
    return attrs.evolve(full, **changes)


def subscription(number: int = 1, **changes: Any) -> Subscription:
    full = Subscription(
        subscription_id=ident(number),
        user_id=ALICE,
        product=SITE,
        plan_slug="pro",
        plan_version=1,
        interval=Interval("month", 3),
        quantity=2,
        zone="America/St_Johns",
        created_at=T0,
        start_at=at(10),
        trial_end=at(20),
        status=SubscriptionStatus.INCOMPLETE,
        anchor=at(30),
        paid_periods=0,
        paid_until=at(40),
        next_charge_at=at(50),
        cancel_at_period_end=True,
        debt=0,
    )
    return attrs.evolve(full, **changes)


def change(**changes: Any) -> SubscriptionChange:
    full = SubscriptionChange(
        subscription_id=ident(1), seq=1, kind="cancel_at_period_end", effective_at=at(5), recorded_at=T0, by=ALICE
    )
    return attrs.evolve(full, **changes)


def order(number: int = 1, **changes: Any) -> Order:
    """Return an order of no subscription; its reference is made from its number."""
    full = Order(
        ledger_id=ident(number),
        reference=word(number),
        user_id=ALICE,
        origin="renewal",
        product=SITE,
        plan_slug="pro",
        plan_version=1,
        subscription_id=None,
        period=None,
        gateway_slug="main",
        contract_slug="checkout",
        network="anvil",
        asset=asset(),
        quantity=2,
        lines=(
            OrderLine(kind="plan", text="Pro, 3 months, twice: ½", amount=2**200),
            OrderLine(kind="discount", text="früh", amount=19_990_000 - 2**200),
        ),
        amount=19_990_000,
        wallet=WALLET,
        beneficiary=OTHER_WALLET,
        contract=CONTRACT,
        treasury=TREASURY,
        gas=210_000,
        created_at=T0,
        deadline=at(900),
        member_until=at(9000),
        signer=WALLET,
        signature=bytes(range(65)),
    )
    return attrs.evolve(full, **changes)


def completion(**changes: Any) -> Completion:
    full = Completion(tx_hash=word(11), log_index=3, block_number=100, block_hash=word(12), confirmed_at=at(60))
    return attrs.evolve(full, **changes)


def key_record(**changes: Any) -> KeyRecord:
    full = KeyRecord(
        operation="checkout", user_id=ALICE, key="k-1", fingerprint=word(99), ledger_id=ident(1), created_at=T0
    )
    return attrs.evolve(full, **changes)


def identity(number: int = 1, *, chain_id: int = CHAIN, ordinal: int = 0) -> CreditIdentity:
    return CreditIdentity(chain_id, word(number), ordinal)


def evidence(**changes: Any) -> Evidence:
    return attrs.evolve(Evidence(block_number=100, block_hash=word(12), block_time=at(60), log_index=3), **changes)


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
        amount=5,
        address=OTHER_WALLET,
        reason="asked for it",
        requested_by=BOB,
        approved_by="user-boss",
        status=RefundStatus.REQUESTED,
        tx_hash=word(77),
        created_at=T0,
    )
    return attrs.evolve(full, **changes)


def event(number: int = 1, **changes: Any) -> Event:
    full = Event(
        event_id=ident(number),
        type=EventType.PAYMENT_CONFIRMED,
        aggregate=f"customer:{ALICE}",
        seq=number,
        occurred_at=at(60),
        recorded_at=at(61),
        data={"amount": str(2**256 - 1), "nested": {"list": [1, None, True, "ü"]}, "count": 2**70},
    )
    return attrs.evolve(full, **changes)


def audit(number: int = 1, **changes: Any) -> AuditEntry:
    full = AuditEntry(
        audit_id=ident(number),
        actor=BOB,
        action="plan.create",
        object="plan:pro",
        changes={"name": [None, "Pro"], "trial_days": [0, 14]},
        recorded_at=at(number),
    )
    return attrs.evolve(full, **changes)


def header(number: int, *, branch: int = 0) -> BlockHeader:
    """Return a header of one of several branches that share nothing but their numbers."""
    return BlockHeader(
        number=number,
        hash=word(branch * 10_000 + number + 1),
        parent_hash=word(branch * 10_000 + number),
        timestamp=T0.replace(microsecond=0) + timedelta(seconds=12 * number),
    )


def cursor(number: int = 100, *, branch: int = 0, **changes: Any) -> Cursor:
    full = Cursor(
        chain_id=CHAIN,
        block=header(number, branch=branch),
        heights=Heights(head=number, safe=number - 2, finalized=number - 4),
        fence=1,
        updated_at=T0,
    )
    return attrs.evolve(full, **changes)


def log(block: int, tx: int, *, branch: int = 0, **changes: Any) -> ChainLog:
    """Return a log of transaction ``tx`` in a block of a branch."""
    mined = header(block, branch=branch)
    full = ChainLog(
        chain_id=CHAIN,
        block_number=block,
        block_hash=mined.hash,
        block_time=mined.timestamp,
        tx_hash=word(tx),
        log_index=tx,
        ordinal=0,
        address=CONTRACT,
        topics=(word(1), word(2**256 - 1), word(0)),
        data=b"\x00\xff" * 48,
    )
    return attrs.evolve(full, **changes)


def item(number: int = 1, **changes: Any) -> IntakeItem:
    return attrs.evolve(IntakeItem(identity=identity(number), wait="now"), **changes)


@contextmanager
def looking(storage: Storage) -> Iterator[Unit]:
    """Open a unit that only reads."""
    with storage.unit(write=False) as unit:
        yield unit


def write(storage: Storage, *decisions: Decision) -> None:
    """Apply decisions in a unit of their own."""
    with storage.unit() as unit:
        unit.apply(decisions)


def seed(storage: Storage, *decisions: Decision, users: Iterable[str] = (ALICE, BOB)) -> None:
    """Store customers and the plan, which most other rows refer to, and then whatever else is given."""
    with storage.unit() as unit:
        for user_id in users:
            unit.lock_customer(customer(user_id))
        if unit.plan("pro", 1) is None:
            unit.apply([AddPlanVersion(plan())])
        unit.apply(decisions)


def seeded(storage: Storage) -> Storage:
    """Store one customer's subscription with an order and a receipt, all numbered 1."""
    status = OrderStatus.PENDING
    seed(
        storage,
        OpenSubscription(subscription()),
        OpenOrder(order(subscription_id=ident(1), period=0, status=status)),
        StoreReceipt(receipt(ledger_id=ident(1), user_id=ALICE, allocation="order", reason=None)),
    )
    return storage
