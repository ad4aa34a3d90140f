"""Entries of what no payment moves: revenue earned by time, refunds, the owner's own movements, opening balances."""

from __future__ import annotations

from datetime import datetime

from evmbilling.domain.books.bookkeeping import SUSPENSE, TAX, Clerk, tax_of
from evmbilling.domain.books.ledger import (
    Account,
    Balance,
    EntryKind,
    Place,
    Position,
    customer_owner,
    order_owner,
    refund_owner,
    step,
    treasury_owner,
)
from evmbilling.domain.decisions import PostEntry
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.payments.treasury import Movement
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import RefundStatus


def book_release(order: Order, held: Balance, *, amount: int, until: datetime, clerk: Clerk) -> tuple[PostEntry, ...]:
    """Post revenue that has been earned by time passing: deferred becomes revenue.

    ``held`` is the order's deferred revenue. What was taken out of it before is part of the source: two that release
    from the same balance are one, and an order that was paid anew is released anew.
    """
    owner = order_owner(order.ledger_id)
    return clerk.post(
        f"release:{order.ledger_id}:{until.isoformat()}:{held.debit}",
        EntryKind.RELEASED,
        {(Account.DEFERRED_REVENUE, owner): -amount, (Account.REVENUE, owner): amount},
        asset=order.asset,
        occurred_at=until,
        ledger_id=order.ledger_id,
        user_id=order.user_id,
    )


def refund_position(refund: Refund | None, *, order: Order | None = None) -> Position:
    """Return what a refund comes to: money out of the treasury once it is done, and who bears it.

    The refund of an order lowers what was earned, with the order's share of tax. What goes back of a customer's credit,
    or of money of nobody, is set aside from the moment that it is asked for until it has left or is given up: whoever
    looks at the credit meanwhile does not find it there.
    """
    if refund is None or refund.status in OVER or not refund.amount:
        return {}
    done = refund.status is RefundStatus.DONE
    treasury: Place = (Account.TREASURY, treasury_owner(refund.asset.chain_id, refund.treasury))
    if order is not None:
        tax = refund.amount * tax_of(order) // order.amount if order.amount else 0
        borne: Place = (Account.REFUNDS, order_owner(order.ledger_id))
        return {treasury: refund.amount, borne: tax - refund.amount, TAX: -tax} if done else {}
    holder: Place = SUSPENSE
    if refund.user_id is not None:
        holder = (Account.CUSTOMER_CREDIT, customer_owner(refund.user_id))
    aside: Place = (Account.REFUNDS, refund_owner(refund.refund_id))
    return {holder: -refund.amount, treasury if done else aside: refund.amount}


def book_refund(
    before: Refund | None, after: Refund, clerk: Clerk, *, order: Order | None = None
) -> tuple[PostEntry, ...]:
    """Post what a change of a refund means: set aside, given up, done, or undone by a reorg."""
    was, becomes = refund_position(before, order=order), refund_position(after, order=order)
    kind = EntryKind.ASSIGNED
    if after.status is RefundStatus.DONE:
        kind = EntryKind.REFUNDED
    elif before is not None and before.status is RefundStatus.DONE:
        kind = EntryKind.REFUND_REVERSED
    of = after if kind is not EntryKind.REFUND_REVERSED or before is None else before
    moved = kind is not EntryKind.ASSIGNED
    return clerk.post(
        f"refund:{after.refund_id}:{after.version}",
        kind,
        step(was, becomes),
        asset=after.asset,
        occurred_at=of.evidence.block_time if moved and of.evidence else clerk.now,
        ledger_id=after.ledger_id,
        user_id=after.user_id,
        identity=of.identity if moved else None,
    )


def movement_position(movement: Movement | None) -> Position:
    """Return what a transfer comes to that is the owner's own business; nothing for one that belongs to something."""
    if movement is None or movement.kind != "external" or not movement.live:
        return {}
    amount = movement.amount if movement.direction == "in" else -movement.amount
    treasury: Place = (Account.TREASURY, treasury_owner(movement.asset.chain_id, movement.treasury))
    return {treasury: -amount, (Account.EXTERNAL, treasury[1]): amount}


def book_movement(before: Movement | None, after: Movement, clerk: Clerk) -> tuple[PostEntry, ...]:
    """Post a transfer of the owner's own, or take it back when the chain did or when it turned out to be another."""
    was, becomes = movement_position(before), movement_position(after)
    return clerk.post(
        f"movement:{after.identity}:{after.treasury}:{after.version}",
        EntryKind.EXTERNAL if becomes else EntryKind.EXTERNAL_REVERSED,
        step(was, becomes),
        asset=after.asset,
        occurred_at=after.evidence.block_time,
        identity=after.identity,
    )


def book_opening(*, asset: Asset, treasury: str, amount: int, at: datetime, clerk: Clerk) -> tuple[PostEntry, ...]:
    """Post what a treasury held before it was watched; nothing when it was empty."""
    owner = treasury_owner(asset.chain_id, treasury)
    return clerk.post(
        opening_source(asset, treasury),
        EntryKind.EXTERNAL,
        {(Account.TREASURY, owner): -amount, (Account.EXTERNAL, owner): amount},
        asset=asset,
        occurred_at=at,
    )


def opening_source(asset: Asset, treasury: str) -> str:
    """Return the source of a treasury's opening balance in an asset."""
    return f"opening:{asset.chain_id}:{treasury}:{asset.token}"
