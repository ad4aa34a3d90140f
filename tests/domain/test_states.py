"""The state tables against the moves as the design writes them; everything else is illegal."""

from __future__ import annotations

import itertools

import pytest

from evmbilling.domain.states import (
    LIVE_SUBSCRIPTIONS,
    OPEN_ORDERS,
    ORDER_MOVES,
    PAID_ORDERS,
    RECEIPT_MOVES,
    REFUND_MOVES,
    SUBSCRIPTION_MOVES,
    SUPPORTING_RECEIPTS,
    OrderStatus,
    ReceiptStatus,
    RefundStatus,
    SubscriptionStatus,
    check_move,
    check_reachable,
)
from evmbilling.errors import IllegalTransition

ORDER = """
pending -> confirming -> confirmed -> final
pending | confirming -> partially_paid
partially_paid -> pending | confirming
partially_paid -> confirmed
pending | partially_paid -> expired | cancelled | superseded | failed
expired | cancelled | superseded -> confirming
confirming -> pending
confirmed -> reversed
reversed -> confirming | expired
pending -> submitted
submitted -> confirming | failed | unknown
unknown -> confirming | failed
failed -> pending
"""
ORDER_BEYOND_THE_DESIGN = """
confirming -> expired | cancelled | superseded
final -> reversed
confirming -> submitted | unknown | failed
partially_paid -> submitted
cancelled | superseded -> pending | partially_paid
failed -> confirming | partially_paid | cancelled | superseded
submitted | unknown -> cancelled | superseded
"""
"""A payment that disappears gives back what the order was; a person can give up a disputed final credit; a renewal that
was withdrawn is offered again; money may come by any way, whatever our own charge came to; and what a charge took may
count for something else."""

SUBSCRIPTION = """
scheduled -> incomplete | trialing | active
incomplete -> trialing | active | incomplete_expired
trialing -> active | past_due | paused | ended
active -> past_due | paused | ended | incomplete
past_due -> active | suspended | paused | ended
suspended -> active | ended
paused -> active | ended
"""
REFUND = """
requested -> approved -> prepared -> submitted -> confirming -> done
requested | approved | prepared | submitted | confirming -> unknown | failed
requested | approved | prepared -> cancelled
unknown -> confirming | failed
done -> confirming
"""
REFUND_BEYOND_THE_DESIGN = """
cancelled | failed -> confirming
"""
"""What was handed out can be sent although it was given up; what left is accounted for."""

RECEIPT = """
seen -> credited -> final
seen -> gone
credited -> reversed
gone | reversed -> seen
credited | final -> disputed
disputed -> credited | final | reversed
"""

TABLES = {
    "order": (OrderStatus, ORDER_MOVES, ORDER + ORDER_BEYOND_THE_DESIGN),
    "subscription": (SubscriptionStatus, SUBSCRIPTION_MOVES, SUBSCRIPTION),
    "refund": (RefundStatus, REFUND_MOVES, REFUND + REFUND_BEYOND_THE_DESIGN),
    "receipt": (ReceiptStatus, RECEIPT_MOVES, RECEIPT),
}


def moves(text):
    """Every (before, after) that the lines write down."""
    found = set()
    for line in text.strip().splitlines():
        steps = [[word.strip() for word in step.split("|")] for step in line.split("->")]
        for befores, afters in itertools.pairwise(steps):
            found |= set(itertools.product(befores, afters))
    return found


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_moves_of_the_design_and_no_others(name):
    statuses, table, text = TABLES[name]
    assert set(table) == set(statuses)
    assert {(str(before), str(after)) for before in table for after in table[before]} == moves(text)


@pytest.mark.parametrize("name", TABLES)
def test_every_other_move_is_a_typed_error(name):
    statuses, table, text = TABLES[name]
    legal = moves(text)
    refused = 0
    for before, after in itertools.product(statuses, statuses):
        if before is after or (before, after) in legal:
            assert check_move(table, before, after) is after
            continue
        with pytest.raises(IllegalTransition) as caught:
            check_move(table, before, after)
        assert caught.value.field == "status"
        assert caught.value.details == {"before": str(before), "after": str(after)}
        assert str(before) in caught.value.message
        refused += 1
    assert refused == len(statuses) * (len(statuses) - 1) - len(legal)


def reachable(table, start):
    found, edge = {start}, [start]
    while edge:
        for step in table[edge.pop()] - found:
            found.add(step)
            edge.append(step)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_reachable_is_the_closure_of_the_moves(name):
    statuses, table, _ = TABLES[name]
    for before in statuses:
        within = reachable(table, before)
        for after in statuses:
            if after in within:
                assert check_reachable(table, before, after) is after
            else:
                with pytest.raises(IllegalTransition):
                    check_reachable(table, before, after)


@pytest.mark.parametrize("status", [SubscriptionStatus.ENDED, SubscriptionStatus.INCOMPLETE_EXPIRED])
def test_nothing_leaves_an_ended_subscription(status):
    assert SUBSCRIPTION_MOVES[status] == frozenset()
    assert status not in LIVE_SUBSCRIPTIONS


def test_every_live_subscription_can_end():
    over = {SubscriptionStatus.ENDED, SubscriptionStatus.INCOMPLETE_EXPIRED}
    for status in LIVE_SUBSCRIPTIONS:
        assert reachable(SUBSCRIPTION_MOVES, status) & over


def test_groups_of_states():
    assert {"pending", "partially_paid"} == OPEN_ORDERS
    assert {"confirmed", "final"} == PAID_ORDERS
    assert {"credited", "final", "disputed"} == SUPPORTING_RECEIPTS
    assert len(LIVE_SUBSCRIPTIONS) == 7
