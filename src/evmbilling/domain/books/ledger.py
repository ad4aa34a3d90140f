"""The ledger: append-only double entry per asset. Every entry balances, names its source once, and has two times.

Money that arrives is the customer's until an order is complete: a receipt credits ``customer_credit``, completion moves
the order's amount on. Payments in parts, too much, twice or too late are therefore plain arithmetic; nothing is lost.
What is posted when is decided in :mod:`evmbilling.domain.books.bookkeeping`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from attrs import frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.errors import InvalidAmount

Side = Literal["debit", "credit"]
NOBODY = "-"
"""The owner of accounts that have none."""


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
    """A period fell due unpaid, or what is missing of a complete order became more or less."""
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
        owner: whose: ``customer:<user_id>``, ``order:<ledger_id>``, ``refund:<refund_id>``,
            ``treasury:<chain_id>:<address>`` or ``-``.

    """

    account: Account
    owner: str
    side: Side
    amount: int


@frozen(kw_only=True)
class Entry:
    """One balanced movement in one asset, unique by its source.

    Attributes:
        source: what caused it, unique: ``receipt:<id>:<version>``, ``order:<id>:<version>``,
            ``due:<receipt id>:<version>``, ``refund:<id>:<version>``, ``movement:<identity>:<treasury>:<version>``,
            ``release:<id>:<instant>:<released before>``, ``gas:<transmission id>``,
            ``opening:<chain id>:<treasury>:<token>``.
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


Place = tuple[Account, str]
"""An account and its owner."""
Position = Mapping[Place, int]
"""What something comes to in the books: base units by place, credit positive and debit negative; the sum is 0."""


def customer_owner(user_id: str) -> str:
    """Name a customer as the owner of an account."""
    return f"customer:{user_id}"


def order_owner(ledger_id: str) -> str:
    """Name an order as the owner of an account."""
    return f"order:{ledger_id}"


def refund_owner(refund_id: str) -> str:
    """Name a refund as the owner of what is set aside for it."""
    return f"refund:{refund_id}"


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


def lines_of(position: Position) -> tuple[Line, ...]:
    """Return a position as lines, debits first; places that hold nothing are left out."""
    rows = sorted((amount > 0, place) for place, amount in position.items() if amount)
    return tuple(
        Line(account=account, owner=owner, side="credit" if credit else "debit", amount=abs(position[(account, owner)]))
        for credit, (account, owner) in rows
    )


def step(before: Position, after: Position) -> Position:
    """Return what has to be posted to come from one position to another."""
    places = [*before, *(place for place in after if place not in before)]
    return {place: after.get(place, 0) - before.get(place, 0) for place in places}


def net_of(entry: Entry) -> Position:
    """Return what an entry adds to each place, credit positive."""
    totals: dict[Place, int] = defaultdict(int)
    for line in entry.lines:
        totals[(line.account, line.owner)] += line.amount if line.side == "credit" else -line.amount
    return totals


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
