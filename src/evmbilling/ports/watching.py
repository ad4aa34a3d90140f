"""Reads of an operator: counts over whole tables, for monitoring and administration, never for a customer's call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from evmbilling.domain.reading.watching import Depth
from evmbilling.domain.selling.deposits import DepositState


class WatchReads(Protocol):
    """How much there is, and how much waits."""

    def subscriptions_by_plan(self) -> Mapping[tuple[str, str], int]:
        """Return how many subscriptions there are, by (plan slug, status)."""
        ...

    def orders_by_status(self) -> Mapping[str, int]:
        """Return how many orders there are, by status."""
        ...

    def queue_depths(self) -> Mapping[str, Depth]:
        """Return how many items of the finance queue are open, by kind, and when the oldest was opened."""
        ...

    def deposit_depths(self) -> Mapping[tuple[int, DepositState], Depth]:
        """Return how many deposit addresses hold something, by (chain id, state), and since when the oldest does."""
        ...

    def outbox_depth(self) -> Depth:
        """Return how many events were not handed out yet, and when the oldest was recorded."""
        ...

    def delivery_depths(self) -> Mapping[tuple[str, str], Depth]:
        """Return how many deliveries wait or are dead, by (sink, state), and when the oldest event was recorded."""
        ...
