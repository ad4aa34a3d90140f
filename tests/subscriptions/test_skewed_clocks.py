"""The host's clock runs ahead of the chain, or behind it: who pays is served all the same, and nothing differs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "charges"))

from charge_bench import OnFake

from evmbilling.domain.addresses import checksum
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.presets import preset
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.drain import drain
from evmbilling.testing.keys import sign_text
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant, plan_fields, simulated_merchant
from sampling import EVERYTHING

pytestmark = pytest.mark.fault("Z03")
SKEWS = [-60, -16, -14, -5, -1, 1, 5, 14, 15]
"""Seconds by which the host's clock is ahead of the chain's."""
FURTHER = [17, 60]
"""A plain transfer one second after its order is older than it then by more than a block's time may lie."""
WALLET, RELAYER = DEV_ACCOUNTS[3], DEV_ACCOUNTS[1]
EXCHANGE = checksum(b"exchange".rjust(20, b"\3"))


def by_transfer(shop: SimulatedMerchant, offer: Checkout) -> None:
    shop.chain.transfer(shop.token.token, WALLET.address, shop.treasury, offer.amount)


def by_deposit(shop: SimulatedMerchant, offer: Checkout) -> None:
    shop.chain.transfer(shop.token.token, EXCHANGE, offer.address or "", offer.amount)


def by_mapping(shop: SimulatedMerchant, offer: Checkout) -> None:
    (contract,) = (c for c in shop.engine.admin(ADMIN).contracts() if c.slug == "mapped")
    shop.chain.pay_mapped(offer.order, contract)


def by_contract(shop: SimulatedMerchant, offer: Checkout) -> None:
    shop.chain.pay(offer.order)


WAYS: dict[str, Callable[[SimulatedMerchant, Checkout], None]] = {
    "pro": by_contract,
    "plain": by_transfer,
    "deposit": by_deposit,
    "mapped": by_mapping,
}


class SkewedShop:
    """A shop that sells by every rail; its clock is the chain's and something."""

    def __init__(self, skew: int) -> None:
        self.skew = timedelta(seconds=skew)
        self.shop = simulated_merchant()
        shop, admin = self.shop, self.shop.engine.admin(ADMIN)
        where = {"network": shop.network}
        admin.update_gateway("main", version=1, relayer=RELAYER.key)
        admin.create_contract(slug="plain", address=shop.token.token, kind="erc20", **where)
        address = checksum(b"deposits".rjust(20, b"\2"))
        admin.create_contract(slug="deposit", address=address, kind="deposit", start_block=1, **where)
        admin.create_contract(slug="mapped", address=checksum(b"mapped".rjust(20, b"\4")), **where, **preset("permit2"))
        for slug in ("plain", "deposit", "mapped"):
            fields = plan_fields(shop, slug, contract_slug=slug, product=slug)
            admin.create_plan(**fields | {"prices": fields["prices"][:1]})
        self.mine(2)
        site = {"domain": "shop.example", "uri": "https://shop.example/"}
        asked = shop.engine.wallet_challenge(user_id="ann", wallet=WALLET.address, **where, **site)
        shop.engine.confirm_wallet(user_id="ann", nonce=asked.nonce, signature=sign_text(WALLET.key, asked.message))

    def mine(self, blocks: int = 1, *, seconds: int | None = None) -> None:
        self.shop.chain.mine(blocks, seconds=seconds)
        self.shop.clock.set(self.shop.chain.head.timestamp + self.skew)

    def buy(self, plan: str) -> str:
        """Check out, pay at once, work until it counts; return the order's id."""
        payer: dict[str, Any] = {} if plan == "deposit" else {"wallet": WALLET.address}
        offer = self.shop.engine.checkout(plan=plan, user_id="ann", idempotency_key=plan, **payer)
        WAYS[plan](self.shop, offer)
        self.mine(seconds=1)
        self.work()
        return offer.ledger_id

    def work(self) -> None:
        """Look after each block; the usual run does when the order is confirmed, and again when it is final."""
        for blocks in [1] * 25 if EVERYTHING else [1, 1, 1, 1, 21]:
            self.shop.drain()
            self.mine(blocks)
        self.shop.drain()

    def placed(self) -> list[tuple[str, str | None]]:
        with self.shop.engine._ports.storage.unit(write=False) as unit:
            return [(receipt.allocation, receipt.reason) for receipt in unit.all_receipts()]

    def differences(self) -> list[Any]:
        return [d for d in self.shop.engine.verify(full=True).differences if d.code != "unproved"]


OTHERS = [plan for plan in WAYS if plan != "plain"]
APART = 1 if EVERYTHING else len(OTHERS)
"""Money whose order stands on it is dated by nobody's clock: in the usual run these ways share the differences."""


@pytest.mark.parametrize(
    ("plan", "skew"),
    [
        *(("plain", skew) for skew in SKEWS),
        *((plan, skew) for at, plan in enumerate(OTHERS) for skew in [*SKEWS, *FURTHER][slice(at, None, APART)]),
    ],
)
def test_z03_who_pays_at_once_has_a_whole_period(plan: str, skew: int) -> None:
    desk = SkewedShop(skew)
    order = desk.shop.engine.order(desk.buy(plan)).order
    (held,) = desk.shop.engine.subscriptions("ann")
    assert order.status in PAID_ORDERS
    assert desk.shop.engine.access("ann").allowed
    assert held.paid_until is not None
    assert held.paid_until >= order.created_at + timedelta(days=28)
    assert desk.placed() == [("order", None)]
    assert desk.differences() == []


@pytest.mark.parametrize("skew", FURTHER)
def test_z03_a_plain_transfer_of_long_before_its_order_is_credit(skew: int) -> None:
    desk = SkewedShop(skew)
    order = desk.shop.engine.order(desk.buy("plain")).order
    assert (order.status, desk.placed()) == ("pending", [("credit", "no_order")])
    assert desk.differences() == []


class SkewedPulls(OnFake):
    """Pulls under mandates, with a clock that is the chain's and something."""

    skew = timedelta()

    def mine(self, blocks: int = 1, *, seconds: int | None = None) -> None:
        self.chain.mine(blocks, seconds=seconds)
        self.clock.set(self.chain.head.timestamp + self.skew)

    def live(self, days: int) -> None:
        """Let days pass by a block at a time, working after each."""
        a_day = 4 if EVERYTHING else 1
        for _ in range(days * a_day):
            self.mine(seconds=24 * 3600 // a_day - 3 * 12)
            drain(self.engine)
            self.mine(3)
            drain(self.engine)


@pytest.mark.parametrize("skew", [-60, -14, 14, 60])
def test_z03_a_mandate_renews_each_period_once(skew: int) -> None:
    bench = SkewedPulls()
    bench.skew = timedelta(seconds=skew)
    bench.mine()
    bench.subscribe()
    bench.give()
    bench.settle()
    bench.live(days=63)
    assert bench.held().status == "active"
    assert [(o.period, o.status in PAID_ORDERS) for o in bench.renewals()] == [(1, True), (2, True)]
    assert [(c.attempt, c.state, c.reason) for c in bench.charges()] == [(1, "submitted", None)] * 2
    assert bench.differences() == []
