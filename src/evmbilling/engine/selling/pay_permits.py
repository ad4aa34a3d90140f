"""Paying with a signature: typed data out, signature in, the transaction out. Nothing is stored."""

from __future__ import annotations

from typing import Any

from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.admin.bindings import binding
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.requests import check_text
from evmbilling.engine.selling.orders import find_order, is_payable, order_provider
from evmbilling.errors import Conflict, InputError
from evmbilling.ports.bindings import BindingProvider
from evmbilling.ports.storage import Unit

_Payable = tuple[BindingProvider, Order, PaymentContract, Network]


def pay_permit(ports: Ports, runner: Runner, ledger_id: str, user_id: str | None) -> dict[str, Any]:
    """Return what a wallet signs; see :meth:`evmbilling.engine.core.Engine.pay_permit`."""
    provider, order, contract, network = _load(ports, runner, ledger_id, user_id)
    return provider.permit_typed_data_of(order, contract, network)


def pay_with_permit(
    ports: Ports, runner: Runner, ledger_id: str, user_id: str | None, signature: bytes
) -> WalletPayload:
    """Return the transaction that pays; see :meth:`evmbilling.engine.core.Engine.pay_with_permit`."""
    if not isinstance(signature, bytes):
        raise InputError("a signature is bytes", field="signature")
    provider, order, contract, network = _load(ports, runner, ledger_id, user_id)
    return provider.permitted_payload(order, contract, network, signature)


def _load(ports: Ports, runner: Runner, ledger_id: str, user_id: str | None) -> _Payable:
    user = check_text(user_id, field="user_id")

    def work(unit: Unit) -> _Payable:
        order = find_order(unit, ledger_id, user)
        contract, network = unit.contract(order.contract_slug, order.network), unit.network(order.network)
        if contract is None or network is None or contract.kind != MAPPED:
            raise Conflict("this order's contract takes no permits", field="ledger_id")
        return binding(order_provider(ports, unit, order)), order, contract, network

    found = runner.read(work)
    if not is_payable(found[1], ports.clock.now()):
        raise Conflict("this order cannot be paid any more", field="ledger_id")
    return found
