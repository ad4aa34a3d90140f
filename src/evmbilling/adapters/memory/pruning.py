"""Retention: which rows may go, and when each of them ended."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Final

from evmbilling.adapters.memory.tables import Tables
from evmbilling.errors import InputError

Ended = Iterator[tuple[datetime, Hashable]]


def prune(tables: Tables, table: str, before: datetime, limit: int) -> int:
    """Remove up to ``limit`` rows that ended before an instant, those that ended first; return how many.

    Raises:
        InputError: rows of this table never go.

    """
    if table not in _ERASABLE:
        raise InputError(f"rows of {table} are kept", field="table")
    ended_rows, attribute = _ERASABLE[table]
    ended = [row for row in ended_rows(tables) if row[0] < before]
    going = sorted(ended, key=lambda row: row[0])[: max(limit, 0)]
    for _, key in going:
        getattr(tables, attribute).drop(key)
    return len(going)


def _inbox(tables: Tables) -> Ended:
    for item in tables.inbox.values():
        if item.state in {"done", "dead"}:
            yield item.received_at, (item.source, item.event_id)


def _deliveries(tables: Tables) -> Ended:
    for delivery in tables.deliveries.values():
        if delivery.state != "waiting":
            yield delivery.done_at or delivery.next_at, (delivery.event_id, delivery.sink)


def _challenges(tables: Tables) -> Ended:
    for challenge in tables.challenges.values():
        yield challenge.expires_at, challenge.nonce


def _orphaned_logs(tables: Tables) -> Ended:
    for stored in tables.logs.values():
        if not stored.canonical:
            yield stored.log.block_time, (stored.log.chain_id, stored.log.block_hash, stored.log.log_index)


def _usage(tables: Tables) -> Ended:
    """A window ended when the next one of the same limit and source began."""
    keys = sorted((w.user_id, w.limit, w.source_id, w.starts_at) for w in tables.usage.values())
    for key, following in pairwise(keys):
        if key[:3] == following[:3]:
            yield following[3], key


def _pay_links(tables: Tables) -> Ended:
    for link in tables.pay_links.values():
        yield link.expires_at, link.token_hash


_ERASABLE: Final[dict[str, tuple[Callable[[Tables], Ended], str]]] = {
    "webhook_inbox": (_inbox, "inbox"),
    "deliveries": (_deliveries, "deliveries"),
    "wallet_challenges": (_challenges, "challenges"),
    "chain_logs": (_orphaned_logs, "logs"),
    "usage": (_usage, "usage"),
    "pay_links": (_pay_links, "pay_links"),
}
