"""Contracts that are bound by configuration, as people look after them: try a call, trust a contract's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import attrs

from evmbilling.domain.actors import Role
from evmbilling.domain.addresses import NATIVE_COIN, parse_address
from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract, PaymentGateway
from evmbilling.domain.catalogue.simulations import Simulation
from evmbilling.domain.decisions import SaveContract
from evmbilling.domain.identity import Product, make_reference, parse_slug
from evmbilling.domain.money import Asset, parse_base_units
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.admin.base import AdminBase, check_version, current
from evmbilling.engine.admin.bindings import binding, tokens_sold
from evmbilling.engine.admin.readers import flag, whole
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.errors import InputError
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

_GAS: Final = 10_000_000
"""Units that a call may use while nobody has measured it."""
_MONTH: Final = timedelta(days=30)
_MOST_PIECES: Final = 1_000_000
_WORDS: Final = ("native", NATIVE_COIN)


class ContractDesk(AdminBase):
    """One actor, looking after contracts of the kind ``mapped``. Every call asks a node; none can join a transaction.

    All need ``billing_admin`` (PermissionDenied otherwise).
    """

    def pin(self, slug: str, network: str, /, *, version: int) -> PaymentContract:
        """Trust the code that stands now behind a contract, and behind the tokens that it is sold in.

        From then on another code halts the binding, until a person has looked. Look first: whoever can replace the
        code can make it say that anything was paid.

        Raises:
            RpcUnavailable: no node answered.
            InputError: the contract is of a built-in kind, whose code is known.
            VersionConflict: it is another version than the one that you looked at.

        """
        check_version(version)
        known, where, provider = self._load(slug, network)
        current(known, version, "slug")
        tokens = self._runner.read(lambda unit: tokens_sold(unit, known))
        pins = binding(provider).read_pins(where, [known.address, *tokens])

        def work(unit: Unit) -> PaymentContract:
            before = current(unit.contract(known.slug, known.network), version, "slug")
            after = attrs.evolve(before, pins=pins, version=version + 1)
            name = f"contract:{known.slug}@{known.network}"
            self._save(unit, SaveContract(after), "contract.pin", name, self._diff(before, after))
            return after

        return self._runner.write(work)

    def simulate(
        self,
        slug: str,
        network: str,
        /,
        *,
        wallet: str,
        token: str,
        amount: int | str,
        treasury: str | None = None,
        beneficiary: str | None = None,
        quantity: int = 1,
        renewal: bool = False,
        signed: bool = False,
    ) -> Simulation:
        """Try the call that would pay an order, as the chain stands now; nothing is sent and nothing is stored.

        A call that takes the payer's signature is signed by a throw-away key, whose wallet pays with the payer's money:
        it is lent in the simulation alone. What could not be checked is said in the answer.

        Args:
            slug, network: the binding.
            wallet: who would pay; it needs the money.
            token: the token's address, or ``native``.
            amount: base units.
            treasury: who receives; the treasury of the first gateway that sells there when left out.
            beneficiary: who gets the membership; the wallet when left out.
            quantity: pieces.
            renewal: try the call of a later period.
            signed: try ``permit_method``, which takes the payer's signature, in place of ``mint_method``.

        Raises:
            InputError: a parameter cannot be used, or does not fit the call; names it.
            NotFound: there is no such binding, or no gateway whose treasury it could be.
            Conflict: there is no call that takes a signature, or the token takes none.
            RpcUnavailable: no node answered.

        """
        payer = parse_address(wallet, field="wallet")
        paid_in = NATIVE_COIN if token in _WORDS else parse_address(token, field="token")
        receiver = None if treasury is None else parse_address(treasury, field="treasury")
        wanted: dict[str, Any] = {
            "amount": parse_base_units(amount, field="amount", minimum=1),
            "wallet": payer,
            "beneficiary": payer if beneficiary is None else parse_address(beneficiary, field="beneficiary"),
            "quantity": whole("quantity", 1, _MOST_PIECES)(quantity),
            "period": 1 if flag("renewal")(renewal) else 0,
        }
        by_signature = flag("signed")(signed)
        known, where, provider = self._load(slug, network)
        asset = Asset(chain_id=known.chain_id, token=paid_in, decimals=0, symbol="?")
        order = self._sample(known, asset, receiver or self._treasury(where), wanted)
        return binding(provider).simulate(order, known, where, signed=by_signature)

    def _load(self, slug: str, network: str) -> tuple[PaymentContract, Network, Provider]:
        self._actor.require(Role.BILLING_ADMIN)
        names = parse_slug(slug, field="slug"), parse_slug(network, field="network")

        def work(unit: Unit) -> tuple[PaymentContract, Network, Provider]:
            where, provider = network_and_provider(self._ports, unit, names[1])
            found = unit.contract(*names)
            return current(found, found.version if found else 0, "slug"), where, provider

        known, where, provider = self._runner.read(work)
        if known.kind != MAPPED:
            raise InputError("a built-in contract's code and calls are known", field="slug")
        return known, where, provider

    def _treasury(self, network: Network) -> str:
        gateways: Sequence[PaymentGateway] = self._runner.read(lambda unit: unit.gateways())
        selling = [treasury for g in gateways if (treasury := g.treasury(network.name)) is not None]
        if not selling:
            raise InputError("no gateway sells on this network: say who receives", field="treasury")
        return selling[0]

    def _sample(self, contract: PaymentContract, asset: Asset, treasury: str, wanted: Mapping[str, Any]) -> Order:
        """Return an order as a checkout would make it; its ids are of nothing that is stored."""
        now = self._ports.clock.now()
        ledger_id = self._ports.ids.new_id()
        return Order(
            ledger_id=ledger_id,
            reference=make_reference(self._ports.storage.instance_id(), ledger_id),
            user_id=self._actor.user_id,
            product=Product("sample"),
            plan_slug="sample",
            plan_version=1,
            subscription_id=self._ports.ids.new_id(),
            gateway_slug="sample",
            contract_slug=contract.slug,
            network=contract.network,
            asset=asset,
            lines=(),
            contract=contract.address,
            treasury=treasury,
            gas=_GAS,
            created_at=now,
            deadline=(now + _MONTH).replace(microsecond=0),
            member_until=(now + _MONTH).replace(microsecond=0),
            rail="call",
            **wanted,
        )
