"""A mandate and an order that fit each other, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from evmbilling.adapters.evm.mandates.mandates import mandate_digest
from evmbilling.domain.identity import CreditIdentity, Product, make_reference
from evmbilling.domain.mandates.mandate_charges import Charge, ChargeFacts, ChargeState, charge_of
from evmbilling.domain.mandates.mandates import Mandate, MandateStatus, Seen
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Evidence
from evmbilling.domain.selling.orders import Order, OrderLine

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)
PRICE = 20_000_000
DAY = timedelta(days=1)
PAYER = "0x7564105E977516C53bE337314c7E53838967bDaC"
TREASURY = "0x7777777777777777777777777777777777777777"
TOKEN = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
CONTRACT = "0x8246b2B8B128AB7744967f603359206c66e99e60"
CHECKOUT = "0x89eb5891179fb8c2Dbd1bB2D7167306aab3A7cd3"
OPERATOR = "0xC4c4c4C4C4c4C4c4c4C4c4c4c4c4c4C4c4c4c4C4"
SUBSCRIPTION = "0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"
LEDGER = "0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5062"
ASSET = Asset(chain_id=31337, token=TOKEN, decimals=6, symbol="tUSD")


def mandate(**changes: Any) -> Mandate:
    """A given mandate of 28 days a spacing."""
    full = Mandate(
        mandate_id="0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5063",
        digest=bytes(32),
        user_id="alice",
        subscription_id=SUBSCRIPTION,
        plan_slug="pro",
        plan_version=1,
        network="local",
        asset=ASSET,
        contract=CONTRACT,
        payer=PAYER,
        treasury=TREASURY,
        via="allowance",
        charge_cap=PRICE,
        cap=PRICE,
        spacing=28 * 86_400,
        start=NOW,
        expires_at=NOW + 1000 * DAY,
        salt=1,
        status=MandateStatus.GIVEN,
        signature=b"\x01" * 65,
        created_at=NOW,
        given_at=NOW,
    )
    made = attrs.evolve(full, **changes)
    return attrs.evolve(made, digest=mandate_digest(made))


def order(**changes: Any) -> Order:
    full = Order(
        ledger_id=LEDGER,
        reference=make_reference(b"instance", LEDGER),
        user_id="alice",
        origin="renewal",
        product=Product("api"),
        plan_slug="pro",
        plan_version=1,
        subscription_id=SUBSCRIPTION,
        period=1,
        gateway_slug="main",
        contract_slug="checkout",
        network="local",
        asset=ASSET,
        quantity=1,
        lines=(OrderLine(kind="plan", text="Pro", amount=PRICE),),
        amount=PRICE,
        wallet=PAYER,
        beneficiary=PAYER,
        contract=CHECKOUT,
        treasury=TREASURY,
        gas=300_000,
        created_at=NOW,
        deadline=NOW + 3 * DAY,
    )
    return attrs.evolve(full, **changes)


def chain(**changes: Any) -> ChargeState:
    """A chain on which nothing stands in the way."""
    good = ChargeState(
        time=NOW,
        contract_known=True,
        token_answers=True,
        stage="given",
        balance=PRICE,
        allowance=PRICE,
        refusal="none",
        simulated="ok",
    )
    return attrs.evolve(good, **changes)


def facts(**changes: Any) -> ChargeFacts:
    asked = changes.get("order", order())
    charge: Charge = changes.pop("charge", None) or charge_of(asked)
    found = {"mandate": mandate(), "order": asked, "charge": charge, "chain": chain(), "now": NOW}
    return ChargeFacts(**(found | changes))


def seen(number: int = 1) -> Seen:
    evidence = Evidence(block_number=number, block_hash=bytes(32), block_time=NOW, log_index=0)
    return Seen(identity=CreditIdentity(31337, number.to_bytes(32), 0), evidence=evidence)
