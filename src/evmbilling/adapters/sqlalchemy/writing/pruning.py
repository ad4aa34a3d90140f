"""Retention: which rows may go, and when each of them ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.types import UtcInstant

if TYPE_CHECKING:
    from collections.abc import Callable

    from evmbilling.adapters.sqlalchemy.tables import Tables

Ended = tuple[Any, Any]
"""When a row ended, and which rows have ended at all."""


def pruning_statements(tables: Tables) -> dict[str, Any]:
    """Return the DELETE of each erasable table; it takes ``before`` and ``most`` and begins with what ended first."""
    return {short: _delete(tables[short], ended) for short, ended in _ERASABLE.items()}


def _delete(table: sa.Table, ended: Callable[[Any], Ended]) -> Any:
    rows = sa.alias(table)
    instant, over = ended(rows)
    keys = [column.name for column in table.primary_key.columns]
    going = (
        sa.select(*(rows.c[name] for name in keys))
        .where(over, instant < bindparam("before", type_=UtcInstant()))
        .order_by(instant)
        .limit(bindparam("most"))
    )
    return sa.delete(table).where(sa.tuple_(*(table.c[name] for name in keys)).in_(going))


def _hints(rows: Any) -> Ended:
    return rows.c.received_at, rows.c.state.in_(("done", "dead"))


def _deliveries(rows: Any) -> Ended:
    return sa.func.coalesce(rows.c.done_at, rows.c.next_at), rows.c.state != "waiting"


def _challenges(rows: Any) -> Ended:
    return rows.c.expires_at, sa.true()


def _orphaned_logs(rows: Any) -> Ended:
    return rows.c.block_time, rows.c.canonical == sa.literal(value=False, type_=rows.c.canonical.type)


def _usage(rows: Any) -> Ended:
    """A window ended when the next one of the same limit and source began."""
    later = sa.alias(rows.element)
    same = (later.c[name] == rows.c[name] for name in ("user_id", "limit_name", "source_id"))
    began = sa.select(sa.func.min(later.c.starts_at)).where(*same, later.c.starts_at > rows.c.starts_at)
    return began.scalar_subquery(), sa.true()


def _pay_links(rows: Any) -> Ended:
    return rows.c.expires_at, sa.true()


_ERASABLE: dict[str, Callable[[Any], Ended]] = {
    "webhook_inbox": _hints,
    "deliveries": _deliveries,
    "wallet_challenges": _challenges,
    "chain_logs": _orphaned_logs,
    "usage": _usage,
    "pay_links": _pay_links,
}
