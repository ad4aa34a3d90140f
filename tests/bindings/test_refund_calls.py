"""A contract of somebody else gives money back by the call that its binding names; the chain says that it did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bindings_bench import ALICE, BOB, JOIN, JOINED, PRICE, Club

from evmbilling.contracts import artifact
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import Checkout
from evmbilling.errors import InputError
from refund_wallets import prove

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
BACK = {"method": "giveBack", "args": ["{refund_id}", "{receiver}", "{amount}"]}


def given_back(club: Club, **parts: Any) -> dict[str, Any]:
    token = {"const": club.token.address}
    event = {"event": "GivenBack", "means": "refunded", "beneficiary": "to", "amount": "price", "token": token}
    return event | (parts or {"refund_id": "name"})


def start(club: Club, *, back: dict[str, Any] = BACK, **parts: Any) -> Checkout:
    """Sell a month to Alice through a binding that can give money back; the treasury has approved the contract."""
    events = [JOINED, given_back(club, **parts)]
    club.bind(club.passes, mint_method=JOIN, refund_method=back, events=events)
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    offer = club.checkout()
    club.pay(offer)
    club.act(club.token, "approve", club.passes.address, 10 * PRICE, sender=club.treasury)
    return offer


def asked(club: Club, offer: Checkout, amount: int | None = None) -> Refund:
    """A refund whose address Alice has proved."""
    desk = club.engine.refunds(OPS)
    refund = desk.request(ledger_id=offer.ledger_id, amount=amount, reason="asked")
    return prove(club.engine, refund.refund_id, ALICE)


def test_a_refund_goes_through_the_contract_and_follows_the_chain(club: Club):
    offer = start(club)
    desk = club.engine.refunds(OPS)
    refund = asked(club, offer)
    assert refund.via == "contract"
    payload = desk.prepare(refund.refund_id)
    assert (payload.to, payload.value) == (club.passes.address, 0)
    assert refund.on_chain_id in payload.data
    assert desk.prepare(refund.refund_id) == payload
    held = club.balance(ALICE.address)
    club.send(payload, club.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"
    assert club.balance(ALICE.address) == held + PRICE
    assert (club.movements(), club.differences()) == (["receipt", "refund"], [])

    club.node.reorg(3)
    club.node.mine()
    club.settle()
    assert desk.refund(refund.refund_id).status == "confirming"
    assert (club.movements(), club.differences()) == (["receipt"], [])
    club.send(payload, club.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"
    assert (club.movements(), club.differences()) == (["receipt", "refund"], [])


def test_a_contract_of_the_tests_is_bound_by_data_alone_and_sells_reorganises_and_gives_back(club: Club):
    """Overloads, an array of tuples, an event without a reference: everything that is said of it is JSON."""
    overloads = [item for item in artifact("ClubPass").abi if item.get("name") == "join"]
    assert len(overloads) == 2
    (joined,) = [item for item in artifact("ClubPass").abi if item.get("name") == "Joined"]
    assert "bytes32" not in {part["type"] for part in joined["inputs"]}
    said = {
        "abi": json.dumps(list(artifact("ClubPass").abi)),
        "mint_method": json.dumps(JOIN),
        "refund_method": json.dumps(BACK),
        "events": json.dumps([JOINED, given_back(club)]),
    }
    club.bind(club.passes, **said)
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    offer = club.checkout()
    club.pay(offer)
    assert club.engine.access("alice").allowed
    club.node.reorg(3)
    club.node.mine()
    club.settle()
    assert not club.engine.access("alice").allowed
    club.send(offer.payload)
    assert club.engine.access("alice").allowed
    second = club.checkout()
    club.pay(second)
    assert club.engine.subscriptions("alice")[0].paid_periods == 2
    club.act(club.token, "approve", club.passes.address, PRICE, sender=club.treasury)
    desk = club.engine.refunds(OPS)
    refund = asked(club, second)
    club.send(desk.prepare(refund.refund_id), club.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"
    assert club.balance(club.treasury) == PRICE
    assert (club.movements(), club.differences()) == (["receipt", "receipt", "refund"], [])


def test_two_refunds_of_one_order_are_found_by_its_reference(club: Club):
    """An event that names only the order fits refunds of it, one after the other, and never one twice."""
    back = BACK | {"args": ["{reference}", "{receiver}", "{amount}"]}
    offer = start(club, back=back, reference="name")
    desk = club.engine.refunds(OPS)
    half = PRICE // 2
    first, second = asked(club, offer, half), asked(club, offer, half)
    payload = desk.prepare(first.refund_id)
    assert desk.prepare(second.refund_id) == payload
    club.send(payload, club.node.accounts[-1])
    states = {desk.refund(r.refund_id).status for r in (first, second)}
    assert states == {"done", "prepared"}
    club.send(payload, club.node.accounts[-1])
    assert {desk.refund(r.refund_id).status for r in (first, second)} == {"done"}
    assert (club.movements(), club.differences()) == (["receipt", "refund", "refund"], [])
    club.fund(club.node.accounts[-1], half)
    club.send(payload, club.node.accounts[-1])  # nobody asked for a third one
    assert club.movements() == ["external", "receipt", "refund", "refund", "suspense"]
    assert club.differences() == []


def test_a_contract_that_only_says_that_it_gave_back_gave_nothing(club: Club):
    offer = start(club)
    desk = club.engine.refunds(OPS)
    refund = asked(club, offer)
    desk.prepare(refund.refund_id)
    club.act(club.passes, "pretend", refund.on_chain_id, ALICE.address, PRICE, sender=BOB.address)
    # Somebody else's money is no refund of ours, either.
    club.fund(BOB)
    club.act(club.token, "approve", club.passes.address, PRICE, sender=BOB.address)
    club.act(club.passes, "giveBack", refund.on_chain_id, ALICE.address, PRICE, sender=BOB.address)
    club.settle()
    assert desk.refund(refund.refund_id).status == "prepared"
    assert (club.movements(), club.differences()) == (["receipt"], [])


def test_an_order_that_was_paid_elsewhere_goes_back_by_a_transfer(club: Club):
    offer = start(club)
    desk = club.engine.refunds(OPS)
    refund = desk.request(ledger_id=offer.ledger_id, via="transfer", amount=5, reason="part")
    assert refund.via == "transfer"
    (bound,) = club.admin.contracts()
    club.admin.update_contract("theirs", "local", version=bound.version, refund_method=None)
    with pytest.raises(InputError, match="through the contract"):
        desk.request(ledger_id=offer.ledger_id, via="contract", amount=5, reason="part")
    assert desk.request(ledger_id=offer.ledger_id, amount=5, reason="part").via == "transfer"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"refund_method": BACK | {"args": ["0x" + "00" * 32, "{receiver}", "{amount}"]}}, "refund_method.args"),
        ({"refund_method": BACK | {"args": ["{refund_id}", "{receiver}"]}}, "refund_method.args"),
        ({"refund_method": BACK | {"args": ["{refund_id}", "{refund_id}", "{amount}"]}}, "refund_method.args[1]"),
        ({"refund_method": BACK | {"approve": {"amount": PRICE}}}, "refund_method.approve.amount"),
        ({"refund_method": BACK | {"approve": {"spender": "{beneficiary}"}}}, "refund_method.approve.spender"),
        ({"refund_method": BACK | {"sign": {"scheme": "erc2612"}}}, "refund_method.sign"),
        ({"refund_method": BACK | {"value": "{amount}"}}, "refund_method.value"),
        ({"events": [JOINED]}, "events"),
        ({"mint_method": JOIN | {"args": [*JOIN["args"][:1], ["{receiver}", 0], 1, ""]}}, "mint_method.args"),
    ],
)
def test_a_call_that_gives_back_is_checked_when_it_is_saved(club: Club, fields, place):
    events = [JOINED, given_back(club)]
    with pytest.raises(InputError) as refused:
        club.bind(club.passes, **({"mint_method": JOIN, "refund_method": BACK, "events": events} | fields))
    assert refused.value.field == place
