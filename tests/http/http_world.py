"""A merchant with something of everything, so that every route has something to answer with."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from evmbilling.domain.addresses import checksum
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.merchant import (
    ADMIN,
    SIGNER_KEY,
    SimulatedMerchant,
    plan_fields,
    simulated_merchant,
    wallet_of,
)

USER, OTHER = "user-a", "user-b"
SWEEPER = checksum(b"deposits".rjust(20, b"\2"))
STRANGER = checksum(b"stranger".rjust(20, b"\2"))


@frozen
class World:
    """Names of what is there."""

    shop: SimulatedMerchant
    paid: str
    pending: str
    subscription: str
    refund: str
    suspense: str
    duplicate: str
    endpoint: str
    event: str
    sink: str
    token: str
    sent: str

    @property
    def names(self) -> dict[str, str]:
        return {
            "paid": self.paid,
            "pending": self.pending,
            "subscription": self.subscription,
            "refund": self.refund,
            "suspense": self.suspense,
            "duplicate": self.duplicate,
            "endpoint": self.endpoint,
            "event": self.event,
            "sink": self.sink,
            "token": self.token,
            "sent": self.sent,
        }


def make_world() -> World:
    shop = simulated_merchant(seed=5)
    engine = shop.engine
    engine.admin(ADMIN).update_network("local", version=1, testnet=False)  # test networks never count
    bought = shop.buy(USER)
    pack = shop.buy(USER, plan=shop.pack)
    shop.chain.pay(pack.order)
    shop.chain.transfer(shop.token.token, STRANGER, shop.treasury, 5_000_000)
    shop.settle()
    shop.settle(20, seconds=3600)
    while engine.fold().folded or engine.number_receipts().issued:
        pass
    endpoint = engine.endpoints(ADMIN).create(url="https://receiver.example/hook").endpoint.endpoint_id
    event = engine.endpoints(ADMIN).test(endpoint)
    refund = engine.refunds(ADMIN).request(ledger_id=bought.ledger_id, amount=1, reason="a test")
    pending = shop.checkout(USER, plan=shop.pack, idempotency_key="pending-1")
    items = {item.kind: item.item_id for item in engine.finance(ADMIN).queue()}
    return World(
        shop=shop,
        paid=bought.ledger_id,
        pending=pending.ledger_id,
        subscription=str(bought.order.subscription_id),
        refund=refund.refund_id,
        suspense=items["suspense"],
        duplicate=items["duplicate"],
        endpoint=endpoint,
        event=event,
        sink=f"webhook:{endpoint}",
        token=engine.issue_pay_link(pending.ledger_id).token,
        sent=sent_to(shop),
    )


def sent_to(shop: SimulatedMerchant) -> str:
    """Return an order that is paid at an address of its own, where some of it is."""
    admin = shop.engine.admin(ADMIN)
    admin.create_gateway(
        slug="sweeping",
        networks=[shop.network],
        signer=SIGNER_KEY,
        relayer=DEV_ACCOUNTS[1].key,
        treasuries={shop.network: shop.treasury},
    )
    admin.create_contract(slug="sweeper", network=shop.network, address=SWEEPER, kind="deposit", start_block=1)
    fields = plan_fields(
        shop, "book", contract_slug="sweeper", gateway_slug="sweeping", interval="none", product="book"
    )
    admin.create_plan(**fields | {"prices": fields["prices"][:1]})
    offer = shop.engine.checkout(plan="book", user_id=USER, idempotency_key="sent-1")
    shop.chain.transfer(shop.token.token, STRANGER, offer.address or "", offer.amount)
    shop.chain.mine()
    return offer.ledger_id


def filled(value: Any, names: dict[str, str]) -> Any:
    """Put the world's names where a row says ``<name>``."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"<{name}>", text)
        return value
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    return [filled(item, names) for item in value] if isinstance(value, list) else value


WALLET = wallet_of(USER)
