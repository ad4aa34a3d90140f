"""Memberships in somebody else's contract: paid in the chain's coin, renewed by anybody, ended with a refund."""

from __future__ import annotations

import pytest
from bindings_bench import ALICE, BOB, MALLORY, PRICE, MappedShop

from evmbilling.contracts import artifact
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.identity import subscription_token
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.errors import InputError
from evmbilling.presets import preset
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, calldata, deploy
from refund_wallets import prove

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
MONTH = 30 * 86_400
COIN = {
    "mint_method": {"method": "renewSubscription", "args": ["{subscription}", MONTH], "value": "{amount}"},
    "events": [
        {
            "event": "PassPaid",
            "means": "paid",
            "match": "token_id",
            "token_id": "tokenId",
            "payer": "payer",
            "amount": "amount",
            "treasury": "vault",
            "token": {"const": "native"},
        }
    ],
}


@pytest.fixture
def shop(anvil: AnvilNode):
    made = MappedShop(anvil)
    made.open()
    yield made
    made.close()


def passes_of(shop: MappedShop) -> Deployed:
    return deploy(shop.node, "PaidPass", shop.treasury, shop.token.address, PRICE)


def test_the_chains_coin_is_taken_through_a_contract_that_passes_it_on(shop: MappedShop):
    passes = passes_of(shop)
    shop.bind(passes, **COIN)
    shop.sell(native=True)
    with pytest.raises(InputError, match="native coin"):
        shop.sell("tokens")
    offer = shop.checkout()
    assert (offer.payload.value, offer.order.asset.is_native) == (10**16, True)
    shop.pay(offer)
    assert shop.engine.access("alice").allowed
    shop.node.reorg(3)
    shop.node.mine()
    shop.settle()
    assert shop.engine.order(offer.ledger_id).status == "reversed"
    shop.send(offer.payload)
    assert shop.engine.order(offer.ledger_id).status == "confirmed"
    # Whoever pays for her membership pays her next period.
    second = shop.checkout()
    assert second.order.period == 1
    shop.send(second.payload, BOB)
    assert shop.engine.order(second.ledger_id).status == "confirmed"
    assert shop.differences() == []


def test_money_for_a_membership_that_is_nobodys_waits(shop: MappedShop):
    passes = passes_of(shop)
    shop.bind(passes, **COIN)
    shop.sell(native=True)
    data = calldata("PaidPass", "renewSubscription", 77, MONTH)
    shop.send(WalletPayload(chain_id=shop.node.chain_id, to=passes.address, value=5, data=data, gas=300_000), MALLORY)
    (receipt,) = shop.receipts()
    assert (receipt.allocation, receipt.reason, receipt.amount) == ("suspense", "no_order", 5)
    assert shop.differences() == []


def test_a_refund_ends_the_membership_by_the_call_of_the_binding(shop: MappedShop):
    passes = passes_of(shop)
    fields = preset("erc5643", duration=MONTH)
    shop.admin.create_contract(
        slug="theirs", network="local", address=passes.address, start_block=passes.block, **fields
    )
    shop.sell()
    shop.confirm("alice", ALICE)
    shop.fund(ALICE)
    offer = shop.checkout()
    shop.pay(offer)
    token_id = subscription_token(offer.order.subscription_id)
    assert shop.ask(passes, "expiresAt", token_id) > 0

    desk = shop.engine.refunds(OPS)
    refund = desk.request(ledger_id=offer.ledger_id, end_membership=True, reason="asked")
    prove(shop.engine, refund.refund_id, ALICE)
    shop.send(desk.prepare(refund.refund_id), shop.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"
    assert desk.refund(refund.refund_id).burn.status == "due"
    assert not shop.engine.access("alice").allowed

    burn = desk.prepare_burn(refund.refund_id)
    assert (burn.to, burn.value) == (passes.address, 0)
    shop.send(burn, ALICE)
    assert desk.refund(refund.refund_id).burn.status == "done"
    assert shop.ask(passes, "expiresAt", token_id) == 0
    shop.node.reorg(3)
    shop.node.mine()
    shop.settle()
    assert desk.refund(refund.refund_id).burn.status == "due"
    assert shop.differences() == []


def test_what_stands_behind_a_proxy_is_pinned_with_it(shop: MappedShop):
    """The proxy's own code stays as it was when its owner lets it lead elsewhere."""
    slot = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
    passes, other = passes_of(shop), deploy(shop.node, "KeyLock", shop.token.address, PRICE, MONTH)
    proxy = "0x" + "c0de" * 10
    shop.node.set_code(proxy, "0x" + artifact("Forwarder").deployed_bytecode.hex())
    shop.node.set_storage(proxy, slot, int(passes.address, 16))
    bound = shop.bind(Deployed(name="PaidPass", address=proxy, block=0), **COIN)
    assert {address for address, _ in bound.pins} == {bound.address, passes.address}
    assert not shop.engine.check_contracts()
    shop.node.set_storage(proxy, slot, int(other.address, 16))
    (halted,) = shop.engine.check_contracts()
    assert other.address in halted.note
    again = shop.engine.contracts(OPS).pin("theirs", "local", version=bound.version)
    assert {address for address, _ in again.pins} == {bound.address, other.address}
