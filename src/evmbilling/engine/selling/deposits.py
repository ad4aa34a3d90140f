"""Looking at deposit addresses: what is there is swept to the treasury by the relayer, and counts when it arrives.

A look decides nothing about money. It may be late, wrong, or made twice: a sweep of nothing is refused before it is
sent, and what was swept is told by the reader like any other payment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway
from evmbilling.domain.decisions import Decision, StoreDeposit, StoreTransmission
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.selling.deposits import Deposit, Sight, look, put_off
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.selling.progress import standing_receipts
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.each_network import each_network
from evmbilling.engine.reading.base import held_alone
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.sending.sending import SEND_WITHIN, Errand, queue_errand
from evmbilling.errors import BillingError, ConfigurationError, Conflict, RetryTransaction, UnknownNetwork
from evmbilling.ports.deposits import DepositProvider
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

LEASE_SECONDS = 60
_KEY_ELSEWHERE = "the relayer's key is not here: sweep it by evmbilling deposits sweep, where the worker runs"


@frozen(kw_only=True)
class DepositReport:
    """What one call did.

    Attributes:
        looked: addresses that were looked at. held: those at which something is.
        ordered: sweeps that were handed to the relayer. unread: addresses whose token gave no sensible answer.
        left: rows that somebody holds or has changed meanwhile. busy: networks that another worker looks at.
        failed: what could not be swept for want of something, by the code of the error.

    """

    looked: int = 0
    held: int = 0
    ordered: int = 0
    unread: int = 0
    left: int = 0
    busy: int = 0
    failed: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def done(self) -> int:
        """How many addresses have had their look; the others are still due."""
        return self.looked - self.left


def look_at_deposits(ports: Ports, runner: Runner, *, limit: int, network: str | None = None) -> DepositReport:
    """Look at the addresses that are due; see :meth:`evmbilling.engine.core.Engine.look_at_deposits`."""
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    with each_network(ports) as attempt:
        for found in runner.read(lambda unit: _networks(unit, network)):
            attempt(partial(_look_network, ports, runner, found, limit, counts=counts, failed=failed))
    return DepositReport(failed=dict(failed), **counts)


def _networks(unit: Unit, name: str | None) -> list[Network]:
    """Return the networks that do not stand still, or the one of a name; archived ones too: what is open is watched."""
    if name is not None and unit.network(name) is None:
        raise UnknownNetwork(f"there is no network {name}", field="network")
    halted = {cursor.chain_id for cursor in unit.cursors() if cursor.halt is not None}
    return [n for n in unit.networks() if name in (None, n.name) and n.chain_id not in halted]


def _look_network(
    ports: Ports, runner: Runner, network: Network, limit: int, *, counts: Counter[str], failed: Counter[str]
) -> None:
    if not runner.read(lambda unit: unit.due_deposits(network.chain_id, ports.clock.now(), 1)):
        return
    with held_alone(ports, f"deposits:{network.chain_id}", LEASE_SECONDS) as lease:
        if lease is None:
            counts["busy"] += 1
            return
        due = runner.read(lambda unit: _due(ports, unit, network.chain_id, limit))
        if due:
            place = runner.read(lambda unit: _place(ports, unit, network.name))
            _Look(ports, runner, place, counts, failed).at(due)


@frozen(kw_only=True)
class _Place:
    """A network, and what has to be known to sweep there."""

    network: Network
    provider: Provider
    policies: Mapping[str, MisfitPolicy]
    relayed: frozenset[str]
    """Gateways that have a relayer, whoever holds its key."""


def _due(ports: Ports, unit: Unit, chain_id: int, limit: int) -> list[tuple[Deposit, Order]]:
    found = unit.due_deposits(chain_id, ports.clock.now(), limit)
    orders = unit.orders([deposit.ledger_id for deposit in found]) if found else {}
    return [(deposit, orders[deposit.ledger_id]) for deposit in found]


def _place(ports: Ports, unit: Unit, name: str) -> _Place:
    network, provider = network_and_provider(ports, unit, name)
    gateways = unit.gateways()
    return _Place(
        network=network,
        provider=provider,
        policies={gateway.slug: gateway.misfits for gateway in gateways},
        relayed=frozenset(gateway.slug for gateway in gateways if gateway.relayer is not None),
    )


class _Look:
    """One look at addresses of one network."""

    def __init__(self, ports: Ports, runner: Runner, place: _Place, counts: Counter[str], failed: Counter[str]) -> None:
        self._ports, self._runner, self._place = ports, runner, place
        self._counts, self._failed = counts, failed

    def at(self, due: Sequence[tuple[Deposit, Order]]) -> None:
        """Ask what is there in one batch; note at once where nothing is, and take what is there one by one."""
        asked = [(deposit.address, order.asset.token) for deposit, order in due]
        amounts = deposit_provider(self._place.provider).deposit_balances(self._place.network, asked)
        quiet: list[Deposit] = []
        for (deposit, order), amount in zip(due, amounts, strict=True):
            if amount is None:
                # What nobody can tell is as it was; it is looked at again in its turn.
                quiet.append(self._put_off(deposit, order, deposit.held, "unread"))
            elif not amount:
                quiet.append(self._looked(deposit, order, Sight(held=0))[0])
            else:
                self._counts["held"] += 1
                self._take(deposit, order, amount)
        self._note(quiet)
        self._counts["looked"] += len(due)
        self._counts["unread"] += sum(amount is None for amount in amounts)

    def _looked(self, deposit: Deposit, order: Order, sight: Sight) -> tuple[Deposit, bool]:
        policy = self._place.policies.get(order.gateway_slug, MisfitPolicy())
        return look(deposit, order, sight, policy=policy, now=self._ports.clock.now())

    def _note(self, seen: Sequence[Deposit]) -> None:
        if not seen:
            return
        try:
            self._runner.write(lambda unit: unit.apply([StoreDeposit(deposit) for deposit in seen]))
        except (Conflict, RetryTransaction):
            self._counts["left"] += len(seen)  # somebody changed one of them; all of them are due as before

    def _take(self, deposit: Deposit, order: Order, amount: int) -> None:
        """Have what is there swept, or come back later for want of something."""
        try:
            outcome = self._runner.write(lambda unit: self._order_sweep(unit, deposit, order, amount))
        except RetryTransaction:
            outcome = "left"
        except BillingError as error:
            self._failed[error.code] += 1
            # A relayer whose key is not here: another worker has it.
            elsewhere = isinstance(error, ConfigurationError) and order.gateway_slug in self._place.relayed
            self._note([self._put_off(deposit, order, amount, error.code, failed=not elsewhere)])
            return
        if outcome is not None:
            self._counts[outcome] += 1
        if outcome == "ordered":
            self._ports.telemetry.count("sweeps_ordered", network=self._place.network.name)

    def _put_off(self, deposit: Deposit, order: Order, held: int, reason: str, *, failed: bool = True) -> Deposit:
        self._ports.telemetry.count("deposits_put_off", network=self._place.network.name, reason=reason)
        return put_off(deposit, order, held, self._ports.clock.now(), failed=failed)

    def _order_sweep(
        self, unit: Unit, deposit: Deposit, order: Order, amount: int
    ) -> Literal["ordered", "left"] | None:
        """Have the relayer sweep what is there, once: it is not ordered while an earlier sweep may take it."""
        if order.user_id not in unit.lock_customers([order.user_id], skip_locked=True):
            return "left"
        if unit.deposit(deposit.ledger_id) != deposit:
            return "left"
        standing = standing_receipts(unit.receipts_of_orders([order.ledger_id]))
        received = sum(receipt.amount for receipt in standing if receipt.asset == order.asset)
        sight = Sight(held=amount, received=received, newest=newest_sweep(unit, deposit))
        after, sweeps = self._looked(deposit, order, sight)
        decisions: list[Decision] = [StoreDeposit(after)]
        if sweeps:
            sent = sweep_errand(
                self._ports, unit, self._place.provider, after, order=order, of=(order.asset.token, amount)
            )
            decisions.append(StoreTransmission(sent))
        unit.apply(decisions)
        return "ordered" if sweeps else None


def deposit_provider(provider: object) -> DepositProvider:
    """Return a provider as one that sweeps deposit addresses.

    Raises:
        ConfigurationError: it cannot.

    """
    if not isinstance(provider, DepositProvider):
        raise ConfigurationError("this payment provider has no deposit addresses", field="provider")
    return provider


def newest_sweep(unit: Unit, deposit: Deposit) -> Transmission | None:
    """Return the last sweep that was ordered for an address."""
    sent = unit.transmissions_of("sweep", deposit.subject) if deposit.sweeps else ()
    return sent[-1] if sent else None


def sweep_errand(
    ports: Ports, unit: Unit, provider: Provider, deposit: Deposit, *, order: Order, of: tuple[str, int]
) -> Transmission:
    """Return the transmission that sweeps an amount of a token from an address, the newest of its sweeps.

    Raises:
        ConfigurationError: the gateway has no relayer, or this process does not hold its key.

    """
    gateway = unit.gateway(order.gateway_slug)
    if gateway is None:
        raise ConfigurationError(f"the gateway {order.gateway_slug} is gone", field="gateway")
    errand = Errand(
        purpose="sweep",
        subject=deposit.subject,
        user_id=order.user_id,
        network=order.network,
        payload=deposit_provider(provider).sweep_payload(order, *of),
        not_after=ports.clock.now() + SEND_WITHIN,
    )
    return queue_errand(ports, unit, errand, gateway, _sweeper(provider, gateway))


def _sweeper(provider: Provider, gateway: PaymentGateway) -> str:
    """Return the wallet that sweeps."""
    try:
        return provider.relayer_address(gateway)
    except ConfigurationError as error:
        if gateway.relayer is None:
            raise
        raise ConfigurationError(_KEY_ELSEWHERE, field="relayer", cause=error.message) from None
