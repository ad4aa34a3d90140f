from __future__ import annotations

from typing import Any

import attrs
from eth_abi.abi import encode
from eth_hash.auto import keccak

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.identity import subscription_token
from evmbilling.domain.payments.credit import Purse
from evmbilling.domain.payments.receipts import Receipt, Refund
from evmbilling.domain.people.siwe import personal_digest
from evmbilling.engine.intake.purses import load_purse
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.keys import _accounts
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant
from evmbilling.testing.paid_logs import TRANSFER_TOPIC, FakeLog, transfer_log

ALICE, BOB = DEV_ACCOUNTS[1:3]
OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))
BOSS = Actor("boss", frozenset({Role.BILLING_ADMIN, Role.FINANCE_OPS}))
REFUNDED = keccak(b"Refunded(bytes32,bytes32,address,address,uint256)")


class Desk:
    """A finance desk with a merchant whose first customer has paid."""

    def __init__(self, shop: SimulatedMerchant) -> None:
        self.shop, self.engine = shop, shop.engine
        offer = shop.checkout()
        self.sent = shop.chain.pay(offer.order)
        shop.settle()
        self.paid = self.engine.order(offer.ledger_id)
        self.ops = self.engine.refunds(OPS)

    def prove(self, refund: Refund, key: Any = ALICE, user_id: str = "user-1", network: str | None = None) -> Refund:
        challenge = self.engine.refund_challenge(
            refund.refund_id,
            user_id=user_id,
            wallet=key.address,
            network=network or self.shop.network,
            domain="shop.example",
            uri="https://shop.example/refund",
        )
        signature = self.sign(challenge.message, key)
        return self.engine.confirm_refund_address(
            refund.refund_id, user_id=user_id, nonce=challenge.nonce, signature=signature
        )

    def ready(self, **asked: Any) -> Refund:
        """A refund that is agreed, addressed and prepared."""
        refund = self.ops.request(**({"ledger_id": self.paid.ledger_id, "reason": "asked"} | asked))
        self.prove(refund)
        self.ops.prepare(refund.refund_id)
        return self.ops.refund(refund.refund_id)

    def ready_credit(self, **asked: Any) -> Refund:
        """A refund of the customer's credit that is agreed, addressed and prepared."""
        refund = self.ops.request_credit("user-1", **({"reason": "asked"} | asked))
        self.prove(refund)
        self.ops.prepare(refund.refund_id)
        return self.ops.refund(refund.refund_id)

    def pay_again(self, amount: int | None = None) -> bytes:
        """Pay the paid order once more."""
        tx = self.shop.chain.pay(self.paid.order, **({} if amount is None else {"amount": amount}))
        self.settle()
        return tx

    def double(self) -> Receipt:
        """The payment that came twice."""
        return next(r for r in self.engine.receipts(self.paid.ledger_id) if r.allocation == "credit")

    def lose(self, *gone: bytes) -> None:
        """Let the chain take these transactions back, and no other."""
        chain = self.shop.chain
        chain.reorganise(chain.head.number, keep=[tx for tx in self.mined() if tx not in gone])
        self.settle(1)

    def mined(self) -> list[bytes]:
        """Transactions in the chain's blocks."""
        return list(self.shop.chain._ledger.receipts)

    def limit(self, amount: int) -> None:
        """From now on a second person agrees to more than this."""
        self.policy(approval_above={"tUSD": amount})

    def policy(self, **changes: Any) -> None:
        """Change what the gateway does with misfits."""
        admin = self.engine.admin(ADMIN)
        gateway = admin.gateways()[0]
        policy = attrs.evolve(gateway.misfits, **changes)
        admin.update_gateway("main", version=gateway.version, misfits=policy)

    def books(self) -> dict[str, int]:
        """Every account of the token that is not 0, credit positive."""
        totals: dict[str, int] = {}
        with self.engine._ports.storage.unit(write=False) as unit:
            entries = unit.ledger_entries(limit=100_000)
        for entry in entries:
            for line in entry.lines:
                amount = line.amount if line.side == "credit" else -line.amount
                totals[str(line.account)] = totals.get(str(line.account), 0) + amount
        return {account: amount for account, amount in totals.items() if amount}

    def purse(self, user_id: str) -> Purse:
        """What a customer's money in the token consists of."""
        with self.engine._ports.storage.unit(write=False) as unit:
            return load_purse(unit, user_id, self.shop.token)

    def send(self, refund: Refund, **changes: Any) -> bytes:
        """Send what was prepared, as the treasury's wallet does."""
        amount = changes.get("amount", refund.amount)
        address = changes.get("address", refund.address)
        moved = transfer_log(refund.asset.token, refund.treasury, address, amount)
        if refund.via == "transfer":
            return self.shop.chain.send(moved)
        topics = (REFUNDED, refund.reference, refund.on_chain_id, address_bytes(address).rjust(32, b"\0"))
        data = encode(("address", "uint256"), (refund.asset.token, amount))
        return self.shop.chain.send(moved, FakeLog(self.shop.contract, topics, data))

    def ending(self, **asked: Any) -> Refund:
        """A refund of the whole order that is done, and with which the membership has ended."""
        refund = self.ready(**({"end_membership": True} | asked))
        self.send(refund)
        self.settle()
        return self.ops.refund(refund.refund_id)

    def burn(self, refund: Refund | None = None, *, token_id: int | None = None, contract: str | None = None) -> bytes:
        """Burn a membership's token, as the contract does when its operator or the holder calls ``burn``."""
        order = self.engine.order(refund.ledger_id if refund else self.paid.ledger_id).order
        number = subscription_token(order.subscription_id) if token_id is None else token_id
        holder = address_bytes(order.beneficiary).rjust(32, b"\0")
        topics = (TRANSFER_TOPIC, holder, bytes(32), number.to_bytes(32))
        return self.shop.chain.send(FakeLog(contract or order.contract, topics))

    def mint(self, token_id: bytes) -> bytes:
        """Mint a membership's token, as the contract does with a first payment."""
        holder = address_bytes(ALICE.address).rjust(32, b"\0")
        return self.shop.chain.send(FakeLog(self.shop.contract, (TRANSFER_TOPIC, bytes(32), holder, token_id)))

    def prices(self) -> list[dict[str, Any]]:
        """The price of a plan in the token."""
        token = self.shop.token
        place = {"network": self.shop.network, "chain_id": token.chain_id, "token": token.token}
        return [place | {"decimals": token.decimals, "symbol": token.symbol, "display": "19.99"}]

    def sign(self, text: str, key: Any = ALICE) -> bytes:
        return bytes(_accounts().unsafe_sign_hash(personal_digest(text), key.key).signature)

    def told(self) -> list[str]:
        """Types of all events in order, without prefix and version."""
        events = sorted(self.engine.admin(ADMIN).events(limit=10_000), key=lambda e: e.event_id)
        return [e.type.removeprefix("billing.").removesuffix(".v1") for e in events]

    def settle(self, blocks: int = 3) -> None:
        self.shop.settle(blocks)

    def kinds(self) -> list[str]:
        with self.engine._ports.storage.unit(write=False) as unit:
            return sorted(m.kind for m in unit.all_movements() if m.direction == "out" and m.live)

    def balanced(self) -> bool:
        report = self.engine.verify()
        serious = [d for d in report.differences if d.code != "unproved"]
        assert serious == [], serious
        return True
