"""The transactions by which a treasury gives money back, and by which an operator ends a membership."""

from __future__ import annotations

from typing import Final

from evmbilling.adapters.evm.abi.calldata import BURNS, burn_call, refund_call, transfer_call
from evmbilling.adapters.evm.bindings.bindings import refund_call_payload
from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract
from evmbilling.domain.identity import subscription_token
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ProviderError

CONTRACT_GAS: Final = 200_000
TRANSFER_GAS: Final = 100_000
COIN_GAS: Final = 60_000
BURN_GAS: Final = 100_000
"""Units, with room: a receiver may be a contract wallet."""


def refund_payload(refund: Refund, contract: PaymentContract | None, order: Order | None) -> WalletPayload:
    """Return the contract's ``refund``, or a plain transfer of the token or the coin, to the confirmed address.

    A contract that is bound by configuration is called as its binding says.
    """
    if refund.address is None:
        raise ProviderError("this refund has no address yet", field="address")
    asset = refund.asset
    if refund.via == "contract":
        if contract is None:
            raise ProviderError("there is no contract to refund through", field="via")
        if contract.kind == MAPPED and order is not None:
            return refund_call_payload(refund, order, contract)
        data = refund_call(refund.reference, refund.on_chain_id, asset.token, refund.address, refund.amount)
        value = refund.amount if asset.is_native else 0
        return WalletPayload(chain_id=asset.chain_id, to=contract.address, value=value, data=data, gas=CONTRACT_GAS)
    if asset.is_native:
        return WalletPayload(chain_id=asset.chain_id, to=refund.address, value=refund.amount, data=b"", gas=COIN_GAS)
    data = transfer_call(refund.address, refund.amount)
    return WalletPayload(chain_id=asset.chain_id, to=asset.token, value=0, data=data, gas=TRANSFER_GAS)


def burn_payload(order: Order, contract: PaymentContract) -> WalletPayload:
    """Return the call that burns an order's membership token, by the method that the binding names."""
    if contract.burn_method not in BURNS:
        raise ProviderError(f"a membership is burned by {' or '.join(sorted(BURNS))}", field="burn_method")
    token_id = subscription_token(order.subscription_id)
    if order.rail != "checkout" or not token_id:
        raise ProviderError("this order gave no membership", field="ledger_id")
    # The contract that the order was paid through holds the token, whatever the binding names now.
    data = burn_call(contract.burn_method, token_id)
    return WalletPayload(chain_id=order.chain_id, to=order.contract, value=0, data=data, gas=BURN_GAS)
