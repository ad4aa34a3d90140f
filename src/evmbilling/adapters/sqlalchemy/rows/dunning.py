"""Dunning policies as JSON within the row of a plan version."""

from __future__ import annotations

from typing import Any

from evmbilling.domain.subscriptions.dunning import ATTEMPTS, REMINDERS, DunningPolicy, DunningStep, Schedule


def dunning_values(policy: DunningPolicy) -> dict[str, Any]:
    """Write what happens with debt."""
    return {
        "grace_days": policy.grace_days,
        "steps": [_step_values(step) for step in policy.steps],
        "arrears": policy.arrears,
        "arrears_cap": policy.arrears_cap,
        "reminders": _schedule_values(policy.reminders),
        "attempts": _schedule_values(policy.attempts),
        "charges_per_day": policy.charges_per_day,
    }


def read_dunning(value: dict[str, Any]) -> DunningPolicy:
    """Read what happens with debt; an older row has what holds by default."""
    return DunningPolicy(
        grace_days=value["grace_days"],
        steps=tuple(_read_step(step) for step in value["steps"]),
        arrears=value["arrears"],
        arrears_cap=value["arrears_cap"],
        reminders=_read_schedule(value["reminders"]) if "reminders" in value else REMINDERS,
        attempts=_read_schedule(value["attempts"]) if "attempts" in value else ATTEMPTS,
        charges_per_day=value.get("charges_per_day", DunningPolicy().charges_per_day),
    )


def _step_values(step: DunningStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "after_days": step.after_days,
        "at_least": [[symbol, str(amount)] for symbol, amount in step.at_least],
        "periods": step.periods,
        "attempts": step.attempts,
        "actions": list(step.actions),
        "again_after_days": step.again_after_days,
    }


def _read_step(value: dict[str, Any]) -> DunningStep:
    return DunningStep(
        name=value["name"],
        after_days=value["after_days"],
        at_least=tuple((symbol, int(amount)) for symbol, amount in value.get("at_least", ())),
        periods=value.get("periods", 1),
        attempts=value.get("attempts", 0),
        actions=tuple(value["actions"]),
        again_after_days=value.get("again_after_days", 0),
    )


def _schedule_values(schedule: Schedule) -> dict[str, Any]:
    return {
        "days": list(schedule.days),
        "by_reason": [[reason, list(days)] for reason, days in schedule.by_reason],
    }


def _read_schedule(value: dict[str, Any]) -> Schedule:
    return Schedule(
        days=tuple(value["days"]), by_reason=tuple((reason, tuple(days)) for reason, days in value["by_reason"])
    )
