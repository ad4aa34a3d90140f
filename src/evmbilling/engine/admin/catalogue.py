"""Administration of the catalogue: networks, gateways, contracts, plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from evmbilling.domain.catalogue.catalogue import (
    Finality,
    Network,
    PaymentGateway,
    SubscriptionPlan,
)
from evmbilling.domain.decisions import (
    AddPlanVersion,
    ArchivePlan,
    SaveContract,
    SaveGateway,
    SaveNetwork,
    StoreQueueItem,
)
from evmbilling.domain.identity import parse_slug
from evmbilling.engine.admin.allowing import check_lists
from evmbilling.engine.admin.audit_facts import row_facts
from evmbilling.engine.admin.base import absent, current
from evmbilling.engine.admin.catalogue_input import (
    gateway_readers,
    network_readers,
    plan_readers,
)
from evmbilling.engine.admin.contracts import ContractAdmin
from evmbilling.engine.admin.limits import check_limits
from evmbilling.engine.admin.plan_checks import check_plan, check_sweeping
from evmbilling.engine.admin.token_checks import unread_tokens
from evmbilling.engine.admin.token_decimals import check_decimals, corrections
from evmbilling.engine.context import OwnTransactions
from evmbilling.engine.reading.treasury_watch import watch_treasuries
from evmbilling.engine.selling.first_sight import FirstSight, Place, look_at, places_of, with_pins
from evmbilling.errors import AlreadyExists, InputError, UnknownNetwork, UnknownPlan
from evmbilling.ports.storage import Unit


class CatalogueAdmin(ContractAdmin):
    """What is sold, where and how it is paid."""

    # ── networks ──

    def create_network(self, **fields: Any) -> Network:
        """Create a network; the fields are those of :class:`Network`.

        Raises:
            InputError: a field cannot be used; names it.
            AlreadyExists: a network has this name, or this chain id.

        """
        made = Network(**self._read(network_readers(self._ports.secrets), fields, Network))
        _check_network(made)

        def work(unit: Unit) -> None:
            if any(n.chain_id == made.chain_id for n in unit.networks()):
                raise AlreadyExists(f"a network with chain id {made.chain_id} exists", field="chain_id")
            absent(unit.network(made.name), "name")
            self._save(unit, SaveNetwork(made), "network.create", f"network:{made.name}", row_facts(made, self._mark))

        self._runner.write(work)
        return made

    def update_network(self, name: str, /, *, version: int, **changes: Any) -> Network:
        """Change a network. Its name and chain id never change.

        Raises:
            InputError: a field cannot be used; names it.
            NotFound: there is no such network.
            VersionConflict: it changed since ``version`` was read.
            NotAllowed: a list would leave out a contract that is bound, or a token that a plan is sold in.

        """
        read = self._read_changes(network_readers(self._ports.secrets), changes, Network, fixed=("name", "chain_id"))

        def work(unit: Unit) -> Network:
            before = current(unit.network(parse_slug(name, field="name")), version, "name")
            after = attrs.evolve(before, **read, version=version + 1)
            _check_network(after)
            check_lists(unit, after)
            self._save(unit, SaveNetwork(after), "network.update", f"network:{name}", self._diff(before, after))
            return after

        return self._runner.write(work)

    def archive_network(self, name: str, *, version: int) -> Network:
        """Take a network out of use for new orders; what is open stays watched. One that is out of use stays as it is.

        Raises:
            NotFound: there is no such network.
            VersionConflict: it changed since ``version`` was read.

        """

        def work(unit: Unit) -> Network:
            before = current(unit.network(parse_slug(name, field="name")), version, "name")
            if before.archived_at is not None:
                return before
            after = attrs.evolve(before, archived_at=self._ports.clock.now(), version=version + 1)
            self._save(unit, SaveNetwork(after), "network.archive", f"network:{name}", self._diff(before, after))
            return after

        return self._archive(work)

    def networks(self) -> Sequence[Network]:
        """Return all networks, archived ones too."""
        return self._read_only(lambda unit: unit.networks())

    # ── gateways ──

    def create_gateway(self, **fields: Any) -> PaymentGateway:
        """Create a gateway; the fields are those of :class:`PaymentGateway`.

        Raises:
            InputError: a field cannot be used; names it.
            UnknownNetwork: one of ``networks`` is not there.
            AlreadyExists: a gateway has this slug.

        """
        made = PaymentGateway(**self._read(gateway_readers(self._ports.secrets), fields, PaymentGateway))

        def work(unit: Unit) -> None:
            absent(unit.gateway(made.slug), "slug")
            _check_gateway(unit, made)
            self._save(unit, SaveGateway(made), "gateway.create", f"gateway:{made.slug}", row_facts(made, self._mark))
            unit.apply(watch_treasuries(unit, made))

        self._runner.write(work)
        return made

    def update_gateway(self, slug: str, /, *, version: int, **changes: Any) -> PaymentGateway:
        """Change a gateway; open orders keep the treasury and the signature that they were made with.

        Raises:
            InputError: a field cannot be used; names it. ``relayer`` stays while deposit addresses need
                it: a plan is or was sold at them and has subscriptions or open orders, or something waits at one.
            UnknownNetwork: one of ``networks`` is not there.
            NotFound: there is no such gateway.
            VersionConflict: it changed since ``version`` was read.

        """
        read = self._read_changes(gateway_readers(self._ports.secrets), changes, PaymentGateway, fixed=("slug",))

        def work(unit: Unit) -> PaymentGateway:
            before = current(unit.gateway(parse_slug(slug, field="slug")), version, "slug")
            after = attrs.evolve(before, **read, version=version + 1)
            _check_gateway(unit, after)
            if after.relayer is None and before.relayer is not None:
                check_sweeping(unit, after)
            check_limits(unit, before, after)
            self._save(unit, SaveGateway(after), "gateway.update", f"gateway:{slug}", self._diff(before, after))
            unit.apply(watch_treasuries(unit, after))
            return after

        return self._runner.write(work)

    def archive_gateway(self, slug: str, *, version: int) -> PaymentGateway:
        """Take a gateway out of use for new orders. One that is out of use stays as it is.

        Raises:
            NotFound: there is no such gateway.
            VersionConflict: it changed since ``version`` was read.

        """

        def work(unit: Unit) -> PaymentGateway:
            before = current(unit.gateway(parse_slug(slug, field="slug")), version, "slug")
            if before.archived_at is not None:
                return before
            after = attrs.evolve(before, archived_at=self._ports.clock.now(), version=version + 1)
            self._save(unit, SaveGateway(after), "gateway.archive", f"gateway:{slug}", self._diff(before, after))
            return after

        return self._archive(work)

    def gateways(self) -> Sequence[PaymentGateway]:
        """Return all gateways, archived ones too."""
        return self._read_only(lambda unit: unit.gateways())

    # ── plans ──

    def create_plan(self, **fields: Any) -> SubscriptionPlan:
        """Create version 1 of a plan; the fields are those of :class:`SubscriptionPlan`.

        A plan that says nothing about debt takes the engine's own dunning policy. Outside of the host's transaction
        the chains are asked about the tokens; the code that a mapped contract is sold in is pinned with the plan. A
        network whose nodes do not answer is asked by the next ``check_tokens`` and ``check_contracts``; until it is,
        nothing is sold there through a mapped contract, nor in a token that no plan was sold in before.

        Raises:
            InputError: a field cannot be used, a price does not fit its chain or contract, or what is needed for it is
                archived; names it.
            UnknownNetwork: the gateway does not sell on a network of ``prices``.
            NotFound: there is no such gateway, or the contract is not bound on one of the networks.
            AlreadyExists: a plan has this slug.

        """
        read = {"dunning": self._ports.dunning} | self._read(plan_readers(), fields, SubscriptionPlan)
        made = SubscriptionPlan(**read, created_at=self._ports.clock.now())
        seen = self._look(made, lambda unit: absent(unit.plan(made.slug), "slug"))

        def work(unit: Unit) -> None:
            absent(unit.plan(made.slug), "slug")
            check_plan(unit, made)
            unread = self._unread(unit, made, seen)
            self._save(unit, AddPlanVersion(made), "plan.create", f"plan:{made.slug}", row_facts(made, self._mark))
            unit.apply(unread)
            self._pin(unit, made, seen)

        self._runner.write(work)
        return made

    def revise_plan(self, slug: str, /, *, version: int, **changes: Any) -> SubscriptionPlan:
        """Add a version of a plan. Running subscriptions and open orders keep theirs.

        Raises:
            InputError, UnknownNetwork: as ``create_plan``.
            NotFound: there is no such plan, gateway or contract.
            VersionConflict: ``version`` is not the newest one.

        """
        read = self._read_changes(plan_readers(), changes, SubscriptionPlan, fixed=("slug",))

        def revised(unit: Unit) -> tuple[SubscriptionPlan, SubscriptionPlan]:
            before = current(unit.plan(parse_slug(slug, field="slug")), version, "slug")
            return before, attrs.evolve(before, **read, version=version + 1, created_at=self._ports.clock.now())

        seen = self._look(self._runner.read(revised)[1])

        def work(unit: Unit) -> SubscriptionPlan:
            before, after = revised(unit)
            check_plan(unit, after)
            unread = self._unread(unit, after, seen)
            self._save(unit, AddPlanVersion(after), "plan.revise", f"plan:{slug}", self._diff(before, after))
            unit.apply(unread)
            self._pin(unit, after, seen)
            return after

        return self._runner.write(work)

    def archive_plan(self, slug: str) -> SubscriptionPlan:
        """Stop selling a plan, for good. Running subscriptions go on; nothing is deleted. Once is enough.

        Raises:
            UnknownPlan: there is no such plan.

        """

        def work(unit: Unit) -> SubscriptionPlan:
            before = unit.plan(parse_slug(slug, field="slug"))
            if before is None:
                raise UnknownPlan(f"there is no plan {slug}", field="plan")
            if before.archived_at is not None:
                return before
            after = attrs.evolve(before, archived_at=self._ports.clock.now())
            self._save(unit, ArchivePlan(after), "plan.archive", f"plan:{slug}", self._diff(before, after))
            return after

        return self._archive(work)

    def plans(self) -> Sequence[SubscriptionPlan]:
        """Return the newest version of every plan, archived ones too."""
        return self._read_only(lambda unit: unit.plans())

    def _look(self, plan: SubscriptionPlan, first: Callable[[Unit], None] = lambda _: None) -> FirstSight:
        """Look at what a plan is sold in, as far as nodes answer; in the host's transaction nothing is asked."""
        if not isinstance(self._runner, OwnTransactions):
            return FirstSight()

        def places(unit: Unit) -> Sequence[Place]:
            first(unit)
            check_plan(unit, plan)
            check_decimals(unit, plan, None)
            return places_of(self._ports, unit, plan)

        return look_at(plan, self._runner.read(places))

    def _unread(self, unit: Unit, plan: SubscriptionPlan, seen: FirstSight) -> Sequence[StoreQueueItem]:
        """Return what keeps a plan's new tokens from being sold in until a node has told their decimals, or lets go.

        Raises:
            InputError: a token has other decimals in other plans, which cannot be corrected.

        """
        now, new_id = self._ports.clock.now(), self._ports.ids.new_id
        corrected = corrections(unit, check_decimals(unit, plan, seen.read), now=now, new_id=new_id)
        return [*corrected, *unread_tokens(unit, plan, seen.read, now=now, new_id=new_id)]

    def _pin(self, unit: Unit, plan: SubscriptionPlan, seen: FirstSight) -> None:
        """Pin the code that a plan trusts, which was just looked at and nobody has pinned before."""
        for network, found in seen.pins.items():
            before = unit.contract(plan.contract_slug, network)
            fresh = with_pins(before, found) if before is not None else None
            if before is not None and fresh is not None:
                name = f"contract:{before.slug}@{network}"
                self._save(unit, SaveContract(fresh), "contract.pin", name, self._diff(before, fresh))


def _check_network(network: Network) -> None:
    """Check the depths against each other, and that there are as many nodes as have to agree."""
    _check_depths(network)
    missing = network.witnesses_missing()
    if missing:
        raise InputError(missing, field="agreement_above")


def _check_depths(network: Network, credit_after: Finality | None = None) -> None:
    """Money must not be called irreversible before it counts: access would open by the smaller depth."""
    credit = credit_after or network.credit_after
    if not network.irreversible_after.comes_after(credit):
        raise InputError(
            f"{credit} counts later than {network.irreversible_after} is irreversible on {network.name}",
            field="credit_after",
        )


def _check_gateway(unit: Unit, gateway: PaymentGateway) -> None:
    """Every network exists and has a treasury."""
    for name in gateway.networks:
        network = unit.network(name)
        if network is None:
            raise UnknownNetwork(f"there is no network {name}", field="networks")
        _check_depths(network, gateway.credit_after)
        if gateway.treasury(name) is None:
            raise InputError(f"there is no treasury for {name}", field="treasuries")
