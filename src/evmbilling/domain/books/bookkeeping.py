"""Bookkeeping: which entries a change of facts has to post.

Everything has a *position*: what its facts come to in the books. A change posts the difference between the position
before and the position after, so that the books depend on the facts alone and not on the way that led to them: what
was reversed and restored, or seen late, or in another order, ends in the same balances.

The source of an entry names the row that moved and the version that the move gave it. A row has each version once, so
the same change cannot be posted twice, and a credit that comes back is posted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from attrs import frozen

from evmbilling.domain.books.ledger import (
    NOBODY,
    Account,
    Balance,
    Entry,
    EntryKind,
    Place,
    Position,
    check_balanced,
    customer_owner,
    lines_of,
    order_owner,
    step,
    treasury_owner,
)
from evmbilling.domain.decisions import PostEntry
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS

SUSPENSE: Place = (Account.SUSPENSE, NOBODY)
WRITE_OFF: Place = (Account.WRITE_OFF, NOBODY)
TAX: Place = (Account.TAX, NOBODY)


@frozen(kw_only=True)
class BookFacts:
    """What the books of a customer are folded from."""

    receipts: Sequence[Receipt] = ()
    orders: Sequence[Order] = ()


@frozen(kw_only=True)
class Clerk:
    """What an entry needs beyond the facts: when we learned, and new ids."""

    now: datetime
    new_id: Callable[[], str]

    def post(
        self,
        source: str,
        kind: EntryKind,
        position: Position,
        *,
        asset: Asset,
        occurred_at: datetime,
        ledger_id: str | None = None,
        user_id: str | None = None,
        identity: CreditIdentity | None = None,
    ) -> tuple[PostEntry, ...]:
        """Return the entry that posts a position, checked; nothing when every place holds 0.

        Raises:
            InvalidAmount: it does not balance: a mistake in a rule.

        """
        lines = lines_of(position)
        if not lines:
            return ()
        entry = Entry(
            entry_id=self.new_id(),
            source=source,
            kind=kind,
            asset=asset,
            lines=lines,
            ledger_id=ledger_id,
            user_id=user_id,
            identity=identity,
            occurred_at=occurred_at,
            recorded_at=self.now,
        )
        return (PostEntry(check_balanced(entry)),)


def book_changes(
    before: BookFacts,
    after: BookFacts,
    *,
    balances: Iterable[Balance] = (),
    now: datetime,
    new_id: Callable[[], str],
) -> tuple[PostEntry, ...]:
    """Return the entries of a change of receipts and orders.

    Args:
        before, after: the facts; rows that are equal post nothing. For an order that became or stopped to be complete
            all its receipts are among them.
        balances: balance rows of the orders that may stop to be complete: what is still deferred of them.
        now: when we learned.
        new_id: gives ids of entries.

    Raises:
        InvalidAmount: an entry would not balance: a mistake in a rule.

    """
    clerk = Clerk(now=now, new_id=new_id)
    old_receipts = {r.receipt_id: r for r in before.receipts}
    old_orders = {o.ledger_id: o for o in before.orders}
    moved = [(old_receipts.get(r.receipt_id), r) for r in after.receipts if r != old_receipts.get(r.receipt_id)]
    posted = [entry for old, new in moved for entry in book_receipt(old, new, clerk)]
    movers = {r.ledger_id: new for old, new in moved for r in (old, new) if r is not None}
    deferred = deferred_of(balances)
    for order in after.orders:
        known = old_orders.get(order.ledger_id)
        mover = movers.get(order.ledger_id)
        if order != known or mover is not None:
            was = order_position(known, before.receipts) if known is not None else {}
            change = OrderChange(
                before=known,
                after=order,
                was=was,
                becomes=order_position(order, after.receipts),
                deferred=deferred.get(order.ledger_id, 0),
                mover=mover,
            )
            posted += book_order(change, clerk)
    return tuple(posted)


def receipt_position(receipt: Receipt | None) -> Position:
    """Return where a receipt's money stands, in the treasury and whose it is; nothing unless it supports its credit."""
    if receipt is None or receipt.status not in SUPPORTING_RECEIPTS or not receipt.amount:
        return {}
    treasury = (Account.TREASURY, treasury_owner(receipt.asset.chain_id, receipt.treasury))
    return {treasury: -receipt.amount, holder_of(receipt): receipt.amount}


def holder_of(receipt: Receipt) -> Place:
    """Return whose a receipt's money is.

    What counts for an order and what does not is the customer's alike, until an order takes it. Money on its way back
    is its customer's, or suspense when nobody is known.
    """
    if receipt.allocation == "written_off":
        return WRITE_OFF
    if receipt.allocation == "suspense" or receipt.user_id is None:
        return SUSPENSE
    return Account.CUSTOMER_CREDIT, customer_owner(receipt.user_id)


def book_receipt(before: Receipt | None, after: Receipt, clerk: Clerk) -> tuple[PostEntry, ...]:
    """Post what a change of one receipt means: received, taken back, or assigned from one holder to another."""
    was, becomes = receipt_position(before), receipt_position(after)
    kind = EntryKind.ASSIGNED
    if not was or not becomes:
        kind = EntryKind.RECEIVED if becomes else EntryKind.TAKEN_BACK
    elif after.allocation == "written_off":
        kind = EntryKind.WRITTEN_OFF
    return clerk.post(
        f"receipt:{after.receipt_id}:{after.version}",
        kind,
        step(was, becomes),
        asset=after.asset,
        occurred_at=clerk.now if kind in {EntryKind.ASSIGNED, EntryKind.WRITTEN_OFF} else after.evidence.block_time,
        ledger_id=after.ledger_id,
        user_id=after.user_id,
        identity=after.identity,
    )


def earned_account(order: Order) -> Account:
    """Return where the price of an order goes first: a period is earned by passing, a thing when it is sold."""
    return Account.REVENUE if order.subscription_id is None else Account.DEFERRED_REVENUE


def tax_of(order: Order) -> int:
    """Return the tax in an order's amount; a credit may leave less to pay than the tax lines say."""
    return min(max(sum(line.amount for line in order.lines if line.kind == "tax"), 0), order.amount)


def order_position(order: Order, receipts: Iterable[Receipt]) -> Position:
    """Return what an order comes to: its price and its tax, out of the customer's credit when it is complete.

    A period that fell due unpaid is owed by the customer until it is paid or given up. Of a complete order, what is
    missing is owed by the customer (within the tolerance), or was taken in another way by whoever marked the
    order as paid: that part is written off here. All of the price stands on the account on which it was first posted;
    what time has released from it since are entries of their own.
    """
    owner = order_owner(order.ledger_id)
    if order.status not in PAID_ORDERS:
        return _claimed(order, WRITE_OFF if order.claim == "forgiven" else (Account.RECEIVABLE, owner))
    paid = sum(
        r.amount
        for r in receipts
        if r.ledger_id == order.ledger_id and r.allocation == "order" and r.status in SUPPORTING_RECEIPTS
    )
    drawn, tax = min(paid, order.amount), tax_of(order)
    missing: Place = WRITE_OFF if order.manual is not None else (Account.RECEIVABLE, owner)
    return {
        (Account.CUSTOMER_CREDIT, customer_owner(order.user_id)): -drawn,
        missing: drawn - order.amount,
        (earned_account(order), owner): order.amount - tax,
        TAX: tax,
    }


def _claimed(order: Order, holder: Place) -> Position:
    """Return what an order comes to that fell due unpaid; nothing for one that did not."""
    if order.claim is None:
        return {}
    tax = tax_of(order)
    earned = (earned_account(order), order_owner(order.ledger_id))
    return {holder: -order.amount, earned: order.amount - tax, TAX: tax}


@frozen(kw_only=True)
class OrderChange:
    """An order before and after, with its positions.

    Attributes:
        deferred: what is still deferred of it.
        mover: a receipt of it that changed, when there is one.

    """

    before: Order | None
    after: Order
    was: Position
    becomes: Position
    deferred: int = 0
    mover: Receipt | None = None


def book_order(change: OrderChange, clerk: Clerk) -> tuple[PostEntry, ...]:
    """Post an order that became complete, stopped to be, fell due, or of which more or less is missing than before.

    What was earned by an order that stops to be complete is taken from what is still deferred first, then from revenue.
    """
    after, becomes = change.after, change.becomes
    posted = dict(step(change.was, becomes))
    deferred: Place = (Account.DEFERRED_REVENUE, order_owner(after.ledger_id))
    back = -posted.get(deferred, 0)
    if back > 0:
        released = back - min(max(change.deferred, 0), back)
        posted[deferred] += released
        posted[(Account.REVENUE, deferred[1])] = -released
    of = after if becomes or change.before is None else change.before
    source = f"order:{after.ledger_id}:{after.version}"
    if after == change.before and change.mover is not None:
        # The order's row did not change: the receipt's did, and has each version once.
        source = f"due:{change.mover.receipt_id}:{change.mover.version}"
    kind = _kind(change)
    return clerk.post(
        source,
        kind,
        posted,
        asset=after.asset,
        occurred_at=(clerk.now if kind is EntryKind.WRITTEN_OFF else _completed_at(of) or of.due_at) or clerk.now,
        ledger_id=after.ledger_id,
        user_id=after.user_id,
    )


def _kind(change: OrderChange) -> EntryKind:
    """Return why an order's position changed."""
    before, after = change.before, change.after
    was_complete = before is not None and before.status in PAID_ORDERS
    is_complete = after.status in PAID_ORDERS
    if was_complete != is_complete:
        return EntryKind.COMPLETED if is_complete else EntryKind.UNCOMPLETED
    return EntryKind.WRITTEN_OFF if after.claim == "forgiven" and not is_complete else EntryKind.DUE


def _completed_at(order: Order) -> datetime | None:
    if order.completion is not None:
        return order.completion.confirmed_at
    return order.manual.at if order.manual is not None else None


def deferred_of(balances: Iterable[Balance]) -> Mapping[str, int]:
    """Return what is still deferred by ledger id, from balance rows of orders."""
    prefix = order_owner("")
    return {b.owner.removeprefix(prefix): b.net_credit for b in balances if b.account is Account.DEFERRED_REVENUE}
