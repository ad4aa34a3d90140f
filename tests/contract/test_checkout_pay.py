"""What a payment does: the money, the event, the membership, the native coin, permits, several at once."""

from __future__ import annotations

from typing import Any

import pytest
from contract_bench import (
    ALICE,
    BOB,
    DAY,
    MALLORY,
    NATIVE,
    OUTSIDER,
    OWNER,
    START,
    TREASURY,
    ZERO,
    Bench,
    Order,
    Reverted,
    sign_permit,
)
from eth_utils import keccak

AMOUNT = Order().amount


def paid_args(order: Order, payer: str) -> dict[str, Any]:
    fields = order._asdict()
    fields.pop("deadline")
    return fields | {"payer": payer}


def test_a_token_payment_reaches_the_treasury_and_is_told_once(bench: Bench) -> None:
    bench.fund(ALICE, AMOUNT + 5)
    order = bench.order()
    bench.pay(order)
    assert bench.paid() == [paid_args(order, ALICE)]
    assert [log.name for log in bench.logs] == ["Transfer", "SubscriptionUpdate", "Transfer", "Paid"]
    assert bench.balance(TREASURY) == AMOUNT
    assert bench.balance(ALICE) == 5
    assert bench.balance(bench.checkout.address) == 0
    assert bench.checkout.call("isUsed", order.reference) is True
    assert bench.checkout.call("isUsed", keccak(text="another")) is False
    assert bench.checkout.call("ownerOf", 7) == ALICE
    assert bench.checkout.call("expiresAt", 7) == order.memberUntil


def test_a_native_payment_is_passed_on_in_the_same_call(bench: Bench) -> None:
    bench.evm.set_balance(ALICE, AMOUNT + 5)
    order = bench.order(token=NATIVE)
    bench.pay(order, value=AMOUNT)
    assert bench.paid() == [paid_args(order, ALICE)]
    assert bench.evm.get_balance(TREASURY) == AMOUNT
    assert bench.evm.get_balance(ALICE) == 5
    assert bench.evm.get_balance(bench.checkout.address) == 0


@pytest.mark.parametrize("sent", [0, AMOUNT - 1, AMOUNT + 1])
def test_a_native_payment_takes_the_exact_value(bench: Bench, sent: int) -> None:
    bench.evm.set_balance(ALICE, 2 * AMOUNT)
    with pytest.raises(Reverted, match="WrongValue"):
        bench.pay(bench.order(token=NATIVE), value=sent)
    assert bench.evm.get_balance(ALICE) == 2 * AMOUNT


def test_without_a_subscription_no_membership_is_made(bench: Bench) -> None:
    bench.fund(ALICE, AMOUNT)
    order = bench.order(subscription=0, memberUntil=0, beneficiary=ZERO)
    bench.pay(order)
    assert [log.name for log in bench.logs] == ["Transfer", "Paid"]
    assert bench.paid() == [paid_args(order, ALICE)]
    assert bench.checkout.call("expiresAt", 0) == 0
    assert bench.checkout.call("isRenewable", 0) is False


def test_a_contract_wallet_can_pay_and_hold_the_membership(bench: Bench) -> None:
    wallet = bench.deploy("Forwarder", BOB)
    bench.evm.set_balance(BOB, AMOUNT)
    order = bench.order(payer=wallet.address, beneficiary=wallet.address, token=NATIVE)
    data = bench.checkout.data("pay", order, bench.sign(order))
    wallet.call("execute", bench.checkout.address, AMOUNT, data, sender=BOB, value=AMOUNT)
    assert bench.paid() == [paid_args(order, wallet.address)]
    assert bench.checkout.call("ownerOf", 7) == wallet.address


def test_two_signers_are_equal_and_a_removed_one_is_nobody(bench: Bench) -> None:
    bench.fund(ALICE, 3 * AMOUNT)
    bench.checkout.call("addSigner", OUTSIDER.address, sender=OWNER)
    order = bench.order()
    bench.pay(order, bench.sign(order, key=OUTSIDER))
    bench.pay(bench.order(reference=keccak(text="2")))
    bench.checkout.call("removeSigner", OUTSIDER.address, sender=OWNER)
    order = bench.order(reference=keccak(text="3"))
    with pytest.raises(Reverted, match="UnknownSigner"):
        bench.pay(order, bench.sign(order, key=OUTSIDER))


class TestPermit:
    """``payWithPermit``: the allowance that results counts, not the fate of the permit."""

    def given(self, bench: Bench, value: int = AMOUNT) -> tuple[Order, bytes, tuple[Any, ...]]:
        bench.token.call("mint", OUTSIDER.address, AMOUNT)
        order = bench.order(payer=OUTSIDER.address)
        return order, bench.sign(order), sign_permit(bench, bench.token, OUTSIDER, value)

    def allowance(self, bench: Bench) -> int:
        return int(bench.token.call("allowance", OUTSIDER.address, bench.checkout.address))

    def test_one_call_approves_and_pays(self, bench: Bench) -> None:
        order, proof, permit = self.given(bench)
        bench.checkout.call("payWithPermit", order, proof, *permit, sender=OUTSIDER.address)
        assert bench.paid() == [paid_args(order, OUTSIDER.address)]
        assert bench.balance(TREASURY) == AMOUNT
        assert self.allowance(bench) == 0

    def test_the_permit_is_the_callers_also_when_anybody_may_pay(self, bench: Bench) -> None:
        _, _, permit = self.given(bench)
        order = bench.order(payer=ZERO)
        bench.checkout.call("payWithPermit", order, bench.sign(order), *permit, sender=OUTSIDER.address)
        assert bench.paid() == [paid_args(order, OUTSIDER.address)]

    def test_it_is_paused_as_well(self, bench: Bench) -> None:
        order, proof, permit = self.given(bench)
        bench.checkout.call("pause", sender=OWNER)
        with pytest.raises(Reverted, match="EnforcedPause"):
            bench.checkout.call("payWithPermit", order, proof, *permit, sender=OUTSIDER.address)
        assert bench.token.call("nonces", OUTSIDER.address) == 0

    @pytest.mark.fault("S20")
    def test_s20_a_permit_that_was_front_run_does_not_stop_the_payment(self, bench: Bench) -> None:
        order, proof, permit = self.given(bench)
        owner, spender = OUTSIDER.address, bench.checkout.address
        bench.token.call("permit", owner, spender, *permit, sender=MALLORY)
        bench.checkout.call("payWithPermit", order, proof, *permit, sender=OUTSIDER.address)
        assert bench.paid() == [paid_args(order, OUTSIDER.address)]

    def test_an_expired_permit_is_refused_by_its_effect(self, bench: Bench) -> None:
        order, proof, _ = self.given(bench)
        permit = sign_permit(bench, bench.token, OUTSIDER, AMOUNT, deadline=START - 1)
        with pytest.raises(Reverted) as caught:
            bench.checkout.call("payWithPermit", order, proof, *permit, sender=OUTSIDER.address)
        assert (caught.value.name, caught.value.values) == ("AllowanceTooLow", (0, AMOUNT))

    def test_a_stolen_permit_spends_nothing_of_its_owner(self, bench: Bench) -> None:
        """The permit is applied for the caller, so Mallory cannot pay his order with it."""
        _, _, permit = self.given(bench)
        order = bench.order(payer=ZERO)
        with pytest.raises(Reverted, match="AllowanceTooLow"):
            bench.checkout.call("payWithPermit", order, bench.sign(order), *permit, sender=MALLORY)
        assert bench.balance(OUTSIDER.address) == AMOUNT

    @pytest.mark.fault("T28")
    def test_t28_a_phantom_permit_is_judged_by_its_effect(self, bench: Bench) -> None:
        token = bench.deploy("PhantomToken", "Phantom", "PHM", 6)
        bench.fund(ALICE, AMOUNT, token, approve=False)
        order = bench.order(token=token.address)
        permit = (AMOUNT, START + DAY, 27, b"\x01" * 32, b"\x01" * 32)
        with pytest.raises(Reverted) as caught:
            bench.checkout.call("payWithPermit", order, bench.sign(order), *permit)
        assert (caught.value.name, caught.value.values) == ("AllowanceTooLow", (0, AMOUNT))
        token.call("approve", bench.checkout.address, AMOUNT)
        bench.checkout.call("payWithPermit", order, bench.sign(order), *permit)
        assert bench.balance(TREASURY, token) == AMOUNT


class TestSeveralInOneTransaction:
    """``Many`` pays several orders of one caller."""

    def orders(self, bench: Bench, token: str) -> list[Order]:
        return [
            bench.order(reference=keccak(text=str(n)), payer=ZERO, token=token, amount=n, subscription=n)
            for n in (1, 2, 3)
        ]

    @pytest.mark.fault("C15")
    def test_c15_several_payments_in_one_transaction_are_each_told(self, bench: Bench) -> None:
        many = bench.deploy("Many")
        bench.fund(ALICE, 6, approve=False)
        bench.token.call("approve", many.address, 6)
        orders = self.orders(bench, bench.token.address)
        many.call("burst", bench.checkout.address, orders, [bench.sign(order) for order in orders])
        assert bench.paid() == [paid_args(order, many.address) for order in orders]
        assert bench.balance(TREASURY) == 6

    @pytest.mark.fault("C15")
    def test_c15_the_same_with_the_native_coin(self, bench: Bench) -> None:
        many = bench.deploy("Many")
        bench.evm.set_balance(ALICE, 6)
        orders = self.orders(bench, NATIVE)
        proofs = [bench.sign(order) for order in orders]
        many.call("burst", bench.checkout.address, orders, proofs, value=6)
        assert [log["amount"] for log in bench.paid()] == [1, 2, 3]
        assert bench.evm.get_balance(TREASURY) == 6

    @pytest.mark.fault("C15")
    def test_c15_the_same_order_twice_in_one_transaction_pays_nothing(self, bench: Bench) -> None:
        many = bench.deploy("Many")
        bench.evm.set_balance(ALICE, 2)
        order = self.orders(bench, NATIVE)[0]
        data = bench.checkout.data("pay", order, bench.sign(order))
        target = bench.checkout.address
        with pytest.raises(Reverted) as caught:
            many.call("multicall", [target, target], [1, 1], [data, data], value=2)
        assert caught.value.name == "CallFailed"
        assert caught.value.values[0] == 1
        assert bench.evm.get_balance(TREASURY) == 0
        assert bench.checkout.call("isUsed", order.reference) is False
