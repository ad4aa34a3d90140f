"""Credit: what of a customer's money no order has a claim on, so that it can be given back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from evmbilling.domain.payments.allocation import ASSIGNED_REPLACED, GIVEN_BACK, RULED
from evmbilling.domain.payments.judgement import Place
from evmbilling.domain.payments.receipts import Receipt, Refund, chain_position
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS, ReceiptStatus, RefundStatus

OVER: Final = frozenset({RefundStatus.FAILED, RefundStatus.CANCELLED})
PINNED: Final[Place] = ("credit", GIVEN_BACK)
"""Where a receipt stays whose money went back as credit: it takes no order's place any more."""

_DISPUTED = ReceiptStatus.DISPUTED


@frozen(kw_only=True)
class Purse:
    """What is stored of a customer's money in one asset.

    Attributes:
        held: the customer's account in the books: what no complete order took, less what is set aside to go back.
        orders, receipts: of the customer, in that asset.
        refunds: of the customer, whichever they give back.

    """

    held: int
    orders: Sequence[Order] = ()
    receipts: Sequence[Receipt] = ()
    refunds: Sequence[Refund] = ()

    def free(self, *, releasing: Receipt | None = None) -> int:
        """Return how many base units are nobody else's; negative when more went back than there is.

        A payment in parts waits for its order, and disputed money for a person. What was given back of an order must
        be covered by what the order took, also after the chain has rearranged which money counts for which order.

        Args:
            releasing: a receipt that is counted as if it named no order any more.

        """
        doubted = sum(r.amount for r in self.receipts if r.allocation == "credit" and r.status is _DISPUTED)
        return self.held - doubted - sum(self._claimed(order, releasing) for order in self.orders)

    def to_pin(self, amount: int) -> tuple[Receipt, ...]:
        """Return the receipts that may not take an order's place any more once so much goes back, oldest first.

        A payment that came twice would take the place of the first when the chain takes that one back. It must not,
        once its money is on its way to the customer.
        """
        settled = RULED - {ASSIGNED_REPLACED}
        movable = [r for r in self.receipts if r.allocation == "credit" and r.reason not in settled and _counts(r)]
        excess = sum(r.amount for r in movable) - (self.free() - amount)
        pinned: list[Receipt] = []
        for receipt in sorted(movable, key=chain_position):
            if excess <= 0:
                break
            pinned.append(receipt)
            excess -= receipt.amount
        return tuple(pinned)

    def _claimed(self, order: Order, releasing: Receipt | None) -> int:
        """Return what an order keeps of the customer's account."""
        there = sum(
            r.amount
            for r in self.receipts
            if r.ledger_id == order.ledger_id and r.allocation == "order" and _counts(r) and r != releasing
        )
        back = on_its_way(r for r in self.refunds if r.ledger_id == order.ledger_id)
        if order.status in PAID_ORDERS:
            # Its price is not in the account any more.
            return max(0, back - min(there, order.amount))
        return max(there, back)


def on_its_way(refunds: Iterable[Refund]) -> int:
    """Return how much was given back or is about to be."""
    return sum(refund.amount for refund in refunds if refund.status not in OVER)


def _counts(receipt: Receipt) -> bool:
    return receipt.status in SUPPORTING_RECEIPTS
