"""The rule of renewals: what time makes of a subscription, as far as payments are known.

Every period that falls due has one order, made some days before. When it is due it is charged by a mandate, or its
payer is asked. What is not paid then is owed from its due date on, however late we looked; of several missed periods
the plan's arrears policy says which are owed. Running this every minute, in any order, or once after months ends in
the same orders.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import frozen

from evmbilling.domain.actors import SYSTEM
from evmbilling.domain.decisions import Decision
from evmbilling.domain.mandates.charging import Charging
from evmbilling.domain.messages.events import PlanChangeCause
from evmbilling.domain.states import OPEN_ORDERS, OWING_SUBSCRIPTIONS, SubscriptionStatus
from evmbilling.domain.subscriptions.asking import Terms
from evmbilling.domain.subscriptions.calendar import add_days
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.dunning import dunning, failed_attempts
from evmbilling.domain.subscriptions.looking import is_in_flight, reminders_of, renewal_orders
from evmbilling.domain.subscriptions.telling import tell_due

__all__ = ["Renewed", "Terms", "renew"]

_STUCK = timedelta(minutes=15)
_OPENED_BY_TIME = frozenset({SubscriptionStatus.SCHEDULED, SubscriptionStatus.TRIALING})
_RENEWED = frozenset(
    {
        SubscriptionStatus.TRIALING,
        SubscriptionStatus.ACTIVE,
        SubscriptionStatus.PAST_DUE,
        SubscriptionStatus.SUSPENDED,
    }
)


@frozen(kw_only=True)
class Renewed:
    """What a look at a subscription did.

    Attributes:
        decisions: what has to be written; orders that are opened are not signed yet.
        held: a stable code of why nothing could be asked; None when nothing stood in the way.

    """

    decisions: tuple[Decision, ...]
    opened: int = 0
    charged: int = 0
    forgiven: int = 0
    reminded: int = 0
    dunned: int = 0
    ended: int = 0
    held: str | None = None


def renew(draft: SubscriptionDraft, terms: Terms) -> Renewed:
    """Do what time asks for: ask, charge, remind, dun, end.

    Raises:
        BillingError: the host's lines, or rows that contradict the state tables; the caller looks again later.

    """
    return _Renewal(draft, terms).run()


class _Renewal(Charging):
    def run(self) -> Renewed:
        draft = self.draft
        draft.note(looked_at=max(self.as_of, draft.held.looked_at or self.as_of))
        draft.take_ends()
        if draft.held.status in _OPENED_BY_TIME or draft.changes:
            draft.fold()
        if draft.held.cancel_at_period_end:
            self.leave()
        elif draft.held.status in _RENEWED and draft.held.table is not None:
            draft.replace_outdated()
            self.answer_failures()
            self.ask()
            self.offer_again()
            self.claim()
            self.charge()
            self.remind()
            self.dun()
        return self.settled()

    def leave(self) -> None:
        """End what was cancelled, at the end of what is paid; not while money may be on its way."""
        had = self.draft.held.had_until
        waits = any(is_in_flight(self.draft.all_orders, o.period or 0) for o in self.draft.all_orders)
        if had is not None and had <= self.as_of and not waits:
            self.draft.end(by=SYSTEM.user_id, reason="period_end")
            self.counts["ended"] += 1

    def dun(self) -> None:
        """Go into the state of dunning that the debts have come to, and do what it says."""
        draft = self.draft
        debts = draft.fold().debts
        attempts = failed_attempts(debts, draft.all_orders)
        verdict = dunning(draft.held, debts, attempts, self.as_of, self.policy)
        step, held = verdict.step, draft.held
        if step is None:
            return
        zone = held.zone
        worse = self.policy.rank(step.name) < self.policy.rank(held.dunning_state)
        again = (
            not worse
            and step.name == held.dunning_state
            and step.again_after_days > 0
            and held.dunned_at is not None
            and add_days(held.dunned_at, step.again_after_days, zone) <= self.as_of
        )
        if not worse and not again:
            return
        draft.note(dunning_state=step.name, dunned_at=self.as_of)
        self.counts["dunned"] += 1
        if again:
            draft.tell_again()
        else:
            draft.audit("subscription.dun", SYSTEM.user_id, state=[held.dunning_state, step.name])
        if "cancel" in step.actions:
            draft.end(by=SYSTEM.user_id, reason=f"dunning:{step.name}")
            self.counts["ended"] += 1

    def remind(self) -> None:
        """Tell that a payment is due, once for all reminders that have come up."""
        for order in renewal_orders(self.draft.all_orders).values():
            if order.status not in OPEN_ORDERS or order.closed_as is not None or order.claim == "forgiven":
                continue
            passed = [at for at in reminders_of(self.draft.held, order, self.policy) if at <= self.as_of]
            if not passed:
                continue
            changed = self.draft.put(order, reminded_at=passed[-1])
            tell_due(self.draft.journal, changed, self.draft.before.zone, now=self.as_of)
            self.counts["reminded"] += 1

    def settled(self) -> Renewed:
        """Return the decisions; what could not be asked for is looked at again later."""
        draft = self.draft
        debts = draft.fold().debts
        look_at = draft.held.look_at
        later = None
        if self.held is not None:
            later = draft.now + (timedelta(days=1) if self.held == "too_many_today" else timedelta(hours=1))
        elif look_at is not None and look_at <= self.as_of and not self.did_something():
            later = draft.now + _STUCK
        occurred_at = debts[0].due_at if debts and draft.before.status not in OWING_SUBSCRIPTIONS else None
        return Renewed(
            decisions=draft.settle(self.cause(), occurred_at=occurred_at, look_at=later), held=self.held, **self.counts
        )

    def cause(self) -> PlanChangeCause:
        """Return why the plan changes that the user is entitled to, if time changes it."""
        held = self.draft.held
        if held.status is SubscriptionStatus.PAUSED:
            return "pause"
        return "change" if held.terms != self.draft.before.terms else "end"

    def did_something(self) -> bool:
        """Whether this look changed an order or the standing, so that the next one finds something else."""
        return (
            list(self.draft.facts.orders) != self.draft.all_orders or self.draft.held.status != self.draft.before.status
        )
