"""The ledger: append-only double entry per asset. Every entry balances, names its source once, and has two times.

Money that arrives is the customer's until an order is complete: a receipt credits ``customer_credit``, completion moves
the order's amount on. Payments in parts, too much, twice or too late are therefore plain arithmetic; nothing is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Receipt
from evmbilling.errors import InvalidAmount

Side = Literal["debit", "credit"]


class Account(StrEnum):
    """The chart of accounts."""

    TREASURY = "treasury"
    RECEIVABLE = "receivable"
    CUSTOMER_CREDIT = "customer_credit"
    DEFERRED_REVENUE = "deferred_revenue"
    REVENUE = "revenue"
    TAX = "tax"
    SUSPENSE = "suspense"
    REFUNDS = "refunds"
    WRITE_OFF = "write_off"
    EXTERNAL = "external"
    GAS = "gas"


BALANCED_BY_OWNER = frozenset({Account.RECEIVABLE, Account.CUSTOMER_CREDIT, Account.DEFERRED_REVENUE})
"""Accounts with a balance row per owner. The others are shared by many customers and are summed from postings."""


class EntryKind(StrEnum):
    """Why money moved in the books."""

    RECEIVED = "received"
    TAKEN_BACK = "taken_back"
    COMPLETED = "completed"
    UNCOMPLETED = "uncompleted"
    RELEASED = "released"
    DUE = "due"
    ASSIGNED = "assigned"
    REFUNDED = "refunded"
    REFUND_REVERSED = "refund_reversed"
    WRITTEN_OFF = "written_off"
    EXTERNAL = "external"
    EXTERNAL_REVERSED = "external_reversed"
    GAS = "gas"


@frozen(kw_only=True)
class Line:
    """One side of an entry: a non-negative amount of base units on one account.

    Attributes:
        owner: whose: ``customer:<user_id>``, ``order:<ledger_id>``, ``treasury:<chain_id>:<address>`` or ``-``.

    """

    account: Account
    owner: str
    side: Side
    amount: int


@frozen(kw_only=True)
class Entry:
    """One balanced movement in one asset, unique by its source.

    Attributes:
        source: what caused it, unique: ``receipt:<id>:<n>``, ``order:<id>:<n>``, ``release:<id>:<instant>``, …
        identity: the movement on chain behind it, when there is one.
        occurred_at: block time, or when it was due or decided. recorded_at: when we learned.

    """

    entry_id: str
    source: str
    kind: EntryKind
    asset: Asset
    lines: tuple[Line, ...]
    ledger_id: str | None = None
    user_id: str | None = None
    identity: CreditIdentity | None = None
    occurred_at: datetime
    recorded_at: datetime


@frozen(kw_only=True)
class Balance:
    """What an owner's account holds in one asset: both sides, each only growing."""

    account: Account
    owner: str
    asset: Asset
    debit: int = 0
    credit: int = 0

    @property
    def net_credit(self) -> int:
        """Credit minus debit; negative when the account is overdrawn."""
        return self.credit - self.debit


@frozen(kw_only=True)
class Times:
    """The two times of an entry and its id."""

    entry_id: str
    occurred_at: datetime
    recorded_at: datetime


def customer_owner(user_id: str) -> str:
    """Name a customer as the owner of an account."""
    return f"customer:{user_id}"


def order_owner(ledger_id: str) -> str:
    """Name an order as the owner of an account."""
    return f"order:{ledger_id}"


def treasury_owner(chain_id: int, address: str) -> str:
    """Name a treasury on a chain as the owner of an account."""
    return f"treasury:{chain_id}:{address}"


def check_balanced(entry: Entry) -> Entry:
    """Return the entry if both sides are equal and no amount is negative or empty.

    Raises:
        InvalidAmount: it does not balance: a mistake in a rule, never written.

    """
    sides: dict[str, int] = defaultdict(int)
    for line in entry.lines:
        if line.amount <= 0:
            raise InvalidAmount(f"{entry.source} has an empty or negative line", field="amount")
        sides[line.side] += line.amount
    if sides["debit"] != sides["credit"] or not entry.lines:
        raise InvalidAmount(f"{entry.source} does not balance", field="amount")
    return entry


def transfer(debit: tuple[Account, str], credit: tuple[Account, str], amount: int) -> tuple[Line, Line]:
    """Return the two lines that move an amount from one account to another."""
    return (
        Line(account=debit[0], owner=debit[1], side="debit", amount=amount),
        Line(account=credit[0], owner=credit[1], side="credit", amount=amount),
    )


def receipt_entry(receipt: Receipt, *, supports: bool, number: int, times: Times) -> Entry:
    """Post a receipt that begins to support its credit, or stops to: treasury against whose money it is."""
    holder = (Account.SUSPENSE, "-")
    if receipt.allocation != "suspense" and receipt.user_id is not None:
        holder = (Account.CUSTOMER_CREDIT, customer_owner(receipt.user_id))
    treasury = (Account.TREASURY, treasury_owner(receipt.asset.chain_id, receipt.treasury))
    lines = transfer(treasury, holder, receipt.amount) if supports else transfer(holder, treasury, receipt.amount)
    return check_balanced(
        Entry(
            entry_id=times.entry_id,
            source=f"receipt:{receipt.receipt_id}:{number}",
            kind=EntryKind.RECEIVED if supports else EntryKind.TAKEN_BACK,
            asset=receipt.asset,
            lines=lines,
            ledger_id=receipt.ledger_id,
            user_id=receipt.user_id,
            identity=receipt.identity,
            occurred_at=times.occurred_at,
            recorded_at=times.recorded_at,
        )
    )


def completion_entry(order: Order, *, number: int, times: Times, receivable: int = 0) -> Entry:
    """Post an order that became complete: the customer's credit becomes deferred revenue (or revenue) and tax.

    ``receivable`` is what was posted as due for it before; that part settles the receivable instead.
    """
    tax = sum(line.amount for line in order.lines if line.kind == "tax")
    earned = Account.DEFERRED_REVENUE if order.subscription_id else Account.REVENUE
    customer = (Account.CUSTOMER_CREDIT, customer_owner(order.user_id))
    lines: tuple[Line, ...] = ()
    if receivable:
        lines += transfer(customer, (Account.RECEIVABLE, order_owner(order.ledger_id)), receivable)
    elif order.amount - tax > 0:
        lines += transfer(customer, (earned, order_owner(order.ledger_id)), order.amount - tax)
    if tax > 0 and not receivable:
        lines += transfer(customer, (Account.TAX, "-"), tax)
    return _order_entry(order, EntryKind.COMPLETED, lines, number, times)


def uncompletion_entry(order: Order, *, deferred: int, number: int, times: Times) -> Entry:
    """Post an order whose payment disappeared: what it earned goes back to the customer's credit.

    ``deferred`` is what is still deferred for it; the rest was released to revenue and is taken from there.
    """
    tax = sum(line.amount for line in order.lines if line.kind == "tax")
    customer = (Account.CUSTOMER_CREDIT, customer_owner(order.user_id))
    released = order.amount - tax - deferred
    parts = (
        ((Account.DEFERRED_REVENUE, order_owner(order.ledger_id)), deferred),
        ((Account.REVENUE, order_owner(order.ledger_id)), released),
        ((Account.TAX, "-"), tax),
    )
    lines = tuple(line for account, amount in parts if amount > 0 for line in transfer(account, customer, amount))
    return _order_entry(order, EntryKind.UNCOMPLETED, lines, number, times)


def release_entry(order: Order, *, amount: int, until: datetime, times: Times) -> Entry:
    """Post revenue that has been earned by time passing: deferred becomes revenue."""
    owner = order_owner(order.ledger_id)
    lines = transfer((Account.DEFERRED_REVENUE, owner), (Account.REVENUE, owner), amount)
    entry = _order_entry(order, EntryKind.RELEASED, lines, 0, times)
    return attrs.evolve(entry, source=f"release:{order.ledger_id}:{until.isoformat()}")


def earned_by(amount: int, start: datetime, end: datetime, now: datetime) -> int:
    """Return how much of an amount is earned at ``now``: floor by whole seconds, everything at the end."""
    if now >= end:
        return amount
    if now <= start:
        return 0
    return amount * int((now - start).total_seconds()) // int((end - start).total_seconds())


def fold_balances(entries: Iterable[Entry]) -> Mapping[tuple[Account, str, int, str], Balance]:
    """Add entries up to balances by (account, owner, chain id, token)."""
    totals: dict[tuple[Account, str, int, str], Balance] = {}
    for entry in entries:
        for line in entry.lines:
            key = (line.account, line.owner, entry.asset.chain_id, entry.asset.token)
            held = totals.get(key) or Balance(account=line.account, owner=line.owner, asset=entry.asset)
            totals[key] = Balance(
                account=held.account,
                owner=held.owner,
                asset=held.asset,
                debit=held.debit + (line.amount if line.side == "debit" else 0),
                credit=held.credit + (line.amount if line.side == "credit" else 0),
            )
    return totals


def owned_changes(entries: Sequence[Entry]) -> tuple[Balance, ...]:
    """Return what entries add to balance rows that belong to one owner."""
    return tuple(b for key, b in sorted(fold_balances(entries).items()) if key[0] in BALANCED_BY_OWNER)


def _order_entry(order: Order, kind: EntryKind, lines: tuple[Line, ...], number: int, times: Times) -> Entry:
    return check_balanced(
        Entry(
            entry_id=times.entry_id,
            source=f"order:{order.ledger_id}:{number}",
            kind=kind,
            asset=order.asset,
            lines=lines,
            ledger_id=order.ledger_id,
            user_id=order.user_id,
            occurred_at=times.occurred_at,
            recorded_at=times.recorded_at,
        )
    )
