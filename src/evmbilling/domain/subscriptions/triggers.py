"""Every state of a subscription, and what everything that can happen to it does there: the specification, as a table.

A cell says where a trigger leads when nothing else happened in between: ``=`` changes no state, a state's name is
where it leads, ``!code`` is the typed error with which it is refused. A state or a trigger without a row is an error
when this module is imported; a test goes through all pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from evmbilling.domain.states import SubscriptionStatus


class Trigger(StrEnum):
    """What can happen to a subscription."""

    SEEN = "seen"
    PAID = "paid"
    REVERSED = "reversed"
    BEGINS = "begins"
    TRIAL_ENDS = "trial_ends"
    DUE = "due"
    OLD_DEBT = "old_debt"
    OLDER_DEBT = "older_debt"
    CANCEL_NOW = "cancel_now"
    CANCEL_AT_END = "cancel_at_end"
    CANCELLED_AND_END = "cancelled_and_end"
    UNDO_CANCEL = "undo_cancel"
    ZONE = "zone"
    PAUSE_NOW = "pause_now"
    PAUSE_AT_END = "pause_at_end"
    RESUME = "resume"
    CHANGE_NOW = "change_now"
    CHANGE_NEXT = "change_next"
    WITHDRAW_CHANGE = "withdraw_change"
    REFUNDED = "refunded"


MEANING: Mapping[Trigger, str] = {
    Trigger.SEEN: "money for what is asked for is in a block, not deep enough to count",
    Trigger.PAID: "money for what is asked for counts",
    Trigger.REVERSED: "a reorganisation takes every payment back",
    Trigger.BEGINS: "a start that was chosen comes",
    Trigger.TRIAL_ENDS: "the trial ends and nobody has paid",
    Trigger.DUE: "the next period falls due unpaid",
    Trigger.OLD_DEBT: "the debt is as old as a state of dunning that suspends",
    Trigger.OLDER_DEBT: "the debt is as old as a state of dunning that cancels",
    Trigger.CANCEL_NOW: "it is cancelled, at once",
    Trigger.CANCEL_AT_END: "it is cancelled, for the end of what is paid",
    Trigger.CANCELLED_AND_END: "that, and the end comes",
    Trigger.UNDO_CANCEL: "a cancellation is taken back",
    Trigger.ZONE: "its calendar moves to another zone",
    Trigger.PAUSE_NOW: "it is paused, at once",
    Trigger.PAUSE_AT_END: "it is paused, for the end of what is paid",
    Trigger.RESUME: "it is resumed",
    Trigger.CHANGE_NOW: "other terms are asked for within the period",
    Trigger.CHANGE_NEXT: "other terms are asked for from the next period on",
    Trigger.WITHDRAW_CHANGE: "a change that waits is dropped",
    Trigger.REFUNDED: "its membership ends with a refund",
}

_TABLE = """
                   scheduled   incomplete          trialing   active      past_due   suspended  paused     ended  incomplete_expired
seen               =           =                   =          =           =          =          =          =      =
paid               =           active              =          =           active     active     =          =      =
reversed           =           =                   =          incomplete  incomplete incomplete =          =      =
begins             active      =                   =          =           =          =          =          =      =
trial_ends         active      =                   past_due   =           =          =          =          =      =
due                past_due    =                   suspended  past_due    =          =          =          =      =
old_debt           suspended   =                   suspended  suspended   suspended  =          =          =      =
older_debt         ended       =                   ended      ended       ended      ended      =          =      =
cancel_now         ended       incomplete_expired  ended      ended       ended      ended      ended      =      =
cancel_at_end      =           incomplete_expired  =          =           ended      ended      =          =      =
cancelled_and_end  ended       incomplete_expired  ended      ended       ended      ended      ended      =      =
undo_cancel        =           =                   =          =           =          =          =          !illegal_transition !illegal_transition
zone               =           =                   =          =           =          =          =          !illegal_transition !illegal_transition
pause_now          !illegal_transition !illegal_transition !illegal_transition paused !conflict !conflict = !illegal_transition !illegal_transition
pause_at_end       !illegal_transition !illegal_transition !illegal_transition = !conflict !conflict = !illegal_transition !illegal_transition
resume             =           =                   =          =           =          =          active     !illegal_transition !illegal_transition
change_now         !conflict   !conflict           !conflict  =           !conflict  !conflict  !conflict  !illegal_transition !illegal_transition
change_next        =           !conflict           =          =           !conflict  !conflict  !conflict  !illegal_transition !illegal_transition
withdraw_change    =           =                   =          =           =          =          =          =      =
refunded           ended       ended               ended      ended       ended      ended      ended      =      =
"""  # noqa: E501  - a table is read by its columns


@frozen(kw_only=True)
class Outcome:
    """What a trigger does in a state.

    Attributes:
        to: the state that it leads to; the same one when it changes no state.
        refused: the code of the typed error instead; None when it is legal.

    """

    to: SubscriptionStatus
    refused: str | None = None


def _read(table: str) -> dict[tuple[SubscriptionStatus, Trigger], Outcome]:
    head, *rows = table.strip().splitlines()
    states = [SubscriptionStatus(word) for word in head.split()]
    found: dict[tuple[SubscriptionStatus, Trigger], Outcome] = {}
    for row in rows:
        name, *cells = row.split()
        for state, cell in zip(states, cells, strict=True):
            to = state if cell == "=" or cell[0] == "!" else SubscriptionStatus(cell)
            found[state, Trigger(name)] = Outcome(to=to, refused=cell[1:] if cell[0] == "!" else None)
    absent = {(s, t) for s in SubscriptionStatus for t in Trigger} - found.keys()
    if absent:
        raise AssertionError(f"pairs without a row: {sorted(absent)}")
    return found


SUBSCRIPTION_TRIGGERS: Mapping[tuple[SubscriptionStatus, Trigger], Outcome] = _read(_TABLE)
