"""Which paid changes of terms hold where several were paid: a fold over what was decided and what was paid.

A difference between two terms is paid for on top of what held when it was offered. Of several offers on top of the same
terms, the one that was complete first in chain order holds; the others are to terms that do not hold any more. Neither
the order in which payments are learned of nor how many at once changes that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.payments.judgement import Place
from evmbilling.domain.payments.paying import comes_too_late, of_order, payers
from evmbilling.domain.payments.receipts import Receipt, chain_position, paid_at
from evmbilling.domain.refunds.shortening import shortened
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus
from evmbilling.domain.subscriptions.calendars import calendar_of
from evmbilling.domain.subscriptions.periods import PeriodTable, table_of
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.terms import TermsBook, terms_book

Rank = tuple[bool, datetime, int, int, int]
"""Which payment goes first: what counts already before what is only seen, then chain order."""


@frozen(kw_only=True)
class Payment:
    """What came for the order of a change.

    Attributes:
        moment: when it was complete; of one that is not, when the last of it came.
        rank: among others that are complete; None while it is not.
        offered: when the difference was asked for.

    """

    moment: datetime
    rank: Rank | None
    offered: datetime | None = None


def payments(orders: Iterable[Order], receipts: Sequence[Receipt]) -> dict[str, Payment]:
    """Return what came for each order within a period, by its ledger id; money that is only seen counts, too."""
    found = {o.ledger_id: _payment(o, receipts) for o in orders if o.period is None}
    return {ledger_id: payment for ledger_id, payment in found.items() if payment is not None}


def stale_orders(
    subscription: Subscription,
    orders: Sequence[Order],
    receipts: Iterable[Receipt],
    changes: Iterable[SubscriptionChange],
    places: Mapping[str, Place],
    *,
    plans: Mapping[tuple[str, int], SubscriptionPlan],
) -> frozenset[str]:
    """Return the orders of a subscription that are on terms which do not hold, so that their money buys nothing.

    Args:
        subscription: as stored.
        orders: all of it.
        receipts, changes: of the customer.
        places: of receipts, by id, as if no offer were in another's way.
        plans: versions by (slug, version).

    """
    own = [c for c in changes if c.subscription_id == subscription.subscription_id]
    behind = _behind_the_end(orders, own)
    if all(change.terms is None for change in own):
        return behind
    placed = [attrs.evolve(r, allocation=places.get(r.receipt_id, (r.allocation, None))[0]) for r in receipts]
    paid = payers(orders, placed)
    book = terms_book(subscription, orders, placed, own, paid)
    firsts = {period: by.moment for period, by in paid.items()}
    anchor, segments = calendar_of(subscription, firsts, own, book)
    table = table_of(anchor, book.base.interval, subscription.zone, segments)
    stale = behind | stale_offers(book, own, payments(orders, placed), table)
    return stale | _of_other_lengths(orders, plans, table) if book.intervals else stale


def _behind_the_end(orders: Iterable[Order], changes: Sequence[SubscriptionChange]) -> frozenset[str]:
    """Return the offers for periods behind those that were given back: one month's price does not bring these back."""
    short = shortened(changes)
    if short is None or short.paid_to is None:
        return frozenset()
    return frozenset(o.ledger_id for o in orders if o.period is not None and o.period >= short.paid_to)


def _of_other_lengths(
    orders: Iterable[Order], plans: Mapping[tuple[str, int], SubscriptionPlan], table: PeriodTable | None
) -> frozenset[str]:
    """Return the offers for periods that are of another length by now: what one month costs does not buy a year."""
    if table is None:
        return frozenset()
    found: set[str] = set()
    for order in orders:
        plan = plans.get((order.plan_slug, order.plan_version))
        if plan and order.period is not None and plan.interval != table.segment(order.period).interval:
            found.add(order.ledger_id)
    return frozenset(found)


def stale_offers(
    book: TermsBook,
    changes: Sequence[SubscriptionChange],
    came: Mapping[str, Payment],
    table: PeriodTable | None,
) -> frozenset[str]:
    """Return the orders of changes within a period whose difference is to terms that do not hold.

    Money for one of them is the customer's credit.

    Args:
        book: which changes hold that no order within a period has to pay.
        changes: all of the subscription.
        came: what was paid for orders, as if none of them were in another's way.
        table: the subscription's periods; None while it has none.

    """
    offers = [_Offer.of(change, came) for change in changes if change.terms is not None and change.terms.ledger_id]
    ground = _Ground(begins=_begins(book, table), free=_free(changes), table=table)
    bases: list[tuple[int, datetime | None]] = [(0, None), *ground.begins.items()]
    holding: set[str] = set()
    # On top of each change that holds, one more may; what it is the difference to is always the older one.
    for seq, since in bases:
        fitting = [o for o in offers if o.basis == seq and ground.carries(o, since)]
        complete = [o for o in fitting if o.payment is not None and o.payment.rank is not None]
        if not complete:
            holding |= {offer.ledger_id for offer in fitting}
            continue
        first = min(complete, key=lambda o: (o.rank, o.seq))
        holding.add(first.ledger_id)
        bases.append((first.seq, first.moment))
    return frozenset(offer.ledger_id for offer in offers) - holding


@frozen(kw_only=True)
class _Offer:
    """A change that an order within a period has to pay."""

    seq: int
    basis: int
    ledger_id: str
    payment: Payment | None

    @classmethod
    def of(cls, change: SubscriptionChange, came: Mapping[str, Payment]) -> _Offer:
        terms = change.terms
        if terms is None or terms.ledger_id is None:  # pragma: no cover - only changes with an order are asked
            raise AssertionError(change.kind)
        return cls(seq=change.seq, basis=terms.basis, ledger_id=terms.ledger_id, payment=came.get(terms.ledger_id))

    @property
    def moment(self) -> datetime | None:
        return self.payment.moment if self.payment is not None else None

    @property
    def rank(self) -> Rank | None:
        return self.payment.rank if self.payment is not None else None


@frozen(kw_only=True)
class _Ground:
    """The changes that hold without an order of their own.

    Attributes:
        begins: when each one begins, by its number.
        free: numbers of those that cost nothing, with what held when they were decided.
        table: the subscription's periods; None while it has none.

    """

    begins: Mapping[int, datetime]
    free: Sequence[tuple[int, int]]
    table: PeriodTable | None = None

    def carries(self, offer: _Offer, since: datetime | None) -> bool:
        """Whether nothing came between an offer and what it is the difference to, which holds since then."""
        if any(basis == offer.basis and seq > offer.seq for seq, basis in self.free):
            return False
        if offer.payment is None or offer.moment is None:
            return True
        if comes_too_late(offer.payment.offered, offer.moment, self.table):
            return False
        paid = (offer.moment, offer.seq)
        if since is not None and (since, offer.basis) > paid:
            return False
        return not any(
            (since is None or (since, offer.basis) < (begin, seq)) and (begin, seq) < paid
            for seq, begin in self.begins.items()
        )


def _begins(book: TermsBook, table: PeriodTable | None) -> dict[int, datetime]:
    begins = {c.seq: c.moment for c in book.within if c.terms.ledger_id is None}
    if table is not None:
        begins |= {c.seq: table.start(c.period) for c in book.onward if c.paid}
    return begins


def _free(changes: Iterable[SubscriptionChange]) -> list[tuple[int, int]]:
    return [
        (c.seq, c.terms.basis)
        for c in changes
        if c.kind == "change_now" and c.terms is not None and c.terms.ledger_id is None
    ]


def _payment(order: Order, receipts: Sequence[Receipt]) -> Payment | None:
    if order.manual is not None:
        at = order.manual.at
        return Payment(moment=max(at, order.created_at), rank=(False, at, 0, 0, 0), offered=order.due_at)
    counting = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}
    found: Payment | None = None
    paid = 0
    for rank, receipt in sorted(
        ((_rank(r), r) for r in of_order(order, receipts) if r.status in counting), key=lambda r: r[0]
    ):
        paid += receipt.amount
        complete = paid >= order.enough
        moment = paid_at(receipt, order.created_at)
        found = Payment(moment=moment, rank=rank if complete else None, offered=order.due_at)
        if complete:
            break
    return found


def _rank(receipt: Receipt) -> Rank:
    return (receipt.status not in SUPPORTING_RECEIPTS, *chain_position(receipt))
