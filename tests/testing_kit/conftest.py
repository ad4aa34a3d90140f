"""What the tests of the shipped testing kit share."""

from __future__ import annotations

from datetime import timedelta

import pytest
from kit_values import CONTRACT, START, TOKEN, TREASURY, WALLET

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.identity import Product, make_reference
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds


@pytest.fixture
def clock():
    return FrozenClock(START)


@pytest.fixture
def chain():
    return FakeChain(31337, start=START, safe_lag=1, finalized_lag=2)


@pytest.fixture
def make_order(clock):
    ids = SeededIds("orders", clock)

    def make(*, native=False, wallet=WALLET, amount=19_990_000, ttl=1800, **changes):
        ledger_id = ids.new_id()
        values = {
            "ledger_id": ledger_id,
            "reference": make_reference(b"instance", ledger_id),
            "user_id": "user-1",
            "product": Product("api"),
            "plan_slug": "pro",
            "plan_version": 1,
            "subscription_id": ids.new_id(),
            "period": 0,
            "gateway_slug": "main",
            "contract_slug": "checkout",
            "network": "local",
            "asset": Asset(chain_id=31337, token=NATIVE_COIN if native else TOKEN, decimals=6, symbol="USDT"),
            "quantity": 1,
            "lines": (),
            "amount": amount,
            "wallet": wallet,
            "beneficiary": wallet,
            "contract": CONTRACT,
            "treasury": TREASURY,
            "gas": 300_000,
            "created_at": START,
            "deadline": START + timedelta(seconds=ttl),
            "member_until": START + timedelta(days=31),
        }
        return Order(**(values | changes))

    return make
