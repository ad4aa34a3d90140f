"""What the biller reads and writes, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import assert_never

import attrs

from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.versions import replaced
from evmbilling.domain.mandates.charges import Charge, ChargeState, StoreCharge
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.pay_links import OpenPayLink, PayLink
from evmbilling.errors import AlreadyExists

RenewalDecision = StoreCharge | OpenPayLink


class MemoryRenewals(Reads):
    """Implements :class:`evmbilling.ports.renewals.RenewalReads`."""

    def claim_due(self, chain_id: int, before: datetime, limit: int) -> Sequence[tuple[Customer, str]]:
        """Return what is to be looked at by an instant; this unit holds everybody."""
        self._must_write()
        found = [s for s in self._tables.subscriptions.find("look", chain_id) if s.look_at and s.look_at <= before]
        ordered = sorted(found, key=lambda s: (s.look_at, s.subscription_id))[:limit]
        pairs = [(self._tables.customers.get(s.user_id), s.subscription_id) for s in ordered]
        return [(customer, name) for customer, name in pairs if customer is not None]

    def charges_of(self, ledger_ids: Collection[str]) -> Sequence[Charge]:
        """Return the charges of these orders by (order, attempt)."""
        found = [c for ledger_id in set(ledger_ids) for c in self._tables.charges.find("order", ledger_id)]
        return sorted(found, key=lambda c: (c.ledger_id, c.attempt))

    def open_charges(self, chain_id: int, state: ChargeState, limit: int = 100, *, after: str = "") -> Sequence[Charge]:
        """Return charges of a chain in a state, by (order, attempt)."""
        found = [c for c in self._tables.charges.find("open", (chain_id, state)) if c.ledger_id > after]
        return sorted(found, key=lambda c: (c.ledger_id, c.attempt))[:limit]

    def pay_link(self, token_hash: bytes) -> PayLink | None:
        """Return a link by the hash of its token."""
        return self._tables.pay_links.get(token_hash)

    def oldest_waiting(self, chain_id: int) -> datetime | None:
        """Return the time of the oldest block with something that waits to be taken in."""
        waiting = self._tables.items.find("wait", (chain_id, "now"))
        logs = [stored.log for item in waiting for stored in self._tables.logs.find("identity", item.identity)]
        return min((log.block_time for log in logs), default=None)


def _store_charge(tables: Tables, charge: Charge) -> None:
    """Insert version 1 of a charge, or replace what became of it."""
    key = (charge.ledger_id, charge.attempt)
    if charge.version > 1:
        stored = replaced(tables.charges.get(key), charge)
        projection = {name: getattr(charge, name) for name in ("state", "reason", "settled_at", "version")}
        charge = attrs.evolve(stored, **projection)
    elif tables.charges.get(key) is not None:
        raise AlreadyExists("this attempt of the order is made", field="attempt")
    refer(tables.orders, charge.ledger_id, field="ledger_id")
    refer(tables.customers, charge.user_id, field="user_id")
    refer(tables.subscriptions, charge.subscription_id, field="subscription_id")
    tables.charges.put(key, charge)


def _open_pay_link(tables: Tables, decision: OpenPayLink) -> None:
    """Insert a pay link; the order's older ones end soon."""
    link = decision.link
    for other in tables.pay_links.find("order", link.ledger_id):
        if other.expires_at > decision.others_until:
            tables.pay_links.put(other.token_hash, attrs.evolve(other, expires_at=decision.others_until))
    if tables.pay_links.get(link.token_hash) is not None:
        raise AlreadyExists("this token is taken", field="token")
    refer(tables.orders, link.ledger_id, field="ledger_id")
    tables.pay_links.put(link.token_hash, link)


def write(tables: Tables, decision: RenewalDecision) -> None:
    """Write one decision of the biller."""
    match decision:
        case StoreCharge(charge):
            _store_charge(tables, charge)
        case OpenPayLink():
            _open_pay_link(tables, decision)
        case _:
            assert_never(decision)
