"""Dunning: the worst state whose conditions hold, its actions, and when to look again."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from domain_records import SUBSCRIPTION, T0, USDC, at, period_order, subscription

from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.dunning import (
    ATTEMPTS,
    DunningPolicy,
    DunningStep,
    Schedule,
    Verdict,
    dunning,
    failed_attempts,
)
from evmbilling.domain.subscriptions.subscriptions import Debt

DAI = attrs.evolve(USDC, symbol="DAI", decimals=18)
HELD = subscription(
    status=SubscriptionStatus.PAST_DUE, anchor=T0 - timedelta(days=31), paid_periods=1, paid_until=at(0)
)
"""Paid until T0: debts are counted from there; the following boundary is 31 March (28 February is a month after)."""


def debt(period=1, amount=100, asset=USDC, due=None):
    return Debt(ledger_id=f"order-{period}", period=period, due_at=due or at(0), amount=amount, asset=asset)


def step(name, *actions, **conditions):
    return DunningStep(name=name, actions=actions or ("notify",), **conditions)


LADDER = DunningPolicy(
    steps=(
        step("gone", "cancel", after_days=60),
        step("large", "suspend", at_least={"USDC": 500}),
        step("often", "suspend", periods=3),
        step("refused", "block", attempts=2),
        step("suspended", "notify", "suspend", after_days=14),
        step("late", "notify", after_days=3),
    )
)
# debts, failed attempts, days, state
TABLE = [
    ([], 0, 100, None),
    ([debt()], 0, 0, None),
    ([debt()], 0, 2.999, None),
    ([debt()], 0, 3, "late"),
    ([debt()], 0, 13.999, "late"),
    ([debt()], 0, 14, "suspended"),
    ([debt()], 0, 58.999, "suspended"),
    ([debt()], 0, 59, "often"),
    ([debt()], 0, 60, "gone"),
    ([debt(amount=499)], 0, 5, "late"),
    ([debt(amount=500)], 0, 5, "large"),
    ([debt(amount=500)], 0, 60, "gone"),
    ([debt(amount=500, asset=DAI)], 0, 5, "late"),
    ([debt(1, 250), debt(2, 250)], 0, 31, "large"),
    ([debt(1, 250), debt(2, 250, DAI)], 0, 31, "suspended"),
    ([debt()], 1, 5, "late"),
    ([debt()], 2, 5, "refused"),
    ([debt()], 2, 20, "refused"),
]


@pytest.mark.parametrize(("debts", "attempts", "days", "state"), TABLE)
def test_the_worst_state_whose_conditions_hold(debts, attempts, days, state):
    verdict = dunning(HELD, debts, attempts, at(days), LADDER)
    assert verdict.state == state
    assert verdict.actions == (() if state is None else LADDER.step(state).actions)


def test_missed_periods_count_from_the_end_of_what_was_paid_forgiven_ones_too():
    table = HELD.table
    third = table.start(table.index_at(at(0)) + 2)
    only = DunningPolicy(steps=(step("often", periods=3),))
    forgiven = [debt(3, due=third)]
    assert dunning(HELD, forgiven, 0, third - timedelta(microseconds=1), only) == Verdict(look_at=third)
    assert dunning(HELD, forgiven, 0, third, only).state == "often"


# days, state that it is in, when it comes into a worse one by time alone
LOOKS = [(0, 3), (3, 14), (13, 14), (14, 60), (60, None)]


@pytest.mark.parametrize(("days", "look"), LOOKS)
def test_it_says_when_time_alone_makes_it_worse(days, look):
    ladder = attrs.evolve(LADDER, steps=tuple(s for s in LADDER.steps if s.periods == 1))
    verdict = dunning(HELD, [debt()], 0, at(days), ladder)
    assert verdict.look_at == (None if look is None else at(look))


def test_conditions_that_time_cannot_meet_are_not_looked_for():
    rich = DunningPolicy(steps=(step("large", after_days=5, at_least={"USDC": 500}), step("tried", attempts=1)))
    assert dunning(HELD, [debt()], 0, at(0), rich) == Verdict()
    assert dunning(HELD, [debt(amount=500)], 0, at(0), rich).look_at == at(5)


def test_a_state_that_tells_again_is_looked_at_again():
    policy = DunningPolicy(steps=(step("late", after_days=1, again_after_days=7),))
    told = attrs.evolve(HELD, dunning_state="late", dunned_at=at(1))
    assert dunning(told, [debt()], 0, at(2), policy).look_at == at(8)
    assert dunning(attrs.evolve(told, dunned_at=None), [debt()], 0, at(2), policy).look_at is None


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_age_is_counted_in_calendar_days_of_the_zone(zone):
    held = attrs.evolve(HELD, zone=zone, paid_until=at(54))  # 26 March: the clocks change before the 29th or did
    policy = DunningPolicy(steps=(step("late", after_days=5),))
    hours = {"UTC": 0, "Europe/Berlin": -1, "America/New_York": 0}[zone]
    moment = at(59) + timedelta(hours=hours)
    assert dunning(held, [debt()], 0, moment - timedelta(seconds=1), policy).state is None
    assert dunning(held, [debt()], 0, moment, policy).state == "late"


def test_no_calendar_no_dunning():
    assert dunning(subscription(), [debt()], 0, at(900), LADDER) == Verdict()


def test_attempts_are_those_of_what_is_owed_without_the_one_on_its_way():
    orders = [
        period_order(1, attempts=3, pull="submitted"),
        period_order(2, attempts=1),
        period_order(3, attempts=9),
    ]
    assert failed_attempts([debt(1), debt(2)], orders) == 2
    assert failed_attempts([], orders) == 0
    assert orders[0].subscription_id == SUBSCRIPTION


@pytest.mark.parametrize(
    ("reason", "days"),
    [(None, (0, 1, 3, 7)), ("balance", (0, 1, 3, 7)), ("revoked", ()), ("expired", ()), ("deny_listed", ())],
)
def test_what_time_can_mend_is_tried_again_and_the_rest_is_asked_for(reason, days):
    assert ATTEMPTS.of(reason) == days


def test_a_policy_says_how_early_it_asks_and_how_much_it_keeps():
    assert DunningPolicy(reminders=Schedule(days=(-10, -3, 5))).lead_days == 10
    assert DunningPolicy(reminders=Schedule(days=(1, 5))).lead_days == 0
    assert DunningPolicy(reminders=Schedule(days=())).lead_days == 0
    kept = [DunningPolicy(arrears=a, arrears_cap=4).owed_periods for a in ("forgive", "cap", "accumulate")]
    assert kept == [1, 4, None]
