"""Reads are bounded, filtered and ordered as documented, and alike on every storage."""

from __future__ import annotations

import attrs
import builders as b
import pytest
from builders import TREASURY

from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue import Finality
from evmbilling.domain.events import EventType
from evmbilling.domain.identity import Product
from evmbilling.domain.orders import OrderCall
from evmbilling.domain.searching import OrderFilter
from evmbilling.domain.states import OrderStatus, SubscriptionStatus

ODD_IDS = (
    "A",
    "a",
    "a ",
    " a",
    "aa",
    "a%",
    "a_",
    "a-b",
    "aB",
    "ab",
    "z",
    "~",
    "Z",
    "a\\",
    "'",
    "ä",
    "\uff41",
    "😀",
    "é",
)
"""Ids that a collation, a LIKE pattern or trailing-space padding would mix up; code-point order is byte order."""


def backwards(items):
    """Write in another order than the one that is read."""
    return list(reversed(list(items)))


@pytest.mark.fault("D23")
def test_d23_keys_are_compared_and_ordered_byte_by_byte(storage):
    ordered = sorted(ODD_IDS)
    b.seed(storage, users=backwards(ODD_IDS))
    b.write(
        storage,
        *(d.AddPlanVersion(b.plan(slug=text)) for text in backwards(ODD_IDS)),
        *(d.SaveGateway(b.gateway(slug=text)) for text in backwards(ODD_IDS)),
        *(d.SaveNetwork(b.network(name=text, chain_id=n)) for n, text in enumerate(ODD_IDS, 1)),
        *(d.SaveContract(b.contract(slug=text, network=other)) for text in ODD_IDS for other in ("x", "X")),
    )
    with b.looking(storage) as unit:
        assert [c.user_id for c in unit.customers()] == ordered
        assert [p.slug for p in unit.plans() if p.slug != "pro"] == ordered
        assert [g.slug for g in unit.gateways()] == ordered
        assert [n.name for n in unit.networks()] == ordered
        assert [(c.slug, c.network) for c in unit.contracts()] == [(t, o) for t in ordered for o in ("X", "x")]
        assert [unit.customer(text).user_id for text in ODD_IDS] == list(ODD_IDS)
        assert [unit.plan(text).slug for text in ODD_IDS] == list(ODD_IDS)
        assert [unit.gateway(text).slug for text in ODD_IDS] == list(ODD_IDS)


@pytest.mark.fault("D23")
@pytest.mark.parametrize("text", ODD_IDS)
def test_d23_one_customer_reads_nothing_of_another(storage, text):
    b.seed(storage, users=ODD_IDS)
    mine = {"user_id": text}
    b.write(
        storage,
        d.ConfirmWallet(b.wallet(**mine)),
        d.StoreEntitlement(b.entitlement(**mine)),
        d.OpenSubscription(b.subscription(**mine)),
        d.OpenOrder(b.order(**mine)),
        d.BindKey(b.key_record(**mine)),
        d.Publish(b.event(aggregate=text)),
        d.RecordAudit(b.audit(object=text)),
    )
    with b.looking(storage) as unit:
        for other in ODD_IDS:
            found = (
                len(unit.wallets(other)),
                len(unit.entitlements([other])),
                len(unit.subscriptions_of_user(other)),
                len(unit.orders_of_user(other)),
                int(unit.live_subscription(other, b.SITE) is not None),
                int(unit.key("checkout", other, "k-1") is not None),
                len(unit.events(aggregate=other)),
                len(unit.audit(object_=other)),
            )
            assert found == ((1,) * 8 if other == text else (0,) * 8), other


@pytest.mark.fault("D23")
@pytest.mark.parametrize("text", ODD_IDS)
def test_d23_products_and_keys_are_compared_exactly(storage, text):
    b.seed(
        storage,
        d.OpenSubscription(b.subscription(product=Product("site", text))),
        d.OpenOrder(b.order()),
        d.BindKey(b.key_record(key=text)),
    )
    with b.looking(storage) as unit:
        subscribed = [other for other in ODD_IDS if unit.live_subscription(b.ALICE, Product("site", other))]
        bound = [other for other in ODD_IDS if unit.key("checkout", b.ALICE, other)]
    assert (subscribed, bound) == ([text], [text])


def test_customers_come_in_pages(storage):
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


def test_orders_of_a_user_come_newest_first_in_pages(storage):
    b.seed(storage, *(d.OpenOrder(b.order(n)) for n in (3, 1, 5, 2, 4)), d.OpenOrder(b.order(9, user_id=b.BOB)))
    with b.looking(storage) as unit:
        first = unit.orders_of_user(b.ALICE, limit=2)
        second = unit.orders_of_user(b.ALICE, before=first[-1].ledger_id, limit=2)
        third = unit.orders_of_user(b.ALICE, before=second[-1].ledger_id, limit=2)
        everything = unit.orders_of_user(b.ALICE)
    pages = [[o.ledger_id for o in page] for page in (first, second, third)]
    assert pages == [[b.ident(5), b.ident(4)], [b.ident(3), b.ident(2)], [b.ident(1)]]
    assert [o.ledger_id for o in everything] == [b.ident(n) for n in (5, 4, 3, 2, 1)]


def test_orders_are_found_by_conditions_newest_first_in_pages(storage):
    b.seed(
        storage,
        *(d.OpenOrder(b.order(n)) for n in (3, 1, 5, 2)),
        d.OpenOrder(b.order(4, status=OrderStatus.EXPIRED, created_at=b.at(50), wallet=TREASURY)),
        d.OpenOrder(b.order(9, user_id=b.BOB)),
    )

    def found(*, before=None, limit=100, **conditions):
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
def test_overdue_offers_are_those_that_may_still_expire(storage, status, closed_as):
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
def test_overdue_offers_are_strictly_past_their_deadline_oldest_first(storage, before, expected):
    deadlines = {1: 901, 2: 905, 3: 900, 4: 906}
    other = b.order(9, asset=b.asset(chain_id=b.OTHER_CHAIN), deadline=b.at(1))
    b.seed(storage, d.OpenOrder(other), *(d.OpenOrder(b.order(n, deadline=b.at(s))) for n, s in deadlines.items()))
    with b.looking(storage) as unit:
        found = [o.ledger_id for o in unit.overdue_offers(b.CHAIN, before, 10)]
        assert [o.ledger_id for o in unit.overdue_offers(b.CHAIN, before, 2)] == found[:2]
        assert [o.ledger_id for o in unit.overdue_offers(b.OTHER_CHAIN, before, 2)] == [other.ledger_id]
    assert found == [b.ident(n) for n in expected]


def test_an_offer_that_is_closed_is_not_overdue(storage):
    b.seed(storage, d.OpenOrder(b.order()))
    closed = attrs.evolve(b.order(), status=OrderStatus.EXPIRED, closed_as=OrderStatus.EXPIRED, version=2)
    b.write(storage, d.StoreOrder(closed))
    with b.looking(storage) as unit:
        assert list(unit.overdue_offers(b.CHAIN, b.at(10**6), 10)) == []


def test_lookups_of_many_find_those_that_exist(storage):
    b.seed(
        storage,
        *(d.OpenSubscription(b.subscription(n, product=Product("p", str(n)))) for n in (2, 1)),
        *(d.OpenOrder(b.order(n, subscription_id=b.ident(1 + n % 2), period=n)) for n in (5, 4, 3, 2)),
        *(d.StoreReceipt(b.receipt(n, ledger_id=b.ident(2 + n % 2), allocation="order")) for n in (4, 3, 2, 1)),
        *(d.RecordChange(b.change(subscription_id=b.ident(s), seq=n)) for n in (2, 1) for s in (2, 1)),
        *(d.AppendEntry(b.entry(seq=n)) for n in (3, 1, 2)),
        *(d.StoreRefund(b.refund(n, ledger_id=b.ident(2))) for n in (2, 1)),
        d.AddPlanVersion(b.plan(version=2)),
    )
    absent = b.ident(99)
    with b.looking(storage) as unit:
        assert set(unit.subscriptions([b.ident(1), absent])) == {b.ident(1)}
        assert [s.subscription_id for s in unit.subscriptions_of_user(b.ALICE)] == [b.ident(1), b.ident(2)]
        assert [o.ledger_id for o in unit.orders_of_subscriptions([b.ident(2), absent, b.ident(1)])] == [
            b.ident(n) for n in (2, 3, 4, 5)
        ]
        assert [o.ledger_id for o in unit.orders_of_subscriptions([b.ident(1)])] == [b.ident(2), b.ident(4)]
        assert set(unit.orders_by_reference([b.word(3), b.word(99), b.word(5)])) == {b.word(3), b.word(5)}
        assert unit.orders([b.ident(3), absent, b.ident(3)]) == {b.ident(3): unit.order(b.ident(3))}
        assert [r.identity for r in unit.receipts_of_orders([b.ident(3), b.ident(2), absent])] == [
            b.identity(n) for n in (1, 2, 3, 4)
        ]
        assert set(unit.receipts_by_identity([b.identity(2), b.identity(9)])) == {b.identity(2)}
        assert [(c.subscription_id, c.seq) for c in unit.changes([b.ident(2), b.ident(1)])] == [
            (b.ident(s), n) for s in (1, 2) for n in (1, 2)
        ]
        assert [e.seq for e in unit.entries(b.ident(1))] == [1, 2, 3]
        assert [r.refund_id for r in unit.refunds_of_order(b.ident(2))] == [b.ident(1), b.ident(2)]
        assert set(unit.plan_versions([("pro", 1), ("pro", 9), ("x", 1)])) == {("pro", 1)}
        assert unit.plan("pro").version == 2
        assert [(p.slug, p.version) for p in unit.plans()] == [("pro", 2)]


def test_plans_are_the_newest_version_by_number(storage):
    b.seed(storage, *(d.AddPlanVersion(b.plan(slug=s, version=n)) for n in (10, 9, 2) for s in ("b", "a")))
    with b.looking(storage) as unit:
        assert [(p.slug, p.version) for p in unit.plans()] == [("a", 10), ("b", 10), ("pro", 1)]
        assert unit.plan("a").version == 10


@pytest.mark.fault("N03")
def test_n03_receipts_are_ordered_by_numbers_as_numbers(storage):
    chains = (9, 10, 100, 2**40)
    places = [(chain, n, o) for chain in chains for n in (1, 255, 256) for o in (0, 2, 10)]
    b.seed(storage, d.OpenOrder(b.order()))
    b.write(
        storage,
        *(
            d.StoreReceipt(
                b.receipt(
                    number,
                    identity=b.identity(tx, chain_id=chain, ordinal=ordinal),
                    asset=b.asset(chain_id=chain),
                    ledger_id=b.ident(1),
                    allocation="order",
                    amount=amount,
                )
            )
            for number, ((chain, tx, ordinal), amount) in enumerate(
                zip(backwards(places), (b.EXTREMES * 9)[: len(places)], strict=False), 1
            )
        ),
    )
    with b.looking(storage) as unit:
        found = unit.receipts_of_orders([b.ident(1)])
    assert [(r.identity.chain_id, int.from_bytes(r.identity.tx_hash), r.identity.ordinal) for r in found] == places
    assert sum(r.amount for r in found) == sum((b.EXTREMES * 9)[: len(places)])


def test_unmatched_receipts_come_oldest_first(storage):
    times = {1: 30, 2: 10, 3: 20, 4: 10}
    b.seed(
        storage,
        *(d.StoreReceipt(b.receipt(n, first_seen_at=b.at(t))) for n, t in times.items()),
        d.StoreReceipt(b.receipt(9, allocation="credit", first_seen_at=b.at(0))),
    )
    with b.looking(storage) as unit:
        found = [r.receipt_id for r in unit.unmatched_receipts()]
        assert [r.receipt_id for r in unit.unmatched_receipts(limit=3)] == found[:3]
    assert found == [b.ident(n) for n in (2, 4, 3, 1)]


def test_events_come_oldest_first_and_filtered(storage):
    other = {"aggregate": "network:anvil", "type": EventType.NETWORK_HALTED}
    b.write(
        storage,
        d.Publish(b.event(5, recorded_at=b.at(1))),
        d.Publish(b.event(1, recorded_at=b.at(2))),
        d.Publish(b.event(3, recorded_at=b.at(2), type=EventType.ORDER_OPENED)),
        d.Publish(b.event(2, recorded_at=b.at(1.5), seq=1, **other)),
    )

    def ids(events):
        return [int(e.event_id[-2:], 16) for e in events]

    with b.looking(storage) as unit:
        assert ids(unit.events()) == [5, 2, 1, 3]
        assert ids(unit.events(limit=2)) == [5, 2]
        assert ids(unit.events(aggregate=f"customer:{b.ALICE}")) == [5, 1, 3]
        assert ids(unit.events(aggregate=f"customer:{b.ALICE}", limit=1)) == [5]
        assert ids(unit.events(type_=EventType.ORDER_OPENED)) == [3]
        assert ids(unit.events(type_="billing.network.halted.v1")) == [2]
        assert ids(unit.events(aggregate="network:anvil", type_=EventType.ORDER_OPENED)) == []


def test_audit_entries_come_oldest_first_and_filtered(storage):
    b.write(
        storage,
        d.RecordAudit(b.audit(3, recorded_at=b.at(1))),
        d.RecordAudit(b.audit(2, recorded_at=b.at(2))),
        d.RecordAudit(b.audit(1, recorded_at=b.at(2), object="plan:Pro")),
    )
    with b.looking(storage) as unit:
        assert [e.audit_id for e in unit.audit()] == [b.ident(3), b.ident(1), b.ident(2)]
        assert [e.audit_id for e in unit.audit(limit=1)] == [b.ident(3)]
        assert [e.audit_id for e in unit.audit(object_="plan:pro")] == [b.ident(3), b.ident(2)]


def test_entitlements_of_several_users_come_together(storage):
    b.seed(
        storage,
        *(d.StoreEntitlement(b.entitlement(user_id=u, source_id=b.ident(n))) for n in (2, 1) for u in (b.BOB, b.ALICE)),
        users=(b.ALICE, b.BOB, "user-carol"),
    )
    with b.looking(storage) as unit:
        both = [(e.user_id, e.source_id) for e in unit.entitlements([b.BOB, b.ALICE, "user-carol", "nobody"])]
        assert [e.user_id for e in unit.entitlements([b.BOB])] == [b.BOB, b.BOB]
    assert sorted(both) == [(u, b.ident(n)) for u in (b.ALICE, b.BOB) for n in (1, 2)]


def test_archived_rows_are_read_like_others(storage):
    archived = {"archived_at": b.T0}
    b.write(
        storage,
        d.SaveNetwork(b.network(**archived)),
        d.SaveGateway(b.gateway(**archived)),
        d.SaveContract(b.contract(**archived)),
        d.AddPlanVersion(b.plan(**archived)),
    )
    with b.looking(storage) as unit:
        found = [*unit.networks(), *unit.gateways(), *unit.contracts(b.CHAIN), *unit.plans()]
        assert [row.archived_at for row in found] == [b.T0] * 4


@pytest.mark.parametrize(
    "finality", [Finality("depth", 1), Finality("safe"), Finality("safe", 7), Finality("finalized", 64)], ids=str
)
def test_finality_comes_back(storage, finality):
    b.write(storage, d.SaveNetwork(b.network(credit_after=finality, irreversible_after=finality)))
    with b.looking(storage) as unit:
        assert unit.network("anvil").credit_after == unit.network("anvil").irreversible_after == finality


def test_live_subscription_is_of_the_asked_product(storage):
    live = b.subscription(1, product=Product("site", "1"))
    ended = b.subscription(2, product=Product("site", "2"), status=SubscriptionStatus.ENDED)
    b.seed(storage, d.OpenSubscription(live), d.OpenSubscription(ended))
    with b.looking(storage) as unit:
        assert unit.live_subscription(b.ALICE, Product("site", "1")) == live
        assert unit.live_subscription(b.ALICE, Product("site", "2")) is None
        assert unit.live_subscription(b.ALICE, Product("site")) is None
        assert unit.live_subscription(b.BOB, Product("site", "1")) is None


def test_many_ids_are_looked_up_at_once(backend, storage):
    """More ids than a database takes as parameters of one statement: 32,766 are the most of SQLite."""
    many = 500 if backend.name == "memory" else 33_000
    b.seed(storage, d.OpenOrder(b.order()), d.StoreReceipt(b.receipt()))
    with b.looking(storage) as unit:
        assert set(unit.receipts_by_identity([b.identity(n) for n in range(many)])) == {b.identity(1)}
        assert set(unit.orders_by_reference([b.word(n) for n in range(many)])) == {b.word(1)}
        assert unit.subscriptions([b.ident(n) for n in range(many)]) == {}
        assert unit.logs_of([b.identity(n) for n in range(many)]) == {}


def test_an_order_is_found_by_the_hash_that_an_event_names_it_by(storage):
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
