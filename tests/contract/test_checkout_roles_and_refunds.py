"""Keys and their limits; refunds; and what reaches the contract by mistake."""

from __future__ import annotations

import pytest
from contract_bench import (
    ALICE,
    BOB,
    MALLORY,
    NATIVE,
    OPERATOR,
    OWNER,
    SIGNER,
    SIGNER_2,
    TREASURY,
    ZERO,
    Bench,
    Order,
    Reverted,
)

AMOUNT = Order().amount
REFERENCE = Order().reference
REFUND = b"r" * 32


@pytest.fixture
def sold(bench: Bench) -> Bench:
    """One paid order; operator and treasury hold tokens that they approved, and coins."""
    bench.fund(ALICE, AMOUNT)
    bench.pay(bench.order())
    for refunder in (OPERATOR, OWNER, TREASURY):
        bench.fund(refunder, AMOUNT)
        bench.evm.set_balance(refunder, AMOUNT)
    return bench


@pytest.mark.parametrize("sender", [OPERATOR, OWNER, TREASURY])
def test_a_refund_moves_the_callers_tokens_and_is_told(sold: Bench, sender: str) -> None:
    before = sold.balance(sender)
    sold.checkout.call("refund", REFERENCE, REFUND, sold.token.address, ALICE, 5, sender=sender)
    assert [log.name for log in sold.logs] == ["Transfer", "Refunded"]
    assert sold.logs[-1].address == sold.checkout.address
    assert sold.logs[-1].args == {
        "reference": REFERENCE,
        "refundId": REFUND,
        "to": ALICE,
        "token": sold.token.address,
        "amount": 5,
    }
    assert sold.balance(sender) == before - 5
    assert sold.balance(ALICE) == 5
    assert sold.checkout.call("isRefunded", REFUND) is True


def test_a_refund_of_coins_is_passed_on(sold: Bench) -> None:
    sold.checkout.call("refund", REFERENCE, REFUND, NATIVE, BOB, 9, sender=OPERATOR, value=9)
    assert [log.name for log in sold.logs] == ["Refunded"]
    assert sold.evm.get_balance(BOB) == 9
    assert sold.evm.get_balance(sold.checkout.address) == 0


@pytest.mark.parametrize("value", [0, 8, 10])
def test_a_refund_of_coins_takes_the_exact_value(sold: Bench, value: int) -> None:
    with pytest.raises(Reverted, match="WrongValue"):
        sold.checkout.call("refund", REFERENCE, REFUND, NATIVE, BOB, 9, sender=OPERATOR, value=value)
    assert sold.checkout.call("isRefunded", REFUND) is False


def test_a_refund_id_works_once_whatever_else_is_said(sold: Bench) -> None:
    sold.checkout.call("refund", REFERENCE, REFUND, sold.token.address, ALICE, 5, sender=OPERATOR)
    for sender, to, amount in ((OPERATOR, ALICE, 5), (TREASURY, ALICE, 5), (OPERATOR, BOB, 1)):
        with pytest.raises(Reverted, match="RefundIdUsed"):
            sold.checkout.call("refund", REFERENCE, REFUND, sold.token.address, to, amount, sender=sender)
    sold.checkout.call("refund", REFERENCE, b"s" * 32, sold.token.address, ALICE, 5, sender=OPERATOR)
    assert sold.balance(ALICE) == 10


def test_a_stranger_cannot_use_up_refund_ids_or_fake_refunds(sold: Bench) -> None:
    sold.fund(MALLORY, 1)
    with pytest.raises(Reverted, match="NotRefunder"):
        sold.checkout.call("refund", REFERENCE, REFUND, sold.token.address, MALLORY, 1, sender=MALLORY)
    sold.checkout.call("refund", REFERENCE, REFUND, sold.token.address, ALICE, 5, sender=OPERATOR)
    assert sold.balance(ALICE) == 5


def test_refunds_work_while_payments_are_paused(sold: Bench) -> None:
    sold.checkout.call("pause", sender=OPERATOR)
    sold.checkout.call("refund", REFERENCE, REFUND, sold.token.address, ALICE, 5, sender=OPERATOR)
    assert sold.balance(ALICE) == 5


def test_a_refund_that_arrives_short_is_no_refund(sold: Bench) -> None:
    token = sold.deploy("FeeToken", "Fee", "FEE", 6)
    sold.fund(OPERATOR, 1000, token)
    with pytest.raises(Reverted) as caught:
        sold.checkout.call("refund", REFERENCE, REFUND, token.address, ALICE, 1000, sender=OPERATOR)
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (1000, 990))
    assert sold.checkout.call("isRefunded", REFUND) is False


@pytest.mark.parametrize("sender", [OPERATOR, OWNER])
def test_operator_and_owner_pause_but_only_the_owner_resumes(bench: Bench, sender: str) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.checkout.call("pause", sender=sender)
    assert bench.checkout.call("paused") is True
    with pytest.raises(Reverted, match="EnforcedPause"):
        bench.pay(bench.order())
    with pytest.raises(Reverted, match="OwnableUnauthorizedAccount"):
        bench.checkout.call("unpause", sender=OPERATOR)
    bench.checkout.call("unpause", sender=OWNER)
    bench.pay(bench.order())
    assert bench.balance(TREASURY) == AMOUNT


def test_the_operator_is_replaced_and_may_be_nobody(bench: Bench) -> None:
    bench.checkout.call("setOperator", BOB, sender=OWNER)
    assert bench.logs[-1].args == {"previous": OPERATOR, "current": BOB}
    with pytest.raises(Reverted, match="NotOperator"):
        bench.checkout.call("pause", sender=OPERATOR)
    bench.checkout.call("setOperator", ZERO, sender=OWNER)
    assert bench.checkout.call("operator") == ZERO
    with pytest.raises(Reverted, match="NotOperator"):
        bench.checkout.call("pause", sender=BOB)


def test_ownership_moves_in_two_steps(bench: Bench) -> None:
    bench.checkout.call("transferOwnership", BOB, sender=OWNER)
    assert (bench.checkout.call("owner"), bench.checkout.call("pendingOwner")) == (OWNER, BOB)
    with pytest.raises(Reverted, match="OwnableUnauthorizedAccount"):
        bench.checkout.call("addSigner", BOB, sender=BOB)
    bench.checkout.call("acceptOwnership", sender=BOB)
    assert bench.checkout.call("owner") == BOB
    with pytest.raises(Reverted, match="OwnableUnauthorizedAccount"):
        bench.checkout.call("unpause", sender=OWNER)


def test_signers_are_rotated_without_a_gap(bench: Bench) -> None:
    bench.checkout.call("addSigner", SIGNER_2.address, sender=OWNER)
    assert [log.name for log in bench.logs] == ["SignerAdded"]
    bench.checkout.call("removeSigner", SIGNER.address, sender=OWNER)
    assert [(log.name, log.args) for log in bench.logs] == [("SignerRemoved", {"signer": SIGNER.address})]
    known = [bench.checkout.call("isSigner", key.address) for key in (SIGNER, SIGNER_2)]
    assert known == [False, True]


def test_a_signer_can_do_nothing_on_chain(sold: Bench) -> None:
    sold.fund(SIGNER.address, AMOUNT)
    for function, arguments in (
        ("pause", ()),
        ("burn", (7,)),
        ("renewSubscription", (7, 60)),
        ("refund", (REFERENCE, REFUND, sold.token.address, ALICE, 1)),
        ("rescue", (NATIVE, SIGNER.address)),
        ("setOperator", (SIGNER.address,)),
    ):
        with pytest.raises(Reverted):
            sold.checkout.call(function, *arguments, sender=SIGNER.address)


def test_the_owner_sends_on_what_was_sent_by_mistake_or_by_force(bench: Bench) -> None:
    bench.token.call("mint", bench.checkout.address, 12)
    bench.evm.set_balance(bench.checkout.address, 34)  # as a self-destructing contract would
    bench.checkout.call("rescue", bench.token.address, ALICE, sender=OWNER)
    assert bench.logs[-1].args == {"token": bench.token.address, "to": ALICE, "amount": 12}
    bench.checkout.call("rescue", NATIVE, ALICE, sender=OWNER)
    assert bench.logs[-1].args == {"token": NATIVE, "to": ALICE, "amount": 34}
    assert (bench.balance(ALICE), bench.evm.get_balance(ALICE)) == (12, 34)


def test_coins_that_were_forced_in_pay_no_order(bench: Bench) -> None:
    bench.evm.set_balance(bench.checkout.address, AMOUNT)
    bench.evm.set_balance(ALICE, 1)
    with pytest.raises(Reverted, match="WrongValue"):
        bench.pay(bench.order(token=NATIVE), value=0)
    assert bench.evm.get_balance(bench.checkout.address) == AMOUNT


def test_a_rescue_to_a_wallet_that_refuses_coins_fails(bench: Bench) -> None:
    wallet = bench.deploy("Forwarder", OWNER)
    bench.evm.set_balance(bench.checkout.address, 34)
    with pytest.raises(Reverted, match="NativeTransferFailed"):
        bench.checkout.call("rescue", NATIVE, wallet.address, sender=OWNER)
    with pytest.raises(Reverted, match="NotOwner"):
        wallet.call("execute", ALICE, 0, b"", sender=MALLORY)
