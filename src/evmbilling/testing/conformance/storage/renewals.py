"""What the biller asks of storage: what is due, one renewal a period, charges, pay links, what is not taken in."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.identity import Product
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.selling.pay_links import OpenPayLink
from evmbilling.domain.states import OrderStatus, SubscriptionStatus
from evmbilling.errors import AlreadyExists, Conflict, StorageError, VersionConflict
from evmbilling.testing.conformance.crowds import elsewhere
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

ONE = b.ident(1)


def held(number: Any, look_at: Any, **changes: Any) -> Any:
    """A subscription of a user and product of its own."""
    values = {"user_id": f"user-{number}", "product": Product("p", str(number)), "look_at": look_at} | changes
    return d.OpenSubscription(b.subscription(number, **values))


def fill(storage: Any, *decisions: Any, users: Any = 9) -> None:
    b.seed(storage, *decisions, users=[f"user-{n}" for n in range(1, users + 1)])


def due(storage: Any, before: Any, *, limit: Any = 100, chain_id: Any = b.CHAIN) -> Any:
    with storage.unit() as unit:
        return [(customer.user_id, name) for customer, name in unit.claim_due(chain_id, before, limit)]


def renewal(number: Any, **changes: Any) -> Any:
    values = {"origin": "renewal", "subscription_id": ONE, "period": 3, "reference": b.word(number)} | changes
    return b.order(number, **values)


class RenewalsChecks(StorageKit):
    """What the biller asks of storage: what is due, one renewal a period, charges, pay links, what is not taken in."""

    clause = 7

    def test_what_is_to_be_looked_at_comes_in_its_order_and_of_its_chain(self, storage: Any) -> None:
        fill(
            storage,
            held(1, b.at(30)),
            held(2, b.at(10)),
            held(3, b.at(20.000001)),
            held(4, None),
            held(5, b.at(10), chain_id=b.OTHER_CHAIN),
            held(6, b.at(10), chain_id=None),
            held(7, b.at(10), status=SubscriptionStatus.ENDED),
        )
        assert due(storage, b.at(20)) == [("user-2", b.ident(2)), ("user-7", b.ident(7))]
        assert due(storage, b.at(30)) == [(f"user-{n}", b.ident(n)) for n in (2, 7, 3, 1)]
        assert due(storage, b.at(30), limit=3) == [(f"user-{n}", b.ident(n)) for n in (2, 7, 3)]
        assert due(storage, b.at(30), chain_id=b.OTHER_CHAIN) == [("user-5", b.ident(5))]
        assert due(storage, b.at(9.999999)) == []

    @pytest.mark.fault("O18")
    def test_o18_two_billers_share_what_is_due(self, storage: Any) -> None:
        fill(storage, *(held(n, b.at(n)) for n in range(1, 6)))
        if not self.concurrent_writers:
            assert len(due(storage, b.at(9))) == 5
            return

        def first() -> Any:
            unit = storage.unit()

            class Claiming:
                def __enter__(self) -> Any:
                    opened = unit.__enter__()
                    opened.claim_due(b.CHAIN, b.at(9), 2)
                    return opened

                def __exit__(self, *error: object) -> Any:
                    return unit.__exit__(*error)

            return Claiming()

        with elsewhere(first):
            assert [user for user, _ in due(storage, b.at(9), limit=2)] == ["user-3", "user-4"]
            assert [user for user, _ in due(storage, b.at(9))] == ["user-3", "user-4", "user-5"]
        assert len(due(storage, b.at(9))) == 5

    @pytest.mark.fault("B24")
    @pytest.mark.parametrize("closed", [None, OrderStatus.CANCELLED, OrderStatus.EXPIRED])
    def test_b24_a_period_is_asked_for_by_one_renewal_ever(self, storage: Any, closed: Any) -> None:
        first = renewal(1, closed_as=closed, status=closed or OrderStatus.PENDING)
        b.seed(storage, d.OpenSubscription(b.subscription()), d.OpenOrder(first))
        with pytest.raises(Conflict):
            b.write(storage, d.OpenOrder(renewal(2, status=OrderStatus.SUBMITTED)))
        b.write(storage, d.OpenOrder(renewal(3, period=4)))
        b.write(storage, d.OpenOrder(renewal(4, origin="checkout", status=OrderStatus.EXPIRED)))
        with b.looking(storage) as unit:
            assert [o.ledger_id for o in unit.orders_of_subscriptions([ONE])] == [b.ident(n) for n in (1, 3, 4)]

    def test_what_the_biller_notes_changes_and_what_was_asked_stays(self, storage: Any) -> None:
        b.seed(
            storage, d.OpenSubscription(b.subscription()), d.OpenOrder(renewal(1, claim=None, pull=None, attempts=0))
        )
        noted = {"claim": "forgiven", "pull": "failed", "attempts": 7, "retry_at": None, "reminded_at": b.at(5)}
        other = renewal(1, **noted, attempted_at=b.at(6), due_at=b.at(7), version=2)
        b.write(storage, d.StoreOrder(other))
        with b.looking(storage) as unit:
            assert unit.order(ONE) == attrs.evolve(other, due_at=renewal(1).due_at)

    @pytest.fixture
    def ready(self, storage: Any) -> Any:
        orders = [d.OpenOrder(renewal(n, period=n)) for n in (1, 2)]
        b.seed(storage, d.OpenSubscription(b.subscription()), *orders)
        return storage

    def test_they_come_back_by_order_and_attempt(self, ready: Any) -> None:
        charges = [b.charge(2), b.charge(1, attempt=2, reason=None, settled_at=None), b.charge(1)]
        b.write(ready, *map(StoreCharge, charges))
        with b.looking(ready) as unit:
            assert list(unit.charges_of([ONE, b.ident(2), b.ident(9)])) == [charges[2], charges[1], charges[0]]
            assert list(unit.charges_of([])) == []

    @pytest.mark.fault("B24")
    def test_b24_an_attempt_is_made_once(self, ready: Any) -> None:
        b.write(ready, StoreCharge(b.charge()))
        with pytest.raises(AlreadyExists):
            b.write(ready, StoreCharge(b.charge(mandate_id="other")))
        with pytest.raises(StorageError):
            b.write(ready, StoreCharge(b.charge(9)))

    def test_only_what_became_of_it_changes(self, ready: Any) -> None:
        b.write(ready, StoreCharge(b.charge()))
        failed = b.charge(state="failed", reason="revoked", settled_at=b.at(99), mandate_id="x", version=2)
        b.write(ready, StoreCharge(failed))
        with pytest.raises(VersionConflict):
            b.write(ready, StoreCharge(failed))
        with b.looking(ready) as unit:
            assert list(unit.charges_of([ONE])) == [attrs.evolve(failed, mandate_id="mandate-1")]

    def test_the_open_ones_of_a_chain_are_found_by_state(self, ready: Any) -> None:
        states = ("requested", "submitted", "unknown", "failed", "requested")
        charges = [b.charge(1, attempt=n, state=state) for n, state in enumerate(states, 1)]
        elsewhere_ = b.charge(2, chain_id=b.OTHER_CHAIN)
        b.write(ready, *map(StoreCharge, [*charges, elsewhere_]))
        with b.looking(ready) as unit:
            assert list(unit.open_charges(b.CHAIN, "requested")) == [charges[0], charges[4]]
            assert list(unit.open_charges(b.CHAIN, "requested", 1)) == charges[:1]
            assert list(unit.open_charges(b.CHAIN, "requested", after=b.ident(0))) == [charges[0], charges[4]]
            assert list(unit.open_charges(b.CHAIN, "requested", after=charges[0].ledger_id)) == []
            assert list(unit.open_charges(b.CHAIN, "unknown")) == [charges[2]]
            assert list(unit.open_charges(b.OTHER_CHAIN, "requested")) == [elsewhere_]

    def test_a_new_link_shortens_the_older_ones_of_its_order_only(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(1)), d.OpenOrder(b.order(2)))
        first, second, foreign = b.pay_link(1), b.pay_link(2), b.pay_link(3, ledger_id=b.ident(2))
        short = b.pay_link(4, expires_at=b.at(50))
        for link in (first, short, foreign):
            b.write(storage, OpenPayLink(link, b.at(10**6)))
        b.write(storage, OpenPayLink(second, b.at(100)))
        with b.looking(storage) as unit:
            found = [unit.pay_link(b.word(n)) for n in (1, 2, 3, 4, 5)]
        assert found == [attrs.evolve(first, expires_at=b.at(100)), second, foreign, short, None]

    def test_a_token_is_taken_once_and_its_order_is_there(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(1)))
        b.write(storage, OpenPayLink(b.pay_link(), b.at(0)))
        with pytest.raises(AlreadyExists):
            b.write(storage, OpenPayLink(b.pay_link(), b.at(0)))
        with pytest.raises(StorageError):
            b.write(storage, OpenPayLink(b.pay_link(2, ledger_id=b.ident(9)), b.at(0)))

    def test_they_go_after_they_expired(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order(1)))
        for number in (1, 2):
            b.write(storage, OpenPayLink(b.pay_link(number, expires_at=b.at(number)), b.at(10**6)))
        assert storage.prune("pay_links", b.at(2), 100) == 1
        with b.looking(storage) as unit:
            assert [bool(unit.pay_link(b.word(n))) for n in (1, 2)] == [False, True]

    def test_the_oldest_that_is_read_and_not_taken_in(self, storage: Any) -> None:
        logs = (b.log(52, 3), b.log(50, 1), b.log(51, 2))
        b.write(storage, d.RecordEvidence(cursor=b.cursor(52), headers=(), logs=logs, keep_from=0))

        def oldest() -> Any:
            with b.looking(storage) as unit:
                return unit.oldest_waiting(b.CHAIN)

        assert oldest() == logs[1].block_time
        b.write(
            storage, d.StoreItem(b.item(1, wait="head", height=60)), d.StoreItem(b.item(3, wait="time", retry_at=b.T0))
        )
        assert oldest() == logs[2].block_time
        b.write(storage, d.StoreItem(b.item(2, wait="never")))
        assert oldest() is None
        b.write(storage, d.Rewind(cursor=b.cursor(50)))
        assert oldest() is None  # what waits now has no canonical log
