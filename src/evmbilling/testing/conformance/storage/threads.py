"""Many at once: no update is lost, no item is given twice, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.identity import Product
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import Conflict, LeaseLost, RetryTransaction, VersionConflict
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.crowds import CROWD, again, crowd, elsewhere
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit


@contextmanager
def holding(storage: Any, *users: Any) -> Iterator[Any]:
    """Return a unit that holds these customers."""
    with storage.unit() as unit:
        assert list(unit.lock_customers(users)) == sorted(users)
        yield unit


def bump(storage: Any) -> None:
    with storage.unit() as unit:
        stored = unit.lock_customer(b.customer())
        unit.apply([d.StoreCustomer(attrs.evolve(stored, event_seq=stored.event_seq + 1, version=stored.version + 1))])


def everything_of(user_id: Any, number: Any) -> Any:
    """Return the decisions of a whole checkout and payment of one customer."""
    product = Product("site", user_id)
    mine = {"user_id": user_id, "product": product}
    order = b.order(number, **mine, subscription_id=b.ident(number), period=0)
    return [
        d.OpenSubscription(b.subscription(number, **mine)),
        d.OpenOrder(order),
        d.BindKey(b.key_record(user_id=user_id, ledger_id=order.ledger_id)),
        d.StoreOrder(attrs.evolve(order, status=OrderStatus.CONFIRMED, completion=b.completion(), version=2)),
        d.StoreReceipt(b.receipt(number, user_id=user_id, ledger_id=order.ledger_id, allocation="order")),
        d.AppendEntry(b.entry(receipt_id=b.ident(number))),
        d.StoreEntitlement(b.entitlement(**mine)),
        d.ConfirmWallet(b.wallet(user_id=user_id, address=f"0x{number:040x}")),
        d.StoreCustomer(b.customer(user_id, event_seq=1, version=2)),
        d.Publish(b.event(number, aggregate=f"customer:{user_id}", seq=1)),
        d.RecordAudit(b.audit(number)),
    ]


def fill(storage: Any, count: Any) -> Any:
    logs = tuple(b.log(number, number) for number in range(1, count + 1))
    b.write(storage, d.RecordEvidence(cursor=b.cursor(50), headers=(b.header(50),), logs=logs, keep_from=0))
    return [log.identity for log in logs]


class ThreadsChecks(StorageKit):
    """Many at once: no update is lost, no item is given twice, and nobody waits for ever."""

    clause = 6

    def test_eight_threads_lose_no_update_of_a_customer(self, storage: Any) -> None:
        b.seed(storage)

        def count_up(_: Any) -> None:
            for _ in range(6):
                again(lambda: bump(storage))

        crowd(count_up)
        with b.looking(storage) as unit:
            assert unit.customer(b.ALICE).event_seq == 6 * CROWD
            assert unit.customer(b.ALICE).version == 6 * CROWD + 1

    def test_eight_threads_lose_no_update_of_an_order_under_versions(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(failure_reason="0")))

        def add(_: Any) -> None:
            with storage.unit() as unit:
                stored = unit.order(b.ident(1))
                more = str(int(stored.failure_reason) + 1)
                unit.apply([d.StoreOrder(attrs.evolve(stored, failure_reason=more, version=stored.version + 1))])

        crowd(lambda n: [again(lambda: add(n), retry_on=(RetryTransaction, VersionConflict)) for _ in range(4)])
        with b.looking(storage) as unit:
            assert unit.order(b.ident(1)).failure_reason == str(4 * CROWD)
            assert unit.order(b.ident(1)).version == 4 * CROWD + 1

    def test_customers_are_locked_in_order_of_their_id(self, storage: Any) -> None:
        users = ["b", "A", "a", "B", "10", "9"]
        b.seed(storage, users=users)
        with storage.unit() as unit:
            found = unit.lock_customers([*users, "absent", "a"])
            assert list(found) == sorted(users)
            assert [c.user_id for c in found.values()] == sorted(users)
            assert dict(unit.lock_customers([])) == {}

    @pytest.mark.fault("D04")
    def test_d04_customers_locked_in_any_order_do_not_deadlock(self, storage: Any) -> None:
        users = [f"u{n}" for n in range(6)]
        b.seed(storage, users=users)
        reasons = []

        def lock(number: Any) -> None:
            for turn in range(6):
                wanted = users if (number + turn) % 2 else users[::-1]
                try:
                    with storage.unit() as unit:
                        assert len(unit.lock_customers(wanted)) == 6
                except RetryTransaction as error:
                    reasons.append(error.details.get("reason"))

        crowd(lock, size=4)
        assert "deadlock" not in reasons

    def test_a_locked_customer_is_passed_over_or_waited_for(self, storage: Any) -> None:
        b.seed(storage, users=("u1", "u2", "u3"))
        everybody = ("u1", "u2", "u3")

        def lock(*, skip_locked: Any) -> Any:
            with storage.unit() as unit:
                return list(unit.lock_customers(everybody, skip_locked=skip_locked))

        with elsewhere(lambda: holding(storage, "u2")):
            with pytest.raises(RetryTransaction) as refused:
                lock(skip_locked=False)
            if self.concurrent_writers:
                assert lock(skip_locked=True) == ["u1", "u3"]
            else:
                with pytest.raises(RetryTransaction):
                    lock(skip_locked=True)
        assert refused.value.retry_safe
        assert lock(skip_locked=True) == lock(skip_locked=False) == list(everybody)

    def test_a_first_sight_by_many_is_one_customer(self, storage: Any) -> None:
        def meet(number: Any) -> Any:
            with storage.unit() as unit:
                return unit.lock_customer(b.customer("user-new", created_at=b.at(number)))

        seen = crowd(meet)
        with b.looking(storage) as unit:
            assert set(seen) == {unit.customer("user-new")}
            assert len(unit.customers()) == 1

    @of_clause(3)
    @pytest.mark.fault("B10")
    @pytest.mark.fault("B24")
    def test_b10_b24_one_of_many_opens_the_order_of_a_period(self, storage: Any) -> None:
        b.seed(storage, d.OpenSubscription(b.subscription()))

        def open_one(number: Any) -> Any:
            order = b.order(10 + number, subscription_id=b.ident(1), period=0)
            b.write(storage, d.OpenOrder(order), d.Publish(b.event(10 + number)))
            return order

        outcomes = crowd(open_one)
        opened = [outcome for outcome in outcomes if not isinstance(outcome, Conflict)]
        with b.looking(storage) as unit:
            assert list(unit.orders_of_subscriptions([b.ident(1)])) == opened
            assert len(opened) == len(unit.events()) == 1
        assert len(outcomes) == CROWD

    @of_clause(3)
    @pytest.mark.fault("C14")
    def test_c14_one_of_many_credits_a_movement(self, storage: Any) -> None:
        b.seed(storage)

        def credit(number: Any) -> Any:
            receipt = b.receipt(10 + number, identity=b.identity(1))
            b.write(storage, d.StoreReceipt(receipt), d.AppendEntry(b.entry(receipt_id=receipt.receipt_id)))
            return receipt

        credited = [outcome for outcome in crowd(credit) if not isinstance(outcome, Conflict)]
        with b.looking(storage) as unit:
            assert list(unit.unmatched_receipts()) == credited
            assert [len(unit.entries(b.ident(10 + n))) for n in range(CROWD)].count(1) == 1
        assert len(credited) == 1

    @of_clause(3)
    def test_one_of_many_binds_a_key_and_one_subscribes(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order()))

        def bind(number: Any) -> Any:
            b.write(
                storage, d.BindKey(b.key_record(fingerprint=b.word(number))), d.OpenSubscription(b.subscription(number))
            )
            return number

        (winner,) = [outcome for outcome in crowd(bind) if not isinstance(outcome, Conflict)]
        with b.looking(storage) as unit:
            assert unit.key("checkout", b.ALICE, "k-1").fingerprint == b.word(winner)
            assert [s.subscription_id for s in unit.subscriptions_of_user(b.ALICE)] == [b.ident(winner)]

    def test_two_customers_share_no_row_that_is_locked(self, storage: Any) -> None:
        b.seed(storage)

        @contextmanager
        def busy() -> Iterator[Any]:
            with holding(storage, b.ALICE) as unit:
                unit.apply(everything_of(b.ALICE, 1))
                yield unit

        def work() -> None:
            with storage.unit() as unit:
                unit.lock_customers([b.BOB])
                unit.apply(everything_of(b.BOB, 2))

        with elsewhere(busy):
            if self.concurrent_writers:
                work()
            else:
                with pytest.raises(RetryTransaction):
                    work()
        if not self.concurrent_writers:
            work()
        with b.looking(storage) as unit:
            assert [len(unit.orders_of_user(user)) for user in (b.ALICE, b.BOB)] == [1, 1]
            assert [e.aggregate for e in unit.events()] == [f"customer:{b.ALICE}", f"customer:{b.BOB}"]

    @of_clause(7)
    def test_four_threads_claim_each_item_once(self, storage: Any) -> None:
        wanted = fill(storage, 40)

        def claim_some(_: Any) -> Any:
            with storage.unit() as unit:
                items = unit.claim_items(b.CHAIN, b.cursor(), b.T0, 3)
                unit.apply(
                    [d.StoreItem(attrs.evolve(item, wait="never", attempts=item.attempts + 1)) for item in items]
                )
                return [item.identity for item in items]

        def drain(number: Any) -> Any:
            taken = []
            while some := again(lambda: claim_some(number)):
                taken += some
            return taken

        taken = [identity for mine in crowd(drain, size=4) for identity in mine]
        assert sorted(taken) == wanted

    @of_clause(7)
    def test_items_that_another_unit_holds_are_passed_over(self, storage: Any) -> None:
        wanted = fill(storage, 5)

        def claim(limit: Any) -> Any:
            with storage.unit() as unit:
                return [item.identity for item in unit.claim_items(b.CHAIN, b.cursor(), b.T0, limit)]

        @contextmanager
        def claiming() -> Iterator[Any]:
            with storage.unit() as unit:
                assert len(unit.claim_items(b.CHAIN, b.cursor(), b.T0, 3)) == 3
                yield unit

        with elsewhere(claiming):
            if self.concurrent_writers:
                assert claim(10) == wanted[3:]
                assert claim(1) == wanted[3:4]
            else:
                with pytest.raises(RetryTransaction):
                    claim(10)
        assert claim(10) == wanted

    @of_clause(8)
    @pytest.mark.fault("O17")
    def test_o17_the_newest_fence_wins_among_many_writers(self, storage: Any) -> None:
        def record(number: Any) -> Any:
            fence = number + 1
            cursor = b.cursor(100 + number, fence=fence)
            headers = (b.header(100 + number),)
            try:
                b.write(storage, d.RecordEvidence(cursor=cursor, headers=headers, logs=(), keep_from=0))
            except LeaseLost:
                return None
            return fence

        written = [fence for fence in crowd(record) if fence is not None]
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN).fence == max(written) == CROWD
            assert [h.number for h in unit.window(b.CHAIN)] == sorted(99 + fence for fence in written)
