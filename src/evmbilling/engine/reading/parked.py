"""What is read of a chain and could not be understood: an order that it may be about must wait."""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from evmbilling.domain.addresses import checksum
from evmbilling.domain.selling.orders import Order
from evmbilling.ports.storage import Unit

MOST_PARKED = 10_000


@frozen
class Parked:
    """Words of the logs that are parked, and the customers whose wallets they name.

    Attributes:
        words: topics; a payment's reference is one of them.
        emitters: whose logs they are; one that is bound by configuration may name its order anywhere, or nowhere.
        payers: who may have paid by a plain transfer.

    """

    words: frozenset[bytes]
    payers: frozenset[str]
    emitters: frozenset[str] = frozenset()

    def concerns(self, order: Order) -> bool:
        """Whether a parked log may be the payment of an order."""
        if order.rail == "call" and order.contract in self.emitters:
            return True
        return order.reference in self.words or (order.rail == "erc20" and order.user_id in self.payers)


def parked_logs(unit: Unit, orders: Collection[Order]) -> Parked | None:
    """Return what of the parked logs may concern these orders; None when there are too many to tell."""
    parked = unit.parked_items(MOST_PARKED)
    if len(parked) == MOST_PARKED:
        return None
    logs = unit.logs_of([item.identity for item in parked]) if parked else {}
    words = frozenset(topic for log in logs.values() for topic in log.topics[1:])
    payers: frozenset[str] = frozenset()
    if words and any(order.rail == "erc20" for order in orders):
        addresses = {checksum(word[12:]) for word in words if word[:12] == bytes(12)}
        payers = frozenset(unit.users_of_wallets(addresses).values()) if addresses else frozenset()
    return Parked(words=words, payers=payers, emitters=frozenset(log.address for log in logs.values()))
