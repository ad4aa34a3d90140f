"""A simulated merchant with a bound Mandates contract, one paying user and her key."""

from __future__ import annotations

from typing import Any

from evmbilling.domain.addresses import checksum
from evmbilling.domain.mandates.mandate_charges import charge_of
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.mandates.offers import PreparedMandate
from evmbilling.domain.selling.offers import Checkout
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.mandate_logs import charge_logs
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant

ALICE, BOB = DEV_ACCOUNTS[1:3]
USER = "user-1"
CONTRACT = checksum(b"mandates".rjust(20, b"\1"))
PRICE = 19_990_000


class Pulls:
    """What the tests below do all the time."""

    def __init__(self, shop: SimulatedMerchant) -> None:
        self.shop, self.engine = shop, shop.engine
        self.shop.settle(1)
        self.admin = shop.engine.admin(ADMIN)
        self.contract = self.admin.create_contract(
            slug="pulls", network=shop.network, address=CONTRACT, kind="mandates", start_block=1
        )

    def subscribe(self, user: str = USER, wallet: str = ALICE.address) -> str:
        """Buy the monthly plan and return the subscription's id."""
        bought = self.shop.buy(user, wallet=wallet)
        assert bought.order.subscription_id is not None
        return bought.order.subscription_id

    def prepare(
        self, subscription: str, user: str = USER, wallet: str = ALICE.address, **changes: Any
    ) -> PreparedMandate:
        return self.engine.mandates.prepare(user, subscription, wallet, **changes)

    def sign(self, prepared: PreparedMandate, key: str = ALICE.key) -> bytes:
        return sign_typed_data(key, prepared.typed_data)

    def give(self, subscription: str, **changes: Any) -> Mandate:
        prepared = self.prepare(subscription, **changes)
        return self.engine.mandates.give(USER, prepared.mandate.mandate_id, signature=self.sign(prepared))

    def renewal(self, user: str = USER, wallet: str = ALICE.address) -> Checkout:
        """The order of the next period, unpaid."""
        return self.engine.checkout(plan="pro", user_id=user, wallet=wallet, idempotency_key=f"next-{user}")

    def charge(self, mandate: Mandate, offer: Checkout, *, first: bool = True) -> bytes:
        """Charge an order on chain; returns the transaction's hash, not mined yet."""
        return self.shop.chain.send(*charge_logs(mandate, charge_of(offer.order), first=first))

    def only(self, user: str = USER) -> Mandate:
        (mandate,) = self.engine.mandates.list(user)
        return mandate

    def told(self) -> list[str]:
        """The events about mandates, in the order of their writing."""
        events = sorted(self.admin.events(limit=10_000), key=lambda e: e.event_id)
        return [e.type.removeprefix("billing.mandate.").removesuffix(".v1") for e in events if ".mandate." in e.type]

    def audited(self) -> list[str]:
        return [e.action for e in self.admin.audit(limit=10_000) if e.action.startswith("mandate.")]
