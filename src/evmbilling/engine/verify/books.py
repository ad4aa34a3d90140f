"""The books against the facts: entries against balance rows, receipts, orders, refunds and movements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from evmbilling.domain.books.bookkeeping import order_position, receipt_position
from evmbilling.domain.books.ledger import BALANCED_BY_OWNER, Account, Entry, Position, check_balanced, net_of
from evmbilling.domain.books.postings import movement_position, refund_position
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.treasury import Movement, other_side
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.verify.report import Code, Findings
from evmbilling.engine.verify.tally import Row, differing
from evmbilling.errors import InvalidAmount
from evmbilling.ports.storage import Unit

PAGE = 1000
SEPARATOR = "\t"
"""In no id: they are printable."""
_EARNED = "earned"
_NOT_BOOKED: dict[str, Code] = {
    "balance": "balance_differs",
    "receipt": "receipt_not_booked",
    "order": "order_not_booked",
    "refund": "refund_not_booked",
    "movement": "movement_not_booked",
}
_BY_SOURCE = {"receipt": "receipt", "refund": "refund", "movement": "movement"}
_OF_ORDERS = frozenset({"order", "due", "release"})
_OPENING = "opening"
_FREE = frozenset({_OPENING, "gas"})
"""Entries of what was there before, and of fees: their evidence is what the treasury holds, and the transmissions."""
_Row = TypeVar("_Row")

Sums = dict[tuple[int, str, str], int]
"""Base units by (chain id, treasury, token)."""


class BooksCheck:
    """Compares everything that was posted with everything that it was posted for.

    Attributes:
        treasury: what the books say that treasuries hold.
        openings: what of it was there before a treasury was watched.

    """

    def __init__(self, unit: Unit, findings: Findings) -> None:
        self._unit = unit
        self._findings = findings
        self._first = True
        self._by_asset: dict[tuple[int, str], int] = defaultdict(int)
        self.treasury: Sums = defaultdict(int)
        self.openings: Sums = {}

    def run(self, salt: bytes) -> None:
        """Find every difference between the books and the facts."""
        for key, left, right in differing(self._stream, salt):
            kind, subject, *place = key.split(SEPARATOR)
            self._findings.add(
                _NOT_BOOKED[kind], f"{kind}:{subject}", expected=right, found=left, reason=" ".join(place)
            )
        for (chain_id, token), total in sorted(self._by_asset.items()):
            if total:
                self._findings.add("sum_not_zero", f"asset:{chain_id}:{token}", expected=0, found=total)

    def _stream(self) -> Iterator[Row]:
        """Give what the entries say as left and what balances and facts say as right."""
        first, self._first = self._first, False
        for entry in pages(self._entries, lambda e: e.entry_id):
            if first:
                self._look_at(entry)
            yield from _entry_rows(entry)
        yield from self._balances()
        for receipt in pages(lambda after: self._unit.all_receipts(after=after, limit=PAGE), lambda r: r.receipt_id):
            yield from _fact_rows("receipt", receipt.receipt_id, receipt.asset, receipt_position(receipt))
        yield from self._orders()
        yield from self._refunds()
        treasuries = {(t.chain_id, t.address): t.since_block for t in self._unit.treasuries()}
        for movement in pages_of_movements(self._unit):
            yield from _fact_rows("movement", _movement_id(movement), movement.asset, movement_position(movement))
            since = treasuries.get((movement.asset.chain_id, movement.counterparty))
            if since is not None and movement.evidence.block_number >= since:
                # From one treasury to another: one movement, and an entry for each of them.
                other = other_side(movement)
                yield from _fact_rows("movement", _movement_id(other), other.asset, movement_position(other))

    def _entries(self, after: str) -> Sequence[Entry]:
        return self._unit.ledger_entries(after=after, limit=PAGE)

    def _look_at(self, entry: Entry) -> None:
        """Check one entry alone, once, and add it to the sums that are few."""
        self._findings.looked_at("ledger_entries", 1)
        try:
            check_balanced(entry)
        except InvalidAmount as error:
            self._findings.add("entry_unbalanced", f"ledger_entries:{entry.entry_id}", reason=error.message)
        prefix = entry.source.partition(":")[0]
        if prefix not in _BY_SOURCE and prefix not in _OF_ORDERS | _FREE:
            self._findings.add("entry_unknown", f"ledger_entries:{entry.entry_id}", found=entry.source)
        for (account, owner), amount in net_of(entry).items():
            self._by_asset[(entry.asset.chain_id, entry.asset.token)] += amount
            if account is Account.TREASURY:
                key = (entry.asset.chain_id, owner.rpartition(":")[2], entry.asset.token)
                self.treasury[key] -= amount
                if prefix == _OPENING:
                    self.openings[key] = self.openings.get(key, 0) - amount

    def _balances(self) -> Iterator[Row]:
        for balance in pages(lambda after: self._unit.all_balances(after=after, limit=PAGE), lambda b: b.owner):
            place = (balance.account, balance.asset.chain_id, balance.asset.token)
            yield _key("balance", balance.owner, *place, "debit"), 0, balance.debit
            yield _key("balance", balance.owner, *place, "credit"), 0, balance.credit

    def _orders(self) -> Iterator[Row]:
        after = ""
        while page := self._unit.all_orders(after=after, limit=PAGE):
            receipts = defaultdict(list)
            for receipt in self._unit.receipts_of_orders([order.ledger_id for order in page]):
                receipts[receipt.ledger_id].append(receipt)
            for order in page:
                position = order_position(order, receipts[order.ledger_id])
                yield from _fact_rows("order", order.ledger_id, order.asset, _earned(position))
            after = page[-1].ledger_id

    def _refunds(self) -> Iterator[Row]:
        for refund in pages(lambda after: self._unit.refunds(after=after, limit=PAGE), lambda r: r.refund_id):
            order: Order | None = self._unit.order(refund.ledger_id) if refund.ledger_id else None
            position = refund_position(refund, order=order)
            yield from _fact_rows("refund", refund.refund_id, refund.asset, position)


def pages(read: Callable[[str], Sequence[_Row]], key: Callable[[_Row], str]) -> Iterator[_Row]:
    """Give the rows of a table, a page in memory at a time."""
    after = ""
    while page := read(after):
        yield from page
        after = key(page[-1])


def pages_of_movements(unit: Unit) -> Iterator[Movement]:
    """Give every movement."""
    page = unit.all_movements(limit=PAGE)
    while page:
        yield from page
        page = unit.all_movements(after=page[-1].identity, limit=PAGE)


def _entry_rows(entry: Entry) -> Iterator[Row]:
    for line in entry.lines:
        if line.account in BALANCED_BY_OWNER:
            place = (line.account, entry.asset.chain_id, entry.asset.token, line.side)
            yield _key("balance", line.owner, *place), line.amount, 0
    prefix, _, rest = entry.source.partition(":")
    if prefix in _BY_SOURCE:
        yield from _fact_rows(_BY_SOURCE[prefix], rest.rpartition(":")[0], entry.asset, net_of(entry), left=True)
    elif prefix in _OF_ORDERS and entry.ledger_id is not None:
        yield from _fact_rows("order", entry.ledger_id, entry.asset, _earned(net_of(entry)), left=True)


def _earned(position: Position) -> dict[tuple[str, str], int]:
    """Take deferred and released revenue of an order as one: only time moves it from one to the other."""
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for (account, owner), amount in position.items():
        is_earned = account in {Account.DEFERRED_REVENUE, Account.REVENUE}
        totals[(_EARNED if is_earned else account, owner)] += amount
    return totals


def _fact_rows(
    kind: str, subject: str, asset: Asset, position: Position | dict[tuple[str, str], int], *, left: bool = False
) -> Iterable[Row]:
    for (account, owner), amount in position.items():
        key = _key(kind, subject, account, owner, asset.chain_id, asset.token)
        yield key, amount if left else 0, 0 if left else amount


def _movement_id(movement: Movement) -> str:
    return f"{movement.identity}:{movement.treasury}"


def _key(*parts: object) -> str:
    return SEPARATOR.join(str(part) for part in parts)
