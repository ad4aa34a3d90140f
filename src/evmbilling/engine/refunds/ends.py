"""How a refund that is given up, or that failed, sets free what had been set aside for it."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.actors import Actor
from evmbilling.domain.books.bookkeeping import Clerk
from evmbilling.domain.books.postings import book_refund
from evmbilling.domain.decisions import PostEntry
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.payments.receipts import Refund
from evmbilling.engine.books.placing import Placing
from evmbilling.engine.context import Ports
from evmbilling.ports.storage import Unit


def set_free(ports: Ports, unit: Unit, actor: Actor, before: Refund | None, after: Refund) -> Sequence[PostEntry]:
    """Return what a step of a refund posts; the receipt of one that is over is given up in this unit.

    Store the refund in the same unit.
    """
    order = unit.order(after.ledger_id) if after.ledger_id else None
    clerk = Clerk(now=ports.clock.now(), new_id=ports.ids.new_id)
    posted = book_refund(before, after, clerk, order=order)
    receipt = unit.receipts([after.receipt_id]).get(after.receipt_id) if after.receipt_id else None
    if after.status in OVER and receipt is not None and receipt.allocation == "refunded":
        Placing(ports, unit, actor).give_up(receipt)
    return posted
