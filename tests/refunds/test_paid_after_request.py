"""Months that are paid between the request of a refund and its being done bring none of those back that it gives."""

from __future__ import annotations

from datetime import timedelta

import pytest
from refunds_bench import BOSS, Desk

from evmbilling.errors import Conflict

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PRICE = 19_990_000


def held(desk: Desk):
    (subscription,) = desk.engine.subscriptions("user-1")
    return subscription


def until(desk: Desk):
    return desk.engine.access("user-1").until


def free(desk: Desk) -> int:
    return sum(credit.free for credit in desk.engine.refunds(desk.ops._actor).credit("user-1"))


def ahead(desk: Desk, months: int) -> list:
    desk.policy(on_refund="burn")
    return [desk.paid, *(desk.shop.buy("user-1") for _ in range(months))]


def asked(desk: Desk, order, **more):
    return desk.ready(ledger_id=order.ledger_id, **more)


def places(desk: Desk, order) -> list[tuple[str, str | None]]:
    return [(r.allocation, r.reason) for r in desk.engine.receipts(order.ledger_id)]


@pytest.mark.parametrize("deep", [True, False])
def test_who_pays_after_a_month_was_asked_back_keeps_none_of_it(desk: Desk, deep):
    """Whether that payment counts already when the refund is done, or is only seen."""
    _, second = ahead(desk, 1)
    refund = asked(desk, second)
    table = held(desk).table
    third = desk.shop.checkout("user-1", idempotency_key="after")
    if deep:
        desk.shop.chain.pay(third.order)
        desk.settle()
        assert until(desk) == table.end(2)
    sent = desk.send(refund)
    desk.settle(2)
    if not deep:
        desk.shop.chain.pay(third.order)
    desk.settle(1)
    assert (until(desk), held(desk).paid_until, held(desk).paid_periods) == (table.end(0), table.end(0), 2)
    desk.settle()
    assert (places(desk, third), free(desk)) == ([("credit", "change_replaced")], PRICE)
    assert desk.balanced()
    assert "payment.unmatched" in desk.told()
    desk.engine.rescan(desk.shop.network, 0)
    desk.settle()
    assert (until(desk), free(desk), desk.balanced()) == (table.end(0), PRICE, True)

    desk.lose(sent)  # the month counts again, and the one behind it
    assert (until(desk), free(desk), places(desk, third)) == (table.end(2), 0, [("order", None)])
    assert desk.balanced()
    desk.shop.chain.resend(sent)
    desk.settle()
    assert (until(desk), free(desk), desk.balanced()) == (table.end(0), PRICE, True)


@pytest.mark.parametrize(("policy", "choice"), [("burn", None), ("keep", True)])
def test_what_is_paid_for_a_membership_that_is_to_end_is_credit(desk: Desk, policy, choice):
    desk.policy(on_refund=policy)
    refund = desk.ready(via="transfer", end_membership=choice)
    second = desk.shop.buy("user-1")
    sent = desk.send(refund)
    desk.settle()
    assert (held(desk).status, free(desk), places(desk, second)) == ("ended", PRICE, [("credit", "change_replaced")])
    assert desk.balanced()
    desk.engine.rescan(desk.shop.network, 0)
    desk.settle()
    assert (free(desk), desk.balanced()) == (PRICE, True)
    desk.lose(sent)  # what is over stays over
    assert (held(desk).status, free(desk), desk.balanced()) == ("ended", PRICE, True)


def test_what_was_paid_before_it_was_asked_for_is_not_touched(memory_desk: Desk):
    """Months ahead stay with whoever chose to end the membership all the same."""
    desk = memory_desk
    second = desk.shop.buy("user-1")
    refund = desk.ready(via="transfer", end_membership=True)
    desk.send(refund)
    desk.settle()
    assert (held(desk).status, free(desk), places(desk, second)) == ("ended", 0, [("order", None)])
    assert desk.balanced()


def test_a_renewal_that_is_paid_meanwhile_is_credit(memory_desk: Desk):
    desk = memory_desk
    desk.policy(on_refund="burn")
    table = held(desk).table
    desk.shop.advance(table.end(0) - desk.shop.clock.now() - timedelta(hours=6))
    refund = desk.ready(via="transfer")
    desk.shop.drain()
    (asks,) = [o for o in desk.engine.orders("user-1") if o.origin == "renewal"]
    desk.shop.chain.pay(asks)
    desk.settle()
    assert until(desk) == table.end(1)
    desk.send(refund)
    desk.settle()
    assert (held(desk).status, free(desk), places(desk, asks)) == (
        "ended",
        asks.amount,
        [("credit", "change_replaced")],
    )
    assert desk.balanced()


@pytest.mark.parametrize("first", ["earlier", "later"])
def test_a_month_paid_meanwhile_that_is_asked_back_too_goes_back_once(memory_desk: Desk, first):
    desk = memory_desk
    _, second = ahead(desk, 1)
    table = held(desk).table
    one = asked(desk, second)
    third = desk.shop.buy("user-1")
    two = asked(desk, third)
    for refund in (one, two) if first == "earlier" else (two, one):
        desk.ops.prepare(refund.refund_id)
        desk.send(refund)
        desk.settle()
        assert desk.balanced()
    assert (until(desk), free(desk)) == (table.end(0), 0)
    with pytest.raises(Conflict):
        desk.ops.request_credit("user-1", reason="twice")


def test_a_part_of_a_month_paid_meanwhile_that_is_on_its_way_goes_on_as_credit(memory_desk: Desk):
    desk = memory_desk
    _, second = ahead(desk, 1)
    one = asked(desk, second)
    third = desk.shop.buy("user-1")
    part = desk.ops.request(ledger_id=third.ledger_id, amount=5_000_000, via="transfer", reason="a part")
    desk.prove(part)
    desk.send(one)
    desk.settle()
    assert free(desk) == PRICE - 5_000_000
    desk.ops.prepare(part.refund_id)
    desk.send(desk.ops.refund(part.refund_id))
    desk.settle()
    assert (desk.ops.refund(part.refund_id).status, free(desk)) == ("done", PRICE - 5_000_000)
    assert desk.balanced()


@pytest.mark.parametrize("given_up", ["first", "second"])
def test_a_month_whose_refund_is_given_up_is_used(memory_desk: Desk, given_up):
    """Whichever was asked for first: what is done decides, and not what was about to be."""
    desk = memory_desk
    first, second = ahead(desk, 1)
    table = held(desk).table
    refunds = [asked(desk, second), asked(desk, first)]
    assert [r.burn is not None for r in refunds] == [False, True]
    kept = refunds.pop(0 if given_up == "first" else 1)
    desk.ops.cancel(kept.refund_id, reason="they stay")
    desk.send(refunds[0])
    desk.settle()
    assert held(desk).status == "active"
    assert until(desk) == (table.end(1) if given_up == "first" else table.end(0))
    assert desk.balanced()
    desk.engine.cancel_subscription(held(desk).subscription_id, when="now")
    # Only where months came back does the token say more than what was kept.
    done = desk.ops.refund(refunds[0].refund_id)
    assert (done.burn.status, desk.told()[-1] == "membership.ended") == (
        ("planned", False) if given_up == "first" else ("due", True)
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_refund_that_leaves_nothing_makes_the_token_due(desk: Desk, order):
    paid = ahead(desk, 1)
    refunds = [asked(desk, one) for one in paid]
    assert [r.burn is not None for r in refunds] == [False, True]
    for index in order:
        assert held(desk).status == "active"
        desk.send(refunds[index])
        desk.settle()
    assert held(desk).status == "ended"
    burns = [b.status for r in refunds if (b := desk.ops.refund(r.refund_id).burn) is not None]
    assert burns == ["due"]
    assert desk.told().count("membership.ended") == 1
    (due,) = [r for r in refunds if desk.ops.refund(r.refund_id).burn is not None]
    assert desk.ops.prepare_burn(due.refund_id).to == desk.shop.contract
    desk.burn(due)
    desk.settle()
    assert (desk.ops.refund(due.refund_id).burn.status, desk.told()[-1]) == ("done", "membership.burned")
    assert desk.balanced()


@pytest.mark.parametrize("how", ["time", "cancelled"])
def test_a_membership_that_is_over_because_months_came_back_leaves_no_token(memory_desk: Desk, how):
    """On chain the token holds until the end of what was paid: it is due to be burned when the membership is over."""
    desk = memory_desk
    _, second = ahead(desk, 1)
    table = held(desk).table
    refund = asked(desk, second)
    assert refund.burn is None
    desk.send(refund)
    desk.settle()
    assert (desk.ops.refund(refund.refund_id).burn.status, held(desk).status) == ("planned", "active")
    with pytest.raises(Conflict):
        desk.ops.prepare_burn(refund.refund_id)
    if how == "time":
        desk.shop.advance(table.end(0) - desk.shop.clock.now() + timedelta(seconds=60))
    else:
        desk.engine.cancel_subscription(held(desk).subscription_id, when="now")
    assert (held(desk).status, desk.told()[-1]) == ("ended", "membership.ended")
    assert desk.ops.refund(refund.refund_id).burn.status == "due"
    assert desk.ops.prepare_burn(refund.refund_id).to == desk.shop.contract
    desk.burn(refund)
    desk.settle()
    assert (desk.ops.refund(refund.refund_id).burn.status, desk.balanced()) == ("done", True)


def test_a_month_that_was_marked_as_paid_meanwhile_is_for_a_person(memory_desk: Desk):
    """Nobody knows how the money came, so whoever took it has to give it back."""
    desk = memory_desk
    _, second = ahead(desk, 1)
    table = held(desk).table
    refund = asked(desk, second)
    third = desk.shop.checkout("user-1", idempotency_key="after").order
    finance = desk.engine.finance(BOSS)
    finance.mark_paid(third.ledger_id, reason="in cash")
    assert until(desk) == table.end(2)
    sent = desk.send(refund)
    desk.settle()
    (item,) = finance.queue()
    assert (item.kind, item.subject, item.reason) == ("duplicate", f"order:{third.ledger_id}", "change_replaced")
    assert (until(desk), desk.balanced()) == (table.end(0), True)
    desk.lose(sent)
    assert (until(desk), finance.queue(), desk.balanced()) == (table.end(2), [], True)


@pytest.mark.parametrize("left", ["first", "second", "both"])
def test_of_two_refunds_the_one_that_is_left_decides(desk: Desk, left):
    """The month behind was credit because of the first one, and was given back itself: it is not used without it."""
    _, second = ahead(desk, 1)
    table = held(desk).table
    one = asked(desk, second)
    third = desk.shop.buy("user-1")
    two = desk.ready(ledger_id=third.ledger_id, amount=PRICE, reason="asked")
    sent = {}
    for name, refund in (("second", one), ("first", two)):
        sent[name] = desk.send(refund)
        desk.settle()
    assert until(desk) == table.end(0)
    by_tx = {desk.ops.refund(r.refund_id).tx_hash: r for r in (one, two)}
    if left != "both":
        desk.lose(sent[left])
        kept = {two.refund_id: table.end(1), one.refund_id: table.end(0)}
        (other,) = [r for tx, r in by_tx.items() if tx != sent[left]]
        assert (until(desk), desk.balanced()) == (kept[other.refund_id], True)
        desk.shop.chain.resend(sent[left])
        desk.settle()
    assert (until(desk), free(desk), desk.balanced()) == (table.end(0), 0, True)


@pytest.mark.parametrize("deep", [True, False])
def test_a_month_whose_payment_was_gone_when_its_refund_was_done_is_not_used(desk: Desk, deep):
    """Whether the chain takes it back before the refund is in it or afterwards."""
    desk.policy(on_refund="burn")
    second = desk.shop.checkout("user-1", idempotency_key="second")
    paid = desk.shop.chain.pay(second.order)
    desk.settle()
    table = held(desk).table
    refund = asked(desk, second)
    if deep:
        desk.lose(paid)
        desk.send(refund)
    else:
        desk.send(refund)
        desk.shop.chain.mine(1)
        desk.lose(paid)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "done"
    desk.shop.chain.resend(paid)
    desk.settle()
    assert (until(desk), desk.balanced()) == (table.end(0), True)
    assert desk.ops.refund(refund.refund_id).burn.status == "planned"


def test_a_membership_ends_when_the_payment_is_back_that_was_gone_when_all_was_given_back(desk: Desk):
    desk.policy(on_refund="burn")
    refund = desk.ready(via="transfer")
    desk.lose(desk.sent)
    desk.send(refund)
    desk.settle()
    assert (held(desk).status, desk.ops.refund(refund.refund_id).status) == ("incomplete", "done")
    desk.shop.chain.resend(desk.sent)
    desk.settle()
    assert (held(desk).status, desk.engine.access("user-1").allowed) == ("ended", False)
    assert desk.ops.refund(refund.refund_id).burn.status == "due"
    assert (desk.told().count("membership.ended"), desk.balanced()) == (1, True)


def test_the_month_behind_counts_again_when_its_payment_is_back(desk: Desk):
    """The refund of a month in the middle was done while the payment of the last one was gone."""
    _, second = ahead(desk, 1)
    third = desk.shop.checkout("user-1", idempotency_key="third")
    paid = desk.shop.chain.pay(third.order)
    desk.settle()
    table = held(desk).table
    refund = asked(desk, second)
    desk.lose(paid)
    desk.send(refund)
    desk.settle()
    assert until(desk) == table.end(0)
    desk.shop.chain.resend(paid)
    desk.settle()
    assert (until(desk), free(desk), desk.balanced()) == (table.end(2), 0, True)
    desk.lose(paid)  # a payment that goes may come again, but nobody uses what was given back meanwhile
    assert (until(desk), held(desk).status, desk.balanced()) == (table.end(0), "active", True)


@pytest.mark.parametrize("choice", [None, True])
@pytest.mark.parametrize("paid", ["before it began", "in it", "never"])
def test_a_month_that_is_over_when_its_refund_is_done_takes_nothing_of_the_next_one(memory_desk: Desk, paid, choice):
    """Other money paid that one. Who paid for no other month keeps no membership, and a person may always end it."""
    desk = memory_desk
    desk.policy(on_refund="burn")
    refund = asked(desk, desk.paid, end_membership=choice)
    assert refund.burn.status == "planned"  # what was expected then
    table = held(desk).table
    if paid == "before it began":
        desk.shop.buy("user-1")
    desk.shop.advance(table.start(1) - desk.shop.clock.now() + timedelta(days=1))
    if paid == "in it":
        desk.shop.buy("user-1")
    desk.send(refund)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "done"
    goes_on = choice is None and paid != "never"
    assert (held(desk).status, desk.engine.access("user-1").allowed) == ("active" if goes_on else "ended", goes_on)
    if goes_on:
        assert (until(desk), free(desk)) == (table.end(1), 0)
        assert "membership.ended" not in desk.told()
        assert desk.ops.refund(refund.refund_id).burn.status == "planned"
        desk.engine.cancel_subscription(held(desk).subscription_id)
        desk.shop.advance(table.end(1) - desk.shop.clock.now() + timedelta(days=1))
        assert (held(desk).status, desk.ops.refund(refund.refund_id).burn.status) == ("ended", "planned")
    assert desk.balanced()
