"""Administration of bound contracts: built-in ones by their address, any other by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract
from evmbilling.domain.decisions import SaveContract
from evmbilling.domain.identity import parse_slug
from evmbilling.domain.selling.orders import DEPOSIT
from evmbilling.engine.admin.allowing import check_contract_allowed
from evmbilling.engine.admin.audit_facts import row_facts
from evmbilling.engine.admin.base import AdminBase, absent, current
from evmbilling.engine.admin.bindings import (
    binding,
    check_alone,
    check_binding,
    check_kept,
    check_sold,
    without_defaults,
)
from evmbilling.engine.admin.catalogue_input import contract_readers
from evmbilling.engine.context import OwnTransactions
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.selling.deposits import deposit_provider
from evmbilling.errors import Conflict, InputError, UnknownNetwork
from evmbilling.ports.storage import Unit


class ContractAdmin(AdminBase):
    """Contracts on networks, that plans are bound to."""

    def create_contract(self, **fields: Any) -> PaymentContract:
        """Bind a contract on a network; the fields are those of :class:`PaymentContract` without ``chain_id``.

        One of the kind ``mapped`` is bound by configuration alone: ``abi``, ``events`` and calls as plain data, checked
        against each other here. The code at its address is pinned as a node shows it now; an address without code is
        refused. In the host's transaction nothing is asked: nothing is sold through it before ``check_contracts`` has.
        That of the kind ``deposit`` has to be the Deposits contract of this package.

        Raises:
            InputError: something does not fit; names the place (``mint_method.args[2].items[0]``).
            NotAllowed: the network has a list of contracts, and this one is not on it.
            UnknownNetwork: there is no such network.
            AlreadyExists: a contract has this slug there.
            RpcUnavailable: no node of the network could show the code of a contract of these kinds.
            Conflict: one of the kind ``deposit``, in the host's transaction: nothing may be asked there.
            ConfigurationError: one of these kinds, on a network that is sold on through a provider without them.

        """
        readers = contract_readers(self._ports.secrets)
        readers.pop("chain_id")
        read = self._read(readers, without_defaults(fields), PaymentContract)
        draft = PaymentContract(**read, chain_id=0)
        pins = self._bind(draft)

        def work(unit: Unit) -> PaymentContract:
            network = unit.network(read["network"])
            if network is None:
                raise UnknownNetwork(f"there is no network {read['network']}", field="network")
            made = attrs.evolve(draft, chain_id=network.chain_id, pins=pins)
            check_contract_allowed(network, made.address)
            absent(unit.contract(made.slug, made.network), "slug")
            check_alone(unit, made)
            name = f"contract:{made.slug}@{made.network}"
            self._save(unit, SaveContract(made), "contract.create", name, row_facts(made, self._mark))
            return made

        return self._runner.write(work)

    def update_contract(self, slug: str, network: str, /, *, version: int, **changes: Any) -> PaymentContract:
        """Change a binding. Its address and kind never change: what was paid there must be read to the end.

        A new contract is bound under a slug of its own, and plans are revised to it.

        Raises:
            InputError: something does not fit, or cannot be changed any more; names the place.
            NotFound: there is no such binding.
            VersionConflict: it changed since ``version`` was read.

        """
        fixed = ("slug", "network", "chain_id", "address", "kind")
        read = self._read_changes(contract_readers(self._ports.secrets), changes, PaymentContract, fixed=fixed)

        def work(unit: Unit) -> PaymentContract:
            before = current(
                unit.contract(parse_slug(slug, field="slug"), parse_slug(network, field="network")), version, "slug"
            )
            after = attrs.evolve(before, **read, version=version + 1)
            mapped = after.kind == MAPPED
            check_binding(network_and_provider(self._ports, unit, network)[1] if mapped else None, after)
            check_kept(unit, before, after)
            check_sold(unit, after)
            name = f"contract:{slug}@{network}"
            self._save(unit, SaveContract(after), "contract.update", name, self._diff(before, after))
            return after

        return self._runner.write(work)

    def _bind(self, draft: PaymentContract) -> tuple[tuple[str, str], ...]:
        """Check a new binding, and return the code that it trusts; asks a node about a mapped one.

        In the host's transaction nothing is asked: whoever checks the contracts pins what they then find.
        """
        if draft.kind != MAPPED:
            check_binding(None, draft)
            if draft.kind == DEPOSIT:
                self._check_sweeper(draft)
            return ()
        network, provider = self._runner.read(lambda unit: network_and_provider(self._ports, unit, draft.network))
        check_binding(provider, draft)
        if not isinstance(self._runner, OwnTransactions):
            return ()
        pins = binding(provider).read_pins(network, [draft.address])
        if (draft.address, "") in pins:
            raise InputError(f"there is no contract at {draft.address}", field="address")
        return pins

    def _check_sweeper(self, draft: PaymentContract) -> None:
        """See that it is the Deposits contract: what is sent to an address of another one could never be swept."""
        if not isinstance(self._runner, OwnTransactions):
            raise Conflict("its code is looked at first: bind it outside your transaction", field="kind")
        network, provider = self._runner.read(lambda unit: network_and_provider(self._ports, unit, draft.network))
        deposit_provider(provider)
        differences = provider.inspect_contract(draft, network)
        if differences:
            raise InputError("; ".join(differences), field="address")

    def archive_contract(self, slug: str, network: str, *, version: int) -> PaymentContract:
        """Take a binding out of use for new orders; its events are still read. One that is out of use stays as it is.

        Raises:
            NotFound: there is no such binding.
            VersionConflict: it changed since ``version`` was read.

        """

        def work(unit: Unit) -> PaymentContract:
            before = current(
                unit.contract(parse_slug(slug, field="slug"), parse_slug(network, field="network")), version, "slug"
            )
            if before.archived_at is not None:
                return before
            after = attrs.evolve(before, archived_at=self._ports.clock.now(), version=version + 1)
            name = f"contract:{slug}@{network}"
            self._save(unit, SaveContract(after), "contract.archive", name, self._diff(before, after))
            return after

        return self._archive(work)

    def contracts(self) -> Sequence[PaymentContract]:
        """Return all contracts, archived ones too."""
        return self._read_only(lambda unit: unit.contracts())
