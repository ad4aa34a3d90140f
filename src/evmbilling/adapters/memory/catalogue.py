"""What is configured, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never

import attrs

from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import K, Rows
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.versions import Versioned, check_saved
from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.errors import AlreadyExists, UnknownPlan

CatalogueDecision = d.SaveNetwork | d.SaveGateway | d.SaveContract | d.AddPlanVersion | d.ArchivePlan


class MemoryCatalogue(Reads):
    """Implements :class:`evmbilling.ports.storage.CatalogueReads`."""

    def network(self, name: str) -> Network | None:
        """Return a network by name."""
        return self._tables.networks.get(name)

    def networks(self) -> Sequence[Network]:
        """Return all networks by name."""
        return sorted(self._tables.networks.values(), key=lambda n: n.name)

    def gateway(self, slug: str) -> PaymentGateway | None:
        """Return a gateway by slug."""
        return self._tables.gateways.get(slug)

    def gateways(self) -> Sequence[PaymentGateway]:
        """Return all gateways by slug."""
        return sorted(self._tables.gateways.values(), key=lambda g: g.slug)

    def contract(self, slug: str, network: str) -> PaymentContract | None:
        """Return the contract of that slug on a network."""
        return self._tables.contracts.get((slug, network))

    def contracts(self, chain_id: int | None = None) -> Sequence[PaymentContract]:
        """Return all contracts, or those of one chain, by (slug, network)."""
        rows = self._tables.contracts
        found = rows.values() if chain_id is None else rows.find("chain", chain_id)
        return sorted(found, key=lambda c: (c.slug, c.network))

    def plan(self, slug: str, version: int | None = None) -> SubscriptionPlan | None:
        """Return one version of a plan, or the newest."""
        if version is not None:
            return self._tables.plans.get((slug, version))
        return max(self._tables.plans.find("slug", slug), key=lambda p: p.version, default=None)

    def plans(self) -> Sequence[SubscriptionPlan]:
        """Return the newest version of every plan by slug."""
        ordered = sorted(self._tables.plans.values(), key=lambda p: (p.slug, p.version))
        return list({p.slug: p for p in ordered}.values())

    def plan_versions(self, keys: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], SubscriptionPlan]:
        """Return the named (slug, version) pairs that exist."""
        found = {key: self._tables.plans.get(key) for key in keys}
        return {key: plan for key, plan in found.items() if plan is not None}


def _save(rows: Rows[K, Any], key: K, row: Versioned) -> None:
    """Insert version 1 of a configured row, or replace the version below."""
    check_saved(rows.get(key), row)
    rows.put(key, row)


def _save_network(tables: Tables, network: Network) -> None:
    """Save a network; its chain id belongs to no other network."""
    if any(other.name != network.name for other in tables.networks.find("chain", network.chain_id)):
        raise AlreadyExists("another network has this chain id", field="chain_id")
    _save(tables.networks, network.name, network)


def _add_plan_version(tables: Tables, plan: SubscriptionPlan) -> None:
    """Insert a plan version."""
    key = (plan.slug, plan.version)
    if tables.plans.get(key) is not None:
        raise AlreadyExists("this version of the plan exists", field="plan")
    tables.plans.put(key, plan)


def _archive_plan(tables: Tables, slug: str, archived_at: datetime | None) -> None:
    """Set ``archived_at`` on every version of a plan."""
    versions = tables.plans.find("slug", slug)
    if not versions:
        raise UnknownPlan(field="plan")
    for plan in versions:
        tables.plans.put((plan.slug, plan.version), attrs.evolve(plan, archived_at=archived_at))


def write(tables: Tables, decision: CatalogueDecision) -> None:
    """Write one decision about the catalogue."""
    match decision:
        case d.SaveNetwork(network):
            _save_network(tables, network)
        case d.SaveGateway(gateway):
            _save(tables.gateways, gateway.slug, gateway)
        case d.SaveContract(contract):
            _save(tables.contracts, (contract.slug, contract.network), contract)
        case d.AddPlanVersion(plan):
            _add_plan_version(tables, plan)
        case d.ArchivePlan(plan):
            _archive_plan(tables, plan.slug, plan.archived_at)
        case _:
            assert_never(decision)
