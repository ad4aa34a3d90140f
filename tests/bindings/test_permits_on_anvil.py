"""A configured call that is paid with a signed allowance (ERC-2612): typed data out, signature in, payload out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bindings_bench import ALICE, BOB, JOIN, JOINED, PRICE, Club

from evmbilling.errors import ChallengeRefused, Conflict, InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.keys import sign_typed_data

PERMIT = {
    "method": "joinWithPermit",
    "args": [
        {"vault": "{treasury}", "until": "{period_end}"},
        "{amount}",
        "{deadline}",
        "{permit_v}",
        "{permit_r}",
        "{permit_s}",
    ],
    "approve": {"spender": "{contract}", "amount": "{amount}"},
}


def start(club: Club, **fields: object) -> None:
    club.bind(club.passes, mint_method=JOIN, events=[JOINED], **({"permit_method": PERMIT} | fields))
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)


def test_two_periods_are_paid_with_signatures_and_no_approval(club: Club):
    start(club)
    for period in (0, 1):
        offer = club.checkout()
        asked = club.engine.pay_permit(offer.ledger_id, user_id="alice")
        assert asked["domain"]["verifyingContract"] == club.token.address
        assert (asked["message"]["spender"], asked["message"]["nonce"]) == (club.passes.address, str(period))
        signature = sign_typed_data(ALICE.key, asked)
        payload = club.engine.pay_with_permit(offer.ledger_id, signature=signature)
        club.send(payload)
        assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert club.engine.subscriptions("alice")[0].paid_periods == 2
    assert club.balance(club.treasury) == 2 * PRICE
    assert club.ask(club.token, "allowance", ALICE.address, club.passes.address) == 0
    assert club.differences() == []


def test_only_the_wallets_own_signature_of_the_permit_goes_in(club: Club):
    start(club)
    offer = club.checkout()
    asked = club.engine.pay_permit(offer.ledger_id)
    right = sign_typed_data(ALICE.key, asked)
    more = asked | {"message": asked["message"] | {"value": str(2 * PRICE)}}
    for wrong in (sign_typed_data(BOB.key, asked), sign_typed_data(ALICE.key, more), right[:64], b""):
        with pytest.raises(ChallengeRefused) as refused:
            club.engine.pay_with_permit(offer.ledger_id, signature=wrong)
        assert refused.value.field == "signature"
    club.send(club.engine.pay_with_permit(offer.ledger_id, signature=right))
    second = club.checkout()
    with pytest.raises(ChallengeRefused):  # the nonce is used
        club.engine.pay_with_permit(second.ledger_id, signature=right)
    with pytest.raises(Conflict, match="any more"):
        club.engine.pay_permit(offer.ledger_id)
    club.clock.advance(timedelta(days=1))
    with pytest.raises(Conflict, match="any more"):
        club.engine.pay_permit(second.ledger_id)


def test_a_token_without_permits_says_so(anvil: AnvilNode):
    club = Club(anvil, token="NoReturnToken")
    try:
        start(club)
        offer = club.checkout()
        with pytest.raises(Conflict, match="no permits") as refused:
            club.engine.pay_permit(offer.ledger_id)
        assert refused.value.field == "asset"
    finally:
        club.close()


def test_a_contract_without_a_permit_says_so(club: Club):
    start(club, permit_method=None)
    offer = club.checkout()
    with pytest.raises(Conflict, match="no permits"):
        club.engine.pay_permit(offer.ledger_id)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"mint_method": PERMIT, "permit_method": None}, "mint_method.args"),
        ({"permit_method": PERMIT | {"approve": None}}, "permit_method.approve"),
        ({"permit_method": JOIN}, "permit_method.args"),
    ],
)
def test_a_signature_has_its_place_in_the_call_with_a_permit_alone(club: Club, fields, place):
    with pytest.raises(InputError) as refused:
        club.bind(club.passes, **({"mint_method": JOIN, "events": [JOINED]} | fields))
    assert refused.value.field == place
