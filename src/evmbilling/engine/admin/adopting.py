"""Importing existing subscribers: audited, without receipt or posting, the same however often it is run."""

from __future__ import annotations

from datetime import datetime

from evmbilling.domain.actors import Role
from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.identity import Product, parse_opaque
from evmbilling.domain.journal import Journal
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.offering import CheckoutRequest, Offer
from evmbilling.domain.subscriptions.adopting import Adopted, AdoptionRequest, adopt, same_adoption
from evmbilling.domain.subscriptions.calendar import parse_instant
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.leaving import SubscriptionView, view
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.admin.readers import flag
from evmbilling.engine.requests import parse_checkout, parse_count
from evmbilling.engine.selling.availability import check_owner, find_offer
from evmbilling.engine.subscriptions.shelf import facts_of
from evmbilling.errors import Conflict, IdempotencyConflict, InputError, UnknownPlan
from evmbilling.ports.storage import Unit


class AdoptionAdmin(AdminBase):
    """Existing subscribers."""

    def adopt(
        self,
        *,
        external_id: str,
        user_id: str,
        plan: str,
        wallet: str,
        paid_until: datetime,
        plan_version: int | None = None,
        network: str | None = None,
        asset: str | None = None,
        product: Product | str | None = None,
        quantity: int = 1,
        beneficiary: str | None = None,
        zone: str | None = None,
        anchor: datetime | None = None,
        dry_run: bool = False,
    ) -> SubscriptionView:
        """Import a subscriber who has paid elsewhere; needs ``billing_admin``.

        There is no receipt and nothing is posted: access is given until ``paid_until``, and the first period that is
        asked for here begins then. The same again returns what is there.

        Args:
            external_id: their name where they come from; unique for each user.
            user_id: the host's opaque id.
            plan: slug. plan_version: the newest when left out; an older or archived one is theirs to keep.
            wallet: who will be asked; confirmed as the user's where the plan is paid by plain transfers.
            paid_until: until when they have paid; in the future.
            network, asset: in which the first renewal is asked; as in ``checkout``.
            product, quantity, beneficiary, zone: as in ``checkout``.
            anchor: an instant from which their periods are counted, so that ``paid_until`` is a boundary of it: a 31st
                stays one. ``paid_until`` itself when left out.
            dry_run: say what would be, and write nothing.

        Raises:
            InputError: a parameter cannot be used; names the field.
            IdempotencyConflict: this external id was imported with other parameters.
            Conflict: the user has a live subscription to the product.
            UnknownPlan: there is no such plan, or no such version of it.

        """
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_opaque(external_id, field="external_id")
        wanted = parse_checkout(
            plan=plan,
            user_id=user_id,
            wallet=wallet,
            network=network,
            asset=asset,
            product=product,
            quantity=quantity,
            beneficiary=beneficiary,
            zone=zone,
            start_at=None,
        )
        version = None if plan_version is None else parse_count(plan_version, field="plan_version")
        until = parse_instant(paid_until, field="paid_until")
        begun = None if anchor is None else parse_instant(anchor, field="anchor")
        dry = flag("dry_run")(dry_run)

        def work(unit: Unit) -> SubscriptionView:
            now = self._ports.clock.now()
            fresh = Customer(user_id=wanted.user_id, zone=wanted.zone or "UTC", created_at=now)
            customer = (unit.customer(wanted.user_id) or fresh) if dry else unit.lock_customer(fresh)
            offer = _offer(unit, wanted, version, now)
            request = AdoptionRequest(
                external_id=name,
                user_id=wanted.user_id,
                product=wanted.product or offer.plan.product,
                quantity=wanted.quantity,
                wallet=wanted.wallet,
                beneficiary=wanted.beneficiary or wanted.wallet,
                paid_until=until,
                anchor=begun,
                zone=wanted.zone or customer.zone,
                by=self._actor.user_id,
            )
            known = _known(unit, request, wanted.plan)
            if known is not None:
                return self._shown(facts_of(unit, known.subscription_id, None), customer)
            if unit.live_subscription(request.user_id, request.product) is not None:
                raise Conflict("this user has a live subscription to the product", field="product")
            new_id = self._ports.ids.new_id
            check_owner(unit, offer, request.user_id, request.wallet)
            journal = Journal(customer, now, new_id)
            made = adopt(request, offer, journal, now=now, subscription_id=new_id(), new_id=new_id)
            if not dry:
                unit.apply([*made.decisions, *journal.decisions()])
            return self._shown(_facts(made, offer.plan), customer)

        return self._runner.read(work) if dry else self._runner.write(work)

    def _shown(self, facts: SubscriptionFacts, customer: Customer) -> SubscriptionView:
        now, new_id = self._ports.clock.now(), self._ports.ids.new_id
        return view(SubscriptionDraft(facts, Journal(customer, now, new_id), now=now, as_of=now, new_id=new_id))


def _offer(unit: Unit, request: CheckoutRequest, version: int | None, now: datetime) -> Offer:
    plan = unit.plan(request.plan, version)
    if plan is None:
        raise UnknownPlan(f"there is no such plan or version of {request.plan}", field="plan")
    if not plan.interval.recurs or (request.product or plan.product).type != plan.product.type:
        raise InputError("a subscriber has a plan with an interval, of its own product", field="plan")
    return find_offer(unit, plan, request, now=now)


def _known(unit: Unit, request: AdoptionRequest, slug: str) -> Subscription | None:
    """Return the subscription that an import with this id made before.

    Raises:
        IdempotencyConflict: it said something else then.

    """
    held = {s.subscription_id: s for s in unit.subscriptions_of_user(request.user_id)}
    changes = unit.changes(held) if held else ()
    for change in changes:
        known = change.adoption
        if known is None or known.external_id != request.external_id:
            continue
        found = held[change.subscription_id]
        first = next((c.terms for c in changes if c.subscription_id == found.subscription_id and c.terms), None)
        begun = first.before if first is not None else found.terms
        if not same_adoption(known, found, begun, request, slug):
            raise IdempotencyConflict("this subscriber was imported with other parameters", field="external_id")
        return found
    return None


def _facts(made: Adopted, plan: SubscriptionPlan) -> SubscriptionFacts:
    return SubscriptionFacts(
        subscription=made.subscription,
        plan=plan,
        orders=(),
        receipts=(),
        changes=(made.change,),
        entitlement=made.entitlement,
    )
