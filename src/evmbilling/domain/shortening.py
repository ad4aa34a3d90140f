"""Memberships that end sooner than they were paid for, because the end of what was paid was given back."""

from __future__ import annotations

from collections.abc import Iterable

from evmbilling.domain.subscriptions import SubscriptionChange


def shortened(changes: Iterable[SubscriptionChange]) -> SubscriptionChange | None:
    """Return the change by which a membership leaves before the end of what was paid; None when none holds.

    Its ``period`` is the one with which it is over, its ``paid_to`` the first that was not paid then.
    """
    known = [c for c in changes if c.kind in {"cancel_at_period_end", "undo_cancel"}]
    last = max(known, key=lambda c: c.seq, default=None)
    return last if last is not None and last.kind == "cancel_at_period_end" and last.period is not None else None


def left_by_choice(changes: Iterable[SubscriptionChange]) -> bool:
    """Whether somebody had cancelled for the end of what is paid, apart from what was given back."""
    chosen = [c for c in changes if c.kind == "undo_cancel" or (c.kind == "cancel_at_period_end" and c.period is None)]
    return max(chosen, key=lambda c: c.seq).kind == "cancel_at_period_end" if chosen else False
