"""The transaction by which a treasury gives money back."""

from __future__ import annotations

from typing import Final

from evmbilling.adapters.evm.calldata import refund_call, transfer_call
from evmbilling.domain.catalogue import PaymentContract
from evmbilling.domain.offers import WalletPayload
from evmbilling.domain.receipts import Refund
from evmbilling.errors import ProviderError

CONTRACT_GAS: Final = 200_000
TRANSFER_GAS: Final = 100_000
COIN_GAS: Final = 60_000
"""Units, with room: a receiver may be a contract wallet."""


def refund_payload(refund: Refund, contract: PaymentContract | None) -> WalletPayload:
    """Return the contract's ``refund``, or a plain transfer of the token or the coin, to the confirmed address."""
    if refund.address is None:
        raise ProviderError("this refund has no address yet", field="address")
    asset = refund.asset
    if refund.via == "contract":
        if contract is None:
            raise ProviderError("there is no contract to refund through", field="via")
        data = refund_call(refund.reference, refund.on_chain_id, asset.token, refund.address, refund.amount)
        value = refund.amount if asset.is_native else 0
        return WalletPayload(chain_id=asset.chain_id, to=contract.address, value=value, data=data, gas=CONTRACT_GAS)
    if asset.is_native:
        return WalletPayload(chain_id=asset.chain_id, to=refund.address, value=refund.amount, data=b"", gas=COIN_GAS)
    data = transfer_call(refund.address, refund.amount)
    return WalletPayload(chain_id=asset.chain_id, to=asset.token, value=0, data=data, gas=TRANSFER_GAS)
