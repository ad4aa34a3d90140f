"""Every custom error of the contract: what provokes it, with its arguments, and that nothing changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from contract_bench import (
    ALICE,
    BOB,
    MALLORY,
    NATIVE,
    OPERATOR,
    OUTSIDER,
    OWNER,
    SIGNER,
    START,
    TREASURY,
    ZERO,
    Bench,
    Order,
    Reverted,
    sign_permit,
)

from evmbilling.contracts import artifact

if TYPE_CHECKING:
    from collections.abc import Callable

AMOUNT = Order().amount
REFERENCE = Order().reference
REFUND_ID = b"r" * 32
HIGH_S = (2**256 - 1).to_bytes(32, "big")

# Errors that OpenZeppelin declares and that no call of this contract can reach, with the reason.
UNREACHABLE = {
    "ERC721IncorrectOwner": "tokens are never transferred",
    "ERC721InsufficientApproval": "tokens are never transferred",
    "ERC721InvalidApprover": "approvals are refused before",
    "ERC721InvalidOperator": "approvals are refused before",
    "ERC721InvalidReceiver": "a zero beneficiary is refused before",
    "ERC721InvalidSender": "only absent tokens are minted",
    "InvalidShortString": "name and version of the EIP-712 domain are constants that fit",
    "StringTooLong": "name and version of the EIP-712 domain are constants that fit",
}


def pay(**changes: Any) -> Callable[[Bench], None]:
    return lambda bench: bench.pay(bench.order(**changes))


def pay_twice(bench: Bench) -> None:
    bench.pay(bench.order())
    bench.pay(bench.order())


def pay_late(bench: Bench) -> None:
    bench.at(START + 1801)
    bench.pay(bench.order())


def pay_as_other(bench: Bench) -> None:
    bench.pay(bench.order(), sender=MALLORY)


def pay_paused(bench: Bench) -> None:
    bench.checkout.call("pause", sender=OPERATOR)
    bench.pay(bench.order())


def pay_unsigned(bench: Bench) -> None:
    bench.pay(bench.order(), bench.sign(bench.order(), key=OUTSIDER))


def pay_with(signature: bytes) -> Callable[[Bench], None]:
    return lambda bench: bench.pay(bench.order(), signature)


def pay_with_value(bench: Bench) -> None:
    bench.pay(bench.order(), value=1)


def pay_native_short(bench: Bench) -> None:
    bench.pay(bench.order(token=NATIVE), value=AMOUNT - 1)


def pay_native_to_refuser(bench: Bench) -> None:
    wallet = bench.deploy("Forwarder", OWNER)
    bench.pay(bench.order(token=NATIVE, treasury=wallet.address), value=AMOUNT)


def pay_fee_token(bench: Bench) -> None:
    token = bench.deploy("FeeToken", "Fee", "FEE", 6)
    bench.fund(ALICE, AMOUNT, token)
    bench.pay(bench.order(token=token.address))


def pay_false_token(bench: Bench) -> None:
    token = bench.deploy("RetFalseToken", "False", "FLS", 6)
    bench.fund(ALICE, AMOUNT, token)
    bench.pay(bench.order(token=token.address))


def pay_self(bench: Bench) -> None:
    bench.pay(bench.order(treasury=bench.checkout.address))


def permit_too_low(bench: Bench) -> None:
    bench.token.call("mint", OUTSIDER.address, AMOUNT)
    order = bench.order(payer=OUTSIDER.address)
    permit = sign_permit(bench, bench.token, OUTSIDER, AMOUNT - 1)
    bench.checkout.call("payWithPermit", order, bench.sign(order), *permit, sender=OUTSIDER.address)


def refund(*changes: Any, sender: str = OPERATOR, paid: bool = True) -> Callable[[Bench], None]:
    def act(bench: Bench) -> None:
        if paid:
            bench.pay(bench.order())
        bench.fund(sender, AMOUNT)
        given: dict[str, Any] = dict(changes)
        arguments = {"reference": REFERENCE, "id": REFUND_ID, "token": bench.token.address, "to": ALICE, "amount": 1}
        arguments |= given
        if arguments["to"] == "checkout":
            arguments["to"] = bench.checkout.address
        bench.checkout.call("refund", *arguments.values(), sender=sender)

    return act


def refund_twice(bench: Bench) -> None:
    refund()(bench)
    bench.checkout.call("refund", REFERENCE, REFUND_ID, bench.token.address, ALICE, 1, sender=OPERATOR)


def reenter(bench: Bench) -> None:
    token = bench.deploy("HookToken", "Hook", "HK", 6)
    bench.fund(ALICE, AMOUNT, token)
    order = bench.order(token=token.address, payer=ZERO)
    token.call("arm", bench.checkout.address, bench.checkout.data("pay", order, bench.sign(order)))
    bench.pay(order)
    assert token.call("succeeded") is False
    raise Reverted(token.call("answer"))


def act(function: str, *arguments: Any, sender: str) -> Callable[[Bench], None]:
    return lambda bench: bench.checkout.call(function, *arguments, sender=sender)


def after_payment(function: str, *arguments: Any, sender: str, value: int = 0) -> Callable[[Bench], None]:
    def run(bench: Bench) -> None:
        bench.pay(bench.order())
        bench.checkout.call(function, *arguments, sender=sender, value=value)

    return run


def deploy(owner: str, signers: list[str]) -> Callable[[Bench], None]:
    return lambda bench: bench.deploy("Checkout", owner, OPERATOR, signers, "n", "s")


# (error, its arguments or None when they are not fixed, what provokes it)
REFUSALS: list[tuple[str, tuple[Any, ...] | None, Callable[[Bench], Any]]] = [
    ("ReferenceUsed", (REFERENCE,), pay_twice),
    ("OrderLate", (START + 1800,), pay_late),
    ("WrongPayer", (ALICE, MALLORY), pay_as_other),
    ("ZeroAmount", (), pay(amount=0)),
    ("ZeroTreasury", (), pay(treasury=ZERO)),
    ("SelfRecipient", (), pay_self),
    ("ZeroBeneficiary", (), pay(beneficiary=ZERO)),
    ("ExpiryWithoutMembership", (), pay(subscription=0)),
    ("NotAToken", (BOB,), pay(token=BOB)),
    ("NotAToken", (ZERO,), pay(token=ZERO)),
    ("ShortReceipt", (AMOUNT, AMOUNT - AMOUNT // 100), pay_fee_token),
    ("ShortReceipt", (AMOUNT, 0), pay(treasury=ALICE)),
    ("SafeERC20FailedOperation", None, pay_false_token),
    ("WrongValue", (0, 1), pay_with_value),
    ("WrongValue", (AMOUNT, AMOUNT - 1), pay_native_short),
    ("NativeTransferFailed", None, pay_native_to_refuser),
    ("AllowanceTooLow", (AMOUNT - 1, AMOUNT), permit_too_low),
    ("UnknownSigner", (OUTSIDER.address,), pay_unsigned),
    ("ECDSAInvalidSignatureLength", (64,), pay_with(b"\x01" * 64)),
    ("ECDSAInvalidSignatureS", (HIGH_S,), pay_with(b"\x01" * 32 + HIGH_S + b"\x1b")),
    ("ECDSAInvalidSignature", (), pay_with(bytes(65))),
    ("EnforcedPause", (), pay_paused),
    ("ExpectedPause", (), act("unpause", sender=OWNER)),
    ("ReentrancyGuardReentrantCall", (), reenter),
    ("ReferenceNotPaid", (REFERENCE,), refund(paid=False)),
    ("NotRefunder", (MALLORY,), refund(sender=MALLORY)),
    ("RefundIdUsed", (REFUND_ID,), refund_twice),
    ("ZeroAmount", (), refund(("amount", 0))),
    ("ZeroRecipient", (), refund(("to", ZERO))),
    ("SelfRecipient", (), refund(("to", "checkout"))),
    ("NotAToken", (BOB,), refund(("token", BOB))),
    ("WrongValue", (1, 0), refund(("token", NATIVE))),
    ("NotHolderOrOperator", (MALLORY,), after_payment("burn", 7, sender=MALLORY)),
    ("NotHolderOrOperator", (MALLORY,), after_payment("cancelSubscription", 7, sender=MALLORY)),
    ("WrongValue", (0, 1), after_payment("cancelSubscription", 7, sender=ALICE, value=1)),
    ("WrongValue", (0, 1), after_payment("renewSubscription", 7, 60, sender=OPERATOR, value=1)),
    ("RenewByOrder", (), after_payment("renewSubscription", 7, 60, sender=ALICE)),
    ("ERC721NonexistentToken", (8,), act("renewSubscription", 8, 60, sender=OPERATOR)),
    ("ERC721NonexistentToken", (8,), act("cancelSubscription", 8, sender=OPERATOR)),
    ("ERC721NonexistentToken", (8,), act("burn", 8, sender=OPERATOR)),
    ("ERC721NonexistentToken", (8,), act("ownerOf", 8, sender=ALICE)),
    ("ERC721InvalidOwner", (ZERO,), act("balanceOf", ZERO, sender=ALICE)),
    ("Panic", (0x11,), after_payment("renewSubscription", 7, 2**64 - 1, sender=OPERATOR)),
    ("Soulbound", (), after_payment("transferFrom", ALICE, BOB, 7, sender=ALICE)),
    ("Soulbound", (), after_payment("safeTransferFrom", ALICE, BOB, 7, sender=ALICE)),
    ("Soulbound", (), after_payment("safeTransferFrom", ALICE, BOB, 7, b"", sender=ALICE)),
    ("Soulbound", (), after_payment("approve", BOB, 7, sender=ALICE)),
    ("Soulbound", (), after_payment("setApprovalForAll", BOB, True, sender=ALICE)),
    ("NotOperator", (ALICE,), act("pause", sender=ALICE)),
    ("OwnableUnauthorizedAccount", (OPERATOR,), act("unpause", sender=OPERATOR)),
    ("OwnableUnauthorizedAccount", (OPERATOR,), act("setOperator", MALLORY, sender=OPERATOR)),
    ("OwnableUnauthorizedAccount", (OPERATOR,), act("addSigner", MALLORY, sender=OPERATOR)),
    ("OwnableUnauthorizedAccount", (SIGNER.address,), act("addSigner", MALLORY, sender=SIGNER.address)),
    ("OwnableUnauthorizedAccount", (OPERATOR,), act("removeSigner", SIGNER.address, sender=OPERATOR)),
    ("OwnableUnauthorizedAccount", (OPERATOR,), act("rescue", NATIVE, OPERATOR, sender=OPERATOR)),
    ("OwnableUnauthorizedAccount", (OPERATOR,), act("transferOwnership", OPERATOR, sender=OPERATOR)),
    ("OwnableUnauthorizedAccount", (MALLORY,), act("acceptOwnership", sender=MALLORY)),
    ("OwnableUnauthorizedAccount", (ALICE,), act("renounceOwnership", sender=ALICE)),
    ("OwnerNeeded", (), act("renounceOwnership", sender=OWNER)),
    ("OwnableInvalidOwner", (ZERO,), deploy(ZERO, [SIGNER.address])),
    ("ZeroSigner", (), deploy(OWNER, [SIGNER.address, ZERO])),
    ("SignerExists", (SIGNER.address,), deploy(OWNER, [SIGNER.address, SIGNER.address])),
    ("ZeroSigner", (), act("addSigner", ZERO, sender=OWNER)),
    ("SignerExists", (SIGNER.address,), act("addSigner", SIGNER.address, sender=OWNER)),
    ("UnknownSigner", (ALICE,), act("removeSigner", ALICE, sender=OWNER)),
    ("ZeroRecipient", (), act("rescue", NATIVE, ZERO, sender=OWNER)),
    ("NotAToken", (BOB,), act("rescue", BOB, OWNER, sender=OWNER)),
]


@pytest.mark.parametrize(
    ("error", "values", "provoke"), REFUSALS, ids=[f"{n}-{row[0]}" for n, row in enumerate(REFUSALS)]
)
def test_a_refusal_names_its_reason(
    bench: Bench, error: str, values: tuple[Any, ...] | None, provoke: Callable[[Bench], Any]
) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.evm.set_balance(ALICE, AMOUNT)
    bench.evm.set_balance(OPERATOR, AMOUNT)
    with pytest.raises(Reverted) as caught:
        provoke(bench)
    assert caught.value.name == error
    if values is not None:
        assert caught.value.values == values


def test_every_error_of_the_abi_is_provoked_or_explained() -> None:
    declared = {item["name"] for item in artifact("Checkout").abi if item["type"] == "error"}
    provoked = {name for name, _, _ in REFUSALS} - {"Panic"}
    assert provoked | UNREACHABLE.keys() == declared
    assert not provoked & UNREACHABLE.keys()


@pytest.mark.parametrize("provoke", [pay_late, pay_as_other, pay_paused, pay_unsigned, pay_self, pay_with_value])
def test_a_refused_payment_moves_nothing_and_uses_nothing(bench: Bench, provoke: Callable[[Bench], None]) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.evm.set_balance(ALICE, 5)
    with pytest.raises(Reverted):
        provoke(bench)
    assert bench.balance(ALICE) == AMOUNT
    assert bench.evm.get_balance(ALICE) == 5
    assert bench.checkout.call("isUsed", REFERENCE) is False
    assert bench.checkout.call("expiresAt", 7) == 0


def test_unknown_calls_and_plain_coins_are_refused(bench: Bench) -> None:
    bench.evm.set_balance(ALICE, 10)
    for data, value in ((b"", 1), (b"\xde\xad\xbe\xef", 0), (b"\xde\xad\xbe\xef", 1)):
        with pytest.raises(Reverted):
            bench.send(ALICE, bench.checkout.address, data, value)
    assert bench.evm.get_balance(bench.checkout.address) == 0


def test_a_permit_payment_takes_no_coins(bench: Bench) -> None:
    bench.evm.set_balance(ALICE, 10)
    order = bench.order()
    empty = (0, 0, 0, bytes(32), bytes(32))
    with pytest.raises(Reverted) as caught:
        bench.checkout.call("payWithPermit", order, bench.sign(order), *empty, value=1)
    assert caught.value.name == "0x"  # not payable: the compiler's own refusal has no words
    order = bench.order(token=NATIVE)
    with pytest.raises(Reverted) as caught:
        bench.checkout.call("payWithPermit", order, bench.sign(order), *empty)
    assert (caught.value.name, caught.value.values) == ("NotAToken", (NATIVE,))


def test_rescue_refuses_to_send_to_itself(bench: Bench) -> None:
    with pytest.raises(Reverted) as caught:
        bench.checkout.call("rescue", NATIVE, bench.checkout.address, sender=OWNER)
    assert caught.value.name == "SelfRecipient"


def test_a_refused_order_can_still_be_paid(bench: Bench) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.checkout.call("pause", sender=OPERATOR)
    with pytest.raises(Reverted):
        bench.pay(bench.order())
    bench.checkout.call("unpause", sender=OWNER)
    bench.pay(bench.order())
    assert bench.balance(TREASURY) == AMOUNT
