"""Reading facts that others append: what is new, found without anybody having to say so, and what was committed late.

Rows have ids and times from before their commit, so a row can appear below others that were read long before. Journals
are numbered without gaps in the order of commits, so a reader keeps how far it is in each; where to look for unread
ones is narrowed down by time, with an overlap. Once a day everything is looked through: nothing is missed for ever,
however long a host kept its transaction open.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from evmbilling.domain.books.figure_records import LONG_AGO, FigureState

OVERLAP = timedelta(minutes=15)
"""Longer than any transaction of ours can be open, and than the clocks of machines differ."""
SWEEP_EVERY = timedelta(days=1)


def sweeps(state: FigureState, now: datetime) -> bool:
    """Whether everything is to be looked through."""
    return now - state.swept_at >= SWEEP_EVERY


def look_from(mark: datetime) -> datetime:
    """Return from when on facts are looked for, of which everything recorded before ``mark`` was read."""
    return max(mark - OVERLAP, LONG_AGO)
