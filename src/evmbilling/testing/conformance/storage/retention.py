"""Erasure and retention: what may go goes, and nothing that money or uniqueness hangs on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.selling.pay_links import OpenPayLink
from evmbilling.errors import AlreadyExists, InputError
from evmbilling.testing.conformance.storage import records as b

FOREVER = b.T0 + timedelta(days=365 * 50)

ERASABLE = ("webhook_inbox", "deliveries", "wallet_challenges", "chain_logs", "usage", "pay_links")

KEPT = (
    "audit",
    "outbox",
    "ledger_entries",
    "ledger_lines",
    "balances",
    "receipt_entries",
    "subscription_changes",
    "charges",
    "payment_receipts",
    "payment_transactions",
    "idempotency_keys",
    "refunds",
    "movements",
    "treasuries",
    "finance_queue",
    "seals",
    "seal_items",
    "intake",
    "customers",
    "wallets",
    "plans",
    "nothing",
    "",
    "usage; DROP TABLE billing_usage",
)


def inbox(storage: Any) -> Any:
    with b.looking(storage) as unit:
        return [n for n in range(1, 9) if unit.inbox_item("relay", f"msg_{n}")]


def what_money_hangs_on(storage: Any) -> Any:
    with storage.unit() as unit:
        return (
            list(unit.customers()),
            list(unit.all_orders()),
            unit.key("checkout", b.ALICE, "k-1"),
            list(unit.all_receipts()),
            list(unit.entries(b.ident(1))),
            list(unit.refunds()),
            list(unit.changes([b.ident(1)])),
            list(unit.charges_of([b.ident(1)])),
            list(unit.subscriptions_of_user(b.ALICE)),
            list(unit.ledger_entries()),
            list(unit.all_balances()),
            list(unit.treasuries()),
            list(unit.all_movements()),
            list(unit.queue_items(state=None)),
            list(unit.events()),
            list(unit.audit()),
            list(unit.seals()),
            list(unit.unsealed_rows(100)),
            list(unit.cursors()),
            list(unit.claim_items(b.CHAIN, b.cursor(), b.T0, 10)),
            unit.logs_of([b.identity(1)]),
        )


class RetentionChecks:
    """Erasure and retention: what may go goes, and nothing that money or uniqueness hangs on."""

    clause = 12

    def test_hints_go_when_they_are_settled(self, storage: Any) -> None:
        states = ("done", "dead", "received", "parked", "done", "done")
        seconds = (1, 2, 1, 1, 3, 2.999999)
        hints = [
            b.hint(n, state=state, received_at=b.at(second), retry_at=b.at(0))
            for n, (state, second) in enumerate(zip(states, seconds, strict=True), 1)
        ]
        b.write(storage, *map(d.StoreInboxItem, hints))
        assert storage.prune("webhook_inbox", b.at(1), 100) == 0
        assert storage.prune("webhook_inbox", b.at(3), 1) == 1
        assert len(inbox(storage)) == 5
        assert storage.prune("webhook_inbox", b.at(3), 100) == 2
        assert inbox(storage) == [3, 4, 5]
        assert storage.prune("webhook_inbox", b.at(3), 100) == 0

    def test_deliveries_go_when_they_are_over_and_never_come_back(self, storage: Any) -> None:
        deliveries = [
            b.delivery(1, state="done", done_at=b.at(1), next_at=b.at(9)),
            b.delivery(2, state="dead", next_at=b.at(1)),
            b.delivery(3, state="waiting", next_at=b.at(1)),
            b.delivery(4, state="done", done_at=b.at(2), next_at=b.at(0)),
        ]
        for delivery in deliveries:
            b.write(storage, d.Publish(b.event(delivery.seq)), d.OpenDeliveries(delivery.event_id, (delivery,)))
        assert storage.prune("deliveries", b.at(2), 0) == 0
        assert storage.prune("deliveries", b.at(2), 100) == 2
        with storage.unit() as unit:
            assert list(unit.deliveries()) == deliveries[2:]
            assert list(unit.claim_events(10)) == []
            assert len(unit.events()) == 4

    def test_challenges_go_after_they_expired_used_or_not(self, storage: Any) -> None:
        b.seed(
            storage,
            d.OpenChallenge(b.challenge(1)),
            d.OpenChallenge(b.challenge(2, used_at=b.at(1))),
            d.OpenChallenge(b.challenge(3, expires_at=b.at(301))),
        )
        assert storage.prune("wallet_challenges", b.at(300), 100) == 0
        assert storage.prune("wallet_challenges", b.at(301), 100) == 2
        with storage.unit() as unit:
            assert [bool(unit.use_challenge(f"nonce-{n}", b.at(0))) for n in (1, 2, 3)] == [False, False, True]

    def test_only_orphaned_logs_go(self, storage: Any) -> None:
        b.write(
            storage,
            d.RecordEvidence(
                cursor=b.cursor(52), headers=(), logs=(b.log(50, 1), b.log(51, 2), b.log(52, 3)), keep_from=0
            ),
            d.Rewind(cursor=b.cursor(50)),
        )
        assert storage.prune("chain_logs", b.log(51, 2).block_time, 100) == 0
        assert storage.prune("chain_logs", FOREVER, 1) == 1
        assert storage.prune("chain_logs", FOREVER, 100) == 1
        with storage.unit() as unit:
            assert unit.logs_of([b.identity(n) for n in (1, 2, 3)]) == {b.identity(1): b.log(50, 1)}
            assert len(unit.claim_items(b.CHAIN, b.cursor(), b.T0, 10)) == 3
        again = b.log(51, 2, branch=1)
        b.write(storage, d.RecordEvidence(cursor=b.cursor(51), headers=(), logs=(again,), keep_from=0))
        with b.looking(storage) as unit:
            assert unit.logs_of([b.identity(2)]) == {b.identity(2): again}

    def test_windows_go_when_the_next_one_has_long_begun(self, storage: Any) -> None:
        windows = [b.window(starts_at=b.at(second)) for second in (0, 10, 20)]
        others = [
            b.window(starts_at=b.at(0), limit="seats"),
            b.window(starts_at=b.at(0), user_id=b.BOB),
            b.window(starts_at=b.at(0), source_id=b.ident(2)),
        ]
        b.seed(storage)
        with storage.unit() as unit:
            for window in (*windows, *others):
                unit.consume(window, 5)
        assert storage.prune("usage", b.at(10), 100) == 0
        assert storage.prune("usage", b.at(20), 100) == 1
        assert storage.prune("usage", FOREVER, 100) == 1
        with b.looking(storage) as unit:
            assert [unit.used(window) for window in (*windows, *others)] == [0, 0, 5, 5, 5, 5]

    @pytest.fixture
    def storage_of_old_rows(self, storage: Any) -> Any:
        """A storage in which every table has rows that ended long ago."""
        b.write(
            b.seeded(storage),
            d.BindKey(b.key_record()),
            d.StoreRefund(b.refund()),
            d.RecordAudit(b.audit()),
            d.PostEntry(b.posting()),
            d.Publish(b.event()),
            d.AppendEntry(b.entry()),
            d.RecordChange(b.change()),
            d.WatchTreasury(b.treasury()),
            d.StoreMovement(b.movement()),
            d.StoreQueueItem(b.queued(state="decided")),
            d.ConfirmWallet(b.wallet()),
            d.OpenDeliveries(b.ident(1), (b.delivery(state="done", done_at=b.T0),)),
            d.StoreInboxItem(b.hint(state="done")),
            d.OpenChallenge(b.challenge(used_at=b.T0)),
            StoreCharge(b.charge(state="failed")),
            OpenPayLink(b.pay_link(), b.T0),
            d.RecordEvidence(cursor=b.cursor(51), headers=(), logs=(b.log(50, 1), b.log(51, 2)), keep_from=0),
            d.Rewind(cursor=b.cursor(50)),
            d.AddSeal(b.seal(), ()),
        )
        with storage.unit() as unit:
            for second in (0, 10):
                unit.consume(b.window(starts_at=b.at(second)), 5)
        return storage

    @pytest.mark.fault("D29")
    def test_d29_what_is_unique_stays_unique_when_everything_erasable_is_gone(self, storage_of_old_rows: Any) -> None:
        before = what_money_hangs_on(storage_of_old_rows)
        assert [storage_of_old_rows.prune(table, FOREVER, 1000) for table in ERASABLE] == [1] * 6
        assert [storage_of_old_rows.prune(table, FOREVER, 1000) for table in ERASABLE] == [0] * 6
        assert what_money_hangs_on(storage_of_old_rows) == before
        for replayed in (
            d.BindKey(b.key_record(fingerprint=b.word(3))),
            d.StoreReceipt(b.receipt(9, identity=b.identity(1))),
            d.AppendEntry(b.entry()),
            d.PostEntry(b.posting(9, source=b.posting(1).source)),
            d.StoreMovement(b.movement()),
            StoreCharge(b.charge()),
            d.StoreQueueItem(b.queued(9, subject=b.queued(1).subject)),
            d.Publish(b.event(9, seq=1)),
        ):
            with pytest.raises(AlreadyExists):
                b.write(storage_of_old_rows, replayed)
        assert what_money_hangs_on(storage_of_old_rows) == before

    @pytest.mark.fault("D29")
    @pytest.mark.parametrize("table", KEPT)
    def test_d29_rows_of_other_tables_never_go(self, storage_of_old_rows: Any, table: Any) -> None:
        before = what_money_hangs_on(storage_of_old_rows)
        with pytest.raises(InputError):
            storage_of_old_rows.prune(table, FOREVER, 1000)
        assert what_money_hangs_on(storage_of_old_rows) == before

    def test_a_naive_instant_is_refused(self, storage_of_old_rows: Any) -> None:
        with pytest.raises(InputError):
            storage_of_old_rows.prune("usage", datetime(2100, 1, 1), 10)  # noqa: DTZ001  - the fault itself

    def test_erasing_a_customer_removes_what_says_who_they_are(self, storage_of_old_rows: Any) -> None:
        before = what_money_hangs_on(storage_of_old_rows)
        b.write(
            storage_of_old_rows,
            d.ConfirmWallet(b.wallet(address=b.OTHER_WALLET)),
            d.ConfirmWallet(b.wallet(user_id=b.BOB, address=b.TREASURY)),
            d.OpenChallenge(b.challenge(2, user_id=b.BOB)),
            d.OpenChallenge(b.challenge(3)),
        )
        with storage_of_old_rows.unit() as unit:
            unit.consume(b.window(user_id=b.BOB), 7)
            used = [unit.used(b.window(starts_at=b.at(second))) for second in (0, 10)]
        assert used[0] > 0
        erased = b.customer(zone="UTC", locale="en", erased_at=b.at(5), version=2)
        b.write(storage_of_old_rows, d.EraseCustomer(erased))
        with storage_of_old_rows.unit() as unit:
            assert unit.customer(b.ALICE) == erased
            assert list(unit.wallets(b.ALICE)) == []
            assert unit.users_of_wallets([b.WALLET, b.OTHER_WALLET, b.TREASURY]) == {b.TREASURY: b.BOB}
            assert [unit.used(b.window(starts_at=b.at(second))) for second in (0, 10)] == used
            assert unit.used(b.window(user_id=b.BOB)) == 7
            assert [bool(unit.use_challenge(f"nonce-{n}", b.at(1))) for n in (1, 2, 3)] == [False, True, False]
        after = what_money_hangs_on(storage_of_old_rows)
        assert after[0] == [b.customer(b.BOB), erased] or after[0] == [erased, b.customer(b.BOB)]
        assert after[1:] == before[1:]
        b.write(storage_of_old_rows, d.ConfirmWallet(b.wallet(user_id=b.BOB)))
        with b.looking(storage_of_old_rows) as unit:
            assert unit.users_of_wallets([b.WALLET]) == {b.WALLET: b.BOB}

    def test_only_a_customer_that_is_there_is_erased_and_all_or_nothing(self, storage_of_old_rows: Any) -> None:
        with pytest.raises(InputError):
            b.write(storage_of_old_rows, d.EraseCustomer(b.customer("nobody")))
        with pytest.raises(AlreadyExists):
            b.write(storage_of_old_rows, d.EraseCustomer(b.customer(erased_at=b.at(5))), d.AddPlanVersion(b.plan()))
        with b.looking(storage_of_old_rows) as unit:
            assert unit.customer(b.ALICE) == b.customer()
            assert list(unit.wallets(b.ALICE)) == [b.wallet()]
            assert unit.used(b.window()) == 5

    def test_erasing_twice_changes_nothing_more(self, storage_of_old_rows: Any) -> None:
        erased = b.customer(zone="UTC", locale="en", erased_at=b.at(5), version=2)
        b.write(storage_of_old_rows, d.EraseCustomer(erased))
        b.write(storage_of_old_rows, d.EraseCustomer(attrs.evolve(erased, version=3)))
        with b.looking(storage_of_old_rows) as unit:
            assert unit.customer(b.ALICE) == attrs.evolve(erased, version=3)
