"""Tokens that do not behave: the contract believes what arrived at the treasury, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_bench import (
    ALICE,
    MALLORY,
    NATIVE,
    OPERATOR,
    OWNER,
    TREASURY,
    ZERO,
    Bench,
    Contract,
    Order,
    Reverted,
    decode_error,
    refusal_of,
)
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import examples

if TYPE_CHECKING:
    from collections.abc import Callable

AMOUNT = Order().amount


@pytest.mark.fault("T02")
def test_t02_a_token_that_answers_false_pays_nothing(bench: Bench) -> None:
    token = bench.deploy("RetFalseToken", "False", "FLS", 6)
    bench.fund(ALICE, AMOUNT, token)
    order = bench.order(token=token.address)
    with pytest.raises(Reverted) as caught:
        bench.pay(order)
    assert (caught.value.name, caught.value.values) == ("SafeERC20FailedOperation", (token.address,))
    assert bench.checkout.call("isUsed", order.reference) is False


@pytest.mark.fault("T03")
def test_t03_a_token_that_only_says_it_moved_pays_nothing(bench: Bench) -> None:
    token = bench.deploy("LieToken", "Lie", "LIE", 6)
    bench.fund(ALICE, AMOUNT, token)
    order = bench.order(token=token.address)
    with pytest.raises(Reverted) as caught:
        bench.pay(order)
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (AMOUNT, 0))


@pytest.mark.fault("T03")
def test_t03_the_same_event_of_another_contract_has_another_address(bench: Bench) -> None:
    liar = bench.deploy("LieToken", "Lie", "LIE", 6)
    order = bench.order()
    liar.call("lie", *order[:-1], sender=MALLORY)
    assert [(log.address, log.name) for log in bench.logs] == [(liar.address, "Transfer"), (liar.address, "Paid")]
    assert bench.logs[1].args["reference"] == order.reference
    assert bench.paid() == []
    assert bench.checkout.call("isUsed", order.reference) is False


@pytest.mark.fault("T06")
def test_t06_a_fee_on_transfers_is_a_short_receipt(bench: Bench) -> None:
    token = bench.deploy("FeeToken", "Fee", "FEE", 6)
    bench.fund(ALICE, 2 * AMOUNT, token)
    order = bench.order(token=token.address)
    with pytest.raises(Reverted) as caught:
        bench.pay(order)
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (AMOUNT, AMOUNT * 99 // 100))
    token.call("setFee", 0)
    bench.pay(order)
    assert bench.balance(TREASURY, token) == AMOUNT


@pytest.mark.fault("T06")
@pytest.mark.parametrize(
    ("amount", "basis_points", "received"),
    [(10_000, 1, 9_999), (10_000, 10_000, 0), (10_000, 20_000, 0)],
    ids=["one base unit", "everything", "more than everything"],
)
def test_t06_how_much_is_short_is_told(bench: Bench, amount: int, basis_points: int, received: int) -> None:
    """A transfer may even lower the treasury's balance; that counts as nothing received."""
    token = bench.deploy("FeeToken", "Fee", "FEE", 6)
    token.call("mint", TREASURY, AMOUNT)
    token.call("setFee", basis_points)
    bench.fund(ALICE, amount, token)
    with pytest.raises(Reverted) as caught:
        bench.pay(bench.order(token=token.address, amount=amount))
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (amount, received))
    assert bench.balance(TREASURY, token) == AMOUNT


@settings(max_examples=examples(60), deadline=None)
@given(fee=st.integers(0, 10_000), amount=st.integers(1, 10**30), before=st.integers(0, 10**30))
def test_what_is_told_arrived_whatever_the_fee(fee: int, amount: int, before: int) -> None:
    bench = Bench()
    token = bench.deploy("FeeToken", "Fee", "FEE", 18)
    token.call("mint", TREASURY, before)
    token.call("setFee", fee)
    bench.fund(ALICE, amount, token)
    refusal = refusal_of(lambda: bench.pay(bench.order(token=token.address, amount=amount)))
    taken = amount * fee // 10_000
    if taken:
        assert refusal is not None
        assert (refusal.name, refusal.values) == ("ShortReceipt", (amount, amount - taken))
        assert bench.balance(TREASURY, token) == before
    else:
        assert refusal is None
        assert bench.paid()[0]["amount"] == amount
        assert bench.balance(TREASURY, token) == before + amount


@pytest.mark.fault("T29")
def test_t29_a_token_without_return_values_is_paid_by_an_exact_allowance(bench: Bench) -> None:
    token = bench.deploy("NoReturnToken", "Old", "OLD", 6)
    bench.fund(ALICE, 2 * AMOUNT, token, approve=False)
    token.call("approve", bench.checkout.address, AMOUNT)
    with pytest.raises(Reverted) as caught:
        token.call("approve", bench.checkout.address, AMOUNT + 1)
    assert caught.value.values == ("reset the allowance first",)
    bench.pay(bench.order(token=token.address))
    assert bench.balance(TREASURY, token) == AMOUNT
    # The exact allowance is used up, so the next order can be approved without a reset.
    assert token.call("allowance", ALICE, bench.checkout.address) == 0
    token.call("approve", bench.checkout.address, AMOUNT)
    bench.pay(bench.order(token=token.address, reference=keccak(text="2")))
    assert bench.balance(TREASURY, token) == 2 * AMOUNT


@pytest.mark.fault("T29")
def test_t29_a_left_over_allowance_is_not_taken(bench: Bench) -> None:
    """An allowance larger than the order gives the contract no more than the order says."""
    bench.fund(ALICE, 3 * AMOUNT)
    bench.pay(bench.order())
    assert bench.token.call("allowance", ALICE, bench.checkout.address) == 2 * AMOUNT
    assert bench.balance(ALICE) == 2 * AMOUNT


# What the hook of a token, or of a treasury that receives coins, calls in the middle of a payment.
REENTRIES: dict[str, Callable[[Bench, Order, Order], bytes]] = {
    "the same order": lambda b, order, _: b.checkout.data("pay", order, b.sign(order)),
    "another order": lambda b, _, other: b.checkout.data("pay", other, b.sign(other)),
    "another order with a permit": lambda b, _, other: b.checkout.data(
        "payWithPermit", other, b.sign(other), 0, 0, 27, bytes(32), bytes(32)
    ),
    "a refund": lambda b, order, _: b.checkout.data(
        "refund", order.reference, b"r" * 32, order.token, MALLORY, order.amount
    ),
    "a rescue": lambda b, _, other: b.checkout.data("rescue", other.token, MALLORY),
}


def empower(bench: Bench, hook: Contract) -> None:
    """Give the hook money, an allowance and the ownership: nothing but the guard stands in its way."""

    def act(target: Contract, function: str, *arguments: object) -> None:
        hook.call("arm", target.address, target.data(function, *arguments))
        hook.call("transfer", ALICE, 0)
        assert hook.call("succeeded") is True

    hook.call("mint", hook.address, 10 * AMOUNT)
    act(hook, "approve", bench.checkout.address, 10 * AMOUNT)
    bench.checkout.call("transferOwnership", hook.address, sender=OWNER)
    act(bench.checkout, "acceptOwnership")


def assert_refused_inside(bench: Bench, hook: str, answer: bytes, order: Order, other: Order) -> None:
    assert decode_error(answer)[0] == "ReentrancyGuardReentrantCall", hook
    assert bench.checkout.call("isUsed", order.reference) is True
    assert bench.checkout.call("isUsed", other.reference) is False
    assert bench.checkout.call("isRefunded", b"r" * 32) is False


@pytest.mark.fault("T11")
@pytest.mark.parametrize("hook", REENTRIES)
def test_t11_a_token_that_calls_back_pays_one_order_once(bench: Bench, hook: str) -> None:
    token = bench.deploy("HookToken", "Hook", "HK", 6)
    bench.fund(ALICE, AMOUNT, token)
    empower(bench, token)
    order = bench.order(token=token.address, payer=ZERO)
    other = order._replace(reference=keccak(text="other"))
    token.call("arm", bench.checkout.address, REENTRIES[hook](bench, order, other))
    bench.pay(order)
    assert len(bench.paid()) == 1
    assert token.call("called") is True
    assert bench.balance(TREASURY, token) == AMOUNT
    assert_refused_inside(bench, hook, token.call("answer"), order, other)


@pytest.mark.fault("T11")
@pytest.mark.parametrize("hook", REENTRIES)
def test_t11_a_treasury_that_calls_back_is_paid_once(bench: Bench, hook: str) -> None:
    treasury = bench.deploy("HookToken", "Hook", "HK", 6)
    bench.evm.set_balance(ALICE, AMOUNT)
    empower(bench, treasury)
    order = bench.order(token=NATIVE, payer=ZERO, treasury=treasury.address)
    other = order._replace(reference=keccak(text="other"), token=treasury.address, treasury=TREASURY)
    treasury.call("arm", bench.checkout.address, REENTRIES[hook](bench, order, other))
    bench.pay(order, value=AMOUNT)
    assert len(bench.paid()) == 1
    assert bench.evm.get_balance(treasury.address) == AMOUNT
    assert_refused_inside(bench, hook, treasury.call("answer"), order, other)


@pytest.mark.fault("T11")
def test_t11_a_hook_in_a_refund_cannot_refund_again(bench: Bench) -> None:
    token = bench.deploy("HookToken", "Hook", "HK", 6)
    bench.fund(ALICE, AMOUNT)
    bench.pay(bench.order())
    bench.fund(OPERATOR, 10, token)
    empower(bench, token)
    call = (Order().reference, b"r" * 32, token.address, ALICE, 5)
    token.call("arm", bench.checkout.address, bench.checkout.data("refund", *call))
    bench.checkout.call("refund", *call, sender=OPERATOR)
    assert decode_error(token.call("answer"))[0] == "ReentrancyGuardReentrantCall"
    assert bench.balance(ALICE, token) == 5


def test_a_membership_that_a_hook_sees_early_is_gone_when_the_payment_fails(bench: Bench) -> None:
    """Effects come first; if the money then does not arrive, all of them are undone."""
    token = bench.deploy("FeeToken", "Fee", "FEE", 6)
    bench.fund(ALICE, AMOUNT, token)
    with pytest.raises(Reverted, match="ShortReceipt"):
        bench.pay(bench.order(token=token.address))
    assert bench.checkout.call("expiresAt", 7) == 0
    assert bench.checkout.call("balanceOf", ALICE) == 0


@pytest.mark.fault("T14")
def test_t14_the_nft_look_alike_has_four_topics_and_no_data(bench: Bench) -> None:
    nft = bench.deploy("NFTish")
    nft.call("go", TREASURY)
    topics, data = bench.evm.result.logs[0].data
    assert topics[0] == keccak(text="Transfer(address,address,uint256)")
    assert (len(topics), data) == (4, b"")
    assert bench.logs[0].args == {"from": ZERO, "to": TREASURY, "tokenId": 1}
