"""Subscriptions as customers and hosts change them; joined or not, nothing here touches the network."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.journal import Journal
from evmbilling.domain.mandates.charges import ChargeState
from evmbilling.domain.messages.events import PlanChangeCause
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.selling.pay_links import IssuedLink
from evmbilling.domain.subscriptions.calendar import parse_zone
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.leaving import (
    CancelRequest,
    CancelWhen,
    SubscriptionView,
    ZoneRequest,
    cancel,
    change_zone,
    undo_cancel,
    view,
)
from evmbilling.engine.admin.readers import one_of
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.mandates.charging import report_charge
from evmbilling.engine.requests import check_text, parse_count, parse_optional
from evmbilling.engine.selling.pay_links import issue_link, open_link
from evmbilling.engine.subscriptions.membership_burns import burns_of_ended
from evmbilling.engine.subscriptions.shelf import facts_of, locked_facts
from evmbilling.errors import InputError
from evmbilling.ports.storage import Unit


class SubscriptionOperations:
    """What is decided about subscriptions, one transaction each."""

    def __init__(self, ports: Ports, runner: Runner) -> None:
        self._ports = ports
        self._runner = runner

    def subscription(self, subscription_id: str, *, user_id: str | None = None) -> SubscriptionView:
        """Return a subscription with its running period and what is owed.

        Raises:
            NotFound: there is no such subscription, or it is not ``user_id``'s.

        """
        name = parse_opaque(subscription_id, field="subscription_id")
        owner = check_text(user_id, field="user_id")

        def work(unit: Unit) -> SubscriptionView:
            facts = facts_of(unit, name, owner)
            return view(self._draft(facts, Customer(user_id=facts.subscription.user_id, created_at=self._now())))

        return self._runner.read(work)

    def cancel_subscription(
        self,
        subscription_id: str,
        *,
        when: CancelWhen = "period_end",
        by: str | None = None,
        user_id: str | None = None,
        reason: str | None = None,
    ) -> SubscriptionView:
        """End a subscription: at the end of what is paid, or now. The same again changes nothing.

        Open offers are withdrawn and debts are given up; money that is still on its way becomes the customer's credit
        when it finds the subscription ended.

        Args:
            subscription_id: which one.
            when: ``period_end`` or ``now``. Who owes something has no paid time left, and leaves at once.
            by: who decided; the customer when left out.
            user_id: whose it has to be; anybody's when left out.
            reason: a word for the record.

        Raises:
            NotFound: there is no such subscription, or it is not ``user_id``'s.
            InputError: a parameter cannot be used.
            Conflict: the first payment of it is being confirmed.

        """
        if when not in ("now", "period_end"):
            raise InputError("a subscription ends now or at its period_end", field="when")
        word, decider = parse_optional(reason, field="reason"), parse_optional(by, field="by")

        def work(draft: SubscriptionDraft) -> None:
            actor = decider or draft.before.user_id
            cancel(draft, CancelRequest(subscription_id=subscription_id, when=when, by=actor, reason=word))

        return self._decide(subscription_id, user_id, work, "end")

    def undo_cancel(
        self, subscription_id: str, *, by: str | None = None, user_id: str | None = None
    ) -> SubscriptionView:
        """Let a subscription go on that was to end at the end of what is paid.

        Raises:
            NotFound: as ``cancel_subscription``.
            IllegalTransition: it is over.

        """
        decider = parse_optional(by, field="by")
        return self._decide(
            subscription_id, user_id, lambda draft: undo_cancel(draft, decider or draft.before.user_id), "change"
        )

    def change_zone(
        self, subscription_id: str, zone: str, *, by: str | None = None, user_id: str | None = None
    ) -> SubscriptionView:
        """Count a subscription's calendar in another zone, from the next boundary on that is not asked for yet.

        Raises:
            NotFound: as ``cancel_subscription``.
            InputError: there is no such zone.
            IllegalTransition: it is over.

        """
        name, decider = parse_zone(zone, field="zone"), parse_optional(by, field="by")

        def work(draft: SubscriptionDraft) -> None:
            actor = decider or draft.before.user_id
            change_zone(draft, ZoneRequest(subscription_id=subscription_id, zone=name, by=actor))

        return self._decide(subscription_id, user_id, work, "change")

    def issue_pay_link(self, ledger_id: str, *, user_id: str | None = None) -> IssuedLink:
        """Make a fresh link to an order; older ones of it go on working for a week.

        The token is in the answer and nowhere else: what is stored is its hash.

        Raises:
            NotFound: there is no such order, or it is not ``user_id``'s.
            Conflict: it cannot be paid any more.

        """
        name, owner = parse_opaque(ledger_id, field="ledger_id"), check_text(user_id, field="user_id")
        return self._runner.write(lambda unit: issue_link(self._ports, unit, name, user_id=owner))

    def pay_link(self, token: str) -> Checkout:
        """Return the order of a pay link, ready to be paid: that one, or what took its place.

        Raises:
            NotFound: there is no such link, or it has expired.

        """
        return self._runner.read(lambda unit: open_link(self._ports, unit, token))

    def report_charge(self, ledger_id: str, *, attempt: int, outcome: ChargeState, reason: str | None = None) -> Order:
        """Say what became of a charge: ``submitted``, ``unknown`` or ``failed`` with its reason.

        That it succeeded is said by the chain alone. The same again changes nothing.

        Raises:
            NotFound: there is no such attempt.
            IllegalTransition: an outcome that is known does not become less so.

        """
        name, which = parse_opaque(ledger_id, field="ledger_id"), parse_count(attempt, field="attempt")
        told = one_of("outcome", ("submitted", "unknown", "failed"))(outcome)
        why = parse_optional(reason, field="reason")
        return self._runner.write(
            lambda unit: report_charge(self._ports, unit, name, attempt=which, outcome=told, reason=why)
        )

    def _decide(
        self,
        subscription_id: str,
        user_id: str | None,
        work: Callable[[SubscriptionDraft], None],
        cause: PlanChangeCause,
    ) -> SubscriptionView:
        name = parse_opaque(subscription_id, field="subscription_id")
        owner = check_text(user_id, field="user_id")

        def run(unit: Unit) -> SubscriptionView:
            customer, facts = locked_facts(unit, name, owner)
            draft = self._draft(facts, customer)
            work(draft)
            if draft.touched:
                settled = draft.settle(cause)
                burns = burns_of_ended(self._ports, unit, draft.held, draft.journal, now=self._now())
                unit.apply([*settled, *burns, *draft.journal.decisions()])
            return view(draft)

        return self._runner.write(run)

    def _now(self) -> datetime:
        return self._ports.clock.now()

    def _draft(self, facts: SubscriptionFacts, customer: Customer) -> SubscriptionDraft:
        now, new_id = self._now(), self._ports.ids.new_id
        return SubscriptionDraft(facts, Journal(customer, now, new_id), now=now, as_of=now, new_id=new_id)
