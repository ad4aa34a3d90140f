"""What is written comes back exactly, field by field, from every storage."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.reading.evidence import Halt
from evmbilling.domain.states import OrderStatus, ReceiptStatus, RefundStatus, SubscriptionStatus
from evmbilling.testing.conformance.storage import records as b

ONLY_ID = b.ident(1)


def one(found: Any) -> Any:
    (record,) = found
    return record


class RoundtripsChecks:
    """What is written comes back exactly, field by field, from every storage."""

    clause = 10

    @pytest.mark.parametrize(
        ("decision", "read"),
        [
            (d.SaveNetwork(b.network()), lambda u: u.network("anvil")),
            (d.SaveGateway(b.gateway()), lambda u: u.gateway("main")),
            (d.SaveContract(b.contract()), lambda u: u.contract("checkout", "anvil")),
            (d.AddPlanVersion(b.plan(version=2)), lambda u: u.plan("pro", 2)),
            (d.ConfirmWallet(b.wallet()), lambda u: one(u.wallets(b.ALICE))),
            (d.StoreEntitlement(b.entitlement()), lambda u: one(u.entitlements([b.ALICE]))),
            (d.OpenSubscription(b.subscription()), lambda u: u.subscriptions([ONLY_ID])[ONLY_ID]),
            (
                d.OpenOrder(b.order(completion=b.completion(), closed_as=OrderStatus.EXPIRED, supersedes="x")),
                lambda u: u.order(ONLY_ID),
            ),
            (d.StoreReceipt(b.receipt()), lambda u: u.receipts_by_identity([b.identity(1)])[b.identity(1)]),
            (d.Publish(b.event()), lambda u: one(u.events())),
            (d.RecordAudit(b.audit()), lambda u: one(u.audit())),
            (
                d.StoreCursor(
                    b.cursor(irreversible=b.header(90), halt=Halt(reason="deep_reorg", at_block=80, since=b.at(3)))
                ),
                lambda u: u.cursor(b.CHAIN),
            ),
        ],
        ids=lambda value: type(value).__name__ if attrs.has(type(value)) else None,
    )
    def test_records_come_back_with_every_field(self, storage: Any, decision: Any, read: Any) -> None:
        (record,) = attrs.astuple(decision, recurse=False)
        b.seed(storage)
        with storage.unit() as unit:
            unit.apply([decision])
            assert read(unit) == record
        with b.looking(storage) as unit:
            assert read(unit) == record

    @pytest.mark.parametrize(
        ("kind", "record", "read"),
        [
            (
                d.SaveNetwork,
                b.network(gas_price_cap=None, start_block=None, rpc_urls=(), explorer_url=None),
                "network anvil",
            ),
            (d.SaveGateway, b.gateway(credit_after=None, networks=(), treasuries=(), archived_at=b.T0), "gateway main"),
            (
                d.SaveContract,
                b.contract(abi=None, webhook_secret=None, fallback_rpc=(), burn_method="burn", gas=()),
                "contract checkout anvil",
            ),
            (
                d.AddPlanVersion,
                b.plan(slug="x", price_usd_estimate=None, created_at=None, prices=(), limits=(), price_token=None),
                "plan x",
            ),
            (
                d.OpenOrder,
                b.order(
                    completion=None, member_until=None, signature=b"", signer="", subscription_id=None, period=None
                ),
                "order " + ONLY_ID,
            ),
            (d.StoreCursor, b.cursor(heights=attrs.evolve(b.cursor().heights, safe=None, finalized=None)), "cursor"),
        ],
        ids=lambda value: value.__name__ if isinstance(value, type) else None,
    )
    def test_records_come_back_with_everything_optional_left_out(
        self, storage: Any, kind: Any, record: Any, read: Any
    ) -> None:
        b.seed(storage, kind(record))
        name, *words = read.split(" ")
        arguments = [b.CHAIN] if name == "cursor" else words
        with b.looking(storage) as unit:
            assert getattr(unit, name)(*arguments) == record

    def test_rows_that_belong_to_others_come_back(self, storage: Any) -> None:
        key, change, entry, refund = b.key_record(), b.change(), b.entry(), b.refund()
        b.write(
            b.seeded(storage),
            d.BindKey(key),
            d.RecordChange(change),
            d.AppendEntry(entry),
            d.StoreRefund(refund),
        )
        with b.looking(storage) as unit:
            assert unit.key("checkout", b.ALICE, "k-1") == key
            assert list(unit.changes([ONLY_ID])) == [change]
            assert list(unit.entries(ONLY_ID)) == [entry]
            assert list(unit.refunds_of_order(ONLY_ID)) == [refund]

    def test_customers_are_inserted_on_first_sight_and_kept(self, storage: Any) -> None:
        first = b.customer(erased_at=b.at(7))
        with storage.unit() as unit:
            assert unit.lock_customer(first) == first
        with storage.unit() as unit:
            assert unit.lock_customer(b.customer(zone="UTC", created_at=b.at(5))) == first
            moved = attrs.evolve(first, zone="Asia/Tokyo", event_seq=9, version=2, erased_at=None)
            unit.apply([d.StoreCustomer(moved)])
            assert unit.customer(b.ALICE) == moved
        erased = attrs.evolve(moved, erased_at=b.at(9), version=3)
        b.write(storage, d.StoreCustomer(erased))
        with b.looking(storage) as unit:
            assert unit.customer(b.ALICE) == erased

    def test_projections_are_replaced_and_what_was_asked_for_stays(self, storage: Any) -> None:
        b.seeded(storage)
        with b.looking(storage) as unit:
            order, subscription = unit.order(ONLY_ID), unit.subscriptions([ONLY_ID])[ONLY_ID]
            receipt = unit.receipts_of_orders([ONLY_ID])[0]
        paid = attrs.evolve(
            order,
            status=OrderStatus.CONFIRMED,
            closed_as=OrderStatus.EXPIRED,
            completion=b.completion(),
            failure_reason="late",
            external_id="relay-1",
            version=2,
        )
        active = attrs.evolve(
            subscription,
            status=SubscriptionStatus.ACTIVE,
            anchor=b.at(61),
            paid_periods=4,
            paid_until=b.at(99),
            next_charge_at=None,
            cancel_at_period_end=False,
            debt=2**255,
            version=2,
        )
        moved = attrs.evolve(
            receipt,
            ledger_id=None,
            user_id=None,
            allocation="suspense",
            reason="late",
            evidence=b.evidence(block_number=101, block_hash=b.word(5), log_index=0),
            status=ReceiptStatus.REVERSED,
            entries=2,
            version=2,
        )
        b.write(
            storage,
            d.StoreOrder(attrs.evolve(paid, amount=1, wallet=b.OTHER_WALLET, deadline=b.at(1))),
            d.StoreSubscription(attrs.evolve(active, zone="UTC", created_at=b.at(7))),
            d.StoreReceipt(attrs.evolve(moved, first_seen_at=b.at(1000), identity=b.identity(9))),
        )
        with b.looking(storage) as unit:
            assert unit.order(ONLY_ID) == paid
            assert unit.subscriptions([ONLY_ID])[ONLY_ID] == active
            assert unit.receipts_by_identity([moved.identity]) == {moved.identity: moved}

    def test_a_plan_version_changes_only_by_being_archived(self, storage: Any) -> None:
        b.seed(storage, d.AddPlanVersion(b.plan(version=2, name="new")), d.AddPlanVersion(b.plan(slug="other")))
        b.write(storage, d.ArchivePlan(b.plan(version=2, name="ignored", archived_at=b.at(8))))
        with b.looking(storage) as unit:
            assert unit.plan("pro", 1) == b.plan(archived_at=b.at(8))
            assert unit.plan("pro") == b.plan(version=2, name="new", archived_at=b.at(8))
            assert unit.plan("other") == b.plan(slug="other")

    def test_a_wallet_confirmed_again_keeps_its_first_row(self, storage: Any) -> None:
        b.seed(storage, d.ConfirmWallet(b.wallet()), d.ConfirmWallet(b.wallet(confirmed_at=b.at(99))))
        b.write(storage, d.ConfirmWallet(b.wallet(confirmed_at=b.at(100))))
        with b.looking(storage) as unit:
            assert list(unit.wallets(b.ALICE)) == [b.wallet()]

    def test_a_wallet_says_on_which_chains_a_contract_vouched_for_it(self, storage: Any) -> None:
        b.seed(storage, d.ConfirmWallet(b.wallet(chains=(1,))), d.ConfirmWallet(b.wallet(chains=(1, 10))))
        with b.looking(storage) as unit:
            assert list(unit.wallets(b.ALICE)) == [b.wallet(chains=(1, 10))]
            assert unit.users_of_wallets([b.WALLET], 10) == unit.users_of_wallets([b.WALLET]) == {b.WALLET: b.ALICE}
            assert unit.users_of_wallets([b.WALLET], 137) == {}
        b.write(storage, d.ConfirmWallet(b.wallet()))
        with b.looking(storage) as unit:
            assert unit.users_of_wallets([b.WALLET], 137) == {b.WALLET: b.ALICE}

    def test_an_entitlement_is_replaced_by_its_source(self, storage: Any) -> None:
        b.seed(storage, d.StoreEntitlement(b.entitlement()), d.StoreEntitlement(b.entitlement(source_id=b.ident(2))))
        b.write(storage, d.StoreEntitlement(b.entitlement(until=None, basis="ended", features=())))
        with b.looking(storage) as unit:
            found = {e.source_id: e for e in unit.entitlements([b.ALICE])}
        assert found == {
            b.ident(1): b.entitlement(until=None, basis="ended", features=()),
            b.ident(2): b.entitlement(source_id=b.ident(2)),
        }

    @pytest.mark.parametrize("status", list(OrderStatus))
    def test_every_order_status_comes_back(self, storage: Any, status: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(status=status)))
        with b.looking(storage) as unit:
            assert unit.order(ONLY_ID).status is status

    @pytest.mark.parametrize("status", list(SubscriptionStatus))
    def test_every_subscription_status_comes_back(self, storage: Any, status: Any) -> None:
        b.seed(storage, d.OpenSubscription(b.subscription(status=status)))
        with b.looking(storage) as unit:
            assert unit.subscriptions([ONLY_ID])[ONLY_ID].status is status
            assert (unit.live_subscription(b.ALICE, b.SITE) is None) == (status in {"ended", "incomplete_expired"})

    @pytest.mark.parametrize("status", list(RefundStatus))
    def test_every_refund_status_comes_back(self, storage: Any, status: Any) -> None:
        b.seeded(storage)
        b.write(storage, d.StoreRefund(b.refund(status=status, address=None, approved_by=None, tx_hash=None)))
        with b.looking(storage) as unit:
            found = unit.refunds_of_order(ONLY_ID)
        assert list(found) == [b.refund(status=status, address=None, approved_by=None, tx_hash=None)]

    def test_a_reader_cannot_change_what_is_stored(self, storage: Any) -> None:
        facts = {"list": [1]}
        b.write(storage, d.Publish(b.event(data=facts)), d.RecordAudit(b.audit(changes=facts)))
        facts["list"].append(2)
        with b.looking(storage) as unit:
            unit.events()[0].data["list"].append(3)
            unit.audit()[0].changes["more"] = 4
        with b.looking(storage) as unit:
            assert unit.events()[0].data == {"list": [1]}
            assert unit.audit()[0].changes == {"list": [1]}

    def test_what_is_not_there_is_none_or_empty(self, storage: Any) -> None:
        with b.looking(storage) as unit:
            nothing = (
                unit.network("x"),
                unit.gateway("x"),
                unit.contract("x", "y"),
                unit.plan("x"),
                unit.plan("x", 1),
                unit.customer("x"),
                unit.key("checkout", "x", "y"),
                unit.order(ONLY_ID),
                unit.live_subscription("x", b.SITE),
                unit.cursor(1),
            )
            empty = (
                unit.plan_versions([("x", 1)]),
                unit.plan_versions([]),
                unit.entitlements(["x"]),
                unit.entitlements([]),
                unit.orders([ONLY_ID]),
                unit.orders([]),
                unit.orders_by_reference([b.word(1)]),
                unit.orders_by_reference([]),
                unit.orders_of_subscriptions([]),
                unit.subscriptions([]),
                unit.changes([]),
                unit.receipts_of_orders([]),
                unit.receipts_by_identity([]),
                unit.logs_of([]),
                unit.logs_of([b.identity(1)]),
                unit.window(1),
                unit.entries("x"),
            )
        assert nothing == (None,) * len(nothing)
        assert [len(found) for found in empty] == [0] * len(empty)
