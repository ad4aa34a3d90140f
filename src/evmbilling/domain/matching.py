"""Whose a plain transfer is: by who sent it, never by how much.

Amounts collide and say nothing about who paid. A sender counts when it is a wallet that exactly one customer has
confirmed, and only for an order that was open when the block was made; whatever is not certain waits for a person.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from evmbilling.domain.evidence import Observation
from evmbilling.domain.judgement import Place
from evmbilling.domain.orders import Order
from evmbilling.domain.states import OPEN_ORDERS, PAID_ORDERS, OrderStatus

_PAYABLE = OPEN_ORDERS | {OrderStatus.CONFIRMING, OrderStatus.REVERSED}


@frozen(kw_only=True)
class Match:
    """What a plain transfer is for: an order, whose rules place it, or none and where it is placed instead."""

    order: Order | None = None
    place: Place | None = None


UNKNOWN_PAYER = Match(place=("suspense", "unknown_payer"))


def match_transfer(seen: Observation, orders: Sequence[Order]) -> Match:
    """Say what a transfer by a known customer is for.

    Args:
        seen: the transfer to a treasury.
        orders: the customer's orders, on every chain.

    One order that it can pay: that one, in part, in full or in excess. Several: suspense ``ambiguous``. None: the
    newest that it comes too late or twice for; else suspense ``wrong_token`` or ``wrong_network`` when only that is
    wrong; else it is the customer's credit, ``no_order``.

    """
    asked = [o for o in orders if o.rail == "erc20" and o.created_at <= seen.log.block_time]
    here = [o for o in asked if (o.chain_id, o.treasury) == (seen.log.chain_id, seen.treasury)]
    fitting = [o for o in here if o.asset.token == seen.token]
    for candidates in (_waiting(fitting, seen), _in_flight(fitting, seen)):
        if len(candidates) > 1:
            return Match(place=("suspense", "ambiguous"))
        if candidates:
            return Match(order=candidates[0])
    if _waiting(here, seen):
        return Match(place=("suspense", "wrong_token"))
    past = [o for o in fitting if o.status in PAID_ORDERS or o.status not in _PAYABLE or _is_late(o, seen)]
    if past:
        return Match(order=max(past, key=lambda o: o.ledger_id))
    if not here and _waiting([o for o in asked if o.chain_id != seen.log.chain_id], seen):
        return Match(place=("suspense", "wrong_network"))
    return Match(place=("credit", "no_order"))


def _waiting(orders: Sequence[Order], seen: Observation) -> list[Order]:
    """Orders that are offered and not covered."""
    wanted = OPEN_ORDERS | {OrderStatus.REVERSED}
    return [o for o in orders if o.status in wanted and o.closed_as is None and not _is_late(o, seen)]


def _in_flight(orders: Sequence[Order], seen: Observation) -> list[Order]:
    """Orders whose money is on its way already: more of it is theirs, and twice."""
    return [o for o in orders if o.status is OrderStatus.CONFIRMING and not _is_late(o, seen)]


def _is_late(order: Order, seen: Observation) -> bool:
    return seen.log.block_time > order.deadline
