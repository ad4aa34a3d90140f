"""Mandates, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.versions import check_saved
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.errors import AlreadyExists


class MemoryMandates(Reads):
    """Implements :class:`evmbilling.ports.mandates.MandateReads`."""

    def mandate(self, mandate_id: str) -> Mandate | None:
        """Return a mandate."""
        return self._tables.mandates.get(mandate_id)

    def mandates_of_user(self, user_id: str) -> Sequence[Mandate]:
        """Return a user's mandates by id."""
        return _by_id(self._tables.mandates.find("user", user_id))

    def mandates_of_subscriptions(self, subscription_ids: Collection[str]) -> Sequence[Mandate]:
        """Return the mandates of these subscriptions by id."""
        return _by_id(m for s in set(subscription_ids) for m in self._tables.mandates.find("subscription", s))

    def mandates_by_digest(self, digests: Collection[bytes]) -> Mapping[bytes, Mandate]:
        """Return the mandates that these ids on chain name."""
        return {m.digest: m for digest in sorted(set(digests)) for m in self._tables.mandates.find("digest", digest)}

    def mandates_seen_in(self, identities: Collection[CreditIdentity]) -> Sequence[Mandate]:
        """Return the mandates whose giving or revocation on chain is one of these logs, by id."""
        rows = self._tables.mandates
        found = {m.mandate_id: m for i in identities for which in ("given", "revoked") for m in rows.find(which, i)}
        return _by_id(found.values())


def store_mandate(tables: Tables, mandate: Mandate) -> None:
    """Insert version 1 of a mandate, or replace the version below."""
    check_saved(tables.mandates.get(mandate.mandate_id), mandate)
    if any(m.mandate_id != mandate.mandate_id for m in tables.mandates.find("digest", mandate.digest)):
        raise AlreadyExists("a mandate with this id on chain exists", field="digest")
    refer(tables.customers, mandate.user_id, field="user_id")
    refer(tables.subscriptions, mandate.subscription_id, field="subscription_id")
    tables.mandates.put(mandate.mandate_id, mandate)


def _by_id(mandates: Iterable[Mandate]) -> Sequence[Mandate]:
    return sorted(mandates, key=lambda mandate: mandate.mandate_id)
