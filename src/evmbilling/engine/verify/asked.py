"""What an order asks for against what else says it: the signed challenge, its address, its money, what is watched.

An order tells a wallet what to send where. Whoever can write to the database could send other people's money to
themselves: so every part that something else proves is compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evmbilling.domain.payments.allocation import ASSIGNED
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.deposits import Deposit, deposit_address
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.ports.provider import OrderProver, Provider
from evmbilling.ports.storage import Unit

LARGEST_TOLERANCE: Final = 1_000
"""Hundredths of a percent: the most that a gateway's policy can let be missing."""
_PLAIN: Final = "erc20"
_SIGNED: Final = "checkout"


class AskedCheck:
    """Compares what orders ask for.

    Args:
        providers: by chain id.

    """

    def __init__(self, unit: Unit, providers: Mapping[int, Provider]) -> None:
        self._unit = unit
        self._providers = providers
        self._treasuries = {(t.chain_id, t.address) for t in unit.treasuries()}
        self._contracts = {(c.chain_id, c.address) for c in unit.contracts()}

    def faults(self, order: Order, own: Sequence[Receipt]) -> Iterator[tuple[str, object, object]]:
        """Give what of an order is not what something else says: name, what that says, what is stored."""
        provider = self._providers.get(order.chain_id)
        unlike = order.rail == _SIGNED and order.call is None and isinstance(provider, OrderProver)
        if unlike and order.signature and not provider.is_signed(order):  # type: ignore[union-attr]  # as it was asked
            yield "signature", order.signer, "of other terms"
        if (order.chain_id, order.treasury) not in self._treasuries:
            yield "treasury", "one that is watched", order.treasury
        if order.rail == _PLAIN and order.contract != order.asset.token:
            yield "contract", order.asset.token, order.contract
        elif order.rail != _PLAIN and (order.chain_id, order.contract) not in self._contracts:
            yield "contract", "one that is bound", order.contract
        if not 0 <= order.tolerance <= order.amount * LARGEST_TOLERANCE // 10_000:
            yield "tolerance", order.amount * LARGEST_TOLERANCE // 10_000, order.tolerance
        for receipt in own:
            taken = receipt.allocation == "order" and receipt.ledger_id == order.ledger_id
            if taken and receipt.reason != ASSIGNED and receipt.treasury != order.treasury:
                yield "treasury", receipt.treasury, order.treasury
        if order.rail == DEPOSIT:
            yield from _unlike_address(order, self._unit.deposit(order.ledger_id))


def _unlike_address(order: Order, stored: Deposit | None) -> Iterator[tuple[str, object, object]]:
    """Compare the address that is looked at with what the contract computes of reference and treasury (EIP-1014)."""
    wanted = deposit_address(order.contract, order.reference, order.treasury)
    found = stored.address if stored is not None else None
    if found != wanted:
        yield "address", wanted, found
