"""Pages hide nothing and repeat nothing, whatever is written between them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen

from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import Account, customer_owner, order_owner
from evmbilling.domain.states import RefundStatus
from evmbilling.testing.conformance.storage import records as b


@frozen
class Paged:
    """One paged read.

    Attributes:
        add: writes the row with a number; rows sort as their numbers do.
        read: returns a page after a key.
        key: returns what the next page follows.

    """

    add: object
    read: object
    key: object
    first: object = ""


def add_order(storage: Any, number: Any) -> None:
    b.write(storage, d.OpenOrder(b.order(number)))


def add_deferred(storage: Any, number: Any) -> None:
    owner = order_owner(b.ident(number))
    lines = b.moved((Account.REVENUE, "-"), (Account.DEFERRED_REVENUE, owner), 5)
    b.write(storage, d.OpenOrder(b.order(number)), d.PostEntry(b.posting(number, lines=lines)))


def add_balance(storage: Any, number: Any) -> None:
    user = f"{number:05}"
    b.seed(
        storage,
        d.PostEntry(b.posting(2 * number, lines=b.received(1, customer_owner(user)))),
        d.PostEntry(
            b.posting(2 * number + 1, lines=b.received(1, customer_owner(user)), asset=b.asset(chain_id=b.OTHER_CHAIN))
        ),
        users=[user],
    )


def add_delivery(storage: Any, number: Any) -> None:
    two = tuple(b.delivery(number, sink=sink) for sink in ("a", "b"))
    b.write(storage, d.Publish(b.event(number)), d.OpenDeliveries(b.ident(number), two))


def adding(decide: Any) -> Any:
    return lambda storage, number: b.write(storage, decide(number))


PAGED = {
    "customers": Paged(
        lambda storage, number: b.seed(storage, users=[f"{number:05}"]),
        lambda u, after, limit: u.customers(after=after, limit=limit),
        lambda row: row.user_id,
    ),
    "ledger entries": Paged(
        adding(lambda n: d.PostEntry(b.posting(n))),
        lambda u, after, limit: u.ledger_entries(after=after, limit=limit),
        lambda row: row.entry_id,
    ),
    "entries of an order": Paged(
        adding(lambda n: d.PostEntry(b.posting(n, ledger_id=b.ident(10_000)))),
        lambda u, after, limit: u.ledger_entries(ledger_id=b.ident(10_000), after=after, limit=limit),
        lambda row: row.entry_id,
    ),
    "balances": Paged(
        add_balance, lambda u, after, limit: u.all_balances(after=after, limit=limit), lambda row: row.owner
    ),
    "deferred orders": Paged(
        add_deferred, lambda u, after, limit: u.deferred_orders(after=after, limit=limit), lambda row: row.ledger_id
    ),
    "movements": Paged(
        adding(lambda n: d.StoreMovement(b.movement(n))),
        lambda u, after, limit: u.all_movements(after=after, limit=limit),
        lambda row: row.identity,
        None,
    ),
    "receipts": Paged(
        adding(lambda n: d.StoreReceipt(b.receipt(n))),
        lambda u, after, limit: u.all_receipts(after=after, limit=limit),
        lambda row: row.receipt_id,
    ),
    "orders": Paged(
        add_order, lambda u, after, limit: u.all_orders(after=after, limit=limit), lambda row: row.ledger_id
    ),
    "refunds": Paged(
        adding(lambda n: d.StoreRefund(b.refund(n, ledger_id=None))),
        lambda u, after, limit: u.refunds(after=after, limit=limit),
        lambda row: row.refund_id,
    ),
    "refunds by state": Paged(
        adding(lambda n: d.StoreRefund(b.refund(n, ledger_id=None, status=RefundStatus.FAILED))),
        lambda u, after, limit: u.refunds(states=("failed", "done"), after=after, limit=limit),
        lambda row: row.refund_id,
    ),
    "queue": Paged(
        adding(lambda n: d.StoreQueueItem(b.queued(n))),
        lambda u, after, limit: u.queue_items(after=after, limit=limit),
        lambda row: row.item_id,
    ),
    "seals": Paged(
        adding(lambda n: d.AddSeal(b.seal(n), ())),
        lambda u, after, limit: u.seals(after=after, limit=limit),
        lambda row: row.number,
        0,
    ),
    "deliveries": Paged(
        add_delivery, lambda u, after, limit: u.deliveries(after=after, limit=limit), lambda row: row.event_id
    ),
    "deliveries of a sink": Paged(
        add_delivery,
        lambda u, after, limit: u.deliveries(sink="b", state="waiting", after=after, limit=limit),
        lambda row: row.event_id,
    ),
}


def pages(storage: Any, paged: Any, limit: Any, between: Any = lambda _: None) -> Any:
    """Read everything page by page; return the keys in the order in which they came."""
    found, after = [], paged.first
    while True:
        with b.looking(storage) as unit:
            page = paged.read(unit, after, limit)
        if not page:
            return found
        keys = [paged.key(row) for row in page]
        # What belongs together stays together, so one that is larger than the limit is a page of its own.
        assert len(page) <= limit or len(set(keys)) == 1, f"a page of {len(page)} rows where {limit} were asked"
        found += keys
        after = found[-1]
        between(len(found))


class PagingChecks:
    """Pages hide nothing and repeat nothing, whatever is written between them."""

    clause = 10

    @pytest.fixture(params=list(PAGED.values()), ids=list(PAGED))
    def paged(self, request: Any) -> Any:
        return request.param

    @pytest.fixture
    def ground(self, storage: Any) -> Any:
        b.seed(storage, d.OpenOrder(b.order(10_000)))
        return storage

    @pytest.mark.parametrize("limit", [1, 2, 3, 1000])
    def test_pages_are_in_order_and_whole(self, ground: Any, paged: Any, limit: Any) -> None:
        for number in (40, 10, 30, 50, 20):
            paged.add(ground, number)
        with b.looking(ground) as unit:
            at_once = [paged.key(row) for row in paged.read(unit, paged.first, 1000)]
        assert len(set(at_once)) >= 5
        assert at_once == sorted(at_once)
        assert pages(ground, paged, limit) == at_once
        with b.looking(ground) as unit:
            assert list(paged.read(unit, at_once[-1], 10)) == []

    def test_rows_written_between_pages_neither_hide_nor_repeat_others(self, ground: Any, paged: Any) -> None:
        for number in (10, 20, 30, 40, 50):
            paged.add(ground, number)
        with b.looking(ground) as unit:
            expected = [paged.key(row) for row in paged.read(unit, paged.first, 1000)]
        fresh = iter([5, 25, 35, 45, 55, 4, 24, 34, 44, 54])
        written = []

        def insert(_: Any) -> None:
            for number in (next(fresh, None), next(fresh, None)):
                if number:
                    paged.add(ground, number)
                    written.append(number)

        seen = pages(ground, paged, 2, between=insert)
        assert len(written) >= 4
        assert [key for key in seen if key in expected] == expected
        assert seen == sorted(seen)
