"""Reads of what is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import UNKNOWN, Session, several
from evmbilling.adapters.sqlalchemy.rows import catalogue as rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan


class CatalogueStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        networks, gateways = tables["networks"], tables["gateways"]
        contracts, plans = tables["contracts"], tables["plans"]
        self.networks = sa.select(networks).order_by(networks.c.name)
        self.network = sa.select(networks).where(networks.c.name == bindparam("name"))
        self.gateways = sa.select(gateways).order_by(gateways.c.slug)
        self.gateway = sa.select(gateways).where(gateways.c.slug == bindparam("slug"))
        self.contracts = sa.select(contracts).order_by(contracts.c.slug, contracts.c.network)
        self.contracts_of_chain = self.contracts.where(contracts.c.chain_id == bindparam("chain_id"))
        self.contract = sa.select(contracts).where(
            contracts.c.slug == bindparam("slug"), contracts.c.network == bindparam("network")
        )
        of_slug = sa.select(plans).where(plans.c.slug == bindparam("slug"))
        self.plan_version = of_slug.where(plans.c.version == bindparam("version"))
        self.newest_plan = of_slug.order_by(plans.c.version.desc()).limit(1)
        newest = (
            sa.select(plans.c.slug, sa.func.max(plans.c.version).label("version")).group_by(plans.c.slug).subquery()
        )
        self.newest_plans = (
            sa.select(plans)
            .join(newest, sa.and_(plans.c.slug == newest.c.slug, plans.c.version == newest.c.version))
            .order_by(plans.c.slug)
        )
        self.plans_of_slugs = sa.select(plans).where(plans.c.slug.in_(several("slugs")))


class CatalogueReader(Session):
    """Implements :class:`evmbilling.ports.storage.CatalogueReads`."""

    def network(self, name: str) -> Network | None:
        """Return a network by name."""
        known: Network | None = self._ahead("network", name)
        if known is not UNKNOWN:
            return known
        row = self._one(self._statements.catalogue.network, name=name)
        return None if row is None else rows.read_network(row)

    def networks(self) -> Sequence[Network]:
        """Return all networks by name."""
        return [rows.read_network(row) for row in self._all(self._statements.catalogue.networks)]

    def gateway(self, slug: str) -> PaymentGateway | None:
        """Return a gateway by slug."""
        known: PaymentGateway | None = self._ahead("gateway", slug)
        if known is not UNKNOWN:
            return known
        row = self._one(self._statements.catalogue.gateway, slug=slug)
        return None if row is None else rows.read_gateway(row)

    def gateways(self) -> Sequence[PaymentGateway]:
        """Return all gateways by slug."""
        return [rows.read_gateway(row) for row in self._all(self._statements.catalogue.gateways)]

    def contract(self, slug: str, network: str) -> PaymentContract | None:
        """Return the contract of that slug on a network."""
        known: PaymentContract | None = self._ahead("contract", slug, network)
        if known is not UNKNOWN:
            return known
        row = self._one(self._statements.catalogue.contract, slug=slug, network=network)
        return None if row is None else rows.read_contract(row)

    def contracts(self, chain_id: int | None = None) -> Sequence[PaymentContract]:
        """Return all contracts, or those of one chain, by (slug, network)."""
        if chain_id is None:
            found = self._all(self._statements.catalogue.contracts)
        else:
            found = self._all(self._statements.catalogue.contracts_of_chain, chain_id=chain_id)
        return [rows.read_contract(row) for row in found]

    def plan(self, slug: str, version: int | None = None) -> SubscriptionPlan | None:
        """Return one version of a plan, or the newest."""
        known: SubscriptionPlan | None = self._ahead("plan", slug, version)
        if known is not UNKNOWN:
            return known
        if version is None:
            row = self._one(self._statements.catalogue.newest_plan, slug=slug)
        else:
            row = self._one(self._statements.catalogue.plan_version, slug=slug, version=version)
        return None if row is None else rows.read_plan(row)

    def plans(self) -> Sequence[SubscriptionPlan]:
        """Return the newest version of every plan by slug."""
        return [rows.read_plan(row) for row in self._all(self._statements.catalogue.newest_plans)]

    def plan_versions(self, keys: Collection[tuple[str, int]]) -> Mapping[tuple[str, int], SubscriptionPlan]:
        """Return the named (slug, version) pairs that exist."""
        wanted = set(keys)
        found = self._in(self._statements.catalogue.plans_of_slugs, "slugs", {slug for slug, _ in wanted})
        return {(row.slug, row.version): rows.read_plan(row) for row in found if (row.slug, row.version) in wanted}
