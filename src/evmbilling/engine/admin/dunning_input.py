"""Reading a dunning policy from an administrator or from settings: the record, or a mapping of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

import attrs

from evmbilling.domain.subscriptions.dunning import Arrears, DunningAction, DunningPolicy, DunningStep, Schedule
from evmbilling.engine.admin.readers import Reader, many, named, one_of, slug, symbol_amounts, whole
from evmbilling.errors import InputError

_FIELD = "dunning"
_MOST_DAYS = 3650
_MOST_STEPS = 20
_MOST_TIMES = 100


def dunning_policy(value: object) -> DunningPolicy:
    """Read what happens with debt.

    A schedule is a list of days, or a mapping with ``days`` and ``by_reason`` (a reason to its days).

    Raises:
        InputError: names what cannot be used; the field is ``dunning``.

    """
    readers: dict[str, Reader] = {
        "grace_days": whole(_FIELD, 0, _MOST_DAYS),
        "steps": _steps,
        "arrears": one_of(_FIELD, get_args(Arrears)),
        "arrears_cap": whole(_FIELD, 1, _MOST_TIMES),
        "reminders": lambda given: _schedule(given, -_MOST_DAYS),
        "attempts": lambda given: _schedule(given, 0),
        "charges_per_day": whole(_FIELD, 1, 24),
    }
    return DunningPolicy(**_read(value, DunningPolicy, readers))


def _steps(value: object) -> tuple[DunningStep, ...]:
    steps: tuple[DunningStep, ...] = many(_FIELD, _step)(value)
    names = {step.name for step in steps}
    if len(names) != len(steps) or len(steps) > _MOST_STEPS:
        raise InputError(f"at most {_MOST_STEPS} states, each with a name of its own, the worst first", field=_FIELD)
    return steps


def _step(value: object) -> DunningStep:
    readers: dict[str, Reader] = {
        "name": slug(_FIELD),
        "after_days": whole(_FIELD, 0, _MOST_DAYS),
        "at_least": symbol_amounts(_FIELD),
        "periods": whole(_FIELD, 1, _MOST_TIMES),
        "attempts": whole(_FIELD, 0, _MOST_TIMES),
        "actions": many(_FIELD, one_of(_FIELD, get_args(DunningAction)), at_least=1),
        "again_after_days": whole(_FIELD, 0, _MOST_DAYS),
    }
    return DunningStep(**_read(value, DunningStep, readers))


def _schedule(value: object, first: int) -> Schedule:
    if isinstance(value, list | tuple):
        return Schedule(days=_days(value, first))
    readers: dict[str, Reader] = {
        "days": lambda given: _days(given, first),
        "by_reason": lambda given: tuple(
            (slug(_FIELD)(reason), _days(days, first)) for reason, days in sorted(named(_FIELD, given))
        ),
    }
    return Schedule(**_read(value, Schedule, readers))


def _days(value: object, first: int) -> tuple[int, ...]:
    """Read ascending days: two of one day would be two charges of one day."""
    days: tuple[int, ...] = many(_FIELD, whole(_FIELD, first, _MOST_DAYS))(value)
    if any(later <= earlier for earlier, later in pairwise(days)):
        raise InputError("the days of a schedule ascend", field=_FIELD)
    return days


def _read(value: object, kind: type[Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    given = {a.name: getattr(value, a.name) for a in attrs.fields(kind)} if isinstance(value, kind) else value
    needed = {a.name for a in attrs.fields(kind) if a.default is attrs.NOTHING}
    if not isinstance(given, Mapping) or not needed <= set(given) <= set(readers):
        raise InputError(f"a {kind.__name__} has {', '.join(readers)}", field=_FIELD)
    return {name: _named(name, readers[name], item) for name, item in given.items()}


def _named(name: str, reader: Reader, item: object) -> Any:
    """Read a part of the policy, and say of what is wrong there which part it is."""
    try:
        return reader(item)
    except InputError as error:
        raise InputError(f"{name}: {error.message}", field=_FIELD) from None
