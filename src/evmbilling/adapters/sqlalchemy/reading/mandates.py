"""Reads of mandates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.orders import by_chain
from evmbilling.adapters.sqlalchemy.reading.session import Session, several
from evmbilling.adapters.sqlalchemy.rows.mandates import read_mandate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.identity import CreditIdentity
    from evmbilling.domain.mandates.mandates import Mandate


class MandateStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        mandates = tables["mandates"]
        columns, ordered = mandates.c, sa.select(mandates).order_by(mandates.c.mandate_id)
        self.mandate = sa.select(mandates).where(columns.mandate_id == bindparam("mandate_id"))
        self.of_user = ordered.where(columns.user_id == bindparam("user_id"))
        self.of_subscriptions = ordered.where(columns.subscription_id.in_(several("subscription_ids")))
        self.by_digest = sa.select(mandates).where(columns.digest.in_(several("digests")))
        on_chain = sa.select(mandates).where(columns.chain_id == bindparam("chain_id"))
        # Two statements, each on an index of its own.
        self.given_in = on_chain.where(columns.given_tx.in_(several("tx_hashes")))
        self.revoked_in = on_chain.where(columns.revoked_tx.in_(several("tx_hashes")))


class MandateReader(Session):
    """Implements :class:`evmbilling.ports.mandates.MandateReads`."""

    def mandate(self, mandate_id: str) -> Mandate | None:
        """Return a mandate."""
        row = self._one(self._statements.mandates.mandate, mandate_id=mandate_id)
        return None if row is None else read_mandate(row)

    def mandates_of_user(self, user_id: str) -> Sequence[Mandate]:
        """Return a user's mandates by id."""
        return [read_mandate(row) for row in self._all(self._statements.mandates.of_user, user_id=user_id)]

    def mandates_of_subscriptions(self, subscription_ids: Collection[str]) -> Sequence[Mandate]:
        """Return the mandates of these subscriptions by id."""
        found = self._in(self._statements.mandates.of_subscriptions, "subscription_ids", subscription_ids)
        return sorted((read_mandate(row) for row in found), key=lambda mandate: mandate.mandate_id)

    def mandates_by_digest(self, digests: Collection[bytes]) -> Mapping[bytes, Mandate]:
        """Return the mandates that these ids on chain name."""
        found = self._in(self._statements.mandates.by_digest, "digests", digests)
        return {row.digest: read_mandate(row) for row in found}

    def mandates_seen_in(self, identities: Collection[CreditIdentity]) -> Sequence[Mandate]:
        """Return the mandates whose giving or revocation on chain is one of these logs, by id."""
        wanted = set(identities)
        statements = (self._statements.mandates.given_in, self._statements.mandates.revoked_in)
        found = {
            row.mandate_id: read_mandate(row)
            for chain_id, hashes in by_chain(wanted)
            for statement in statements
            for row in self._in(statement, "tx_hashes", hashes, chain_id=chain_id)
        }
        seen = (
            m for m in found.values() if any(s is not None and s.identity in wanted for s in (m.on_chain, m.revocation))
        )
        return sorted(seen, key=lambda mandate: mandate.mandate_id)
