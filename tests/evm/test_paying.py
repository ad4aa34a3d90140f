"""Orders, payloads and decoded payments against the deployed contract."""

from __future__ import annotations

import attrs
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from evm_bench import TREASURY, Shop

from evmbilling.domain.identity import subscription_token


def test_a_wallet_pays_tokens_with_exactly_its_payload_and_the_chain_says_so(shop: Shop) -> None:
    shop.approve()
    order = shop.order()
    receipt = shop.pay(order)
    assert receipt["status"] == "0x1"
    (log,) = shop.logs()
    seen = shop.provider.decode(log, shop.contract)
    assert seen is not None
    assert (seen.reference, seen.amount, seen.token) == (order.reference, order.amount, order.asset.token)
    assert (seen.payer, seen.beneficiary, seen.treasury) == (order.wallet, order.beneficiary, order.treasury)
    assert seen.subscription == subscription_token(order.subscription_id)
    assert seen.contract == shop.checkout
    assert log.tx_hash.hex() == receipt["transactionHash"][2:]
    assert log.log_index == int(receipt["logs"][-1]["logIndex"], 16)


def test_a_wallet_pays_the_native_coin(shop: Shop) -> None:
    order = shop.order(asset=shop.native(), amount=10**17, gas=250_000)
    assert shop.provider.payload(order).value == 10**17
    before = int(shop.node.rpc("eth_getBalance", TREASURY, "latest"), 16)
    assert shop.pay(order)["status"] == "0x1"
    assert int(shop.node.rpc("eth_getBalance", TREASURY, "latest"), 16) == before + 10**17
    (log,) = shop.logs()
    seen = shop.provider.decode(log, shop.contract)
    assert seen is not None
    assert (seen.amount, seen.token) == (10**17, order.asset.token)


def test_payload_challenge_and_signature_are_the_same_every_time(shop: Shop) -> None:
    order = shop.order()
    again = shop.sign(attrs.evolve(order, signature=b"", signer=""))
    assert again == order
    assert shop.provider.payload(order) == shop.provider.payload(again)
    assert shop.provider.challenge(order) == shop.provider.challenge(again)
    challenge = shop.provider.challenge(order)
    message = encode_typed_data(full_message=challenge.typed_data)
    assert Account.recover_message(message, signature=challenge.signature) == shop.signer.address == challenge.signer


@pytest.mark.fault("T01")
def test_t01_failed_transaction_leaves_nothing_to_see(shop: Shop) -> None:
    order = shop.order()  # no tokens, no allowance
    receipt = shop.pay(order)
    assert receipt["status"] == "0x0"
    transaction = shop.node.rpc("eth_getTransactionByHash", receipt["transactionHash"])
    assert bytes.fromhex(transaction["input"][2:]) == shop.provider.payload(order).data  # still reads as a payment
    assert shop.logs() == []


@pytest.mark.fault("S01")
def test_s01_a_signed_challenge_is_consumed_by_one_of_many_transactions(shop: Shop) -> None:
    """The nonce of a challenge is its reference, which we made and the contract uses up once."""
    shop.approve()
    order = shop.order()
    payload = shop.provider.payload(order).as_rpc(shop.wallet.address)
    first = int(shop.node.rpc("eth_getTransactionCount", shop.wallet.address, "latest"), 16)
    shop.node.impersonate(shop.wallet.address)
    sent = [shop.node.send(payload | {"nonce": hex(first + n)}) for n in range(20)]
    shop.node.mine()
    statuses = [receipt["status"] for h in sent if (receipt := shop.node.receipt(h)) is not None]
    assert statuses == ["0x1"] + ["0x0"] * 19
    assert len(shop.logs()) == 1
