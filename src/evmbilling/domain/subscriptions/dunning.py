"""Dunning: what happens with debt, as data of a plan, and the rule that reads it.

A debt is a period that fell due and is not paid. A plan names states of debt, the worst first; the first whose
conditions hold is where a subscription stands, and its actions say what that means. A payment ends it at once, whatever
way it came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from attrs import field, frozen

from evmbilling.domain.mandates.charges import REASK
from evmbilling.domain.pairs import Pairs, pairs
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.calendar import add_days
from evmbilling.domain.subscriptions.subscriptions import Debt, Subscription

Arrears = Literal["forgive", "accumulate", "cap"]
DunningAction = Literal["notify", "block", "suspend", "cancel"]


@frozen(kw_only=True)
class Schedule:
    """On which days, counted from the day on which a period is due, something is done.

    Attributes:
        days: ascending calendar days in the subscription's zone; negative ones are before.
        by_reason: other days after a charge that failed for this reason.

    """

    days: tuple[int, ...]
    by_reason: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def of(self, reason: str | None) -> tuple[int, ...]:
        """Return the days that hold after a failure; for no failure, or one that is not named, the general ones."""
        return dict(self.by_reason).get(reason or "", self.days)


REMINDERS = Schedule(days=(-3, 3, 7))
ATTEMPTS = Schedule(
    days=(0, 1, 3, 7),
    by_reason=tuple((reason, ()) for reason in sorted({*REASK, "contract_missing", "deny_listed"})),
)
"""What time can mend is tried again, such as a cap that grows by itself; for what the payer has to mend we ask."""


@frozen(kw_only=True)
class DunningStep:
    """One named state of debt: when a subscription is in it, and what that means. All of the conditions have to hold.

    Attributes:
        name: unique within the policy.
        after_days: calendar days since the paid time ended.
        at_least: (symbol, base units): so much is owed in one of these assets; any debt counts when there are none.
        periods: so many periods were missed, those that were forgiven too.
        attempts: so many charges of what is owed have failed.
        actions: ``notify`` tells, ``block`` closes access in spite of grace, ``suspend``, ``cancel``.
        again_after_days: while it lasts it is looked at, and told, again after so many days; 0 for once.

    """

    name: str
    after_days: int = 0
    at_least: Pairs = field(default=(), converter=pairs)
    periods: int = 1
    attempts: int = 0
    actions: tuple[DunningAction, ...]
    again_after_days: int = 0


@frozen(kw_only=True)
class DunningPolicy:
    """What happens with debt.

    Attributes:
        grace_days: access stays open this many calendar days after the paid period; it widens access only.
        steps: worst first.
        arrears: what a late payer owes for missed periods: ``forgive`` the running one only, ``accumulate`` all of
            them, ``cap`` the newest ``arrears_cap``.
        reminders: when people are told that a payment is due; the first day is also when the order is made.
        attempts: when a mandate is charged, from the first try on.
        charges_per_day: of one subscription, at most, whatever else is due.

    """

    grace_days: int = 0
    steps: tuple[DunningStep, ...] = ()
    arrears: Arrears = "forgive"
    arrears_cap: int = 1
    reminders: Schedule = REMINDERS
    attempts: Schedule = ATTEMPTS
    charges_per_day: int = 3

    @property
    def lead_days(self) -> int:
        """How many days before it is due an order is made."""
        return max(0, *(-day for day in self.reminders.days), 0)

    @property
    def owed_periods(self) -> int | None:
        """How many missed periods are owed at most; None for all of them."""
        return {"forgive": 1, "accumulate": None, "cap": self.arrears_cap}[self.arrears]

    def step(self, name: str | None) -> DunningStep | None:
        """Return a state by its name; None for none, or one that the policy does not have."""
        return next((step for step in self.steps if step.name == name), None)

    def rank(self, name: str | None) -> int:
        """Return where a state stands among all: 0 is the worst, none is behind all of them."""
        return next((i for i, step in enumerate(self.steps) if step.name == name), len(self.steps))

    def has(self, name: str | None, action: DunningAction) -> bool:
        """Whether a state means an action."""
        step = self.step(name)
        return step is not None and action in step.actions


NO_DUNNING = DunningPolicy()


@frozen(kw_only=True)
class Verdict:
    """Where a subscription stands in its plan's dunning.

    Attributes:
        step: the state; None for none.
        look_at: when time alone may change it.

    """

    step: DunningStep | None = None
    look_at: datetime | None = None

    @property
    def state(self) -> str | None:
        """The name of the state."""
        return self.step.name if self.step is not None else None

    @property
    def actions(self) -> tuple[DunningAction, ...]:
        """What the state means."""
        return self.step.actions if self.step is not None else ()


def dunning(
    subscription: Subscription, debts: Sequence[Debt], attempts: int, now: datetime, policy: DunningPolicy
) -> Verdict:
    """Say where a subscription with these debts stands, and when it has to be looked at again.

    Args:
        subscription: with its standing.
        debts: what is owed.
        attempts: charges of it that have failed.
        now: as far as payments are known.
        policy: of the pinned plan version.

    """
    moments = _moments(subscription, debts, attempts, policy)
    step = next((step for step, moment in moments if moment <= now), None)
    return Verdict(step=step, look_at=look_again(subscription, debts, attempts, step, policy))


def look_again(
    subscription: Subscription, debts: Sequence[Debt], attempts: int, step: DunningStep | None, policy: DunningPolicy
) -> datetime | None:
    """Return when a subscription in a state comes into a worse one by time alone, or is to be told again."""
    moments = _moments(subscription, debts, attempts, policy)
    worse = [moment for other, moment in moments if step is None or policy.rank(other.name) < policy.rank(step.name)]
    if step is not None and step.again_after_days and subscription.dunned_at is not None:
        table = subscription.table
        zone = table.zone(subscription.paid_periods) if table is not None else subscription.zone
        worse.append(add_days(subscription.dunned_at, step.again_after_days, zone))
    return min(worse, default=None)


def failed_attempts(debts: Sequence[Debt], orders: Sequence[Order]) -> int:
    """Return how many charges of what is owed have failed: of the order that was tried most often."""
    owed = {debt.ledger_id for debt in debts}
    return max((o.attempts - (o.pull in {"submitted", "unknown"}) for o in orders if o.ledger_id in owed), default=0)


def _moments(
    subscription: Subscription, debts: Sequence[Debt], attempts: int, policy: DunningPolicy
) -> list[tuple[DunningStep, datetime]]:
    """Return the states that these debts can be in, worst first, each with the moment from which time allows it."""
    table, since = subscription.table, subscription.overdue_since
    if not debts or not policy.steps or table is None or since is None:
        return []
    owed: dict[str, int] = defaultdict(int)
    for debt in debts:
        owed[debt.asset.symbol] += debt.amount
    first = max(table.index_at(since), 0)
    return [
        (step, max(add_days(since, step.after_days, table.zone(first)), table.start(first + step.periods - 1)))
        for step in policy.steps
        if step.attempts <= attempts
        and (not step.at_least or any(owed.get(symbol, 0) >= amount for symbol, amount in step.at_least))
    ]
