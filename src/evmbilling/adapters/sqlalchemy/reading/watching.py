"""Reads of an operator: counts over whole tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy.reading.sending import DEPOSITS_IN
from evmbilling.adapters.sqlalchemy.reading.session import Session
from evmbilling.domain.reading.watching import Depth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.selling.deposits import DepositState


class WatchStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        orders, subscriptions = tables["payment_transactions"], tables["subscriptions"]
        outbox, unsent, deliveries = tables["outbox"], tables["unsent_events"], tables["deliveries"]
        count, oldest = sa.func.count().label("rows"), sa.func.min(outbox.c.recorded_at).label("oldest")
        kinds = (subscriptions.c.plan_slug, subscriptions.c.status)
        self.subscriptions = sa.select(*kinds, count).group_by(*kinds).order_by(*kinds)
        self.orders = sa.select(orders.c.status, count).group_by(orders.c.status).order_by(orders.c.status)
        self.outbox = sa.select(count, oldest).join_from(unsent, outbox, unsent.c.event_id == outbox.c.event_id)
        queue = tables["finance_queue"]
        self.queue = (
            sa.select(queue.c.kind, count, sa.func.min(queue.c.opened_at).label("oldest"))
            .where(queue.c.state == sa.literal_column("'open'"))
            .group_by(queue.c.kind)
            .order_by(queue.c.kind)
        )
        held = tables["deposits"]
        state = sa.case(
            *((sa.text(text), sa.literal_column(f"'{state}'")) for state, text in DEPOSITS_IN.items())
        ).label("state")
        self.deposits = (
            sa.select(held.c.chain_id, state, count, sa.func.min(held.c.seen_at).label("oldest"))
            .where(sa.text("seen_at IS NOT NULL"))
            .group_by(held.c.chain_id, state)
            .order_by(held.c.chain_id, state)
        )
        lanes = (deliveries.c.sink, deliveries.c.state)
        self.deliveries = (
            sa.select(*lanes, count, oldest)
            .join_from(deliveries, outbox, deliveries.c.event_id == outbox.c.event_id)
            .where(deliveries.c.state != sa.literal_column("'done'"))
            .group_by(*lanes)
            .order_by(*lanes)
        )


class WatchReader(Session):
    """Implements :class:`evmbilling.ports.watching.WatchReads`."""

    def subscriptions_by_plan(self) -> Mapping[tuple[str, str], int]:
        """Return how many subscriptions there are, by (plan slug, status)."""
        rows = self._all(self._statements.watch.subscriptions)
        return {(row.plan_slug, row.status): row.rows for row in rows}

    def orders_by_status(self) -> Mapping[str, int]:
        """Return how many orders there are, by status."""
        return {row.status: row.rows for row in self._all(self._statements.watch.orders)}

    def queue_depths(self) -> Mapping[str, Depth]:
        """Return how many items of the finance queue are open, by kind, and when the oldest was opened."""
        return {row.kind: Depth(row.rows, row.oldest) for row in self._all(self._statements.watch.queue)}

    def deposit_depths(self) -> Mapping[tuple[int, DepositState], Depth]:
        """Return how many deposit addresses hold something, by (chain id, state), and since when the oldest does."""
        rows = self._all(self._statements.watch.deposits)
        return {(row.chain_id, row.state): Depth(row.rows, row.oldest) for row in rows}

    def outbox_depth(self) -> Depth:
        """Return how many events were not handed out yet, and when the oldest was recorded."""
        row = self._one(self._statements.watch.outbox)
        return Depth(row.rows, row.oldest)

    def delivery_depths(self) -> Mapping[tuple[str, str], Depth]:
        """Return how many deliveries wait or are dead, by (sink, state), and when the oldest event was recorded."""
        rows = self._all(self._statements.watch.deliveries)
        return {(row.sink, row.state): Depth(row.rows, row.oldest) for row in rows}
