"""A provider that reads chains by their receipts: for nodes whose index of logs is late, pruned or switched off."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from evmbilling.adapters.evm.provider import EvmSeller
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.secrets import SecretRef
from evmbilling.plugins import Registry, hookimpl
from evmbilling.ports.provider import Provider
from evmbilling.ports.signer import Signer
from receipts_provider.source import ReceiptsSource

__all__ = ["ReceiptsOptions", "ReceiptsProvider", "evmbilling_register_providers"]


class ReceiptsOptions(BaseModel):
    """``blocks``: how many blocks one range of a backfill holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blocks: int = 50


class ReceiptsProvider(EvmSeller):
    """Sells through the Checkout contract and by transfers as the built-in provider does, and reads another way.

    What only a node can answer beside reading (a smart wallet's signature, what stands in the way of paying) is left
    to the built-in provider: this one says that it does not know. What cannot be done at all without asking (pulling by
    mandate, deposits, contracts by configuration) it does not offer, so the engine refuses it before money moves.
    """

    def __init__(
        self,
        *,
        signer_for: Callable[[SecretRef], Signer],
        reveal: Callable[[SecretRef], str],
        blocks: int = 50,
    ) -> None:
        def source(network: Network) -> ReceiptsSource:
            urls = [reveal(ref) for ref in network.rpc_urls]
            return ReceiptsSource(network.chain_id, urls, timeout=network.rpc_timeout, blocks=blocks)

        super().__init__(signer_for=signer_for, reveal=reveal, sources=source)


@hookimpl
def evmbilling_register_providers(registry: Registry[Provider]) -> None:
    """Register the provider: gateways select it by ``provider="receipts"``."""
    registry.add("receipts", make, implements=ReceiptsProvider, options=ReceiptsOptions)


def make(
    options: ReceiptsOptions, *, signer_for: Callable[[SecretRef], Signer], reveal: Callable[[SecretRef], str]
) -> ReceiptsProvider:
    """Build a provider; the engine lends what finds signers and reveals references."""
    return ReceiptsProvider(signer_for=signer_for, reveal=reveal, blocks=options.blocks)
