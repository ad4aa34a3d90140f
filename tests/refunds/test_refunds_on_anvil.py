"""A refund through the real contract, and the burn by its operator, as their wallets send what they are handed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from refunds_bench import OPS

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.identity import subscription_token
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.factory import BillingEngine
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, calldata, transact
from evmbilling.testing.merchant import Merchant, anvil_merchant, repeatable_secrets
from refund_wallets import prove

CUSTOMER, STRANGER = DEV_ACCOUNTS[3], DEV_ACCOUNTS[4]
OPERATOR = DEV_ACCOUNTS[0]


class Till:
    """A merchant on a node whose customer has paid a month and holds its membership."""

    def __init__(self, node: AnvilNode) -> None:
        self.node = node
        head = node.block()
        assert head is not None
        self.clock = FrozenClock(datetime.fromtimestamp(int(head["timestamp"], 16), UTC))
        storage = MemoryStorage(self.clock, instance_id=b"on-anvil")
        self.engine = BillingEngine(storage=storage, clock=self.clock, secrets=repeatable_secrets())
        self.shop: Merchant = anvil_merchant(self.engine, node)
        token = Deployed(name="TestToken", address=self.shop.token.token, block=0)
        transact(node, token, "mint", CUSTOMER.address, 100_000_000, sender=CUSTOMER.address)
        self.offer = self.shop.checkout("user-1", wallet=CUSTOMER.address)
        instructions = self.engine.pay_instructions(self.offer.ledger_id)
        assert instructions.approval is not None
        assert instructions.payload is not None
        self.send(instructions.approval, CUSTOMER.address, mine=1)
        assert self.send(instructions.payload, CUSTOMER.address)["status"] == "0x1"
        self.token_id = subscription_token(self.offer.order.subscription_id)

    def send(self, payload: WalletPayload, sender: str, *, mine: int = 3) -> dict[str, Any]:
        tx_hash = self.node.send(payload.as_rpc(sender))
        self.node.mine(mine)
        self.settle()
        receipt = self.node.receipt(tx_hash)
        assert receipt is not None
        return receipt

    def settle(self) -> None:
        head = self.node.block()
        assert head is not None
        self.clock.set(max(self.clock.now(), datetime.fromtimestamp(int(head["timestamp"], 16), UTC)))
        self.shop.drain()

    def expiry(self) -> int:
        data = "0x" + calldata("Checkout", "expiresAt", self.token_id).hex()
        return int(self.node.rpc("eth_call", {"to": self.shop.contract, "data": data}, "latest"), 16)

    def logs(self) -> list[Any]:
        with self.engine._ports.storage.unit(write=False) as unit:
            return sorted(m.kind for m in unit.all_movements() if m.live)


@pytest.fixture
def till(anvil: AnvilNode) -> Iterator[Till]:
    till = Till(anvil)
    yield till
    till.engine.close()


def test_a_refund_through_the_contract_and_the_burn_of_its_membership(till: Till):
    assert till.engine.access("user-1").allowed
    assert till.expiry() > 0
    desk, treasury = till.engine.refunds(OPS), till.node.accounts[-1].address
    refund = desk.request(ledger_id=till.offer.ledger_id, end_membership=True, reason="asked")
    prove(till.engine, refund.refund_id, CUSTOMER, user_id="user-1", network=till.shop.network)
    approve = calldata("TestToken", "approve", till.shop.contract, refund.amount)
    token = till.shop.token.token
    till.send(WalletPayload(chain_id=till.node.chain_id, to=token, value=0, data=approve, gas=100_000), treasury)
    payload = desk.prepare(refund.refund_id)
    receipt = till.send(payload, treasury)
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) < payload.gas
    assert desk.refund(refund.refund_id).status == "done"
    assert not till.engine.access("user-1").allowed
    assert till.expiry() > 0  # the token is still there

    burn = desk.prepare_burn(refund.refund_id)
    assert till.send(burn, STRANGER.address)["status"] == "0x0"
    assert till.send(burn, treasury)["status"] == "0x0"  # who may refund may not burn
    assert desk.refund(refund.refund_id).burn.status == "due"
    burned = till.send(burn, OPERATOR.address)
    assert (burned["status"], till.expiry()) == ("0x1", 0)
    assert int(burned["gasUsed"], 16) < burn.gas
    found = desk.refund(refund.refund_id).burn
    assert (found.status, "0x" + found.identity.tx_hash.hex()) == ("done", burned["transactionHash"])
    assert till.logs() == ["receipt", "refund"]
    assert [d for d in till.engine.verify(full=True).differences if d.code != "unproved"] == []

    till.node.reorg(3)
    till.node.mine()
    till.settle()
    assert till.expiry() > 0
    assert desk.refund(refund.refund_id).burn.status == "due"
    assert desk.refund(refund.refund_id).status == "done"
    assert not till.engine.access("user-1").allowed
    assert till.send(burn, CUSTOMER.address)["status"] == "0x1"  # the holder may, too
    assert desk.refund(refund.refund_id).burn.status == "done"
    assert [d for d in till.engine.verify(full=True).differences if d.code != "unproved"] == []
