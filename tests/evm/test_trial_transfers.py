"""A transfer of the price is tried on a node before anything is sold in a token: does as much arrive as is sent?"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from eth_hash.auto import keccak
from evm_bench import TREASURY, Shop
from evm_servers import ScriptedNode, each, open_source, scripted, tampered

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.evm.tokens.lending import lend
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import Price, SubscriptionPlan
from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset
from evmbilling.domain.subscriptions.calendar import Interval

PRICE = 19_990_000
WALLET = checksum(keccak(b"who is lent to")[12:])
SPENDER = checksum(keccak(b"who may spend")[12:])
NAMESPACED = 0x52C63247E1F47DB19D5CE0460030C497F067CA4CEBF71BA98EEADABE20BACE00


def plan_in(asset: Asset, amount: int = PRICE) -> SubscriptionPlan:
    return SubscriptionPlan(
        slug="pro",
        name="Pro",
        product=Product("site"),
        interval=Interval("month"),
        prices=(Price(network="local", asset=asset, amount=amount),),
        gateway_slug="crypto",
        contract_slug="main",
    )


def look(shop: Shop, token: str, amount: int = PRICE, *, provider: Any = None) -> list[str]:
    plan = plan_in(shop.asset(token=token), amount)
    return list((provider or shop.provider).inspect_plan(plan, {"local": shop.network}))


def deploy(shop: Shop, name: str) -> str:
    """A token of which somebody has a lot."""
    token = shop.deploy(name, "Test Dollar", "TUSD", 6)
    shop.fund(TREASURY, 10**30, token)
    return token


@pytest.mark.fault("T06")
@pytest.mark.parametrize("name", ["FeeToken", "ShareToken"])
@pytest.mark.parametrize(
    ("basis_points", "amount", "told"),
    [
        (100, PRICE, "keeps a fee: of 19.99 sent 19.7901 arrive"),
        (1, 10_000, "keeps a fee: of 0.01 sent 0.009999 arrive"),
        (10_000, PRICE, "keeps a fee: of 19.99 sent 0 arrive"),
        (1, 9_999, None),
        (0, PRICE, None),
    ],
    ids=["1 %", "one base unit", "everything", "it rounds to nothing", "no fee"],
)
def test_t06_what_does_not_arrive_is_told(
    shop: Shop, name: str, basis_points: int, amount: int, told: str | None
) -> None:
    """Whether the fee is burned or goes to somebody, and whether a log says so or not."""
    token = deploy(shop, name)
    shop.call(token, "setFee(uint256)", basis_points)
    height = shop.node.block_number
    assert look(shop, token, amount) == ([] if told is None else [f"local: TUSD: the token {token} {told}"])
    assert shop.node.block_number == height, "something was sent"


@pytest.mark.fault("T06")
def test_t06_a_token_that_says_it_moved_and_moves_nothing_keeps_all(shop: Shop) -> None:
    token = deploy(shop, "LieToken")
    assert look(shop, token) == [f"local: TUSD: the token {token} keeps a fee: of 19.99 sent 0 arrive"]


@pytest.mark.fault("T06")
@pytest.mark.parametrize("name", ["TestToken", "NoReturnToken", "PhantomToken", "HookToken", "ListToken"])
def test_t06_tokens_that_hand_over_what_is_sent_differ_in_nothing(shop: Shop, name: str) -> None:
    token = deploy(shop, name)
    for amount in (1, PRICE, 2**200):
        assert look(shop, token, amount) == []


@pytest.mark.fault("T06")
def test_t06_more_than_was_sent_is_a_difference_too(shop: Shop) -> None:
    token = put(shop, bare_token(slot=3, gives=1))
    assert look(shop, token) == [f"local: TUSD: the token {token} adds to what is sent: of 19.99 sent 19.990001 arrive"]
    assert look(shop, put(shop, bare_token(slot=3))) == []


@pytest.mark.fault("T06")
@pytest.mark.parametrize("case", ["answers false", "paused", "hidden balances", "the coin"])
def test_t06_where_nothing_can_be_said_there_is_no_difference(shop: Shop, case: str) -> None:
    if case == "answers false":
        assert look(shop, deploy(shop, "RetFalseToken")) == []
    elif case == "paused":
        token = deploy(shop, "ListToken")
        shop.call(token, "setPaused(bool)", True)
        assert look(shop, token) == []
    elif case == "hidden balances":
        found, hidden = (put(shop, bare_token(slot=slot, gives=1)) for slot in (23, 24))
        assert len(look(shop, found)) == 1
        assert look(shop, hidden) == []
    else:
        plan = plan_in(shop.native())
        assert shop.provider.inspect_plan(plan, {"local": shop.network}) == []


@pytest.mark.fault("T06")
@pytest.mark.parametrize("case", ["refuses", "ignores", "forgets code", "fails", "babbles"])
def test_t06_a_node_that_lends_nothing_stops_no_sale(shop: Shop, case: str) -> None:
    token = deploy(shop, "FeeToken")
    honest = tampered(shop.node, lambda _method, _params, result: result)

    def change(method: str, params: list[Any]) -> Any:
        if len(params) < 3:
            return shop.node.rpc(method, *params)
        if case == "refuses":
            return ValueError(-32602, "too many arguments, want at most 2")
        if case == "babbles":
            return {"0x": "zz"}
        state = {} if case == "ignores" else {at: told for at, told in params[2].items() if "code" not in told}
        return shop.node.rpc(method, *params[:2], state)

    def answer(body: Any) -> Any:
        if case == "fails":
            return (500, b"") if any(len(item["params"]) > 2 for item in several(body)) else honest(body)
        return each(change)(body)

    with scripted(answer) as node, contextlib.closing(provider_of(shop, node)) as provider:
        assert look(shop, token, provider=provider) == []
        assert any(len(item["params"]) > 2 for body in node.requests for item in several(body)), "nothing was tried"
    assert len(look(shop, token)) == 1


def several(body: Any) -> list[Any]:
    return body if isinstance(body, list) else [body]


def provider_of(shop: Shop, node: ScriptedNode) -> EvmProvider:
    return EvmProvider(signer_for=lambda _: shop.signer, reveal=lambda _: node.url)


@pytest.mark.parametrize("vyper", [False, True], ids=["solidity", "vyper"])
@pytest.mark.parametrize("slot", [0, 1, 9, 23, NAMESPACED])
def test_a_wallet_is_lent_tokens_wherever_balances_usually_are(shop: Shop, slot: int, vyper: bool) -> None:
    token = put(shop, bare_token(slot=slot, vyper=vyper))
    for amount in (1, PRICE, 2**256 - 1, MARK, MARK + 2 * SLOTS.index(slot) + vyper):
        lent = lend(shop.source.rpc, token, WALLET, amount, None)
        assert lent is not None
        assert asked(shop, token, lent) == amount
        assert len(lent[token]["stateDiff"]) == 1


def test_a_place_is_found_by_few_calls(shop: Shop) -> None:
    """A check of tokens asks every ten minutes, and nodes are paid by the call."""
    with scripted(tampered(shop.node, lambda _method, _params, result: result)) as node:
        source = open_source(node.url)
        with contextlib.closing(source):
            source.check_chain()
            known = len(node.calls())
            lent = lend(source.rpc, deploy(shop, "TestToken"), WALLET, PRICE, (SPENDER, PRICE))
        assert lent is not None
        assert len(node.calls()) - known == 4


def test_what_a_token_says_anyway_is_no_place(shop: Shop) -> None:
    """A token that always answers with the same number would agree to any place."""
    for answer in (PRICE, MARK, MARK + 7):
        always = "7f" + answer.to_bytes(32).hex() + "60005260206000f3"
        for amount in (PRICE, answer):
            assert lend(shop.source.rpc, put(shop, always), WALLET, amount, None) is None


MARK = 0x5EED0000
SLOTS = (*range(24), NAMESPACED)


def asked(shop: Shop, token: str, state: dict[str, Any]) -> int:
    call = {"to": token, "data": "0x70a08231" + WALLET[2:].rjust(64, "0")}
    return int(shop.node.rpc("eth_call", call, "latest", state), 16)


def put(shop: Shop, code: str) -> str:
    """Put code at an address that is the code's own."""
    address = checksum(keccak(bytes.fromhex(code))[12:])
    shop.node.set_code(address, "0x" + code)
    return address


def bare_token(*, slot: int, vyper: bool = False, gives: int = 0) -> str:
    """The code of a token of six decimals that keeps balances in the mapping at a slot.

    It knows its three functions by the length of what they are called with. A transfer writes the amount, and what it
    gives beside, to the receiver; the sender keeps all.
    """
    key_at, slot_at = ("6020", "6000") if vyper else ("6000", "6020")
    place = "600435" + key_at + "52" + "7f" + slot.to_bytes(32).hex() + slot_at + "52" + "6040600020"
    answer = "60005260206000f3"
    transfer = "602435" + f"60{gives:02x}01" + place + "55" + "6001" + answer
    decimals = "5b" + "6006" + answer
    balance = "5b" + place + "54" + answer
    at = 14 + len(transfer) // 2
    head = f"3660041460{at:02x}57" + f"3660241460{at + len(decimals) // 2:02x}57"
    return head + transfer + decimals + balance
