"""Keys, versions and bounds of movements, queue items, hints and endpoints."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import AlreadyExists, Conflict, InvalidAmount, StorageError, VersionConflict
from evmbilling.testing.conformance.crowds import crowd
from evmbilling.testing.conformance.storage import records as b

VERSIONED = [
    pytest.param(
        lambda version: d.StoreMovement(b.movement(5, version=version, amount=version, live=version % 2 == 0)),
        lambda unit: unit.movements([b.identity(5)]).get(b.identity(5)),
        AlreadyExists,
        id="movement",
    ),
    pytest.param(
        lambda version: d.StoreQueueItem(b.queued(5, version=version, note=str(version))),
        lambda unit: unit.queue_item(b.ident(5)),
        AlreadyExists,
        id="queue-item",
    ),
    pytest.param(
        lambda version: d.StoreInboxItem(b.hint(5, version=version, attempts=version, state="parked")),
        lambda unit: unit.inbox_item("relay", "msg_5"),
        AlreadyExists,
        id="inbox",
    ),
    pytest.param(
        lambda version: d.SaveEndpoint(b.endpoint(5, version=version, url=f"https://{version}.example")),
        lambda unit: unit.endpoint(b.ident(5)),
        VersionConflict,
        id="endpoint",
    ),
]


class BookKeysChecks:
    """Keys, versions and bounds of movements, queue items, hints and endpoints."""

    clause = 3

    @pytest.fixture
    def seeded_storage(self, storage: Any) -> Any:
        b.write(b.seeded(storage), d.StoreRefund(b.refund()))
        return storage

    @pytest.mark.parametrize(("decide", "read", "taken"), VERSIONED)
    def test_a_row_of_the_books_is_replaced_only_by_the_version_after_it(
        self, storage: Any, decide: Any, read: Any, taken: Any
    ) -> None:
        b.seed(storage)
        for absent in (2, 3):
            with pytest.raises(VersionConflict):
                b.write(storage, decide(absent))
        for version in (1, 2, 3):
            b.write(storage, decide(version))
            with pytest.raises(taken):
                b.write(storage, decide(1))
            for wrong in (version, version + 2):
                with pytest.raises(Conflict):
                    b.write(storage, decide(wrong))
            with b.looking(storage) as unit:
                assert read(unit) == next(iter(attrs.astuple(decide(version), recurse=False)))
        b.write(storage, decide(4), decide(5))
        with b.looking(storage) as unit:
            assert read(unit).version == 5

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param(d.StoreMovement(b.movement(1)), d.StoreMovement(b.movement(1, amount=1)), id="movement"),
            pytest.param(
                d.StoreQueueItem(b.queued(1)), d.StoreQueueItem(b.queued(2, subject=b.queued(1).subject)), id="subject"
            ),
            pytest.param(d.StoreQueueItem(b.queued(1)), d.StoreQueueItem(b.queued(1, subject="order:x")), id="item"),
        ],
    )
    def test_a_natural_key_is_taken_once(self, storage: Any, first: Any, second: Any) -> None:
        b.seed(storage, first)
        with pytest.raises(AlreadyExists):
            b.write(storage, d.RecordAudit(b.audit()), second)
        with b.looking(storage) as unit:
            rows = [*unit.all_movements(), *unit.queue_items(state=None)]
            assert rows == [next(iter(attrs.astuple(first, recurse=False)))]
            assert list(unit.audit()) == []

    def test_keys_of_the_books_that_differ_in_one_part_are_both_kept(self, storage: Any) -> None:
        subject = b.queued(1).subject
        others = [b.queued(2, kind="held", subject=subject), b.queued(3, subject=subject + "x")]
        moved = [b.movement(identity=b.identity(1, ordinal=n)) for n in (1, 0)]
        moved.append(b.movement(identity=b.identity(1, chain_id=b.OTHER_CHAIN)))
        b.seed(storage, d.StoreQueueItem(b.queued(1)), *map(d.StoreQueueItem, others), *map(d.StoreMovement, moved))
        with b.looking(storage) as unit:
            assert list(unit.queue_items_of([subject, subject])) == [b.queued(1), others[0]]
            assert list(unit.all_movements()) == sorted(moved, key=lambda movement: movement.identity)
            assert set(unit.movements([m.identity for m in moved] + [b.identity(9)])) == {m.identity for m in moved}
            assert list(unit.queue_items_of([])) == list(unit.queue_items_of(["receipt:%"])) == []

    @pytest.mark.fault("D14")
    @pytest.mark.parametrize(
        "decision",
        [
            pytest.param(d.StoreMovement(b.movement(2, receipt_id=b.ident(9))), id="movement-of-no-receipt"),
            pytest.param(d.StoreMovement(b.movement(2, refund_id=b.ident(9))), id="movement-of-no-refund"),
            pytest.param(d.StoreQueueItem(b.queued(2, ledger_id=b.ident(9))), id="item-of-no-order"),
            pytest.param(d.StoreQueueItem(b.queued(2, receipt_id=b.ident(9))), id="item-of-no-receipt"),
            pytest.param(d.StoreQueueItem(b.queued(2, refund_id=b.ident(9))), id="item-of-no-refund"),
            pytest.param(d.StoreRefund(b.refund(2, receipt_id=b.ident(9))), id="refund-of-no-receipt"),
        ],
    )
    def test_d14_a_row_of_the_books_refers_only_to_what_is_there(self, seeded_storage: Any, decision: Any) -> None:
        with pytest.raises(StorageError):
            b.write(seeded_storage, decision)
        with b.looking(seeded_storage) as unit:
            assert [*unit.all_movements(), *unit.queue_items(state=None), *unit.refunds(after=b.ident(1))] == []

    @pytest.mark.fault("N01")
    @pytest.mark.parametrize("amount", [-1, 2**256, 1.0, True], ids=repr)
    @pytest.mark.parametrize(
        "decide",
        [
            lambda amount: d.StoreMovement(b.movement(amount=amount)),
            lambda amount: d.StoreQueueItem(b.queued(amount=amount)),
            lambda amount: d.OpenOrder(b.order(2, tolerance=amount)),
        ],
        ids=["movement", "queue-item", "tolerance"],
    )
    def test_n01_amounts_beyond_uint256_are_refused(self, seeded_storage: Any, decide: Any, amount: Any) -> None:
        with pytest.raises(InvalidAmount):
            b.write(seeded_storage, decide(amount))
        with b.looking(seeded_storage) as unit:
            assert [*unit.all_movements(), *unit.queue_items(), unit.order(b.ident(2))] == [None]

    def test_one_of_many_threads_accounts_for_a_movement(self, storage: Any) -> None:
        b.seed(storage)

        def account(number: Any) -> Any:
            b.write(
                storage,
                d.StoreMovement(b.movement(amount=number)),
                d.StoreQueueItem(b.queued(number + 1, subject="order:x")),
            )
            return number

        (winner,) = [outcome for outcome in crowd(account) if not isinstance(outcome, Conflict)]
        with b.looking(storage) as unit:
            assert [movement.amount for movement in unit.all_movements()] == [winner]
            assert [item.item_id for item in unit.queue_items()] == [b.ident(winner + 1)]
