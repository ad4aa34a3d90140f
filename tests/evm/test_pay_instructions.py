"""What stands in the way of paying, one thing at a time."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import pytest
from evm_bench import NO_NODE, STRANGE_ASSET, Shop
from evm_servers import scripted, tampered

from evmbilling.adapters.evm.abi.calldata import approve_call
from evmbilling.adapters.evm.paying.links import erc681_transfer
from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offers import PayInstructions, WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OPEN_ORDERS, OrderStatus
from evmbilling.errors import ConfigurationError


def ask(shop: Shop, order: Order) -> PayInstructions:
    return shop.provider.pay_instructions(order, shop.network)


def codes(answer: PayInstructions) -> list[str]:
    return [problem.code for problem in answer.problems]


def approval(shop: Shop, order: Order, amount: int) -> WalletPayload:
    return WalletPayload(
        chain_id=31337, to=order.asset.token, value=0, data=approve_call(shop.checkout, amount), gas=100_000
    )


def mine(shop: Shop, payload: WalletPayload) -> None:
    tx_hash = shop.wallet.send(payload)
    shop.node.mine()
    receipt = shop.node.receipt(tx_hash)
    assert receipt is not None
    assert receipt["status"] == "0x1"


def test_approval_then_payment_go_through_as_told(shop: Shop) -> None:
    order = shop.order()
    answer = ask(shop, order)
    assert codes(answer) == ["balance", "allowance"]
    assert [problem.text for problem in answer.problems] == [
        "the wallet holds 0 TUSD, 20 TUSD is due",
        "the contract may take 0 TUSD: approve it first",
    ]
    shop.fund(order.wallet, order.amount - 1)
    assert codes(ask(shop, order)) == ["balance", "allowance"]
    shop.fund(order.wallet, 1)
    answer = ask(shop, order)
    assert codes(answer) == ["allowance"]
    assert answer.approval == approval(shop, order, order.amount)  # exact, never unlimited
    assert answer.payload == shop.provider.payload(order)
    mine(shop, answer.approval)
    answer = ask(shop, order)
    assert (codes(answer), answer.approval, answer.ledger_id) == ([], None, order.ledger_id)
    assert answer.payload is not None
    mine(shop, answer.payload)
    answer = ask(shop, order)
    assert codes(answer) == ["reference_used"]
    assert (answer.payload, answer.approval) == (None, None)


def test_native_coin_needs_a_balance_and_no_approval(shop: Shop) -> None:
    order = shop.order(asset=shop.native(), amount=10**18)
    shop.node.set_balance(order.wallet, 10**18 - 1)
    assert codes(ask(shop, order)) == ["balance"]
    shop.node.set_balance(order.wallet, 10**18)
    answer = ask(shop, order)
    assert (codes(answer), answer.approval) == ([], None)
    assert answer.payload is not None
    assert answer.payload.value == 10**18


def test_token_that_wants_a_zero_first_is_reset_and_others_are_not(shop: Shop) -> None:
    strict = shop.deploy("NoReturnToken", "Tether-like", "TUSD", 6)
    for token, first in ((strict, 0), (shop.token, 20_000_000)):
        order = shop.order(asset=shop.asset(token=token))
        shop.fund(order.wallet, order.amount, token)
        shop.call(token, "approve(address,uint256)", shop.checkout, 5, sender=order.wallet)
        answer = ask(shop, order)
        assert answer.approval == approval(shop, order, first)
        mine(shop, answer.approval)
        answer = ask(shop, order)
        if first == 0:
            assert answer.approval == approval(shop, order, order.amount)
            mine(shop, answer.approval)
            answer = ask(shop, order)
        assert (codes(answer), answer.approval) == ([], None)
        assert answer.payload is not None
        mine(shop, answer.payload)


def test_paused_contract_is_named(shop: Shop) -> None:
    shop.approve()
    shop.call(shop.checkout, "pause()")
    answer = ask(shop, shop.order())
    assert codes(answer) == ["paused"]
    assert answer.payload is not None  # it may be unpaused before the deadline


def test_a_key_that_the_contract_accepts_no_more_is_named(shop: Shop) -> None:
    """Whoever pays such an offer would only pay for gas."""
    shop.approve()
    order = shop.order()
    assert codes(ask(shop, order)) == []
    shop.call(shop.checkout, "removeSigner(address)", order.signer)
    answer = ask(shop, order)
    assert codes(answer) == ["signer_removed"]
    assert codes(ask(shop, shop.order(asset=shop.native(), amount=1))) == ["signer_removed"]


def test_missing_contract_or_token_is_named(shop: Shop) -> None:
    for order in (
        shop.order(contract=STRANGE_ASSET),
        shop.order(contract=STRANGE_ASSET, asset=shop.native()),
        shop.order(asset=shop.asset(token=STRANGE_ASSET)),
    ):
        answer = ask(shop, order)
        assert codes(answer) == ["contract_missing"]
        assert answer.approval is None
        assert STRANGE_ASSET in answer.problems[0].text


def test_token_that_reverts_is_no_token(shop: Shop) -> None:
    shop.node.set_code(STRANGE_ASSET, "0x60006000fd")
    assert codes(ask(shop, shop.order(asset=shop.asset(token=STRANGE_ASSET)))) == ["contract_missing"]


def test_one_request_asks_for_everything(shop: Shop) -> None:
    with scripted(tampered(shop.node, lambda _m, _p, result: result)) as node:
        provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _: node.url)
        with contextlib.closing(provider):
            provider.pay_instructions(shop.order(), shop.network)
            assert [len(body) for body in node.requests if isinstance(body, list)] == [7]
            assert node.calls().count("eth_chainId") == 1


@pytest.mark.parametrize("status", OrderStatus)
def test_only_an_order_that_can_be_paid_has_a_payload(shop: Shop, status: OrderStatus) -> None:
    shop.approve()
    for url in (shop.node.url, NO_NODE):
        provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _, url=url: url)
        with contextlib.closing(provider):
            answer = provider.pay_instructions(attrs.evolve(shop.order(), status=status), shop.network)
            assert (answer.payload is not None) == (status in OPEN_ORDERS | {OrderStatus.REVERSED})
            assert answer.approval is None


def dead(_: SecretRef) -> str:
    return NO_NODE


def unconfigured(_: SecretRef) -> str:
    raise ConfigurationError("URL is not set")


@pytest.mark.parametrize("reveal", [dead, unconfigured])
def test_a_dead_node_is_a_problem_and_the_payload_is_there_anyway(shop: Shop, reveal: Any) -> None:
    provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=reveal)
    order = shop.order()
    with contextlib.closing(provider):
        answer = provider.pay_instructions(order, shop.network)
        assert provider.pay_instructions(order, shop.network) == answer
    assert codes(answer) == ["rpc_unknown"]
    assert answer.payload == shop.provider.payload(order)
    assert answer.approval is None


def test_a_person_who_waits_is_not_kept_waiting_by_retries(shop: Shop) -> None:
    with scripted(lambda _: (503, b"")) as node:
        provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _: node.url)
        with contextlib.closing(provider):
            patient = attrs.evolve(shop.network, rpc_retries=4)
            assert codes(provider.pay_instructions(shop.order(), patient)) == ["rpc_unknown"]
        assert len(node.requests) == 1


def test_a_node_on_another_chain_or_with_nonsense_is_a_problem(shop: Shop) -> None:
    order = shop.order()
    shop.node.set_chain_id(137)
    provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _: shop.node.url)
    with contextlib.closing(provider):
        assert codes(provider.pay_instructions(order, shop.network)) == ["rpc_unknown"]
    shop.node.set_chain_id(31337)
    for nonsense in (7, None, "zz", "0xzz", ["0x"], {"a": 1}):
        change = lambda m, _, r, value=nonsense: r if m == "eth_chainId" else value  # noqa: E731  - one line
        with scripted(tampered(shop.node, change)) as node:
            provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _, url=node.url: url)
            with contextlib.closing(provider):
                assert codes(provider.pay_instructions(order, shop.network)) == ["rpc_unknown"]


def test_a_chain_without_json_rpc_cannot_be_asked(shop: Shop) -> None:
    class Other:
        chain_id = 31337

        def close(self) -> None: ...

    provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=str, sources=lambda _: Other())
    assert codes(provider.pay_instructions(shop.order(), shop.network)) == ["rpc_unknown"]


def test_links_of_plain_transfers(shop: Shop) -> None:
    assert erc681_transfer(shop.asset(), STRANGE_ASSET, 20_000_000) == (
        f"ethereum:{shop.token}@31337/transfer?address={STRANGE_ASSET}&uint256=20000000"
    )
    assert erc681_transfer(shop.native(), STRANGE_ASSET, 10**18) == (
        f"ethereum:{STRANGE_ASSET}@31337?value=1000000000000000000"
    )
    assert shop.provider.uri(shop.order()) is None
