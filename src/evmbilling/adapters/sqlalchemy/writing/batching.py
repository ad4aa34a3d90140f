"""Changes of several tables as one statement: on PostgreSQL a list of decisions then costs one round trip.

``WITH p0_ AS (INSERT …), p1_ AS (UPDATE … RETURNING …) SELECT (SELECT count(*) FROM p1_)``: the parts see the rows as
they were before the statement, in no order, and references between them are checked at its end. So a batch never holds
two changes of one table, and what has to be seen in between ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import frozen

from evmbilling.adapters.sqlalchemy.straight import prefix_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.writing.changes import Change
    from evmbilling.errors import BillingError


@frozen(eq=False)
class Pending:
    """A change of one row that waits for others to be sent with it.

    Attributes:
        missing: what it means when no row is met; ``None`` where that is not counted.

    """

    change: Change
    row: Mapping[str, Any]
    missing: BillingError | None = None


class Batches:
    """Makes and keeps the statements of batches: as many as there are kinds of lists, which the rules decide."""

    def __init__(self) -> None:
        self._known: dict[tuple[Change, ...], Any] = {}

    def statement(self, changes: Sequence[Change]) -> Any:
        """Return the statement of these changes, in their order; its row counts what those met that are counted."""
        key = tuple(changes)
        if key not in self._known:
            self._known[key] = _together(key)
        return self._known[key]


def values_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters of a batch."""
    values: dict[str, Any] = {}
    for place, row in enumerate(rows):
        prefix = prefix_of(place)
        values.update((prefix + name, value) for name, value in row.items())
    return values


def _together(changes: Sequence[Change]) -> Any:
    counts: list[Any] = []
    silent: list[Any] = []
    for place, change in enumerate(changes):
        part = change.make(prefix_of(place))
        if change.counted:
            met = part.returning(*change.table.primary_key.columns).cte(prefix_of(place))
            counts.append(sa.select(sa.func.count()).select_from(met).scalar_subquery())
        else:
            silent.append(part.cte(prefix_of(place)))
    return sa.select(*(counts or [sa.literal_column("0")])).add_cte(*silent)
