"""What a charge does: money goes from the payer to the signed treasury, once a reference, within the signed bounds."""

from __future__ import annotations

import pytest
from contract_bench import (
    ALICE,
    BOB,
    DAY,
    MALLORY,
    OPERATOR,
    OWNER,
    START,
    TREASURY,
    ZERO,
    Reverted,
    decode_error,
    refusal_of,
)
from eth_utils import keccak
from mandates_bench import AMOUNT, CHARGER, MONTH, PAYER, PERMIT2, REASONS, Charge, MandatesBench, pay_checkout

from evmbilling.contracts import artifact

SECOND = keccak(text="order 2")
THIRD = keccak(text="order 3")


def refused(pulls: MandatesBench, mandate: tuple[object, ...], **changes: object) -> str:
    """Charge, expect one of the stable codes, and see that ``canCharge`` says the same and that nothing moved."""
    before = pulls.balance(TREASURY), pulls.state(mandate)  # type: ignore[arg-type]  # a Mandate
    expected = pulls.reason(mandate, **changes)  # type: ignore[arg-type]
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate, **changes)  # type: ignore[arg-type]
    assert caught.value.name == "Refused"
    reason = REASONS[caught.value.values[0]]
    assert reason == expected
    assert (pulls.balance(TREASURY), pulls.state(mandate)) == before  # type: ignore[arg-type]
    return reason


@pytest.mark.parametrize("permit2", [False, True], ids=["allowance", "permit2"])
def test_a_charge_moves_the_amount_and_says_so(pulls: MandatesBench, permit2: bool) -> None:
    mandate = pulls.mandate(permit2=permit2)
    pulls.permit2.call(
        "approve", pulls.token.address, pulls.mandates.address, AMOUNT, START + DAY, sender=PAYER.address
    )
    assert pulls.reason(mandate) == "None"
    pulls.charge(mandate)
    assert pulls.balance(TREASURY) == AMOUNT
    assert pulls.balance(pulls.mandates.address) == 0
    assert pulls.state(mandate) == (1, AMOUNT)
    assert pulls.mandates.call("isUsed", Charge().reference) is True
    assert pulls.mandates.call("chargedBy", Charge().reference) == pulls.identity(mandate)


def test_the_events_of_the_first_charge_tell_everything(pulls: MandatesBench) -> None:
    mandate = pulls.mandate()
    identity = pulls.identity(mandate)
    pulls.charge(mandate)
    given, charged = pulls.told("MandateGiven"), pulls.told("Charged")
    assert [log.name for log in pulls.logs] == ["MandateGiven", "Transfer", "Charged"]
    lowered = tuple(value.lower() if isinstance(value, str) else value for value in mandate)
    assert given == [{"mandate": identity, "payer": mandate.payer, "subscription": 7, "terms": lowered}]
    assert charged == [
        {
            "reference": Charge().reference,
            "mandate": identity,
            "payer": mandate.payer,
            "subscription": 7,
            "token": pulls.token.address,
            "amount": AMOUNT,
            "treasury": TREASURY,
            "received": AMOUNT,
        }
    ]
    pulls.at(START + MONTH)
    pulls.charge(mandate, b"", reference=SECOND)
    assert [log.name for log in pulls.logs] == ["Transfer", "Charged"]


def test_the_cap_adds_up_over_the_spacings_that_have_begun(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(chargeCap=3 * AMOUNT)
    assert pulls.remaining(mandate) == AMOUNT
    pulls.charge(mandate)
    assert pulls.remaining(mandate) == 0
    pulls.at(START + MONTH - 1)
    assert refused(pulls, mandate, reference=SECOND) == "OverCap"
    pulls.at(START + MONTH)
    assert refused(pulls, mandate, reference=SECOND, amount=AMOUNT + 1) == "OverCap"
    pulls.charge(mandate, reference=SECOND)
    pulls.at(START + 4 * MONTH)  # two spacings were left out
    assert pulls.remaining(mandate) == 3 * AMOUNT
    assert refused(pulls, mandate, reference=THIRD, amount=3 * AMOUNT + 1) == "OverChargeCap"
    pulls.charge(mandate, reference=THIRD, amount=3 * AMOUNT)
    assert pulls.state(mandate) == (1, 5 * AMOUNT)


def test_a_reference_is_charged_once_whatever_the_mandate(pulls: MandatesBench) -> None:
    pulls.charge(pulls.mandate())
    assert refused(pulls, pulls.mandate(salt=2)) == "ReferenceUsed"


def test_a_reference_that_the_checkout_took_is_not_charged(pulls: MandatesBench) -> None:
    mandate = pulls.mandate()
    pay_checkout(pulls, Charge().reference)
    assert refused(pulls, mandate, checkout=pulls.checkout.address) == "PaidElsewhere"
    assert pulls.reason(mandate) == "None"  # nobody was asked


def test_a_checkout_that_cannot_be_asked_stops_the_charge(pulls: MandatesBench) -> None:
    for place in (MALLORY, pulls.token.address):
        with pytest.raises(Reverted):
            pulls.charge(pulls.mandate(), checkout=place)
    assert pulls.balance(TREASURY) == 0


def test_start_and_expiry_and_deadline_are_inclusive(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(start=START + 10, expiry=START + 20)
    pulls.at(START + 9)
    assert refused(pulls, mandate) == "NotStarted"
    assert pulls.remaining(mandate) == 0
    pulls.at(START + 10)
    assert refused(pulls, mandate, deadline=START + 9) == "ChargeLate"
    pulls.charge(mandate, deadline=START + 10, amount=1)
    pulls.at(START + 20)
    pulls.charge(mandate, reference=SECOND, amount=1)
    pulls.at(START + 21)
    assert refused(pulls, mandate, reference=THIRD, amount=1) == "Expired"
    assert pulls.remaining(mandate) == 0


@pytest.mark.parametrize("sender", [PAYER.address, OWNER, OPERATOR, MALLORY, TREASURY])
def test_nobody_but_an_operator_charges(pulls: MandatesBench, sender: str) -> None:
    assert refused(pulls, pulls.mandate(), sender=sender) == "NotOperator"


def test_a_mandate_may_name_its_operator(pulls: MandatesBench) -> None:
    pulls.mandates.call("addOperator", BOB, sender=OWNER)
    mandate = pulls.mandate(operator=BOB)
    assert refused(pulls, mandate) == "WrongOperator"
    pulls.charge(mandate, sender=BOB)
    # The named one has to be an operator still: a leaked key is cut off whatever payers signed.
    pulls.mandates.call("removeOperator", BOB, sender=OWNER)
    pulls.at(START + MONTH)
    assert refused(pulls, mandate, sender=BOB, reference=SECOND) == "NotOperator"


@pytest.mark.parametrize(
    "changes",
    [
        {"treasury": ZERO},
        {"treasury": "the contract"},
        {"spacing": 0},
        {"cap": 0},
        {"chargeCap": 0},
        {"expiry": START - 1},
    ],
    ids=str,
)
def test_a_mandate_that_makes_no_sense_is_refused(pulls: MandatesBench, changes: dict[str, object]) -> None:
    own = {k: pulls.mandates.address if v == "the contract" else v for k, v in changes.items()}
    mandate = pulls.mandate(**own)
    assert refused(pulls, mandate) == "BadTerms"
    with pytest.raises(Reverted) as caught:
        pulls.mandates.call("give", mandate, b"", sender=PAYER.address)
    assert caught.value.values == (REASONS.index("BadTerms"),)
    assert pulls.remaining(mandate) == 0


def test_nothing_is_no_charge(pulls: MandatesBench) -> None:
    assert refused(pulls, pulls.mandate(), amount=0) == "ZeroAmount"


def test_a_payer_who_is_the_treasury_pays_nothing(pulls: MandatesBench) -> None:
    with pytest.raises(Reverted) as caught:
        pulls.charge(pulls.mandate(treasury=PAYER.address))
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (AMOUNT, 0))


def test_what_has_no_code_is_no_token(pulls: MandatesBench) -> None:
    for token in (MALLORY, "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"):
        mandate = pulls.mandate(token=token)
        assert pulls.reason(mandate) == "NotAToken"
        with pytest.raises(Reverted) as caught:
            pulls.charge(mandate)
        assert caught.value.values == (REASONS.index("NotAToken"),)


def test_balance_and_allowance_are_told_before_they_fail(pulls: MandatesBench) -> None:
    mandate, token = pulls.mandate(), pulls.token
    token.call("approve", pulls.mandates.address, AMOUNT - 1, sender=PAYER.address)
    assert pulls.reason(mandate) == "AllowanceTooLow"
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate)
    assert caught.value.name == "ERC20InsufficientAllowance"  # the token's own word
    token.call("transfer", BOB, 100 * AMOUNT, sender=PAYER.address)
    assert pulls.reason(mandate) == "BalanceTooLow"
    assert pulls.state(mandate) == (0, 0)


def test_both_allowances_of_permit2_count(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(permit2=True)
    assert pulls.reason(mandate) == "AllowanceTooLow"
    grant = ("approve", pulls.token.address, pulls.mandates.address, AMOUNT)
    pulls.permit2.call(*grant, START + 10, sender=PAYER.address)
    assert pulls.reason(mandate) == "None"
    pulls.at(START + 11)
    assert pulls.reason(mandate) == "AllowanceTooLow"
    with pytest.raises(Reverted, match="AllowanceExpired"):
        pulls.charge(mandate)
    pulls.permit2.call(*grant, START + DAY, sender=PAYER.address)
    pulls.token.call("approve", PERMIT2, AMOUNT - 1, sender=PAYER.address)
    assert pulls.reason(mandate) == "AllowanceTooLow"
    pulls.token.call("approve", PERMIT2, AMOUNT, sender=PAYER.address)
    pulls.charge(mandate)
    # The token's own allowance to the contract was not touched.
    assert pulls.token.call("allowance", PAYER.address, pulls.mandates.address) == 100 * AMOUNT


def test_an_allowance_to_the_contract_is_not_used_for_a_mandate_over_permit2(pulls: MandatesBench) -> None:
    with pytest.raises(Reverted, match="AllowanceExpired"):
        pulls.charge(pulls.mandate(permit2=True))
    assert pulls.balance(TREASURY) == 0


def test_a_chain_without_permit2_is_told(pulls: MandatesBench) -> None:
    pulls.put_code(PERMIT2, b"")
    mandate = pulls.mandate(permit2=True)
    assert pulls.reason(mandate) == "NoPermit2"
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate)
    assert caught.value.values == (REASONS.index("NoPermit2"),)
    pulls.charge(pulls.mandate())


def test_a_permit_can_come_with_the_first_charge(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(permit2=True)
    single, signature = pulls.permit(token=pulls.token.address, amount=2 * AMOUNT)
    call = ("chargeWithPermit", mandate, pulls.consent(mandate), Charge(), single, signature)
    pulls.mandates.call(*call, sender=CHARGER)
    assert pulls.balance(TREASURY) == AMOUNT
    assert pulls.permit2.call("allowance", PAYER.address, pulls.token.address, pulls.mandates.address)[0] == AMOUNT


def test_a_permit_that_somebody_else_submitted_is_no_hindrance(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(permit2=True)
    single, signature = pulls.permit(token=pulls.token.address, amount=AMOUNT)
    pulls.permit2.call("permit", PAYER.address, single, signature, sender=MALLORY)
    call = ("chargeWithPermit", mandate, pulls.consent(mandate), Charge(), single, signature)
    pulls.mandates.call(*call, sender=CHARGER)
    assert pulls.balance(TREASURY) == AMOUNT


def test_a_bad_permit_changes_nothing(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(permit2=True)
    single, _ = pulls.permit(token=pulls.token.address, amount=AMOUNT)
    call = ("chargeWithPermit", mandate, pulls.consent(mandate), Charge(), single, bytes(65))
    with pytest.raises(Reverted, match="AllowanceExpired"):
        pulls.mandates.call(*call, sender=CHARGER)
    with pytest.raises(Reverted) as caught:
        pulls.mandates.call(*call, sender=MALLORY)
    assert caught.value.values == (REASONS.index("NotOperator"),)


def test_giving_before_the_first_charge_needs_the_payer_or_the_signature(pulls: MandatesBench) -> None:
    first, second = pulls.mandate(), pulls.mandate(salt=2)
    with pytest.raises(Reverted) as caught:
        pulls.mandates.call("give", first, b"", sender=CHARGER)
    assert caught.value.values == (REASONS.index("BadSignature"),)
    pulls.mandates.call("give", first, b"", sender=PAYER.address)
    assert [event["mandate"] for event in pulls.told("MandateGiven")] == [pulls.identity(first)]
    pulls.mandates.call("give", second, pulls.consent(second), sender=MALLORY)
    for mandate, reference in ((first, SECOND), (second, THIRD)):
        assert pulls.state(mandate) == (1, 0)
        pulls.charge(mandate, b"", reference=reference)
        pulls.mandates.call("give", mandate, b"", sender=MALLORY)  # known: nothing happens
        assert pulls.logs == []
        assert pulls.state(mandate) == (1, AMOUNT)


def test_an_expired_mandate_cannot_be_given(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(expiry=START)
    pulls.at(START + 1)
    with pytest.raises(Reverted) as caught:
        pulls.mandates.call("give", mandate, b"", sender=PAYER.address)
    assert caught.value.values == (REASONS.index("Expired"),)


def test_a_pause_stops_charges_and_nothing_else(pulls: MandatesBench) -> None:
    mandate, other = pulls.mandate(), pulls.mandate(salt=2)
    pulls.mandates.call("pause", sender=CHARGER)
    assert refused(pulls, mandate) == "Paused"
    pulls.mandates.call("give", mandate, b"", sender=PAYER.address)
    pulls.mandates.call("revoke", pulls.identity(other), sender=PAYER.address)
    with pytest.raises(Reverted, match="OwnableUnauthorizedAccount"):
        pulls.mandates.call("unpause", sender=CHARGER)
    pulls.mandates.call("unpause", sender=OWNER)
    pulls.charge(mandate, b"")
    pulls.mandates.call("pause", sender=OWNER)
    with pytest.raises(Reverted, match="NotOperator"):
        pulls.mandates.call("pause", sender=MALLORY)


def test_operators_are_a_set_that_the_owner_keeps(pulls: MandatesBench) -> None:
    call = pulls.mandates.call
    for function, error in (
        (("addOperator", ZERO), "ZeroOperator"),
        (("addOperator", CHARGER), "OperatorExists"),
        (("removeOperator", BOB), "UnknownOperator"),
        (("renounceOwnership",), "OwnerNeeded"),
    ):
        with pytest.raises(Reverted, match=error):
            call(*function, sender=OWNER)
        with pytest.raises(Reverted, match="OwnableUnauthorizedAccount"):
            call(*function, sender=CHARGER)
    call("addOperator", BOB, sender=OWNER)
    assert pulls.told("OperatorAdded") == [{"operator": BOB}]
    call("removeOperator", CHARGER, sender=OWNER)
    assert pulls.told("OperatorRemoved") == [{"operator": CHARGER}]
    assert (call("isOperator", BOB), call("isOperator", CHARGER)) == (True, False)
    assert refused(pulls, pulls.mandate()) == "NotOperator"
    pulls.charge(pulls.mandate(), sender=BOB)
    call("transferOwnership", ALICE, sender=OWNER)
    assert call("owner") == OWNER
    call("acceptOwnership", sender=ALICE)
    assert call("owner") == ALICE


def test_every_error_of_the_contract_is_provoked_here_or_cannot_happen() -> None:
    """The list of errors is closed: a new one fails here until it is provoked."""
    assert {item["name"] for item in artifact("Mandates").abi if item["type"] == "error"} == {
        # provoked in this file and in those about signatures and tokens
        *("Refused", "ShortReceipt", "ZeroOperator", "OperatorExists", "UnknownOperator", "NotOperator"),
        *("OwnerNeeded", "OwnableUnauthorizedAccount", "OwnableInvalidOwner", "ReentrancyGuardReentrantCall"),
        *("SafeERC20FailedOperation", "EnforcedPause", "ExpectedPause"),
        # name and version of the EIP-712 domain are constants that fit
        *("InvalidShortString", "StringTooLong"),
    }


def test_the_library_refuses_too(pulls: MandatesBench) -> None:
    with pytest.raises(Reverted, match="OwnableInvalidOwner"):
        pulls.deploy("Mandates", ZERO, [])
    with pytest.raises(Reverted, match="ZeroOperator"):
        pulls.deploy("Mandates", OWNER, [ZERO])
    with pytest.raises(Reverted, match="ExpectedPause"):
        pulls.mandates.call("unpause", sender=OWNER)
    pulls.mandates.call("pause", sender=OWNER)
    with pytest.raises(Reverted, match="EnforcedPause"):
        pulls.mandates.call("pause", sender=OWNER)


def test_no_function_takes_a_receiver_or_calls_at_will() -> None:
    """What could move an allowance elsewhere is not there: this is all that changes anything."""
    writing = {
        item["name"]
        for item in artifact("Mandates").abi
        if item["type"] == "function" and item["stateMutability"] not in {"view", "pure"}
    }
    assert writing == {
        *("charge", "chargeWithPermit", "give", "revoke", "revokeBySignature"),
        *("addOperator", "removeOperator", "pause", "unpause", "transferOwnership", "acceptOwnership"),
    }
    assert not any(item["type"] in {"receive", "fallback"} for item in artifact("Mandates").abi)
    assert not any(item.get("stateMutability") == "payable" for item in artifact("Mandates").abi)


def test_a_refusal_is_told_by_its_number() -> None:
    assert decode_error(keccak(text="Refused(uint8)")[:4] + (13).to_bytes(32, "big")) == ("Refused", (13,))
    assert refusal_of(lambda: None) is None
