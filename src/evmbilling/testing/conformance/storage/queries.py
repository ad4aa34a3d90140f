"""Reads are bounded, filtered and ordered as documented, and alike on every storage."""

from __future__ import annotations

from typing import Any

import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue.catalogue import Finality
from evmbilling.domain.identity import Product
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.testing.conformance.storage import records as b

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


def backwards(items: Any) -> Any:
    """Write in another order than the one that is read."""
    return list(reversed(list(items)))


class QueriesChecks:
    """Reads are bounded, filtered and ordered as documented, and alike on every storage."""

    clause = 10

    @pytest.mark.fault("D23")
    def test_d23_keys_are_compared_and_ordered_byte_by_byte(self, storage: Any) -> None:
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
    def test_d23_one_customer_reads_nothing_of_another(self, storage: Any, text: Any) -> None:
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
    def test_d23_products_and_keys_are_compared_exactly(self, storage: Any, text: Any) -> None:
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

    def test_lookups_of_many_find_those_that_exist(self, storage: Any) -> None:
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

    def test_plans_are_the_newest_version_by_number(self, storage: Any) -> None:
        b.seed(storage, *(d.AddPlanVersion(b.plan(slug=s, version=n)) for n in (10, 9, 2) for s in ("b", "a")))
        with b.looking(storage) as unit:
            assert [(p.slug, p.version) for p in unit.plans()] == [("a", 10), ("b", 10), ("pro", 1)]
            assert unit.plan("a").version == 10

    @pytest.mark.fault("N03")
    def test_n03_receipts_are_ordered_by_numbers_as_numbers(self, storage: Any) -> None:
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

    def test_unmatched_receipts_come_oldest_first(self, storage: Any) -> None:
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

    def test_events_come_oldest_first_and_filtered(self, storage: Any) -> None:
        other = {"aggregate": "network:anvil", "type": EventType.NETWORK_HALTED}
        b.write(
            storage,
            d.Publish(b.event(5, recorded_at=b.at(1))),
            d.Publish(b.event(1, recorded_at=b.at(2))),
            d.Publish(b.event(3, recorded_at=b.at(2), type=EventType.ORDER_OPENED)),
            d.Publish(b.event(2, recorded_at=b.at(1.5), seq=1, **other)),
        )

        def ids(events: Any) -> Any:
            return [int(e.event_id[-2:], 16) for e in events]

        with b.looking(storage) as unit:
            assert ids(unit.events()) == [5, 2, 1, 3]
            assert ids(unit.events(limit=2)) == [5, 2]
            assert ids(unit.events(aggregate=f"customer:{b.ALICE}")) == [5, 1, 3]
            assert ids(unit.events(aggregate=f"customer:{b.ALICE}", limit=1)) == [5]
            assert ids(unit.events(type_=EventType.ORDER_OPENED)) == [3]
            assert ids(unit.events(type_="billing.network.halted.v1")) == [2]
            assert ids(unit.events(aggregate="network:anvil", type_=EventType.ORDER_OPENED)) == []

    def test_audit_entries_come_oldest_first_and_filtered(self, storage: Any) -> None:
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

    def test_entitlements_of_several_users_come_together(self, storage: Any) -> None:
        b.seed(
            storage,
            *(
                d.StoreEntitlement(b.entitlement(user_id=u, source_id=b.ident(n)))
                for n in (2, 1)
                for u in (b.BOB, b.ALICE)
            ),
            users=(b.ALICE, b.BOB, "user-carol"),
        )
        with b.looking(storage) as unit:
            both = [(e.user_id, e.source_id) for e in unit.entitlements([b.BOB, b.ALICE, "user-carol", "nobody"])]
            assert [e.user_id for e in unit.entitlements([b.BOB])] == [b.BOB, b.BOB]
        assert sorted(both) == [(u, b.ident(n)) for u in (b.ALICE, b.BOB) for n in (1, 2)]

    def test_archived_rows_are_read_like_others(self, storage: Any) -> None:
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
    def test_finality_comes_back(self, storage: Any, finality: Any) -> None:
        b.write(storage, d.SaveNetwork(b.network(credit_after=finality, irreversible_after=finality)))
        with b.looking(storage) as unit:
            assert unit.network("anvil").credit_after == unit.network("anvil").irreversible_after == finality

    def test_live_subscription_is_of_the_asked_product(self, storage: Any) -> None:
        live = b.subscription(1, product=Product("site", "1"))
        ended = b.subscription(2, product=Product("site", "2"), status=SubscriptionStatus.ENDED)
        b.seed(storage, d.OpenSubscription(live), d.OpenSubscription(ended))
        with b.looking(storage) as unit:
            assert unit.live_subscription(b.ALICE, Product("site", "1")) == live
            assert unit.live_subscription(b.ALICE, Product("site", "2")) is None
            assert unit.live_subscription(b.ALICE, Product("site")) is None
            assert unit.live_subscription(b.BOB, Product("site", "1")) is None

    def test_many_ids_are_looked_up_at_once(self, storage: Any) -> None:
        """More ids than a database takes as parameters of one statement: 32,766 are the most of SQLite."""
        many = 33_000
        b.seed(storage, d.OpenOrder(b.order()), d.StoreReceipt(b.receipt()))
        identities = [b.identity(n) for n in range(many)]
        with b.looking(storage) as unit:
            assert set(unit.receipts_by_identity(identities)) == {b.identity(1)}
            assert set(unit.orders_by_reference([b.word(n) for n in range(many)])) == {b.word(1)}
            assert unit.subscriptions([b.ident(n) for n in range(many)]) == {}
            assert unit.logs_of(identities) == {}
