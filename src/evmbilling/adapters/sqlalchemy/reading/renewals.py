"""Reads of the biller: what is due, as far as payments are known; charges and pay links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import Session, several
from evmbilling.adapters.sqlalchemy.rows import billing, subscriptions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.mandates.charges import Charge, ChargeState
    from evmbilling.domain.people.customers import Customer
    from evmbilling.domain.selling.pay_links import PayLink

LOOKED_AT = "look_at IS NOT NULL"
OPEN = "state <> 'failed'"
UNSETTLED = "wait <> 'never'"
"""Conditions of partial indexes, in the words of the index."""


class RenewalStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        held, customers = tables["subscriptions"], tables["customers"]
        self.due = (
            sa.select(customers, held.c.subscription_id)
            .join_from(held, customers, held.c.user_id == customers.c.user_id)
            .where(held.c.chain_id == bindparam("chain_id"), sa.text(LOOKED_AT))
            .where(held.c.look_at <= bindparam("before"))
            .order_by(held.c.look_at, held.c.subscription_id)
            .limit(bindparam("most"))
            # The customer is the lock of everything about them; whoever holds it does what is due, or we come again.
            .with_for_update(key_share=True, skip_locked=True, of=customers)
        )
        charges, links = tables["charges"], tables["pay_links"]
        self.charges = (
            sa.select(charges)
            .where(charges.c.ledger_id.in_(several("ledger_ids")))
            .order_by(charges.c.ledger_id, charges.c.attempt)
        )
        self.open_charges = (
            sa.select(charges)
            .where(charges.c.chain_id == bindparam("chain_id"), sa.text(OPEN), charges.c.state == bindparam("state"))
            .where(charges.c.ledger_id > bindparam("after"))
            .order_by(charges.c.ledger_id, charges.c.attempt)
            .limit(bindparam("most"))
        )
        self.pay_link = sa.select(links).where(links.c.token_hash == bindparam("token_hash"))
        items, logs = tables["intake_items"], tables["chain_logs"]
        self.oldest_waiting = (
            sa.select(sa.func.min(logs.c.block_time))
            .select_from(items)
            .join(
                logs,
                sa.and_(
                    logs.c.chain_id == items.c.chain_id,
                    logs.c.tx_hash == items.c.tx_hash,
                    logs.c.ordinal == items.c.ordinal,
                ),
            )
            .where(items.c.chain_id == bindparam("chain_id"), sa.text(UNSETTLED), items.c.wait == "now")
            .where(logs.c.canonical == bindparam("canonical"))
        )


class RenewalReader(Session):
    """Implements :class:`evmbilling.ports.renewals.RenewalReads`."""

    def claim_due(self, chain_id: int, before: datetime, limit: int) -> Sequence[tuple[Customer, str]]:
        """Lock customers with a subscription that is to be looked at by an instant; skips what others hold."""
        self._begin_writing()
        found = self._all(self._statements.renewals.due, chain_id=chain_id, before=before, most=limit)
        return [(billing.read_customer(row), row.subscription_id) for row in found]

    def charges_of(self, ledger_ids: Collection[str]) -> Sequence[Charge]:
        """Return the charges of these orders by (order, attempt)."""
        found = self._in(self._statements.renewals.charges, "ledger_ids", ledger_ids)
        return [subscriptions.read_charge(row) for row in found]

    def open_charges(self, chain_id: int, state: ChargeState, limit: int = 100, *, after: str = "") -> Sequence[Charge]:
        """Return charges of a chain in a state, by (order, attempt)."""
        wanted = {"chain_id": chain_id, "state": state, "after": after, "most": limit}
        found = self._all(self._statements.renewals.open_charges, **wanted)
        return [subscriptions.read_charge(row) for row in found]

    def pay_link(self, token_hash: bytes) -> PayLink | None:
        """Return a link by the hash of its token."""
        row = self._one(self._statements.renewals.pay_link, token_hash=token_hash)
        return None if row is None else subscriptions.read_pay_link(row)

    def oldest_waiting(self, chain_id: int) -> datetime | None:
        """Return the time of the oldest block that holds something which is read, but not taken in."""
        values = {"chain_id": chain_id, "canonical": True}
        found: datetime | None = self._run(self._statements.renewals.oldest_waiting, values).scalar_one()
        return found
