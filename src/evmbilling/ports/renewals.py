"""What the biller asks of storage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from evmbilling.domain.mandates.charges import Charge, ChargeState
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.pay_links import PayLink


class RenewalReads(Protocol):
    """What is due, charges and pay links."""

    def claim_due(self, chain_id: int, before: datetime, limit: int) -> Sequence[tuple[Customer, str]]:
        """Lock the customers of subscriptions that are to be looked at by an instant, and return them with these ids.

        Of subscriptions that are asked for on a chain, those with the earliest ``look_at``; one index lookup, whatever
        else there is. Customers whom another unit holds are passed over, so that two billers share the work. What is
        returned may have changed since: read it again under the lock.
        """
        ...

    def charges_of(self, ledger_ids: Collection[str]) -> Sequence[Charge]:
        """Return the charges of these orders by (order, attempt)."""
        ...

    def open_charges(self, chain_id: int, state: ChargeState, limit: int = 100, *, after: str = "") -> Sequence[Charge]:
        """Return charges of a chain that are ``requested``, ``submitted`` or ``unknown``, by (order, attempt).

        Args:
            after: only of orders whose id is greater.

        """
        ...

    def pay_link(self, token_hash: bytes) -> PayLink | None:
        """Return a link by the hash of its token."""
        ...

    def oldest_waiting(self, chain_id: int) -> datetime | None:
        """Return the time of the oldest block with something that waits ``now`` to be taken in; None for nothing."""
        ...
