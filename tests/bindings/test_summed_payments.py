"""A contract that takes the price in parts, and gives some of it back: what stays is what was paid."""

from __future__ import annotations

import attrs
import pytest
from bindings_bench import ALICE, JOINED, PRICE, Club

from evmbilling.domain.decisions import StoreMovement

PARTS = [PRICE - 7_000_000, 9_000_000]
REBATE = 2_000_000
IN_PARTS = {
    "method": "joinInParts",
    "args": [{"vault": "{treasury}", "until": "{period_end}"}, PARTS, REBATE],
    "approve": {"spender": "{contract}", "amount": PRICE + REBATE},
}


def start(club: Club, money: str) -> None:
    club.bind(club.passes, mint_method=IN_PARTS, events=[JOINED | {"money": money}])
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    club.act(club.token, "approve", club.passes.address, 10 * REBATE, sender=club.treasury)


def test_what_stays_of_all_transfers_pays_the_order_and_the_next_one(club: Club):
    start(club, "transfers")
    for period in (0, 1):
        offer = club.checkout()
        club.pay(offer)
        assert club.engine.order(offer.ledger_id).status == "confirmed"
        assert club.balance(club.treasury) == (period + 1) * PRICE
    assert [receipt.amount for receipt in club.receipts()] == [PRICE, PRICE]
    assert (club.movements(), club.differences()) == (["receipt"] * 6, [])


def test_the_sum_goes_and_comes_back_with_a_reorganisation(club: Club):
    start(club, "transfers")
    offer = club.checkout()
    club.pay(offer)
    club.node.reorg(3)
    club.node.mine()
    club.settle()
    assert club.engine.order(offer.ledger_id).status == "reversed"
    assert (club.movements(), club.differences()) == ([], [])
    club.send(offer.payload)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert (club.movements(), club.differences()) == (["receipt"] * 3, [])


def test_a_binding_that_knows_one_transfer_leaves_several_to_a_person(club: Club):
    start(club, "transfer")
    offer = club.checkout()
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "pending"
    assert {(r.allocation, r.reason) for r in club.receipts()} == {("suspense", "ambiguous_money")}
    assert club.movements() == ["external", "suspense", "suspense"]
    assert club.differences() == []


@pytest.mark.parametrize("direction", ["in", "out"])
def test_verification_finds_a_part_that_is_not_what_the_chain_shows(club: Club, direction: str):
    start(club, "transfers")
    club.pay(club.checkout())
    with club.engine._ports.storage.unit() as unit:
        part = next(m for m in unit.all_movements() if m.direction == direction)
        unit.apply([StoreMovement(attrs.evolve(part, amount=part.amount - 1, version=part.version + 1))])
    codes = {difference.code for difference in club.differences()}
    assert {"movement_evidence_differs", "receipt_without_movement"} <= codes
