"""Adopting: an existing subscriber goes on here from where they have paid until elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import field, frozen

from evmbilling.domain.catalogue.plan_terms import Adoption, PlanTerms
from evmbilling.domain.decisions import Decision, OpenSubscription, RecordAudit, RecordChange, StoreEntitlement
from evmbilling.domain.identity import Product
from evmbilling.domain.journal import Journal, plan_change
from evmbilling.domain.messages.events import AuditEntry, EventType
from evmbilling.domain.selling.offering import Offer
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.access import Entitlement, entitle_subscription
from evmbilling.domain.subscriptions.calendar import Interval, boundary
from evmbilling.domain.subscriptions.periods import Segment
from evmbilling.domain.subscriptions.standing import standing
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.telling import subscription_facts
from evmbilling.errors import InputError

FURTHEST = timedelta(days=3660)


@frozen(kw_only=True)
class AdoptionRequest:
    """An existing subscriber.

    Attributes:
        external_id: their name where they come from; unique for each user.
        paid_until: until when they have paid there.
        anchor: from which their calendar is counted; ``paid_until`` when left out. It keeps a 31st a 31st.
        zone: IANA zone of the calendar.
        by: who imports them.

    """

    external_id: str
    user_id: str
    product: Product
    quantity: int
    wallet: str
    beneficiary: str
    paid_until: datetime
    anchor: datetime | None
    zone: str
    by: str


@frozen(kw_only=True)
class Adopted:
    """What an adoption writes."""

    subscription: Subscription
    change: SubscriptionChange
    entitlement: Entitlement
    decisions: tuple[Decision, ...] = field(repr=False)


def adoption(request: AdoptionRequest, offer: Offer, now: datetime) -> Adoption:
    """Return where an existing subscriber stands on a calendar of ours.

    Raises:
        InputError: ``paid_until`` is not in the future, or no boundary of a calendar that is counted from ``anchor``.

    """
    until, interval, zone = request.paid_until, offer.plan.interval, request.zone
    if not now < until <= now + FURTHEST:
        raise InputError(f"paid until a time in the future, at most {FURTHEST.days} days away", field="paid_until")
    anchor = request.anchor or until
    index = _index(anchor, interval, zone, until)
    periods = 1
    while boundary(anchor, interval, zone, index - periods) > now:
        periods += 1
    return Adoption(
        external_id=request.external_id,
        paid_until=until,
        anchor=anchor,
        offset=index - periods,
        periods=periods,
        network=offer.network.name,
        chain_id=offer.price.asset.chain_id,
        token=offer.price.asset.token,
        wallet=request.wallet,
        beneficiary=request.beneficiary,
    )


def adopt(
    request: AdoptionRequest,
    offer: Offer,
    journal: Journal,
    *,
    now: datetime,
    subscription_id: str,
    new_id: Callable[[], str],
) -> Adopted:
    """Decide an adoption: no receipt, no posting; access until ``paid_until``, and renewals from then on.

    Raises:
        InputError: as :func:`adoption`.

    """
    plan, taken = offer.plan, adoption(request, offer, now)
    change = SubscriptionChange(
        subscription_id=subscription_id,
        seq=1,
        kind="adopt",
        effective_at=now,
        recorded_at=now,
        by=request.by,
        adoption=taken,
    )
    fresh = Subscription(
        subscription_id=subscription_id,
        user_id=request.user_id,
        product=request.product,
        plan_slug=plan.slug,
        plan_version=plan.version,
        interval=plan.interval,
        quantity=request.quantity,
        zone=request.zone,
        created_at=now,
        status=SubscriptionStatus.INCOMPLETE,
        chain_id=taken.chain_id,
    )
    held = standing(fresh, (), (), (change,), now, policy=plan.dunning).subscription
    entitled = plan_change(journal, None, entitle_subscription(held, plan), now=now, cause="admin", occurred_at=now)
    facts = subscription_facts(held) | {"external_id": request.external_id}
    journal.publish(EventType.SUBSCRIPTION_ADOPTED, facts)
    audit = AuditEntry(
        audit_id=new_id(),
        actor=request.by,
        action="subscription.adopt",
        object=f"subscription:{subscription_id}",
        changes={"external_id": request.external_id, "plan": plan.slug, "paid_until": taken.paid_until.isoformat()},
        recorded_at=now,
    )
    return Adopted(
        subscription=held,
        change=change,
        entitlement=entitled,
        decisions=(OpenSubscription(held), RecordChange(change), StoreEntitlement(entitled), RecordAudit(audit)),
    )


def same_adoption(known: Adoption, held: Subscription, begun: PlanTerms, request: AdoptionRequest, slug: str) -> bool:
    """Whether an import that is repeated says what it said the first time; ``begun`` are its first terms."""
    if (begun.plan_slug, begun.quantity) != (slug, request.quantity):
        return False
    said = (request.paid_until, request.anchor or request.paid_until, request.wallet, request.beneficiary)
    stored = (known.paid_until, known.anchor, known.wallet, known.beneficiary)
    return said == stored and (held.product, held.zone) == (request.product, request.zone)


def _index(anchor: datetime, interval: Interval, zone: str, until: datetime) -> int:
    """Return how many intervals after the anchor an instant is."""
    if anchor > until:
        raise InputError("an anchor is not after what is paid", field="anchor")
    guess = Segment(first=0, anchor=anchor, interval=interval, zone=zone).guess(until)
    for index in (guess - 1, guess, guess + 1):
        if boundary(anchor, interval, zone, index) == until:
            return index
    raise InputError("a calendar from this anchor has no boundary where the paid time ends", field="anchor")
