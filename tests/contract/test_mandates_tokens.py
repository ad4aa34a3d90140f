"""Tokens that do not behave, pulled: what arrived at the treasury counts, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract_bench import MALLORY, OWNER, START, TREASURY, Contract, Reverted, decode_error
from eth_utils import keccak
from mandates_bench import AMOUNT, CHARGER, PAYER, PERMIT2, Charge, Mandate, MandatesBench

if TYPE_CHECKING:
    from collections.abc import Callable

ROUTES = pytest.mark.parametrize("permit2", [False, True], ids=["allowance", "permit2"])


def odd(pulls: MandatesBench, name: str, *, permit2: bool) -> tuple[Contract, Mandate]:
    """A token of this artefact, and a mandate for it that nothing but the token stands against."""
    token = pulls.deploy(name, "Odd", "ODD", 6)
    pulls.endow(PAYER.address, 10 * AMOUNT, token)
    pulls.permit2.call(
        "approve", token.address, pulls.mandates.address, 10 * AMOUNT, START + 10**8, sender=PAYER.address
    )
    mandate = pulls.mandate(token=token.address, permit2=permit2)
    assert pulls.reason(mandate) == "None"
    return token, mandate


def untouched(pulls: MandatesBench, mandate: Mandate, token: Contract) -> None:
    assert pulls.state(mandate) == (0, 0)
    assert pulls.mandates.call("isUsed", Charge().reference) is False
    assert pulls.balance(TREASURY, token) == 0


@ROUTES
@pytest.mark.fault("T02")
def test_t02_a_token_that_answers_false_takes_nothing(pulls: MandatesBench, permit2: bool) -> None:
    token, mandate = odd(pulls, "RetFalseToken", permit2=permit2)
    with pytest.raises(Reverted, match="SafeERC20FailedOperation"):
        pulls.charge(mandate)
    untouched(pulls, mandate, token)


@ROUTES
@pytest.mark.fault("T03")
def test_t03_a_token_that_only_says_it_moved_takes_nothing(pulls: MandatesBench, permit2: bool) -> None:
    token, mandate = odd(pulls, "LieToken", permit2=permit2)
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate)
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (AMOUNT, 0))
    untouched(pulls, mandate, token)


@ROUTES
@pytest.mark.fault("T06")
def test_t06_a_fee_on_transfers_takes_nothing(pulls: MandatesBench, permit2: bool) -> None:
    token, mandate = odd(pulls, "FeeToken", permit2=permit2)
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate)
    assert (caught.value.name, caught.value.values) == ("ShortReceipt", (AMOUNT, AMOUNT * 99 // 100))
    untouched(pulls, mandate, token)
    token.call("setFee", 0)
    pulls.charge(mandate)
    assert pulls.balance(TREASURY, token) == AMOUNT


@ROUTES
@pytest.mark.fault("T29")
def test_t29_a_token_without_return_values_is_pulled(pulls: MandatesBench, permit2: bool) -> None:
    token, mandate = odd(pulls, "NoReturnToken", permit2=permit2)
    pulls.charge(mandate)
    assert pulls.told("Charged")[0]["received"] == AMOUNT
    assert pulls.balance(TREASURY, token) == AMOUNT


@ROUTES
@pytest.mark.parametrize("listed", [PAYER.address, TREASURY])
def test_a_deny_list_shows_only_when_the_charge_is_tried(pulls: MandatesBench, permit2: bool, listed: str) -> None:
    token, mandate = odd(pulls, "ListToken", permit2=permit2)
    token.call("setListed", listed, True)
    assert pulls.reason(mandate) == "None"
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate)
    assert caught.value.values == ("the address is listed",)
    untouched(pulls, mandate, token)


@ROUTES
def test_a_paused_token_takes_nothing(pulls: MandatesBench, permit2: bool) -> None:
    token, mandate = odd(pulls, "ListToken", permit2=permit2)
    token.call("setPaused", True)
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate)
    assert caught.value.values == ("the token is paused",)
    untouched(pulls, mandate, token)


# What the hook of a token calls in the middle of a charge, though it may do anything that an operator may.
REENTRIES: dict[str, Callable[[MandatesBench, Mandate, bytes], bytes]] = {
    "the same charge": lambda b, m, proof: b.mandates.data("charge", m, proof, Charge()),
    "another charge": lambda b, m, proof: b.mandates.data("charge", m, proof, Charge(reference=keccak(text="other"))),
    "a charge with a permit": lambda b, m, proof: b.mandates.data(
        "chargeWithPermit",
        m,
        proof,
        Charge(reference=keccak(text="other")),
        *b.permit(token=m.token, amount=AMOUNT),
    ),
}


@ROUTES
@pytest.mark.fault("T11")
@pytest.mark.parametrize("hook", REENTRIES)
def test_t11_a_token_that_calls_back_is_charged_once(pulls: MandatesBench, permit2: bool, hook: str) -> None:
    token, mandate = odd(pulls, "HookToken", permit2=permit2)
    pulls.mandates.call("addOperator", token.address, sender=OWNER)
    mandate = mandate._replace(cap=5 * AMOUNT)
    data = REENTRIES[hook](pulls, mandate, pulls.consent(mandate))
    token.call("arm", pulls.mandates.address, data)
    pulls.charge(mandate)
    assert len(pulls.told("Charged")) == 1
    assert token.call("called") is True
    assert decode_error(token.call("answer"))[0] == "ReentrancyGuardReentrantCall"
    assert pulls.balance(TREASURY, token) == AMOUNT
    assert pulls.state(mandate) == (1, AMOUNT)


def test_a_revocation_in_the_middle_of_a_charge_stays(pulls: MandatesBench) -> None:
    """Effects come first and are not written again: what a hook of the payer's changes is not undone."""
    token, mandate = odd(pulls, "HookToken", permit2=False)
    message = pulls.mandates.call("revocationHash", PAYER.address, pulls.identity(mandate))
    signature = bytes(PAYER.unsafe_sign_hash(message).signature)
    call = ("revokeBySignature", PAYER.address, pulls.identity(mandate), signature)
    token.call("arm", pulls.mandates.address, pulls.mandates.data(*call))
    pulls.charge(mandate)
    assert token.call("succeeded") is True
    assert pulls.state(mandate) == (2, AMOUNT)
    assert pulls.reason(mandate, reference=keccak(text="other")) == "Revoked"


def test_an_allowance_is_good_for_nothing_but_charges(pulls: MandatesBench) -> None:
    """Nobody, the contract's roles included, moves the payer's tokens by any other call of the contract."""
    mandate = pulls.mandate()
    calls = [
        ("give", mandate, pulls.consent(mandate)),
        ("revoke", pulls.identity(mandate)),
        ("addOperator", MALLORY),
        ("transferOwnership", MALLORY),
    ]
    for sender in (MALLORY, CHARGER, OWNER):
        for call in calls:
            try:
                pulls.mandates.call(*call, sender=sender)
            except Reverted:
                continue
    assert pulls.balance(PAYER.address) == 100 * AMOUNT
    for spender in (pulls.mandates.address, PERMIT2):
        assert pulls.token.call("allowance", PAYER.address, spender) == 100 * AMOUNT
