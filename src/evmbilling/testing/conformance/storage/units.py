"""What a unit applied is visible to others entirely or not at all, and nothing that was recorded disappears."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    Conflict,
    HostTransactionError,
    LeaseLost,
    StorageError,
)
from evmbilling.ports.storage import Storage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import SAID_BY_STORAGE, StorageKit

ONE = b.ident(1)

MANY = (
    d.SaveNetwork(b.network()),
    d.SaveGateway(b.gateway()),
    d.SaveContract(b.contract()),
    d.AddPlanVersion(b.plan(version=2)),
    d.ConfirmWallet(b.wallet()),
    d.OpenSubscription(b.subscription()),
    d.RecordChange(b.change()),
    d.OpenOrder(b.order()),
    d.BindKey(b.key_record()),
    d.StoreEntitlement(b.entitlement()),
    d.StoreReceipt(b.receipt()),
    d.AppendEntry(b.entry()),
    d.StoreRefund(b.refund()),
    d.Publish(b.event()),
    d.RecordAudit(b.audit()),
    d.RecordEvidence(cursor=b.cursor(50), headers=(b.header(50),), logs=(b.log(50, 1),), keep_from=0),
    d.PostEntry(b.posting()),
    d.WatchTreasury(b.treasury()),
    d.StoreMovement(b.movement()),
    d.StoreQueueItem(b.queued()),
    d.StoreInboxItem(b.hint()),
    d.SaveEndpoint(b.endpoint()),
    d.OpenDeliveries(ONE, (b.delivery(),)),
    d.StoreDelivery(b.delivery(version=2)),
    d.AddSeal(b.seal(), ()),
    d.OpenChallenge(b.challenge()),
)


def rows(unit: Any) -> Any:
    """Return everything that MANY writes."""
    return [
        *unit.networks(),
        *unit.gateways(),
        *unit.contracts(),
        *unit.plan_versions([("pro", 2)]).values(),
        *unit.wallets(b.ALICE),
        *unit.subscriptions_of_user(b.ALICE),
        *unit.changes([ONE]),
        *unit.orders_of_user(b.ALICE),
        *filter(None, [unit.key("checkout", b.ALICE, "k-1")]),
        *unit.entitlements([b.ALICE]),
        *unit.unmatched_receipts(),
        *unit.entries(ONE),
        *unit.refunds_of_order(ONE),
        *unit.events(),
        *unit.audit(),
        *unit.cursors(),
        *unit.window(b.CHAIN),
        *unit.logs_of([b.identity(1)]).values(),
        *unit.ledger_entries(),
        *unit.all_balances(),
        *unit.treasuries(),
        *unit.all_movements(),
        *unit.queue_items(),
        *filter(None, [unit.inbox_item("relay", "msg_1")]),
        *unit.endpoints(),
        *unit.deliveries(),
        *unit.seals(),
    ]


class HostFailure(Exception):
    """Something of the host's own went wrong."""


class UnitsChecks(StorageKit):
    """What a unit applied is visible to others entirely or not at all, and nothing that was recorded disappears."""

    clause = 1

    def test_a_unit_commits_all_that_it_applied(self, storage: Any) -> None:
        b.seed(storage)
        with storage.unit() as unit:
            for decision in MANY:
                unit.apply([decision])
            assert len(rows(unit)) == 27
        with b.looking(storage) as unit:
            assert len(rows(unit)) == 27

    def test_nobody_sees_a_unit_before_it_commits(self, storage: Any) -> None:
        b.seed(storage)
        with storage.unit() as unit:
            unit.apply(MANY)
            unit.lock_customer(b.customer("user-new"))
            with b.looking(storage) as beside:
                assert rows(beside) == []
                assert beside.customer("user-new") is None
        with b.looking(storage) as unit:
            assert len(rows(unit)) == 27
            assert unit.customer("user-new") is not None

    @of_clause(2)
    @pytest.mark.parametrize("error", [HostFailure, KeyboardInterrupt, LeaseLost], ids=lambda e: e.__name__)
    def test_a_unit_that_raises_leaves_nothing(self, storage: Any, error: Any) -> None:
        b.seed(storage)
        with pytest.raises(error), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            unit.lock_customer(b.customer("user-new"))
            unit.apply(MANY)
            raise error
        with b.looking(storage) as unit:
            assert rows(unit) == []
            assert unit.customer("user-new") is None
        b.write(storage, *MANY)

    @of_clause(2)
    @pytest.mark.fault("D15")
    @pytest.mark.parametrize("position", range(len(MANY) + 1))
    def test_d15_a_decision_that_fails_undoes_the_ones_beside_it(self, storage: Any, position: Any) -> None:
        b.seed(storage, d.AddPlanVersion(b.plan(slug="taken")))
        failing = d.AddPlanVersion(b.plan(slug="taken"))
        with pytest.raises(AlreadyExists):
            b.write(storage, *MANY[:position], failing, *MANY[position:])
        with b.looking(storage) as unit:
            assert rows(unit) == []

    @of_clause(2)
    @pytest.mark.fault("D15")
    @pytest.mark.parametrize(
        "failing",
        [
            pytest.param(d.AddPlanVersion(b.plan()), id="taken-plan"),
            pytest.param(d.StoreOrder(b.order(9, version=7)), id="version"),
            pytest.param(d.OpenOrder(b.order(9, amount=2**256)), id="amount"),
            pytest.param(d.StoreCursor(b.cursor(fence=0)), id="fence"),
            pytest.param(d.OpenOrder(b.order(9, reference=b.word(2))), id="reference"),
        ],
    )
    def test_d15_a_unit_whose_list_failed_commits_nothing(self, storage: Any, failing: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(2)), d.StoreCursor(b.cursor()))
        with pytest.raises(StorageError), storage.unit() as unit:  # noqa: PT012  - the end of the unit is what raises
            unit.apply([d.Publish(b.event(1))])
            with pytest.raises(BillingError):
                unit.apply([d.Publish(b.event(2)), failing, d.Publish(b.event(3))])
            with pytest.raises(StorageError):
                unit.events()
            with pytest.raises(StorageError):
                unit.apply([d.Publish(b.event(4))])
        with b.looking(storage) as unit:
            assert list(unit.events()) == []
            assert unit.cursor(b.CHAIN) == b.cursor()

    @of_clause(2)
    @pytest.mark.parametrize(
        "use",
        [
            lambda unit: unit.events(),
            lambda unit: unit.apply([d.RecordAudit(b.audit())]),
            lambda unit: unit.lock_customers(["x"]),
            lambda unit: unit.lock_customer(b.customer()),
            lambda unit: unit.claim_items(b.CHAIN, b.cursor(), b.T0, 1),
        ],
    )
    def test_a_unit_that_ended_answers_nothing(self, storage: Any, use: Any) -> None:
        with storage.unit() as ended:
            pass
        with pytest.raises(StorageError):
            use(ended)
        with pytest.raises(ZeroDivisionError), storage.unit() as failed:
            raise ZeroDivisionError
        with pytest.raises(StorageError):
            use(failed)

    def test_a_unit_that_does_not_wait_for_the_disk_is_seen_once_it_ends(self, storage: Any) -> None:
        b.seed(storage)
        with storage.unit(durable=False) as unit:
            unit.apply(MANY)
            with b.looking(storage) as beside:
                assert rows(beside) == []
        with b.looking(storage) as unit:
            assert len(rows(unit)) == 27

    def test_units_that_wait_for_the_disk_and_units_that_do_not_follow_each_other(self, storage: Any) -> None:
        for number, durable in enumerate((False, True, False, False, True)):
            with storage.unit(durable=durable) as unit:
                unit.apply([d.RecordAudit(b.audit(2 * number))])
            with pytest.raises(ZeroDivisionError), storage.unit(durable=durable) as unit:  # noqa: PT012
                unit.apply([d.RecordAudit(b.audit(2 * number + 1))])
                raise ZeroDivisionError
            with b.looking(storage) as unit:
                assert list(unit.audit()) == [b.audit(2 * each) for each in range(number + 1)]

    @of_clause(2)
    @pytest.mark.parametrize("error", [HostFailure, KeyboardInterrupt, LeaseLost], ids=lambda e: e.__name__)
    def test_a_unit_that_does_not_wait_for_the_disk_leaves_nothing_when_it_raises(
        self, storage: Any, error: Any
    ) -> None:
        b.seed(storage)
        with pytest.raises(error), storage.unit(durable=False) as unit:  # noqa: PT012  - the unit is what raises
            unit.lock_customer(b.customer("user-new"))
            unit.apply(MANY)
            raise error
        with pytest.raises(StorageError), storage.unit(durable=False) as unit:  # noqa: PT012  - its end is what raises
            unit.apply([d.Publish(b.event(1))])
            with pytest.raises(AlreadyExists):
                unit.apply([d.AddPlanVersion(b.plan())])
        with b.looking(storage) as unit:
            assert rows(unit) == []
            assert unit.customer("user-new") is None
        b.write(storage, *MANY)

    def test_a_unit_reads_what_it_wrote(self, storage: Any) -> None:
        b.seed(storage)
        with storage.unit() as unit:
            unit.apply([d.OpenOrder(b.order())])
            assert unit.order(ONE) == b.order()
            assert list(unit.orders_by_reference([b.word(1)])) == [b.word(1)]
            unit.apply([d.StoreOrder(attrs.evolve(b.order(), failure_reason="x", version=2))])
            assert unit.order(ONE).failure_reason == "x"

    def test_nothing_applied_is_nothing_written(self, storage: Any) -> None:
        with storage.unit() as unit:
            unit.apply([])
            unit.apply(())
        with b.looking(storage) as unit:
            assert rows(unit) == []

    @of_clause(4)
    def test_recorded_rows_stay_as_they_were(self, storage: Any) -> None:
        b.write(
            b.seeded(storage),
            d.RecordChange(b.change()),
            d.AppendEntry(b.entry()),
            d.Publish(b.event()),
            d.RecordAudit(b.audit()),
            d.PostEntry(b.posting()),
            d.AddSeal(b.seal(), ()),
        )
        for again in (
            d.RecordChange(b.change(kind="end", effective_at=b.at(99))),
            d.AppendEntry(b.entry(amount=1)),
            d.Publish(b.event(data={})),
            d.RecordAudit(b.audit(actor="somebody")),
            d.PostEntry(b.posting(lines=b.received(1))),
            d.AddSeal(b.seal(mac=b.word(9)), ()),
        ):
            with pytest.raises(Conflict):
                b.write(storage, again)
        b.write(
            storage, d.RecordChange(b.change(seq=2, kind="undo_cancel")), d.AppendEntry(b.entry(seq=2, kind="final"))
        )
        b.write(storage, d.PostEntry(b.posting(2)), d.AddSeal(b.seal(2), ()), d.OpenDeliveries(ONE, (b.delivery(),)))
        with b.looking(storage) as unit:
            assert list(unit.changes([ONE])) == [b.change(), b.change(seq=2, kind="undo_cancel")]
            assert list(unit.entries(ONE)) == [b.entry(), b.entry(seq=2, kind="final")]
            assert list(unit.events()) == [b.event()]
            assert list(unit.audit()) == [b.audit()]
            assert list(unit.ledger_entries()) == [b.posting(), b.posting(2)]
            assert list(unit.seals()) == [b.seal(), b.seal(2)]

    @pytest.mark.parametrize(
        "use",
        [
            lambda unit: unit.apply([d.RecordAudit(b.audit())]),
            lambda unit: unit.lock_customers([b.ALICE]),
            lambda unit: unit.lock_customer(b.customer("user-new")),
            lambda unit: unit.claim_items(b.CHAIN, b.cursor(), b.T0, 1),
        ],
    )
    def test_a_unit_for_reading_refuses_to_lock_and_to_write(self, storage: Any, use: Any) -> None:
        b.seed(storage)
        with b.looking(storage) as unit:
            with pytest.raises(StorageError):
                use(unit)
            assert unit.customer(b.ALICE) == b.customer()
        with b.looking(storage) as unit:
            assert list(unit.audit()) == []
            assert unit.customer("user-new") is None

    def test_an_instance_keeps_its_id(self, storage: Any) -> None:
        first = storage.instance_id()
        assert len(first) == 8
        assert storage.instance_id() == first

    @of_clause(15)
    def test_only_what_can_be_joined_is_joined(self, storage: Any) -> None:
        with pytest.raises(HostTransactionError), storage.join(object()):
            pytest.fail("joined")

    def test_the_clock_is_the_injected_one(self, storage: Any, clock: FrozenClock) -> None:
        assert storage.now() == clock.now()
        clock.advance(days=400, microseconds=1)
        assert storage.now() == clock.now()
        assert storage.now().utcoffset() is not None

    @of_clause(10)
    def test_a_storage_says_what_its_kit_declares(self, storage: Storage) -> None:
        assert storage.capabilities == self.capabilities & SAID_BY_STORAGE
