"""Memberships that end with a refund: with us when the refund is done, and on chain when their token is burned."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

import attrs

from evmbilling.domain.payments.judgement import Depths
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Burn, BurnStatus, Refund
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.refunds.refunds import evidence_of
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.errors import Conflict

_LARGEST_UUID: Final = 2**128 - 1


def may_end(order: Order) -> None:
    """Check that an order's refund can end a membership.

    Raises:
        Conflict: it sold a thing once, without a subscription.

    """
    if order.subscription_id is None:
        raise Conflict("this order is of no subscription that could end", field="end_membership")


def ends_by_policy(
    order: Order,
    subscription: Subscription | None,
    policy: MisfitPolicy,
    *,
    full: bool,
    given_back: Collection[int],
    moment: datetime,
) -> bool:
    """Whether a refund ends the membership when nobody says so.

    It does when it leaves nothing of what is paid from the running period on: giving back an old period, or a part, is
    a courtesy, and while another period runs or is to come that is not given back, the membership is still paid.

    Args:
        order: what is given back.
        subscription: what the order paid for; None when it sold a thing once.
        policy: the gateway's.
        full: whether nothing of the order is left to give back.
        given_back: the periods of which everything was given back before, or is on its way back.
        moment: now; in a pause, when it began.

    """
    if not shortens_by_policy(order, subscription, policy, full=full, moment=moment) or subscription is None:
        return False
    return set(_unused(subscription, moment, subscription.paid_periods)) - {*given_back} == {order.period}


def shortens_by_policy(
    order: Order, subscription: Subscription | None, policy: MisfitPolicy, *, full: bool, moment: datetime
) -> bool:
    """Whether the period that a refund gives back is not used any more, when nobody says anything about that.

    It gives back all of the running period, or of one that is paid ahead; arguments as :func:`ends_by_policy`.
    """
    if policy.on_refund != "burn" or not full or subscription is None or order.period is None:
        return False
    unused = _unused(subscription, moment, subscription.paid_periods)
    return order.period in unused and subscription.status in LIVE_SUBSCRIPTIONS


def kept_until(
    subscription: Subscription,
    given_back: Collection[int],
    moment: datetime,
    *,
    paid: int | None = None,
    paid_to: int | None = None,
) -> int | None:
    """Return the period with which a membership is over because all from there on were given back.

    None when the last one was not; the running one when nothing is left. A period between others that were not given
    back is no end: the membership goes on through it.

    Args:
        subscription: with what is paid.
        given_back: periods of which everything was given back.
        moment: now; in a pause, when it began.
        paid: how many periods are paid if none was given back; as the subscription says when None.
        paid_to: the first period that was not paid when it was asked to give back: later ones were paid by somebody
            who could not know of it, and do not count. All that are paid count when None.

    """
    unused = _unused(subscription, moment, subscription.paid_periods if paid is None else paid)
    unused = unused[: max(0, paid_to - unused.start)] if paid_to is not None else unused
    first = unused.stop
    while first > unused.start and first - 1 in given_back:
        first -= 1
    return first if first < unused.stop else None


def _unused(subscription: Subscription, moment: datetime, count: int) -> range:
    """Return the paid periods from the running one on, where so many are paid."""
    paid, table = range(count), subscription.table
    return paid[0 if table is None else next((k for k in reversed(paid) if table.start(k) <= moment), 0) :]


def subscription_of(token_id: int | None) -> str | None:
    """Return the subscription that a membership token stands for; None when it can be none of ours."""
    return str(UUID(int=token_id)) if token_id and token_id <= _LARGEST_UUID else None


def begun(refund: Refund, depths: Depths, *, has_token: bool) -> Refund:
    """Return a refund that has just been done, with the membership's end due.

    ``has_token`` says whether paying for the subscription gave a membership token on chain.
    """
    if refund.burn is None or refund.burn.status != "planned":
        return refund
    if not has_token:
        return attrs.evolve(refund, burn=attrs.evolve(refund.burn, status="ended"))
    return attrs.evolve(refund, burn=attrs.evolve(refund.burn, status=_status(refund.burn, depths)))


def follow_burn(refund: Refund, log: ChainLog | None, depths: Depths) -> Refund:
    """Return the refund as the evidence of its burn leaves it; the same one when nothing changed.

    A token that is burned before the refund is done (its holder may) is noted, and counts when the refund is done.
    """
    burn = refund.burn
    if burn is None:
        return refund
    if log is None:
        after = attrs.evolve(burn, evidence=None)
    else:
        after = attrs.evolve(burn, identity=log.identity, evidence=evidence_of(log))
    if burn.status in {"due", "confirming", "done"}:
        deep = burn.status == "done" and log is not None
        after = attrs.evolve(after, status="done" if deep else _status(after, depths))
    return refund if after == burn else attrs.evolve(refund, burn=after, version=refund.version + 1)


def _status(burn: Burn, depths: Depths) -> BurnStatus:
    if burn.evidence is None:
        return "due"
    return "done" if depths.credit_after.reached(burn.evidence.block_number, depths.heights) else "confirming"
