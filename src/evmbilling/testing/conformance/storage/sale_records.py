"""Subscriptions, orders, mandates and what is recorded of them, for tests of storage; see ``records``."""

from __future__ import annotations

from typing import Any

import attrs

from evmbilling.domain.catalogue.plan_terms import Adoption, PlanTerms, TermsChange
from evmbilling.domain.mandates.charges import Charge
from evmbilling.domain.mandates.mandates import Mandate, MandateStatus, Permit, Seen
from evmbilling.domain.messages.events import AuditEntry, Event, EventType
from evmbilling.domain.selling.orders import Completion, KeyRecord, ManualMark, Order, OrderLine
from evmbilling.domain.selling.pay_links import PayLink
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.periods import Segment
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.testing.conformance.storage.chain_records import (
    ALICE,
    BOB,
    CHAIN,
    CONTRACT,
    OTHER_WALLET,
    SITE,
    T0,
    TOKEN,
    TREASURY,
    WALLET,
    asset,
    at,
    evidence,
    ident,
    identity,
    word,
)


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
        segments=(
            Segment(first=3, anchor=at(31), interval=Interval("month", 3), zone="Asia/Kathmandu", stub=True),
            Segment(first=4, anchor=at(32), interval=Interval("month", 3), zone="Asia/Kathmandu", offset=4),
        ),
        dunning_state="late",
        dunned_at=at(41),
        chain_id=CHAIN,
        look_at=at(42),
        looked_at=at(43),
    )
    return attrs.evolve(full, **changes)


def terms_change(**changes: Any) -> TermsChange:
    before = PlanTerms(plan_slug="pro", plan_version=1, quantity=2, interval=Interval("month", 3))
    full = TermsChange(
        before=before,
        after=attrs.evolve(before, plan_version=2, quantity=3, interval=Interval("year")),
        basis=1,
        ledger_id=ident(1),
        network="mainnet",
        token=TOKEN,
        wallet=WALLET,
    )
    return attrs.evolve(full, **changes)


def adoption(**changes: Any) -> Adoption:
    full = Adoption(
        external_id="old/17",
        paid_until=at(9),
        anchor=at(1),
        offset=3,
        periods=2,
        network="mainnet",
        chain_id=CHAIN,
        token=TOKEN,
        wallet=WALLET,
        beneficiary=OTHER_WALLET,
    )
    return attrs.evolve(full, **changes)


def change(**changes: Any) -> SubscriptionChange:
    times = {"effective_at": at(5), "recorded_at": T0}
    holds = {"period": 4, "paid_to": 6, "zone": "Asia/Kathmandu", "reason": "moved, größer"}
    holds |= {"terms": terms_change(), "adoption": adoption()}
    full = SubscriptionChange(subscription_id=ident(1), seq=1, kind="zone", by=ALICE, **times, **holds)
    return attrs.evolve(full, **changes)


def order(number: int = 1, **changes: Any) -> Order:
    """Return an order of no subscription with a reference made from its number."""
    full = Order(
        ledger_id=ident(number),
        reference=word(number),
        user_id=ALICE,
        origin="change",
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
        rail="checkout",
        tolerance=2**64,
        due_at=at(800),
        claim="owed",
        pull="unknown",
        attempts=2,
        attempted_at=at(801),
        retry_at=at(802),
        reminded_at=at(803),
    )
    return attrs.evolve(full, **changes)


def charge(number: int = 1, **changes: Any) -> Charge:
    """Return the first attempt to charge the order of this number."""
    full = Charge(
        ledger_id=ident(number),
        attempt=1,
        user_id=ALICE,
        subscription_id=ident(1),
        mandate_id="mandate-1",
        chain_id=CHAIN,
        state="requested",
        reason="balance",
        requested_at=at(70),
        settled_at=at(71),
    )
    return attrs.evolve(full, **changes)


def pay_link(number: int = 1, **changes: Any) -> PayLink:
    """Return a link to order 1 whose token has this number."""
    full = PayLink(token_hash=word(number), ledger_id=ident(1), issued_at=at(10), expires_at=at(500))
    return attrs.evolve(full, **changes)


def mark(**changes: Any) -> ManualMark:
    return attrs.evolve(ManualMark(by=BOB, at=at(99), reason="paid in cash, größer"), **changes)


def completion(**changes: Any) -> Completion:
    full = Completion(tx_hash=word(11), log_index=3, block_number=100, block_hash=word(12), confirmed_at=at(60))
    return attrs.evolve(full, **changes)


def key_record(**changes: Any) -> KeyRecord:
    full = KeyRecord(
        operation="checkout", user_id=ALICE, key="k-1", fingerprint=word(99), ledger_id=ident(1), created_at=T0
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
        trace=f"00-{number:032x}-{number:016x}-01",
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


def mandate(number: int = 1, **changes: Any) -> Mandate:
    """Return a mandate with every field filled; its digest is made from its number."""
    full = Mandate(
        mandate_id=ident(number),
        digest=word(number),
        user_id=ALICE,
        subscription_id=ident(1),
        plan_slug="pro",
        plan_version=1,
        network="anvil",
        asset=asset(),
        contract=CONTRACT,
        payer=WALLET,
        treasury=TREASURY,
        operator=OTHER_WALLET,
        via="permit2",
        charge_cap=2**160 - 1,
        cap=2**160 - 1,
        spacing=2**62,
        start=at(-1),
        expires_at=at(1),
        salt=2**256 - 1,
        status=MandateStatus.ACTIVE,
        signature=b"\x00" * 65,
        permit=Permit(amount=2**160 - 1, nonce=2**48 - 1, expiration=at(2), deadline=at(3), signature=b"permit"),
        created_at=T0,
        given_at=at(4),
        cancelled_at=at(5),
        end_reason="replaced",
        on_chain=Seen(identity=identity(70 + number), evidence=evidence()),
        revocation=Seen(identity=identity(80 + number, ordinal=3), evidence=evidence(block_number=2**62)),
    )
    return attrs.evolve(full, **changes)
