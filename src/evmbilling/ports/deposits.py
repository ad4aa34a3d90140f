"""Deposit addresses: what a provider must be able to do so that money sent to one is found and swept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from evmbilling.domain.catalogue import Network
from evmbilling.domain.offers import WalletPayload
from evmbilling.domain.orders import Order


@runtime_checkable
class DepositProvider(Protocol):
    """A provider that sells through deposit addresses, beside what every provider does."""

    def sweep_payload(self, order: Order, token: str, amount: int) -> WalletPayload:
        """Return the transaction that sends so much of a token at an order's deposit address to its treasury. Pure.

        Args:
            order: paid at an address of its own.
            token: a token's address, or the native coin's.
            amount: base units, all that is there as far as is known.

        """
        ...

    def deposit_balances(self, network: Network, places: Sequence[tuple[str, str]]) -> Sequence[int | None]:
        """Return what these (address, token) pairs hold now, in base units and in their order, all at one block.

        None where the token gives no number.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...


@runtime_checkable
class BalanceSource(Protocol):
    """A chain source that answers about balances by itself, as a simulated chain does."""

    def balances_now(self, places: Sequence[tuple[str, str]]) -> Sequence[int | None]:
        """Return what these (address, token) pairs hold, in their order.

        Raises:
            ProviderError: it does not answer.

        """
        ...
