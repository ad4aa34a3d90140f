"""Wallets of every kind are charged: a key, an account that delegates, a contract wallet; and ends are noticed."""

from __future__ import annotations

import pytest
from anvil_bench import delegated
from charge_bench import PAYER, PRICE, USER, OnAnvil

from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.deploy import deploy, put_permit2
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.wallet import Wallet

OWNER = DEV_ACCOUNTS[9]


@pytest.fixture
def node(open_bench) -> OnAnvil:
    return open_bench("anvil")


def pulled(bench: OnAnvil) -> None:
    """Come to the next charge, and see it paid."""
    before = bench.balance(bench.merchant.treasury)
    bench.due()
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    assert bench.balance(bench.merchant.treasury) - before == PRICE


@pytest.mark.fault("S16")
def test_s16_an_account_that_delegates_is_charged(node: OnAnvil) -> None:
    node.subscribe()
    node.settle()
    code = deploy(node.node, "ContractWallet", OWNER.address)
    delegated(node.node, PAYER.key, code.address)
    node.give()
    pulled(node)
    pulled(node)
    assert node.differences() == []


@pytest.mark.fault("S10")
def test_s10_a_contract_wallet_is_charged(node: OnAnvil) -> None:
    node.subscribe()
    wallet = deploy(node.node, "ContractWallet", OWNER.address).address
    where = {"network": node.merchant.network, "domain": "shop.example", "uri": "https://shop.example/"}
    challenge = node.engine.wallet_challenge(user_id=USER, wallet=wallet, **where)
    signature = Wallet(OWNER.key, node.node.url).sign_text(challenge.message)
    node.engine.confirm_wallet(user_id=USER, nonce=challenge.nonce, signature=signature)
    node.fund(wallet, 10 * PRICE)
    node.node.impersonate(wallet)
    node.node.set_balance(wallet, 10**18)
    node.act("approve", node.contract, 10 * PRICE, sender=wallet)

    prepared = node.prepare(wallet=wallet)
    assert prepared.problems == ()
    signed = sign_typed_data(OWNER.key, prepared.typed_data)
    mandate = node.engine.mandates.give(USER, prepared.mandate.mandate_id, signature=signed)
    assert mandate.payer == wallet
    pulled(node)
    pulled(node)
    assert node.balance(wallet) == 8 * PRICE
    assert node.differences() == []


def test_permit2_is_charged(node: OnAnvil) -> None:
    put_permit2(node.node)
    node.subscribe()
    prepared = node.prepare(via="permit2")
    for payload in prepared.approvals:
        node.send(payload)
    node.engine.mandates.give(
        USER,
        prepared.mandate.mandate_id,
        signature=sign_typed_data(PAYER.key, prepared.typed_data),
        permit_signature=sign_typed_data(PAYER.key, prepared.permit_typed_data),
    )
    pulled(node)
    pulled(node)
    assert [charge.state for charge in node.charges()] == ["submitted"] * 2
    assert node.differences() == []


@pytest.mark.parametrize("how", ["ours", "chain"])
def test_its_end_is_noticed_before_the_next_charge(node: OnAnvil, how: str) -> None:
    node.subscribe()
    mandate = node.give()
    pulled(node)
    assert node.requested().state == "requested"
    if how == "ours":
        node.engine.mandates.cancel(USER, mandate.mandate_id)
    else:
        node.revoke(mandate)  # not read yet: the chain itself says so
    reason = "cancelled" if how == "ours" else "revoked"
    assert dict(node.engine.run_charges().failed) == {reason: 1}
    node.settle()
    order = node.renewals()[-1]
    assert (order.status, order.attempts, order.retry_at, order.claim) == ("pending", 1, None, "owed")
    assert len(node.sent()) == 1
