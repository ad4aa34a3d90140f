"""Orders are found by what is asked, in pages; offers that are overdue by their deadline."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.selling.orders import OrderCall
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import OrderStatus
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.queries import backwards
from evmbilling.testing.conformance.storage.records import TREASURY


class OrderQueriesChecks:
    """Orders by conditions, offers by deadline, customers in pages."""

    clause = 10

    def test_customers_come_in_pages(self, storage: Any) -> None:
        users = [f"u{n:02}" for n in range(7)]
        b.seed(storage, users=backwards(users))
        pages, after = [], ""
        with b.looking(storage) as unit:
            for _ in range(3):
                page = unit.customers(after=after, limit=3)
                pages.append([c.user_id for c in page])
                after = page[-1].user_id
            assert list(unit.customers(after=after)) == []
        assert pages == [users[0:3], users[3:6], users[6:7]]

    def test_orders_of_a_user_come_newest_first_in_pages(self, storage: Any) -> None:
        b.seed(storage, *(d.OpenOrder(b.order(n)) for n in (3, 1, 5, 2, 4)), d.OpenOrder(b.order(9, user_id=b.BOB)))
        with b.looking(storage) as unit:
            first = unit.orders_of_user(b.ALICE, limit=2)
            second = unit.orders_of_user(b.ALICE, before=first[-1].ledger_id, limit=2)
            third = unit.orders_of_user(b.ALICE, before=second[-1].ledger_id, limit=2)
            everything = unit.orders_of_user(b.ALICE)
        pages = [[o.ledger_id for o in page] for page in (first, second, third)]
        assert pages == [[b.ident(5), b.ident(4)], [b.ident(3), b.ident(2)], [b.ident(1)]]
        assert [o.ledger_id for o in everything] == [b.ident(n) for n in (5, 4, 3, 2, 1)]

    def test_orders_are_found_by_conditions_newest_first_in_pages(self, storage: Any) -> None:
        b.seed(
            storage,
            *(d.OpenOrder(b.order(n)) for n in (3, 1, 5, 2)),
            d.OpenOrder(b.order(4, status=OrderStatus.EXPIRED, created_at=b.at(50), wallet=TREASURY)),
            d.OpenOrder(b.order(9, user_id=b.BOB)),
        )

        def found(*, before: Any = None, limit: Any = 100, **conditions: Any) -> Any:
            with b.looking(storage) as unit:
                page = unit.find_orders(OrderFilter(**conditions), before=before, limit=limit)
                every = [o for o in unit.find_orders(OrderFilter()) if OrderFilter(**conditions).takes(o)]
            assert limit < len(every) or before or [o.ledger_id for o in page] == [o.ledger_id for o in every]
            return [o.ledger_id for o in page]

        assert found() == [b.ident(n) for n in (9, 5, 4, 3, 2, 1)]
        assert found(user_id=b.ALICE, limit=2) == [b.ident(5), b.ident(4)]
        assert found(user_id=b.ALICE, limit=2, before=b.ident(4)) == [b.ident(3), b.ident(2)]
        assert found(statuses=(OrderStatus.EXPIRED, OrderStatus.FINAL)) == [b.ident(4)]
        assert found(wallet=TREASURY) == [b.ident(4)]
        assert found(symbol=b.order(1).asset.symbol, limit=1) == [b.ident(9)]
        assert found(symbol="OTHER") == []
        assert found(created_from=b.at(50), created_before=b.at(51)) == [b.ident(4)]
        assert found(created_from=b.at(51)) == []
        assert found(deadline_from=b.at(900), origin="change") == found()
        assert found(deadline_from=b.at(901)) == found(origin="checkout") == []
        assert found(network="elsewhere") == found(plan_slug="other") == found(tx_hash=bytes(32)) == []

    @pytest.mark.parametrize("status", list(OrderStatus))
    @pytest.mark.parametrize("closed_as", [None, OrderStatus.EXPIRED])
    def test_overdue_offers_are_those_that_may_still_expire(self, storage: Any, status: Any, closed_as: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(status=status, closed_as=closed_as)))
        with b.looking(storage) as unit:
            found = [o.ledger_id for o in unit.overdue_offers(b.CHAIN, b.at(901), 10)]
        open_ = status in {OrderStatus.PENDING, OrderStatus.PARTIALLY_PAID, OrderStatus.REVERSED} and closed_as is None
        assert found == ([b.ident(1)] if open_ else [])

    @pytest.mark.parametrize(
        ("before", "expected"),
        [
            (b.at(900), []),
            (b.at(900.000001), [3]),
            (b.at(901), [3]),
            (b.at(902), [3, 1]),
            (b.at(10**6), [3, 1, 2, 4]),
        ],
    )
    def test_overdue_offers_are_strictly_past_their_deadline_oldest_first(
        self, storage: Any, before: Any, expected: Any
    ) -> None:
        deadlines = {1: 901, 2: 905, 3: 900, 4: 906}
        other = b.order(9, asset=b.asset(chain_id=b.OTHER_CHAIN), deadline=b.at(1))
        b.seed(storage, d.OpenOrder(other), *(d.OpenOrder(b.order(n, deadline=b.at(s))) for n, s in deadlines.items()))
        with b.looking(storage) as unit:
            found = [o.ledger_id for o in unit.overdue_offers(b.CHAIN, before, 10)]
            assert [o.ledger_id for o in unit.overdue_offers(b.CHAIN, before, 2)] == found[:2]
            assert [o.ledger_id for o in unit.overdue_offers(b.OTHER_CHAIN, before, 2)] == [other.ledger_id]
        assert found == [b.ident(n) for n in expected]

    def test_an_offer_that_is_closed_is_not_overdue(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order()))
        closed = attrs.evolve(b.order(), status=OrderStatus.EXPIRED, closed_as=OrderStatus.EXPIRED, version=2)
        b.write(storage, d.StoreOrder(closed))
        with b.looking(storage) as unit:
            assert list(unit.overdue_offers(b.CHAIN, b.at(10**6), 10)) == []

    def test_an_order_is_found_by_the_hash_that_an_event_names_it_by(self, storage: Any) -> None:
        """The hash of a reference is looked up as a reference is; a reference goes first."""
        most = 2**256 - 1
        call = OrderCall(value=most, data=b"\0\xff", spender=b.CONTRACT, approve=most, mark=b.word(70))
        plain = OrderCall(value=0, data=b"")
        named = b.order(1, rail="call", call=call)
        b.seed(
            storage,
            d.OpenOrder(named),
            d.OpenOrder(b.order(2, rail="call", call=plain)),
            d.OpenOrder(b.order(3, rail="call", call=attrs.evolve(call, mark=b.word(2)))),
        )
        with storage.unit(write=False) as unit:
            found = unit.orders_by_reference([b.word(70), b.word(2), b.word(9)])
            assert {reference: order.ledger_id for reference, order in found.items()} == {
                b.word(70): b.ident(1),
                b.word(2): b.ident(2),
            }
            assert unit.order(b.ident(1)) == named
            assert unit.order(b.ident(2)).call == plain
