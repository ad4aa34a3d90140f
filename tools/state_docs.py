# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/subscription-states.md`` from the table of states and triggers.

::

    python tools/state_docs.py             write it
    python tools/state_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

from written import keep

from evmbilling.domain.states import SUBSCRIPTION_MOVES, SubscriptionStatus
from evmbilling.domain.subscriptions.triggers import MEANING, SUBSCRIPTION_TRIGGERS, Trigger

HEAD = """\
# States of a subscription

Written by `tools/state_docs.py` from `evmbilling.domain.subscriptions.triggers`; a test goes through every pair.

A cell says where a trigger leads from a state, when nothing else happened in between: `·` changes no state, a state's
name is where it leads, a *code* is the typed error with which it is refused. See
[The life of a subscription](../explanation/subscriptions.md) for what the words mean.

"""


def render() -> str:
    """Return the page."""
    states = list(SubscriptionStatus)
    rows = [f"| trigger | {' | '.join(f'`{state}`' for state in states)} |", f"|---{'|---' * len(states)}|"]
    for trigger in Trigger:
        cells = (_cell(state, trigger) for state in states)
        rows.append(f"| {MEANING[trigger]} | {' | '.join(cells)} |")
    moves = [
        f"| `{before}` | {', '.join(f'`{after}`' for after in sorted(SUBSCRIPTION_MOVES[before])) or 'nothing'} |"
        for before in states
    ]
    steps = [
        "",
        "## Moves",
        "",
        "What a stored state may be followed by, in one step.",
        "",
        "| from | to |",
        "|---|---|",
    ]
    return HEAD + "\n".join([*rows, *steps, *moves]) + "\n"


def _cell(state: SubscriptionStatus, trigger: Trigger) -> str:
    outcome = SUBSCRIPTION_TRIGGERS[state, trigger]
    if outcome.refused is not None:
        return f"*{outcome.refused}*"
    return "·" if outcome.to is state else f"`{outcome.to}`"


if __name__ == "__main__":
    keep("subscription-states.md", render(), tool="state_docs.py")
