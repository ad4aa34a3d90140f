"""Changing, pausing and resuming subscriptions; joined or not, nothing here touches the network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.catalogue.plan_terms import ChangeTiming, PlanTerms, TermsChange
from evmbilling.domain.decisions import Decision, OpenOrder
from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.payments.credit import on_its_way
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.domain.subscriptions.calendars import adoption_of
from evmbilling.domain.subscriptions.change_records import ChangePreview, ChangeRequest, ChangeSale
from evmbilling.domain.subscriptions.changes import change_terms, preview_change, withdraw_change
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.leaving import SubscriptionView, view
from evmbilling.domain.subscriptions.pausing import PauseRequest, PauseWhen, pause, resume
from evmbilling.engine.admin.bindings import is_found_by_payer, with_call
from evmbilling.engine.context import Ports
from evmbilling.engine.requests import check_text, parse_asset, parse_optional, parse_quantity, parse_wallet
from evmbilling.engine.selling.availability import check_owner, check_wallet, find_offer
from evmbilling.engine.selling.checkout import requote_request
from evmbilling.engine.selling.deposit_orders import opening, policy_of
from evmbilling.engine.selling.orders import answer, order_provider
from evmbilling.engine.subscriptions.paid_like import changed_request, paid_like
from evmbilling.engine.subscriptions.shelf import facts_of, locked_facts
from evmbilling.engine.subscriptions.subscriptions import SubscriptionOperations
from evmbilling.errors import ArchivedPlan, InputError, UnknownPlan
from evmbilling.ports.storage import Unit

_NEWEST = 64
"""So many of the newest paid orders may be of the running period; changes of a day are bounded."""


@frozen(kw_only=True)
class ChangeResult:
    """The answer to a change.

    Attributes:
        subscription: as it stands after it; ``waiting`` is the change until it holds.
        preview: what it came to.
        order: what has to be paid for it now; None when nothing has to be.

    """

    subscription: SubscriptionView
    preview: ChangePreview
    order: Checkout | None


class ChangeOperations(SubscriptionOperations):
    """What is changed about running subscriptions, one transaction each."""

    def preview_change(
        self,
        subscription_id: str,
        *,
        timing: ChangeTiming = "next_period",
        plan: str | None = None,
        quantity: int | None = None,
        network: str | None = None,
        asset: str | None = None,
        wallet: str | None = None,
        user_id: str | None = None,
    ) -> ChangePreview:
        """Say what ``change_subscription`` with these parameters would come to now; nothing is written.

        Raises:
            NotFound, InputError, Conflict, IllegalTransition: as ``change_subscription``.

        """
        request = _parse(
            subscription_id, timing, plan=plan, quantity=quantity, network=network, asset=asset, wallet=wallet
        )
        owner = check_text(user_id, field="user_id")

        def work(unit: Unit) -> ChangePreview:
            facts = facts_of(unit, request.subscription_id, owner)
            draft = self._draft(facts, Customer(user_id=facts.subscription.user_id, created_at=self._now()))
            return preview_change(draft, request, _sale(self._ports, unit, draft, request))

        return self._runner.read(work)

    def change_subscription(
        self,
        subscription_id: str,
        *,
        timing: ChangeTiming = "next_period",
        plan: str | None = None,
        quantity: int | None = None,
        network: str | None = None,
        asset: str | None = None,
        wallet: str | None = None,
        by: str | None = None,
        user_id: str | None = None,
    ) -> ChangeResult:
        """Move a subscription to another plan, to its plan's newest version, another quantity, token or network.

        ``now``: what the new terms cost for the rest of the period, less what was paid for that rest, both rounded
        down, is asked for at once and they hold when it is paid. When there is nothing to pay they hold at once, and
        nothing goes back. ``next_period``: the next period that is not paid is asked for on the new terms, and they
        hold from its beginning once it is paid. The same again changes nothing; another change takes the place of one
        that waits; an order that is not paid in time drops its change.

        Args:
            subscription_id: which one.
            timing: ``now`` or ``next_period``.
            plan: slug; the newest version of it is taken. The version that it is on when left out.
            quantity: pieces.
            network, asset: where and in what the next period is paid; only with ``next_period``.
            wallet: who pays from then on.
            by: who decided; the customer when left out.
            user_id: whose it has to be; anybody's when left out.

        Raises:
            NotFound: there is no such subscription, or it is not ``user_id``'s.
            InputError: a parameter cannot be used, nothing would change, or only from a next period on. ``wallet``:
                it is paid by plain transfers, and this wallet is not confirmed as the customer's on that chain.
            Conflict: not as it stands: ``reason`` is ``unpaid``, ``not_begun``, ``paused``, ``debt``, ``leaving``,
                ``in_flight``, ``partly_paid``, ``period_ends``, ``paid_ahead`` or ``too_many_today``.
            IllegalTransition: it is over.
            NetworkUnavailable: nothing is sold there now.

        """
        decider = parse_optional(by, field="by")
        given = _parse(
            subscription_id, timing, plan=plan, quantity=quantity, network=network, asset=asset, wallet=wallet
        )
        owner = check_text(user_id, field="user_id")

        def work(unit: Unit) -> ChangeResult:
            customer, facts = locked_facts(unit, given.subscription_id, owner)
            request = attrs.evolve(given, by=decider or facts.subscription.user_id)
            draft = self._draft(facts, customer)
            preview, order = change_terms(draft, request, _sale(self._ports, unit, draft, request))
            if order is not None and order.ledger_id not in {o.ledger_id for o in facts.orders}:
                order = _sign(self._ports, unit, order)
            if draft.touched:
                decisions = [more for d in draft.settle("change") for more in _signed(unit, d, order, draft.now)]
                unit.apply([*decisions, *draft.journal.decisions()])
            shown = None
            if order is not None:
                provider = order_provider(self._ports, unit, order)
                shown = answer(provider, attrs.evolve(draft.orders[order.ledger_id], **_signature(order)), draft.now)
            return ChangeResult(subscription=view(draft), preview=preview, order=shown)

        return self._runner.write(work)

    def withdraw_change(
        self, subscription_id: str, *, by: str | None = None, user_id: str | None = None
    ) -> SubscriptionView:
        """Drop the change that waits, and its order; nothing when none does.

        Raises:
            NotFound: as ``change_subscription``.
            Conflict: its payment is being confirmed.

        """
        decider = parse_optional(by, field="by")
        return self._decide(
            subscription_id, user_id, lambda draft: withdraw_change(draft, decider or draft.before.user_id), "change"
        )

    def pause_subscription(
        self,
        subscription_id: str,
        *,
        when: PauseWhen = "now",
        by: str | None = None,
        user_id: str | None = None,
        reason: str | None = None,
    ) -> SubscriptionView:
        """Pause a subscription: access is closed, nothing is asked for or dunned, and what is left is kept.

        The paid time that is left goes on when it is resumed. The same again changes nothing.

        Args:
            subscription_id: which one.
            when: ``now``, or ``period_end``: the paid time is used up first.
            by: who decided; the customer when left out.
            user_id: whose it has to be; anybody's when left out.
            reason: a word for the record.

        Raises:
            NotFound: there is no such subscription, or it is not ``user_id``'s.
            InputError: a parameter cannot be used.
            IllegalTransition: it is over, has not begun, or is on trial.
            Conflict: something is owed, it is to end, or the next period is paid in part.

        """
        if when not in ("now", "period_end"):
            raise InputError("a subscription is paused now or at its period_end", field="when")
        word, decider = parse_optional(reason, field="reason"), parse_optional(by, field="by")

        def work(draft: SubscriptionDraft) -> None:
            actor = decider or draft.before.user_id
            pause(draft, PauseRequest(subscription_id=subscription_id, when=when, by=actor, reason=word))

        return self._decide(subscription_id, user_id, work, "pause")

    def resume_subscription(
        self, subscription_id: str, *, by: str | None = None, user_id: str | None = None
    ) -> SubscriptionView:
        """Let a paused subscription go on; what was left of the paid time begins now. Takes back a later pause too.

        When nothing was left, the next period begins now, and is due.

        Raises:
            NotFound: as ``pause_subscription``.
            IllegalTransition: it is over.

        """
        decider = parse_optional(by, field="by")
        return self._decide(
            subscription_id, user_id, lambda draft: resume(draft, decider or draft.before.user_id), "change"
        )


def _parse(
    subscription_id: object,
    timing: object,
    *,
    plan: object,
    quantity: object,
    network: object,
    asset: object,
    wallet: object,
) -> ChangeRequest:
    if timing not in ("now", "next_period"):
        raise InputError("a change is for now or for the next_period", field="timing")
    known: Any = timing
    return ChangeRequest(
        subscription_id=parse_opaque(subscription_id, field="subscription_id"),
        timing=known,
        plan=None if plan is None else parse_slug(plan, field="plan"),
        quantity=None if quantity is None else parse_quantity(quantity),
        network=None if network is None else parse_slug(network, field="network"),
        asset=None if asset is None else parse_asset(asset),
        wallet=None if wallet is None else parse_wallet(wallet, field="wallet"),
        by="",
    )


def _sale(ports: Ports, unit: Unit, draft: SubscriptionDraft, request: ChangeRequest) -> ChangeSale:
    """Return on what terms the new ones are sold.

    Raises:
        UnknownPlan, ArchivedPlan, UnknownNetwork, UnknownAsset, InputError: they are not, or not there.
        NetworkUnavailable: not now.

    """
    draft.fold()
    held, plan = draft.held, _plan(unit, draft, request)
    draft.learn(plan)
    after = PlanTerms(
        plan_slug=plan.slug,
        plan_version=plan.version,
        quantity=request.quantity or held.quantity,
        interval=plan.interval,
    )
    like = paid_like(draft.facts)
    before = None
    if request.timing == "now":
        index = held.table.index_at(draft.now) if held.table is not None else -1
        payer = draft.payers.get(index)
        like = requote_request(payer.order) if payer is not None else like
        adopted = adoption_of(draft.changes)
        elsewhere = payer is None and adopted is not None and 0 <= index < adopted.periods
        before = find_offer(unit, draft.plan, like, now=draft.now) if elsewhere else None
    else:
        asset = request.asset if request.network is not None else request.asset or like.asset
        like = attrs.evolve(like, network=request.network or like.network, asset=asset)
    wanted = changed_request(like, TermsChange(before=held.terms, after=after, wallet=request.wallet))
    offer = find_offer(unit, plan, wanted, now=draft.now)
    check_owner(unit, offer, wanted.user_id, wanted.wallet)
    return ChangeSale(
        after=after,
        request=wanted,
        offer=offer,
        before=before,
        refunded=_refunded(unit, draft) if request.timing == "now" else {},
        extra=ports.extra_lines,
        instance_id=ports.storage.instance_id(),
    )


def _refunded(unit: Unit, draft: SubscriptionDraft) -> dict[str, int]:
    """Return what went back, or is about to, of the orders that are paid."""
    paid = [o.ledger_id for o in draft.all_orders if o.status in PAID_ORDERS]
    return {name: on_its_way(unit.refunds_of_order(name)) for name in paid[-_NEWEST:]}


def _plan(unit: Unit, draft: SubscriptionDraft, request: ChangeRequest) -> SubscriptionPlan:
    """Return the plan version that is moved to: the newest of a plan that is named, else the one that holds."""
    if request.plan is None:
        return draft.plan
    newest = unit.plan(request.plan)
    if newest is None:
        raise UnknownPlan(f"there is no plan {request.plan}", field="plan")
    if newest.archived_at is not None:
        raise ArchivedPlan(f"the plan {newest.slug} is archived", field="plan")
    if newest.product.type != draft.held.product.type or not newest.interval.recurs:
        raise InputError("a subscription moves to a plan of its own product", field="plan")
    return newest


def _sign(ports: Ports, unit: Unit, order: Order) -> Order:
    if order.rail == "erc20" or is_found_by_payer(unit, order):
        check_wallet(unit, order.user_id, order.wallet, order.chain_id)
    if order.rail != "checkout":
        return with_call(ports, unit, order) if order.rail == "call" else order
    gateway = unit.gateway(order.gateway_slug)
    if gateway is None:
        return order
    signer, signature = ports.provider(gateway.provider).sign(order, gateway)
    return attrs.evolve(order, signer=signer, signature=signature)


def _signed(unit: Unit, decision: Decision, order: Order | None, now: datetime) -> Sequence[Decision]:
    if order is not None and isinstance(decision, OpenOrder) and decision.order.ledger_id == order.ledger_id:
        return opening(attrs.evolve(decision.order, **_signature(order)), policy_of(unit, order), now)
    return [decision]


def _signature(order: Order) -> dict[str, Any]:
    return {"signer": order.signer, "signature": order.signature, "call": order.call}
