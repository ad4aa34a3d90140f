"""Tokens that fail, lie, look alike, or count in other units."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import pytest
from eth_hash.auto import keccak
from evm_bench import NO_NODE, STRANGE_ASSET, TREASURY, Shop
from web3 import Web3
from web3.logs import DISCARD

from evmbilling.adapters.evm.abi.contracts import ContractReader
from evmbilling.adapters.evm.abi.events import PAID, REFUNDED
from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.evm.signing.typed_data import order_typed_data
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import Price, SubscriptionPlan
from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset, to_base_units
from evmbilling.domain.reading.evidence import WatchSet
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.errors import ConfigurationError, InvalidAmount, RpcUnavailable

TRANSFER = keccak(b"Transfer(address,address,uint256)")
LIE = "lie(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)"


def lie_about(shop: Shop, token: str, **changes: Any) -> str:
    """Let a fake token emit the ``Paid`` and ``Transfer`` that paying an order would."""
    message = order_typed_data(shop.order())["message"] | changes
    return shop.call(
        token,
        LIE,
        bytes.fromhex(message["reference"][2:]),
        int(message["subscription"]),
        message["payer"],
        message["beneficiary"],
        bytes.fromhex(message["plan"][2:]),
        message["token"],
        int(message["amount"]),
        message["treasury"],
        message["memberUntil"],
    )


@pytest.mark.fault("T02")
def test_t02_token_that_returns_false_leaves_nothing_to_see(shop: Shop) -> None:
    token = shop.deploy("RetFalseToken", "Liar", "LIE", 6)
    shop.approve(token=token)
    assert shop.pay(shop.order(asset=shop.asset(token=token)))["status"] == "0x0"
    direct = shop.call(token, "transfer(address,uint256)", TREASURY, 20_000_000, sender=shop.wallet.address)
    receipt = shop.node.receipt(direct)
    assert receipt is not None
    assert (receipt["status"], receipt["logs"]) == ("0x1", [])
    assert shop.logs() == []


@pytest.mark.fault("T03")
def test_t03_event_of_a_fake_token_is_not_seen_and_not_decoded(shop: Shop) -> None:
    fake = shop.deploy("LieToken", "Test Dollar", "TUSD", 6)
    tx_hash = lie_about(shop, fake)
    assert shop.logs() == []
    # Whoever hands the log to us anyway (a claim by transaction hash) is told that it is none of ours.
    headers = shop.source.headers(1, shop.node.block_number)
    (log,) = shop.source.logs(headers, WatchSet(addresses=(fake,), topics=(PAID,), start_block=0))
    assert log.tx_hash.hex() == tx_hash[2:]
    assert shop.provider.decode(log, shop.contract) is None
    told = shop.provider.decode(log, attrs.evolve(shop.contract, address=fake))
    assert told is not None
    assert told.contract == fake  # the shape alone is perfect


@pytest.mark.fault("T03")
def test_t03_payment_in_a_token_that_moves_nothing_is_refused_by_the_contract(shop: Shop) -> None:
    token = shop.deploy("LieToken", "Test Dollar", "TUSD", 6)
    shop.approve(token=token)
    assert shop.pay(shop.order(asset=shop.asset(token=token)))["status"] == "0x0"
    assert shop.logs() == []


@pytest.mark.fault("T04")
def test_t04_web3_decodes_a_foreign_event_and_we_do_not(shop: Shop) -> None:
    fake = shop.deploy("LieToken", "Test Dollar", "TUSD", 6)
    receipt = shop.node.receipt(lie_about(shop, fake))
    web3 = Web3()
    checkout = web3.eth.contract(address=Web3.to_checksum_address(shop.checkout), abi=artifact("Checkout").abi)
    (foreign,) = checkout.events.Paid().process_receipt(receipt, errors=DISCARD)
    assert (
        Web3.to_checksum_address(foreign["address"]) == fake != shop.checkout
    )  # this is why the address is compared in our code
    headers = shop.source.headers(1, shop.node.block_number)
    (log,) = shop.source.logs(headers, WatchSet(addresses=(fake,), topics=(PAID,), start_block=0))
    assert shop.provider.decode(log, shop.contract) is None


@pytest.mark.fault("T14")
def test_t14_transfer_of_an_nft_does_not_disturb_a_real_payment(shop: Shop) -> None:
    shop.approve()
    nft = shop.deploy("NFTish")
    shop.call(nft, "go(address)", TREASURY, mine=False)
    shop.wallet.send(shop.provider.payload(shop.order()))
    shop.node.mine()
    head = shop.source.headers(shop.node.block_number, shop.node.block_number)
    watch = WatchSet(
        addresses=(nft, shop.checkout, shop.token), topics=(PAID, TRANSFER, keccak(b"nothing")), start_block=0
    )
    logs = shop.source.logs(head, watch)
    odd = [log for log in logs if log.address == nft]
    assert [(len(log.topics), log.data) for log in odd] == [(4, b"")]
    assert [log for log in logs if shop.provider.decode(log, shop.contract)] == [
        log for log in logs if log.address == shop.checkout and log.topics[0] == PAID
    ]
    assert shop.provider.decode(odd[0], attrs.evolve(shop.contract, address=nft)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"data": b""},
        {"data": bytes(6 * 32 - 1)},
        {"data": bytes(6 * 32 + 32)},
        {"topics": ()},
        {"topics": (PAID,)},
        {"topics": (PAID, bytes(32), bytes(32), bytes(32), bytes(32))},
        {"topics": (TRANSFER, bytes(32), bytes(32), bytes(32))},
        {"topics": (PAID, bytes(32), bytes(32), b"\x01" + bytes(31))},
        {"data": b"\x01" + bytes(6 * 32 - 1)},
        {"address": STRANGE_ASSET},
    ],
)
def test_logs_of_another_shape_are_none_of_ours(shop: Shop, changes: dict[str, Any]) -> None:
    shop.approve()
    shop.pay(shop.order())
    (log,) = shop.logs()
    assert shop.provider.decode(log, shop.contract) is not None
    assert shop.provider.decode(attrs.evolve(log, **changes), shop.contract) is None


@pytest.mark.fault("T22")
def test_t22_transfer_log_of_a_native_payment_is_not_a_second_credit(shop: Shop) -> None:
    order = shop.order(asset=shop.native(), amount=10**17)
    shop.pay(order)
    (log,) = shop.logs()
    word = bytes(12) + bytes.fromhex(TREASURY[2:])
    shadow = attrs.evolve(  # what EIP-7708 chains add to every movement of coins
        log,
        address=checksum(b"\xff" * 19 + b"\xfe"),
        topics=(TRANSFER, word, word),
        data=(10**17).to_bytes(32, "big"),
        ordinal=log.ordinal + 1,
    )
    watch = shop.provider.watch([shop.contract])
    assert shadow.address not in watch.addresses
    assert [bool(shop.provider.decode(entry, shop.contract)) for entry in (log, shadow)] == [True, False]


def plan_with(*prices: Price) -> SubscriptionPlan:
    return SubscriptionPlan(
        slug="pro",
        name="Pro",
        product=Product("site"),
        interval=Interval("month"),
        prices=prices,
        gateway_slug="crypto",
        contract_slug="main",
    )


@pytest.mark.fault("T12")
@pytest.mark.parametrize(
    ("decimals", "units"),
    [
        (6, 19_990_000),
        (18, 19_990_000_000_000_000_000),
        (2, 1999),
        (24, 1999 * 10**22),
        (77, None),
        (1, None),
        (0, None),
    ],
)
def test_t12_price_is_exact_in_the_tokens_own_decimals_or_refused(shop: Shop, decimals: int, units: int | None) -> None:
    token = shop.deploy("TestToken", "Test Dollar", "TUSD", decimals)
    assert ContractReader(shop.source.rpc).decimals(token) == decimals
    if units is None:
        with pytest.raises(InvalidAmount):
            to_base_units("19.99", decimals, field="price")
    else:
        assert to_base_units("19.99", decimals, field="price") == units
    networks = {"local": shop.network}
    for pinned in (0, 1, 2, 6, 18, 24, 77):
        asset = shop.asset(token=token, decimals=pinned)
        found = shop.provider.inspect_plan(plan_with(Price(network="local", asset=asset, amount=1)), networks)
        if pinned == decimals:
            assert found == []
        else:
            assert found == [f"local: TUSD: the token has {decimals} decimals, {pinned} are configured"]


@pytest.mark.fault("T12")
def test_t12_what_is_no_token_is_said_in_words(shop: Shop) -> None:
    def differences(asset: Asset, network: str = "local") -> list[str]:
        prices = plan_with(Price(network=network, asset=asset, amount=1))
        return list(shop.provider.inspect_plan(prices, {"local": shop.network}))

    assert differences(shop.native()) == []
    assert differences(shop.asset(token=STRANGE_ASSET)) == [f"local: TUSD: there is no contract at {STRANGE_ASSET}"]
    many = shop.deploy("Many")
    assert differences(shop.asset(token=many)) == [f"local: TUSD: the contract at {many} does not tell its decimals"]
    phantom = shop.deploy("NFTish")
    shop.node.set_code(phantom, "0x61010060005260206000f3")  # answers 256: no uint8
    assert differences(shop.asset(token=phantom)) == [
        f"local: TUSD: the contract at {phantom} does not tell its decimals"
    ]
    assert differences(shop.asset(), "elsewhere") == ["elsewhere: no network of that name serves chain 31337"]
    shop.node.set_chain_id(137)
    assert differences(shop.asset()) == ["local: node 1 of 1 serves chain 137, not 31337"]


def test_a_dead_node_cannot_be_inspected(shop: Shop) -> None:
    provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _: NO_NODE)
    prices = plan_with(Price(network="local", asset=shop.asset(), amount=1))
    with contextlib.closing(provider):
        with pytest.raises(RpcUnavailable):
            provider.inspect_plan(prices, {"local": shop.network})
        with pytest.raises(RpcUnavailable):
            provider.inspect_contract(shop.contract, shop.network)


def test_the_bound_contract_is_compared_with_the_artefact(shop: Shop) -> None:
    inspect = shop.provider.inspect_contract
    assert inspect(shop.contract, shop.network, shop.gateway) == []
    nowhere = attrs.evolve(shop.contract, address=STRANGE_ASSET)
    assert inspect(nowhere, shop.network) == [f"local: there is no contract at {STRANGE_ASSET}"]
    other = attrs.evolve(shop.contract, address=shop.token)
    (text,) = inspect(other, shop.network)
    assert text.startswith(f"local: the code at {shop.token} (0x")
    assert text.endswith(") is not the Checkout contract of this package")
    shop.call(shop.checkout, "removeSigner(address)", shop.signer.address)
    assert inspect(shop.contract, shop.network, shop.gateway) == [
        f"local: the contract at {shop.checkout} does not accept the signer {shop.signer.address}"
    ]
    shop.node.set_chain_id(5)
    assert inspect(shop.contract, shop.network) == ["local: node 1 of 1 serves chain 5, not 31337"]


def test_watch_set_is_of_checkouts_only(shop: Shop) -> None:
    other = attrs.evolve(shop.contract, slug="older", address=STRANGE_ASSET, start_block=7)
    watch = shop.provider.watch([shop.contract, other, shop.contract])
    addresses = tuple(sorted({shop.checkout, STRANGE_ASSET}))
    expected = WatchSet(
        addresses=addresses, topics=(PAID, REFUNDED), start_block=1, by_reference=True, burning=addresses
    )
    assert watch == expected
    unknown = attrs.evolve(shop.contract, kind="vault")
    with pytest.raises(ConfigurationError, match="vault"):
        shop.provider.watch([unknown])
    shop.approve()
    shop.pay(shop.order())
    with pytest.raises(ConfigurationError, match="vault"):
        shop.provider.decode(shop.logs()[0], unknown)


@pytest.mark.fault("C13")
def test_c13_payment_says_whose_it_is(shop: Shop) -> None:
    shop.approve()
    order = shop.order()
    shop.pay(order)
    (log,) = shop.logs()
    seen = shop.provider.decode(log, shop.contract)
    # Somebody else's order cannot be claimed with this hash: reference and payer come from the chain.
    other = shop.order(wallet=shop.node.accounts[8].address)
    assert seen is not None
    assert (seen.reference, seen.payer) == (order.reference, order.wallet) != (other.reference, other.wallet)
