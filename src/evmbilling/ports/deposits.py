"""Deposit addresses: what a provider must be able to do so that money sent to one is found and swept.

Clauses of the contract; ``evmbilling.testing.conformance.DepositConformance`` holds a provider that sells through
deposit addresses to each of them:

1. An order of the rail ``deposit`` is paid, by ``payload`` and by ``uri``, at the address that the Deposits contract
   computes from its reference and its treasury, and no two orders at the same one.
2. ``sweep_payload`` moves so much of a token, or of the coin, from the order's address to its treasury and touches no
   other; it is the same bytes every time and asks nobody.
3. A sweep is decoded as the payment of its order, with what it moved; a log of another contract, or of another shape,
   is none.
4. ``deposit_balances`` are those of one block, the newest, in the order of the question; a token that gives no number
   is None and holds up no other, and no node is an error, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order


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
