"""Whose a plain transfer is: by who sent it, never by how much.

Amounts collide and say nothing about who paid. A sender counts when it is a wallet that exactly one customer has
confirmed, and only for an order that was open when the block was made; whatever is not certain waits for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import attrs
from attrs import frozen

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.payments.judgement import Place
from evmbilling.domain.reading.evidence import Observation
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, PAYABLE_ORDERS, OrderStatus

STAMPED_EARLY: Final = timedelta(seconds=15)
"""By how much a block's time may lie before the moment in which what it holds was sent.

A proposer stamps the start of its slot (12 seconds, Ethereum's consensus specification) and fills the block after it, a
sequencer falls behind, and the clock that an order was made by may run ahead of the chain's.
"""

_PAYABLE = PAYABLE_ORDERS | {OrderStatus.CONFIRMING}


@frozen(kw_only=True)
class Match:
    """What a plain transfer is for: an order, whose rules place it, or none and where it is placed instead."""

    order: Order | None = None
    place: Place | None = None


UNKNOWN_PAYER = Match(place=("suspense", "unknown_payer"))


def match_transfer(seen: Observation, orders: Sequence[Order]) -> Match:
    """Say what money by a known customer is for that names no order.

    Args:
        seen: the transfer to a treasury, or a payment through a contract.
        orders: the customer's orders, on every chain.

    One order that it can pay: that one, in part, in full or in excess. Several: suspense ``ambiguous``. None: the one
    that was made up to :data:`STAMPED_EARLY` after the block, which may be stamped too early. Not that either: the
    newest that has everything already, though not deep enough; else suspense ``wrong_token`` when only that is wrong;
    the newest that it comes too late or twice for; suspense ``wrong_network`` when only that is wrong; else it is the
    customer's credit, ``no_order``. The chain's coin leaves no transfer: where nobody was asked for it, a contract's
    word alone makes no credit and is suspense ``no_order``.

    Whether the money that an order has counts already decides nothing about who takes more: it is asked after those
    that miss something either way, so that a reader that was away ends where the others are.

    """
    takers = [o for o in orders if _takes(o, seen)]
    there = [o for o in takers if _was_there(o, seen)]
    perhaps = [o for o in takers if _may_have_been_there(o, seen)]
    fitting, may_fit = _fitting(there, seen), _fitting(perhaps, seen)
    waiting = _waiting(fitting, seen) or _waiting(may_fit, seen)
    if len(waiting) > 1:
        return Match(place=("suspense", "ambiguous"))
    taking = waiting or _in_flight(fitting, seen) or _in_flight(may_fit, seen)
    if taking:
        return Match(order=_newest(taking))
    for asked in (there, perhaps):
        if _waiting([o for o in asked if _is_here(o, seen)], seen):
            return Match(place=("suspense", "wrong_token"))
        past = [o for o in _fitting(asked, seen) if _is_past(o, seen)]
        if past:
            return Match(order=_newest(past))
    anywhere = [*there, *perhaps]
    elsewhere = [o for o in anywhere if o.chain_id != seen.log.chain_id]
    if not any(_is_here(o, seen) for o in anywhere) and _waiting(elsewhere, seen):
        return Match(place=("suspense", "wrong_network"))
    told_only = seen.kind == "payment" and seen.token == NATIVE_COIN
    return Match(place=("suspense" if told_only else "credit", "no_order"))


def completed(order: Order, seen: Observation, came: int) -> Order:
    """Return an order as it stands for the next money when so much has come for it, with this: on its way, or waiting.

    Args:
        order: which money that names none was found to be for.
        seen: the last of that money.
        came: base units for it, with that.

    """
    if came < order.enough or not _waiting([order], seen):
        return order
    return attrs.evolve(order, status=OrderStatus.CONFIRMING)


def match_member(seen: Observation, orders: Sequence[Order]) -> Order | None:
    """Say which order of a membership a payment that names only the membership is for; None when that is not clear.

    Args:
        seen: what the contract says was paid.
        orders: those of the membership's subscription.

    """
    return match_transfer(seen, orders).order


def _was_there(order: Order, seen: Observation) -> bool:
    """Whether the order was there when the block was made, as the block says."""
    # Blocks tell whole seconds: one of the same second is not older than the order.
    return order.created_at.replace(microsecond=0) <= seen.log.block_time


def _may_have_been_there(order: Order, seen: Observation) -> bool:
    """Whether the order may have been there for all that its block's time tells."""
    return not _was_there(order, seen) and order.created_at <= seen.log.block_time + STAMPED_EARLY


def _is_here(order: Order, seen: Observation) -> bool:
    return (order.chain_id, order.treasury) == (seen.log.chain_id, seen.treasury)


def _fitting(orders: Sequence[Order], seen: Observation) -> list[Order]:
    return [o for o in orders if _is_here(o, seen) and o.asset.token == seen.token]


def _takes(order: Order, seen: Observation) -> bool:
    """Whether an order could be paid this way: by a plain transfer, or by a call of the contract that speaks."""
    if seen.kind == "payment":
        return order.rail == "call" and order.contract == seen.contract
    return order.rail == "erc20"


def _waiting(orders: Sequence[Order], seen: Observation) -> list[Order]:
    """Orders that are offered and not covered."""
    return [o for o in orders if o.status in PAYABLE_ORDERS and o.closed_as is None and not _is_late(o, seen)]


def _in_flight(orders: Sequence[Order], seen: Observation) -> list[Order]:
    """Orders whose money is on its way already: more of it is theirs, and twice."""
    return [o for o in orders if o.status is OrderStatus.CONFIRMING and not _is_late(o, seen)]


def _newest(orders: Sequence[Order]) -> Order:
    return max(orders, key=lambda o: o.ledger_id)


def _is_past(order: Order, seen: Observation) -> bool:
    return order.status in PAID_ORDERS or order.status not in _PAYABLE or _is_late(order, seen)


def _is_late(order: Order, seen: Observation) -> bool:
    return seen.log.block_time > order.deadline
