"""How much one person gives back to one wallet, where it is known only later which wallet that is."""

from __future__ import annotations

import pytest
from refunds_bench import ALICE, BOB, BOSS, OPS, Desk
from test_attacks import stranger_parts
from test_verify_refunds import found

from evmbilling.domain.actors import Actor, Role
from evmbilling.errors import Conflict, IllegalTransition, PermissionDenied

LIMIT = 10


def own(desk: Desk, amount: int, user: str = "user-1"):
    ledger = desk.paid.ledger_id if user == "user-1" else desk.shop.buy(user).ledger_id
    refund = desk.ops.request(ledger_id=ledger, amount=amount, reason="asked", via="transfer")
    assert refund.status == "approved"
    return refund


def nobodys(desk: Desk, amount: int):
    (part,) = stranger_parts(desk, BOB, amount=amount)
    refund = desk.ops.request(receipt_id=part.receipt_id, reason="asked")
    assert refund.status == "approved"
    return refund


def refused(desk: Desk, refund) -> bool:
    """Whether one person alone cannot have it prepared; what is not refused is prepared."""
    try:
        desk.ops.prepare(refund.refund_id)
    except Conflict as conflict:
        return {"above_limit": True}[conflict.details["reason"]]
    return False


def asked_about(desk: Desk) -> set[str]:
    return {item.refund_id for item in desk.engine.finance(OPS).queue() if item.kind == "refund_approval"}


@pytest.mark.parametrize("first", ["own", "nobodys"], ids=["own-first", "nobodys-first"])
@pytest.mark.parametrize("sent", [True, False], ids=["sent", "waits"])
@pytest.mark.parametrize(
    "case", [((8, 4), BOB, True), ((6, 4), BOB, False), ((8, 4), ALICE, False), ((10, 1), BOB, True)]
)
def test_a_customers_refund_counts_with_money_of_nobody_that_its_wallet_sent(memory_desk: Desk, first, sent, case):
    desk, (amounts, wallet, too_much) = memory_desk, case
    desk.limit(LIMIT)
    made = dict.fromkeys(("own", "nobodys") if first == "own" else ("nobodys", "own"))
    for name in made:
        made[name] = own(desk, amounts[0]) if name == "own" else nobodys(desk, amounts[1])
    mine, theirs = made["own"], made["nobodys"]
    desk.prove(theirs, BOB)
    if sent:
        assert not refused(desk, theirs)
        desk.send(desk.ops.refund(theirs.refund_id))
        desk.settle()
    desk.prove(mine, wallet)
    assert (mine.refund_id in asked_about(desk)) == too_much
    assert refused(desk, mine) == too_much
    assert found(desk) == set()
    if too_much:
        desk.engine.refunds(BOSS).approve(mine.refund_id)
        assert asked_about(desk) == set()
        assert not refused(desk, mine)
    if not sent:
        assert not refused(desk, theirs), "what a second person agreed to does not count"
    assert found(desk) == set()
    assert desk.balanced()


def test_two_customers_with_one_wallet_are_one_sum(memory_desk: Desk):
    desk = memory_desk
    desk.limit(LIMIT)
    one, two = own(desk, 6), own(desk, 6, "user-2")
    desk.prove(one, BOB)
    assert not refused(desk, one)
    desk.prove(two, BOB, user_id="user-2")
    assert asked_about(desk) == {two.refund_id}
    assert refused(desk, two)


def test_another_wallet_takes_the_question_back(desk: Desk):
    desk.limit(LIMIT)
    theirs, mine = nobodys(desk, 4), own(desk, 8)
    for _ in range(2):
        desk.prove(mine, BOB)
        assert asked_about(desk) == {mine.refund_id}
    desk.prove(mine, ALICE)
    assert asked_about(desk) == set()
    assert not refused(desk, mine)
    desk.prove(theirs, BOB)
    assert not refused(desk, theirs)
    assert found(desk) == set()


def test_a_limit_that_was_raised_takes_the_question_back_with_the_preparing(memory_desk: Desk):
    desk = memory_desk
    desk.limit(LIMIT)
    nobodys(desk, 4)
    mine = own(desk, 8)
    desk.prove(mine, BOB)
    desk.limit(100)
    assert not refused(desk, mine)
    assert asked_about(desk) == set()


def test_who_asked_does_not_agree_and_nobody_agrees_to_what_needs_none(memory_desk: Desk):
    desk = memory_desk
    desk.limit(LIMIT)
    theirs = nobodys(desk, 4)
    mine = own(desk, 8)
    with pytest.raises(IllegalTransition):
        desk.engine.refunds(BOSS).approve(mine.refund_id)
    desk.prove(mine, BOB)
    with pytest.raises(PermissionDenied):
        desk.engine.refunds(Actor(OPS.user_id, frozenset({Role.BILLING_ADMIN}))).approve(mine.refund_id)
    desk.ops.cancel(mine.refund_id, reason="not that much")
    assert asked_about(desk) == set()
    desk.prove(theirs, BOB)
    assert not refused(desk, theirs)
