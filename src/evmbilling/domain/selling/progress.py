"""How far the payment of an order has come, as its payer may see it."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Finality, Heights, SubscriptionPlan
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus

_ON_CHAIN = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}


@frozen(kw_only=True)
class Confirmations:
    """How deep money for an order lies.

    Attributes:
        have: blocks from the one that holds the newest payment up to the head that was read; 0 without a payment.
        needed: blocks after which it counts; None where the chain's own tag decides.
        rule: as it is configured (``depth 12``, ``safe``).

    """

    have: int
    needed: int | None
    rule: str


@frozen(kw_only=True)
class Progress:
    """An order on its way.

    Attributes:
        plan: the version that is paid for.
        received: base units of its asset that stand on chain for it, confirmed or not.
        seen: base units that were found at its deposit address and are not swept yet: they count when they are.
        tx_hash: of the newest payment that stands on chain; None while none does.
        superseded_by: ledger id of the order that took its place.
        explorer_url: prefix of the network's explorer for people.

    """

    checkout: Checkout
    plan: SubscriptionPlan | None
    received: int
    seen: int
    confirmations: Confirmations
    tx_hash: bytes | None
    superseded_by: str | None
    explorer_url: str | None


def standing_receipts(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Return the receipts that stand on chain now."""
    return [receipt for receipt in receipts if receipt.status in _ON_CHAIN]


def confirmations(receipts: Sequence[Receipt], finality: Finality, heights: Heights | None) -> Confirmations:
    """Count how deep the newest of an order's payments lies.

    Args:
        receipts: of the order, on one chain.
        finality: when money counts.
        heights: as far as the chain was read; None when it never was.

    """
    tag_decides = heights is not None and finality.kind != "depth" and heights.of(finality.kind) is not None
    needed = None if tag_decides or not finality.blocks else finality.blocks
    newest = max((receipt.evidence.block_number for receipt in receipts), default=None)
    have = 0 if newest is None or heights is None else max(0, heights.head - newest + 1)
    return Confirmations(have=have, needed=needed, rule=str(finality))
