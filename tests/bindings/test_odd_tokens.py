"""Odd tokens, paid through somebody else's contract: what does not arrive is not credited, and nothing else stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bindings_bench import ALICE, BOB, JOIN, JOINED, PRICE, Club

from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.errors import InputError, UnknownAsset
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import calldata, deploy, deploy_token

Open = Callable[[str], Club]


@pytest.fixture
def open_club(anvil: AnvilNode) -> Iterator[Open]:
    """Opens a club whose passes are sold for a token of this kind; Alice and Bob hold some."""
    opened: list[Club] = []

    def make(token: str) -> Club:
        club = Club(anvil, token=token)
        opened.append(club)
        club.start()
        return club

    yield make
    for club in opened:
        club.close()


def allow(club: Club, account) -> None:
    club.act(club.token, "approve", club.passes.address, 20 * PRICE, sender=account.address)


def fails(club: Club, payload: WalletPayload, account=ALICE) -> None:
    """Send what the chain refuses, and settle."""
    tx_hash = club.node.send(payload.as_rpc(account.address))
    club.settle()
    receipt = club.node.receipt(tx_hash)
    assert receipt is not None
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])


@pytest.mark.fault("T02")
def test_t02_a_token_that_answers_false_pays_no_configured_call(open_club: Open):
    club = open_club("RetFalseToken")
    offer = club.checkout()
    allow(club, ALICE)
    assert [p.code for p in club.engine.pay_instructions(offer.ledger_id).problems] == ["contract_refuses"]
    fails(club, offer.payload)
    assert club.engine.order(offer.ledger_id).status == "pending"
    assert (club.movements(), club.differences()) == ([], [])


@pytest.mark.fault("T03")
def test_t03_an_event_about_another_token_than_is_sold_in_is_no_money(open_club: Open):
    """The contract speaks, a token moves, and neither is what the plan is sold in."""
    club = open_club("TestToken")
    liar = deploy_token(club.node, artefact="LieToken")
    other = deploy(club.node, "ClubPass", liar.address, 0)
    club.bind(other, slug="other", mint_method=JOIN, events=[JOINED])
    offer = club.checkout()
    club.act(liar, "mint", ALICE.address, PRICE)
    club.act(liar, "approve", other.address, PRICE, sender=ALICE.address)
    data = offer.order.call.data
    club.send(WalletPayload(chain_id=club.node.chain_id, to=other.address, value=0, data=data, gas=600_000))
    assert club.engine.order(offer.ledger_id).status == "pending"
    assert (club.receipts(), club.movements(), club.differences()) == ([], [], [])


@pytest.mark.fault("T06")
def test_t06_a_fee_that_the_log_conceals_is_named_by_verify_for_a_configured_call(open_club: Open):
    club = open_club("FeeToken")
    offer = club.checkout()
    assert club.engine.check_tokens() == []
    club.act(club.token, "setFee", 100)
    club.pay(offer)
    (receipt,) = club.receipts()
    fee = PRICE // 100
    assert (receipt.amount, club.balance(club.treasury)) == (PRICE, PRICE - fee)
    (found,) = [d for d in club.differences() if d.code == "unexplained_delta"]
    assert (found.expected, found.found) == (str(PRICE), str(PRICE - fee))
    (halted,) = club.engine.check_tokens()
    assert (halted.kind, halted.reason, halted.asset and halted.asset.token) == (
        "token_halted",
        "keeps_a_fee",
        club.token.address,
    )
    with pytest.raises(UnknownAsset):
        club.checkout("bob", BOB)


@pytest.mark.fault("T06")
def test_t06_a_token_that_keeps_a_fee_is_not_sold_in_through_a_contract(open_club: Open):
    club = open_club("FeeToken")
    club.act(club.token, "setFee", 1)
    with pytest.raises(InputError) as refused:
        club.sell("other", product="other")
    assert refused.value.field == "prices[0]"
    assert "keeps a fee: of 19.99 sent 19.988001 arrive" in refused.value.message


@pytest.mark.fault("T09", "T10")
@pytest.mark.parametrize("refusal", ["listed payer", "listed treasury", "paused"])
def test_t09_t10_what_the_token_refuses_now_is_told_and_can_be_paid_later(open_club: Open, refusal: str):
    club = open_club("ListToken")
    offer = club.checkout()
    allow(club, ALICE)

    def refuse(on: bool) -> None:
        if refusal == "paused":
            club.act(club.token, "setPaused", on)
        else:
            party = ALICE.address if refusal == "listed payer" else club.treasury
            club.act(club.token, "setListed", party, on)

    refuse(True)
    assert [p.code for p in club.engine.pay_instructions(offer.ledger_id).problems] == ["contract_refuses"]
    fails(club, offer.payload)
    assert club.engine.order(offer.ledger_id).status == "pending"
    refuse(False)
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert club.differences() == []


@pytest.mark.fault("T11")
def test_t11_a_token_that_calls_back_into_the_contract_does_not_make_one_payment_two(open_club: Open):
    """The hook makes the contract say "paid" for nothing, and by somebody else: the money is its sender's."""
    club = open_club("HookToken")
    offer = club.checkout()
    allow(club, ALICE)
    free = offer.order.call.data.replace(PRICE.to_bytes(32), bytes(32))
    club.act(club.token, "arm", club.passes.address, free)
    club.send(offer.payload)
    assert club.balance(club.treasury) == PRICE
    assert [(r.amount, r.allocation, r.reason) for r in club.receipts()] == [(PRICE, "order", None)]
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert (club.movements(), club.differences()) == (["receipt"], [])


@pytest.mark.fault("T14")
def test_t14_an_nft_that_moves_in_the_same_block_does_not_disturb_a_configured_call(open_club: Open):
    club = open_club("TestToken")
    nft = deploy(club.node, "NFTish")
    offer = club.checkout()
    allow(club, ALICE)
    data = calldata("NFTish", "go", club.treasury)
    mint = WalletPayload(chain_id=club.node.chain_id, to=nft.address, value=0, data=data, gas=300_000)
    club.node.send(mint.as_rpc(BOB.address))
    club.send(offer.payload)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert (club.movements(), club.differences()) == (["receipt"], [])


@pytest.mark.fault("T15")
def test_t15_a_contract_that_says_paid_for_nothing_pays_nothing(open_club: Open):
    club = open_club("TestToken")
    offer = club.checkout()
    free = offer.order.call.data.replace(PRICE.to_bytes(32), bytes(32))
    assert free != offer.order.call.data
    club.send(WalletPayload(chain_id=club.node.chain_id, to=club.passes.address, value=0, data=free, gas=600_000))
    assert club.engine.order(offer.ledger_id).status == "pending"
    assert not club.engine.access("alice").allowed
    assert (club.receipts(), club.movements(), club.differences()) == ([], [], [])
