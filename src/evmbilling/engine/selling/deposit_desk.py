"""What people do about deposit addresses: see one, have it looked at again, have anything at it swept."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs import frozen

from evmbilling.domain.actors import Role
from evmbilling.domain.addresses import parse_address
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.decisions import RecordAudit, StoreDeposit, StoreTransmission
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.selling.deposits import DEPOSIT_STATES, Deposit, is_on_its_way
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.requests import parse_page, parse_words
from evmbilling.engine.selling.deposits import deposit_provider, newest_sweep, sweep_errand
from evmbilling.engine.selling.orders import find_order, order_provider
from evmbilling.errors import Conflict, NotFound
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


@frozen(kw_only=True)
class OrderDeposit:
    """A deposit address, and the order that is paid there."""

    deposit: Deposit
    order: Order


class DepositDesk(AdminBase):
    """Deposit addresses, for one actor: ``finance_ops`` or ``billing_admin``."""

    def deposit(self, ledger_id: str) -> Deposit:
        """Return the deposit address of an order, and what was seen there.

        Raises:
            NotFound: there is no such order, or it has no address of its own.

        """
        return self._read_only(lambda unit: _known(unit, ledger_id)[1])

    def deposits(self, *, states: Sequence[str] = (), after: str = "", limit: int = 100) -> Sequence[OrderDeposit]:
        """Return a page of deposit addresses with their orders, by their ids, all or those in these states.

        ``stuck`` ones hold something that could not be swept, or that nobody looks at any more; ``waiting`` ones hold
        something that is on its way, or too little by itself; ``empty`` ones nothing.

        Raises:
            InputError: there is no such state, or a parameter cannot be used.

        """
        words = parse_words(states, DEPOSIT_STATES, field="states")
        start, rows = parse_page(after, limit)

        def work(unit: Unit) -> list[OrderDeposit]:
            found = unit.deposits(states=words, after=start, limit=rows)
            orders = unit.orders([deposit.ledger_id for deposit in found]) if found else {}
            return [OrderDeposit(deposit=deposit, order=orders[deposit.ledger_id]) for deposit in found]

        return self._read_only(work)

    def look_again(self, ledger_id: str) -> Deposit:
        """Have an order's address looked at by the next worker, however old it is; what is there is swept.

        Raises:
            NotFound: as ``deposit``.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)

        def work(unit: Unit) -> Deposit:
            order, deposit = _held(unit, ledger_id)
            now = self._ports.clock.now()
            after = attrs.evolve(deposit, next_at=now, failures=0, version=deposit.version + 1)
            unit.apply([StoreDeposit(after), self._audit("look", order, {"address": deposit.address})])
            return after

        return self._runner.write(work)

    def sweep(self, ledger_id: str, token: str | None = None) -> Transmission:
        """Have everything of a token at an order's address sent to the order's treasury; ``Engine.relay`` does it.

        A node is asked how much that is. This is the way for what was sent by mistake: another token, the coin in place
        of a token, or too little to be swept by itself. Who calls it says that the token is worth the gas.

        Args:
            ledger_id: the order.
            token: a token's address, or ``0xEeee…`` for the coin; the order's own asset when left out.

        Raises:
            NotFound: as ``deposit``.
            Conflict: a sweep of this address is on its way, or nothing of the token is there.
            ConfigurationError: the gateway has no relayer, or this process does not hold its key.
            RpcUnavailable: no node answered.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        named = None if token is None else parse_address(token, field="token")
        asset, amount = self._there(ledger_id, named)

        def work(unit: Unit) -> Transmission:
            order, deposit = _held(unit, ledger_id)
            if is_on_its_way(newest_sweep(unit, deposit)):
                raise Conflict("a sweep of this address is on its way", field="ledger_id")
            after = attrs.evolve(deposit, sweeps=deposit.sweeps + 1, version=deposit.version + 1)
            provider = order_provider(self._ports, unit, order)
            made = sweep_errand(self._ports, unit, provider, after, order=order, of=(asset, amount))
            facts = {"address": deposit.address, "token": asset, "amount": str(amount)}
            facts["transmission"] = made.transmission_id
            unit.apply([StoreDeposit(after), StoreTransmission(made), self._audit("sweep", order, facts)])
            return made

        return self._runner.write(work)

    def _there(self, ledger_id: str, token: str | None) -> tuple[str, int]:
        """Ask how much of a token is at an order's address now, outside every transaction."""

        def load(unit: Unit) -> tuple[Order, Deposit, Network, Provider]:
            order, deposit = _known(unit, ledger_id)
            return order, deposit, *network_and_provider(self._ports, unit, order.network)

        order, deposit, network, provider = self._runner.read(load)
        asset = token or order.asset.token
        (amount,) = deposit_provider(provider).deposit_balances(network, [(deposit.address, asset)])
        if not amount:
            raise Conflict("nothing of this is at the address, or the token does not say so", field="token")
        return asset, amount

    def _audit(self, verb: str, order: Order, facts: dict[str, str]) -> RecordAudit:
        return RecordAudit(
            AuditEntry(
                audit_id=self._ports.ids.new_id(),
                actor=self._actor.user_id,
                action=f"deposit.{verb}",
                object=f"order:{order.ledger_id}",
                changes=facts,
                recorded_at=self._ports.clock.now(),
            )
        )


def _known(unit: Unit, ledger_id: str) -> tuple[Order, Deposit]:
    order = find_order(unit, ledger_id, None)
    deposit = unit.deposit(order.ledger_id)
    if deposit is None:
        raise NotFound("this order has no deposit address", field="ledger_id")
    return order, deposit


def _held(unit: Unit, ledger_id: str) -> tuple[Order, Deposit]:
    """Return an order and its address under the lock of its customer."""
    order, _ = _known(unit, ledger_id)
    unit.lock_customers([order.user_id])
    return _known(unit, ledger_id)
