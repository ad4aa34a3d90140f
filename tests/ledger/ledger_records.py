"""Records for tests of the books: one customer, a subscription's order, a one-off order, their receipts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from evmbilling.domain.books.bookkeeping import BookFacts, Clerk, book_changes
from evmbilling.domain.books.ledger import Account, Entry, customer_owner, fold_balances, order_owner
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Evidence, Receipt
from evmbilling.domain.selling.orders import Completion, Order, OrderLine
from evmbilling.domain.states import SUPPORTING_RECEIPTS, OrderStatus, ReceiptStatus

SEAL_KEY = bytes(range(32))
T0 = datetime(2026, 1, 31, 12, tzinfo=UTC)
USDC = Asset(chain_id=1, token="0x5FbDB2315678afecb367f032d93F642f64180aa3", decimals=6, symbol="USDC")
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CONTRACT = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
TREASURY = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"


def at(days: float = 0) -> datetime:
    return T0 + timedelta(days=days)


def order(ledger_id: str = "o1", amount: int = 100, tax: int = 0, **changes: Any) -> Order:
    lines = (OrderLine(kind="plan", text="Pro", amount=amount - tax),)
    if tax:
        lines += (OrderLine(kind="tax", text="VAT", amount=tax),)
    made = Order(
        ledger_id=ledger_id,
        reference=ledger_id.encode().rjust(32, b"\1"),
        user_id="ann",
        product=Product("api"),
        plan_slug="pro",
        plan_version=1,
        subscription_id="s1",
        period=0,
        gateway_slug="main",
        contract_slug="checkout",
        network="mainnet",
        asset=USDC,
        quantity=1,
        lines=lines,
        amount=amount,
        wallet=WALLET,
        beneficiary=WALLET,
        contract=CONTRACT,
        treasury=TREASURY,
        gas=1,
        created_at=T0,
        deadline=at(1),
    )
    return attrs.evolve(made, **changes)


def receipt(
    number: int = 1, amount: int = 100, status: ReceiptStatus = ReceiptStatus.CREDITED, **changes: Any
) -> Receipt:
    made = Receipt(
        receipt_id=f"r{number}",
        identity=CreditIdentity(1, number.to_bytes(32), 0),
        ledger_id="o1",
        user_id="ann",
        allocation="order",
        asset=USDC,
        amount=amount,
        payer=WALLET,
        treasury=TREASURY,
        evidence=Evidence(block_number=number, block_hash=b"\2" * 32, block_time=at(number / 24), log_index=0),
        status=status,
        first_seen_at=at(number / 24),
        entries=1,
    )
    return attrs.evolve(made, **changes)


def clerk(now: datetime = T0) -> Clerk:
    ids = itertools.count(1)
    return Clerk(now=now, new_id=lambda: f"e{next(ids)}")


class Books:
    """The facts of a customer and everything that was posted while they changed."""

    def __init__(self, *orders: Order) -> None:
        self.orders = {o.ledger_id: o for o in orders}
        self.receipts: dict[str, Receipt] = {}
        self.entries: list[Entry] = []
        self._ids = itertools.count(1)

    @property
    def facts(self) -> BookFacts:
        return BookFacts(receipts=tuple(self.receipts.values()), orders=tuple(self.orders.values()))

    def put(self, *receipts: Receipt, **orders: dict[str, Any]) -> list[Entry]:
        """Store receipts and changes of orders (by ledger id), refold the orders, post; return what was posted."""
        before = self.facts
        for new in receipts:
            old = self.receipts.get(new.receipt_id)
            version = old.version + 1 if old is not None else 1
            self.receipts[new.receipt_id] = attrs.evolve(new, version=version)
        for ledger_id, changes in orders.items():
            old_order = self.orders[ledger_id]
            self.orders[ledger_id] = attrs.evolve(old_order, **changes, version=old_order.version + 1)
        for ledger_id in list(self.orders):
            self._refold(ledger_id)
        posted = book_changes(
            before,
            self.facts,
            balances=fold_balances(self.entries).values(),
            now=at(9),
            new_id=lambda: f"e{next(self._ids)}",
        )
        added = [decision.entry for decision in posted]
        self.entries += added
        return added

    def _refold(self, ledger_id: str) -> None:
        """A small standing: complete when all but the tolerance is there, or when a person said so."""
        held = self.orders[ledger_id]
        own = [r for r in self.receipts.values() if r.ledger_id == ledger_id and r.allocation == "order"]
        paid = sum(r.amount for r in own if r.status in SUPPORTING_RECEIPTS)
        complete = held.manual is not None or paid >= held.amount - held.tolerance
        status = OrderStatus.CONFIRMED if complete else OrderStatus.PENDING
        if status != held.status:
            completion = Completion(
                tx_hash=b"\3" * 32, log_index=0, block_number=1, block_hash=b"\2" * 32, confirmed_at=at(1)
            )
            self.orders[ledger_id] = attrs.evolve(
                held,
                status=status,
                completion=completion if complete and held.manual is None else None,
                version=held.version + 1,
            )

    def post(self, decisions: Iterable[Any]) -> None:
        self.entries += [decision.entry for decision in decisions]

    def net(self, account: Account, owner: str | None = None) -> int:
        """Credit minus debit of an account, of one owner or of all."""
        balances = fold_balances(self.entries).values()
        return sum(b.net_credit for b in balances if b.account is account and owner in (None, b.owner))

    def table(self) -> dict[str, int]:
        """Every account that does not hold 0, credit positive."""
        totals = {account: self.net(account) for account in Account}
        return {str(account): amount for account, amount in totals.items() if amount}


CUSTOMER = customer_owner("ann")
ORDER = order_owner("o1")
