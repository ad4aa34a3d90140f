"""A taken natural key is the error that its decision names, and leaves the first row as it was."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.identity import Product
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.errors import AlreadyExists, Conflict, InputError, StorageError, VersionConflict
from evmbilling.testing.conformance.storage import records as b

ONE = b.ident(1)


def everything(storage: Any) -> Any:
    """Return all rows that the tests below could change."""
    with b.looking(storage) as unit:
        return (
            list(unit.networks()),
            list(unit.plans()),
            list(unit.orders_of_user(b.ALICE)),
            unit.key("checkout", b.ALICE, "k-1"),
            list(unit.subscriptions_of_user(b.ALICE)),
            list(unit.changes([ONE])),
            list(unit.receipts_of_orders([ONE])),
            list(unit.unmatched_receipts()),
            list(unit.entries(ONE)),
            list(unit.refunds_of_order(ONE)),
            list(unit.events()),
            list(unit.audit()),
        )


VERSIONED = [
    pytest.param(
        lambda version: d.SaveNetwork(b.network(version=version, rpc_timeout=version)),
        lambda unit: unit.network("anvil"),
        id="network",
    ),
    pytest.param(
        lambda version: d.SaveGateway(b.gateway(version=version, order_ttl=version)),
        lambda unit: unit.gateway("main"),
        id="gateway",
    ),
    pytest.param(
        lambda version: d.SaveContract(b.contract(version=version, start_block=version)),
        lambda unit: unit.contract("checkout", "anvil"),
        id="contract",
    ),
    pytest.param(
        lambda version: (d.OpenOrder if version == 1 else d.StoreOrder)(
            b.order(5, version=version, failure_reason=str(version))
        ),
        lambda unit: unit.order(b.ident(5)),
        id="order",
    ),
    pytest.param(
        lambda version: (d.OpenSubscription if version == 1 else d.StoreSubscription)(
            b.subscription(5, product=Product("x"), version=version, paid_periods=version)
        ),
        lambda unit: unit.subscriptions([b.ident(5)]).get(b.ident(5)),
        id="subscription",
    ),
    pytest.param(
        lambda version: d.StoreReceipt(b.receipt(5, version=version, entries=version, status=ReceiptStatus.GONE)),
        lambda unit: unit.receipts_by_identity([b.identity(5)]).get(b.identity(5)),
        id="receipt",
    ),
    pytest.param(
        lambda version: d.StoreRefund(b.refund(5, version=version, reason=str(version))),
        lambda unit: next(iter(unit.refunds_of_order(ONE)), None),
        id="refund",
    ),
]


class NaturalKeysChecks:
    """A taken natural key is the error that its decision names, and leaves the first row as it was."""

    clause = 3

    @pytest.fixture
    def full(self, storage: Any) -> Any:
        b.write(
            b.seeded(storage),
            d.SaveNetwork(b.network()),
            d.BindKey(b.key_record()),
            d.RecordChange(b.change()),
            d.AppendEntry(b.entry()),
            d.StoreRefund(b.refund()),
            d.Publish(b.event()),
            d.RecordAudit(b.audit()),
        )
        return storage

    @pytest.mark.parametrize(
        ("decision", "error"),
        [
            pytest.param(d.SaveNetwork(b.network(name="twin")), Conflict, id="chain-id-of-another-network"),
            pytest.param(d.AddPlanVersion(b.plan(name="again")), AlreadyExists, id="plan-version"),
            pytest.param(d.OpenOrder(b.order(1, reference=b.word(9))), AlreadyExists, id="ledger-id"),
            pytest.param(d.OpenOrder(b.order(9, reference=b.word(1))), AlreadyExists, id="order-reference"),
            pytest.param(
                d.OpenSubscription(b.subscription(1, product=Product("x"))), AlreadyExists, id="subscription-id"
            ),
            pytest.param(d.RecordChange(b.change(kind="pause")), AlreadyExists, id="change-seq"),
            pytest.param(d.BindKey(b.key_record(fingerprint=b.word(1))), AlreadyExists, id="idempotency-key"),
            pytest.param(d.StoreReceipt(b.receipt(1, identity=b.identity(9))), AlreadyExists, id="receipt-id"),
            pytest.param(d.AppendEntry(b.entry(kind="final")), AlreadyExists, id="entry-seq"),
            pytest.param(d.StoreRefund(b.refund(amount=6)), VersionConflict, id="refund-id"),
            pytest.param(d.Publish(b.event(9, seq=1)), AlreadyExists, id="event-seq"),
            pytest.param(d.Publish(b.event(1, seq=9)), AlreadyExists, id="event-id"),
            pytest.param(d.RecordAudit(b.audit(action="x")), AlreadyExists, id="audit-id"),
        ],
    )
    def test_a_taken_key_is_refused_and_the_first_row_stays(self, full: Any, decision: Any, error: Any) -> None:
        before = everything(full)
        with pytest.raises(error):
            b.write(full, decision)
        assert everything(full) == before

    @pytest.mark.parametrize(
        "pair",
        [
            pytest.param([d.AddPlanVersion(b.plan(version=2))] * 2, id="plan-version"),
            pytest.param([d.OpenOrder(b.order(8)), d.OpenOrder(b.order(9, reference=b.word(8)))], id="order-reference"),
            pytest.param([d.OpenOrder(b.order(8)), d.OpenOrder(b.order(8, reference=b.word(9)))], id="ledger-id"),
            pytest.param([d.BindKey(b.key_record(key="k-2"))] * 2, id="idempotency-key"),
            pytest.param([d.RecordChange(b.change(seq=2))] * 2, id="change-seq"),
            pytest.param([d.AppendEntry(b.entry(seq=2))] * 2, id="entry-seq"),
            pytest.param([d.Publish(b.event(8)), d.Publish(b.event(9, seq=8))], id="event-seq"),
            pytest.param(
                [d.StoreReceipt(b.receipt(8)), d.StoreReceipt(b.receipt(9, identity=b.identity(8)))], id="credit"
            ),
        ],
    )
    def test_a_key_taken_twice_in_one_list_is_refused(self, full: Any, pair: Any) -> None:
        before = everything(full)
        with pytest.raises(AlreadyExists):
            b.write(full, *pair)
        assert everything(full) == before

    def test_an_idempotency_key_is_found_by_operation_user_and_key(self, full: Any) -> None:
        wanted = [("checkout", b.ALICE, "k-1"), ("requote", b.ALICE, "k-1"), ("checkout", b.BOB, "k-1")]
        with b.looking(full) as unit:
            assert [unit.key(*one) is not None for one in wanted] == [True, False, False]

    @pytest.mark.parametrize(
        "decision",
        [
            pytest.param(d.BindKey(b.key_record(operation="requote")), id="other-operation"),
            pytest.param(d.BindKey(b.key_record(user_id=b.BOB)), id="other-user"),
            pytest.param(d.BindKey(b.key_record(key="K-1")), id="other-case"),
            pytest.param(d.Publish(b.event(9, seq=1, aggregate="network:anvil")), id="other-aggregate"),
            pytest.param(d.AddPlanVersion(b.plan(slug="Pro")), id="other-slug"),
            pytest.param(d.OpenSubscription(b.subscription(9, product=Product("site", "43"))), id="other-product-id"),
            pytest.param(d.OpenSubscription(b.subscription(9, product=Product("site"))), id="no-product-id"),
            pytest.param(d.OpenSubscription(b.subscription(9, user_id=b.BOB)), id="other-user-subscribes"),
            pytest.param(
                d.StoreReceipt(b.receipt(9, identity=b.identity(1, ordinal=1))), id="other-log-of-one-transaction"
            ),
        ],
    )
    def test_keys_that_differ_in_one_part_are_both_kept(self, full: Any, decision: Any) -> None:
        before = everything(full)
        b.write(full, decision)
        b.write(full, d.RecordAudit(b.audit(2)))
        assert len(everything(full)[-1]) == len(before[-1]) + 1
        with pytest.raises(Conflict):
            b.write(full, decision)

    @pytest.mark.fault("D14")
    @pytest.mark.parametrize(
        "decision",
        [
            pytest.param(d.ConfirmWallet(b.wallet(user_id="nobody")), id="wallet-of-nobody"),
            pytest.param(d.StoreEntitlement(b.entitlement(user_id="nobody")), id="entitlement-of-nobody"),
            pytest.param(d.OpenSubscription(b.subscription(9, user_id="nobody")), id="subscription-of-nobody"),
            pytest.param(
                d.OpenSubscription(b.subscription(9, user_id=b.BOB, plan_version=9)), id="subscription-to-no-plan"
            ),
            pytest.param(d.RecordChange(b.change(subscription_id=b.ident(9))), id="change-of-no-subscription"),
            pytest.param(d.OpenOrder(b.order(9, user_id="nobody")), id="order-of-nobody"),
            pytest.param(d.OpenOrder(b.order(9, plan_version=9)), id="order-of-no-plan"),
            pytest.param(d.OpenOrder(b.order(9, subscription_id=b.ident(9), period=0)), id="order-of-no-subscription"),
            pytest.param(d.BindKey(b.key_record(key="k-2", ledger_id=b.ident(9))), id="key-of-no-order"),
            pytest.param(d.StoreReceipt(b.receipt(9, ledger_id=b.ident(9))), id="receipt-of-no-order"),
            pytest.param(d.AppendEntry(b.entry(receipt_id=b.ident(9))), id="entry-of-no-receipt"),
            pytest.param(d.StoreRefund(b.refund(9, ledger_id=b.ident(9))), id="refund-of-no-order"),
        ],
    )
    def test_d14_a_row_refers_only_to_what_is_there(self, full: Any, decision: Any) -> None:
        before = everything(full)
        with pytest.raises(StorageError):
            b.write(full, d.RecordAudit(b.audit(2)), decision)
        assert everything(full) == before

    @pytest.mark.parametrize(
        "decision",
        [
            pytest.param(d.StoreCustomer(b.customer("nobody")), id="customer"),
            pytest.param(d.StoreItem(b.item(9)), id="item"),
            pytest.param(d.ArchivePlan(b.plan(slug="nothing", archived_at=b.T0)), id="plan"),
        ],
    )
    def test_what_is_replaced_must_be_there(self, full: Any, decision: Any) -> None:
        before = everything(full)
        with pytest.raises(InputError):
            b.write(full, d.RecordAudit(b.audit(2)), decision)
        assert everything(full) == before

    @pytest.mark.fault("B10")
    @pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.PARTIALLY_PAID])
    def test_b10_one_open_order_per_subscription_and_period(self, full: Any, status: Any) -> None:
        rival = b.order(9, subscription_id=ONE, period=0, status=status)
        before = everything(full)
        with pytest.raises(Conflict):
            b.write(full, d.OpenOrder(rival))
        assert everything(full) == before
        with b.looking(full) as unit:
            first = unit.order(ONE)
        superseded = attrs.evolve(first, status=OrderStatus.SUPERSEDED, closed_as=OrderStatus.SUPERSEDED, version=2)
        b.write(full, d.StoreOrder(superseded), d.OpenOrder(rival))
        with b.looking(full) as unit:
            assert list(unit.orders_of_subscriptions([ONE])) == [superseded, rival]

    @pytest.mark.fault("B10")
    def test_b10_an_order_cannot_be_reopened_beside_an_open_one(self, full: Any) -> None:
        closed = b.order(9, subscription_id=ONE, period=0, status=OrderStatus.FAILED)
        b.write(full, d.OpenOrder(closed))
        with pytest.raises(Conflict):
            b.write(full, d.StoreOrder(attrs.evolve(closed, status=OrderStatus.PENDING, version=2)))
        with b.looking(full) as unit:
            assert unit.order(closed.ledger_id) == closed

    @pytest.mark.fault("B10")
    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"subscription_id": ONE, "period": 1}, id="next-period"),
            pytest.param({"subscription_id": ONE, "period": None}, id="no-period"),
            pytest.param({"subscription_id": None, "period": None}, id="no-subscription"),
            pytest.param(
                {"subscription_id": ONE, "period": 0, "status": OrderStatus.CONFIRMING}, id="money-on-its-way"
            ),
            pytest.param({"subscription_id": ONE, "period": 0, "status": OrderStatus.EXPIRED}, id="expired"),
        ],
    )
    def test_b10_other_orders_do_not_count(self, full: Any, other: Any) -> None:
        b.write(full, d.OpenOrder(b.order(8, **other)))
        with b.looking(full) as unit:
            assert unit.order(b.ident(8)) == b.order(8, **other)

    @pytest.mark.parametrize(
        "status", sorted(set(SubscriptionStatus) - {SubscriptionStatus.ENDED, SubscriptionStatus.INCOMPLETE_EXPIRED})
    )
    def test_one_live_subscription_per_user_and_product(self, full: Any, status: Any) -> None:
        rival = b.subscription(9, status=status)
        with pytest.raises(Conflict):
            b.write(full, d.OpenSubscription(rival))
        with b.looking(full) as unit:
            first = unit.live_subscription(b.ALICE, b.SITE)
        assert first.subscription_id == ONE
        ended = attrs.evolve(first, status=SubscriptionStatus.ENDED, version=2)
        b.write(full, d.StoreSubscription(ended), d.OpenSubscription(rival))
        with b.looking(full) as unit:
            assert unit.live_subscription(b.ALICE, b.SITE) == rival
            assert list(unit.subscriptions_of_user(b.ALICE)) == [ended, rival]

    @pytest.mark.fault("C14")
    def test_c14_a_movement_on_chain_is_credited_once(self, full: Any) -> None:
        before = everything(full)
        again = b.receipt(9, identity=b.identity(1), ledger_id=None, amount=1)
        with pytest.raises(AlreadyExists):
            b.write(full, d.StoreReceipt(again), d.AppendEntry(b.entry(receipt_id=b.ident(9))))
        assert everything(full) == before
        with b.looking(full) as unit:
            assert len(unit.entries(b.ident(9))) == 0

    @pytest.mark.fault("C14")
    def test_c14_two_movements_of_one_transaction_are_two_receipts(self, storage: Any) -> None:
        first, second = b.receipt(1), b.receipt(2, identity=b.identity(1, ordinal=5))
        b.seed(storage, d.StoreReceipt(first), d.StoreReceipt(second))
        with b.looking(storage) as unit:
            found = unit.receipts_by_identity([first.identity, second.identity, b.identity(1, ordinal=1)])
        assert found == {first.identity: first, second.identity: second}

    @pytest.mark.fault("C22")
    def test_c22_two_chains_with_the_same_transaction_hash_do_not_collide(self, storage: Any) -> None:
        other_chain = {"identity": b.identity(1, chain_id=b.OTHER_CHAIN), "asset": b.asset(chain_id=b.OTHER_CHAIN)}
        first, second = b.receipt(1), b.receipt(2, **other_chain)
        logs = b.log(50, 1), b.log(50, 1, chain_id=b.OTHER_CHAIN)
        b.seed(
            storage,
            d.SaveNetwork(b.network()),
            d.SaveNetwork(b.network(name="other", chain_id=b.OTHER_CHAIN)),
            d.SaveContract(b.contract()),
            d.SaveContract(b.contract(network="other", chain_id=b.OTHER_CHAIN)),
            d.StoreReceipt(first),
            d.StoreReceipt(second),
            d.RecordEvidence(cursor=b.cursor(50), headers=(b.header(50),), logs=logs[:1], keep_from=0),
            d.RecordEvidence(
                cursor=b.cursor(50, chain_id=b.OTHER_CHAIN), headers=(b.header(50),), logs=logs[1:], keep_from=0
            ),
        )
        b.write(storage, d.Rewind(cursor=b.cursor(49, chain_id=b.OTHER_CHAIN)))
        with b.looking(storage) as unit:
            both = [first.identity, second.identity]
            assert unit.receipts_by_identity(both) == {first.identity: first, second.identity: second}
            assert unit.logs_of(both) == {first.identity: logs[0]}
            assert [c.network for c in unit.contracts()] == ["anvil", "other"]
            assert [c.network for c in unit.contracts(b.OTHER_CHAIN)] == ["other"]
            assert [h.number for h in unit.window(b.CHAIN)] == [50]
            assert list(unit.window(b.OTHER_CHAIN)) == []

    @pytest.mark.parametrize(("decide", "read"), VERSIONED)
    def test_a_row_is_replaced_only_by_the_version_after_it(self, storage: Any, decide: Any, read: Any) -> None:
        b.seeded(storage)
        for absent in (2, 3):
            with pytest.raises(VersionConflict):
                b.write(storage, decide(absent))
        for version in (1, 2, 3):
            b.write(storage, decide(version))
            for wrong in (version - 1, version, version + 2):
                with pytest.raises(Conflict):
                    b.write(storage, decide(max(wrong, 1)))
            with b.looking(storage) as unit:
                assert read(unit).version == version
                assert read(unit) == next(iter(attrs.astuple(decide(version), recurse=False)))

    @pytest.mark.parametrize(("decide", "read"), VERSIONED)
    def test_two_versions_in_one_list_follow_each_other(self, storage: Any, decide: Any, read: Any) -> None:
        b.seeded(storage)
        b.write(storage, decide(1), decide(2), decide(3))
        with b.looking(storage) as unit:
            assert read(unit).version == 3
