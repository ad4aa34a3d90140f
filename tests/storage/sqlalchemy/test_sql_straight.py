"""The hot statements: straight to the driver, several as one, records by content; outside it looks the same."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import get_args

import attrs
import pytest
import sqlalchemy as sa
from prefixed import PREFIX
from sqlalchemy import event

from evmbilling.adapters.sqlalchemy.straight import may_go_straight
from evmbilling.adapters.sqlalchemy.writing.applying import Applier
from evmbilling.domain import decisions as d
from evmbilling.domain.selling.offering import CheckoutRequest
from evmbilling.errors import AlreadyExists, Conflict, InputError, NotFound, RetryTransaction, VersionConflict
from evmbilling.testing.conformance.storage import records as b

REQUEST = CheckoutRequest(
    plan="pro",
    user_id=b.ALICE,
    wallet=b.WALLET,
    network=None,
    asset=None,
    product=None,
    quantity=1,
    beneficiary=None,
    zone=None,
    start_at=None,
)
CATALOGUE = (d.SaveNetwork(b.network()), d.SaveGateway(b.gateway()), d.SaveContract(b.contract()))


def sale(number, *, user_id=b.ALICE):
    """What a first checkout writes."""
    subscription = b.subscription(number, user_id=user_id)
    order = b.order(number, user_id=user_id, subscription_id=subscription.subscription_id, period=0)
    record = b.key_record(user_id=user_id, key=f"k-{number}", ledger_id=order.ledger_id)
    return [
        d.OpenSubscription(subscription),
        d.StoreEntitlement(b.entitlement(user_id=user_id, source_id=subscription.subscription_id)),
        d.OpenOrder(order),
        d.BindKey(record),
        d.Publish(b.event(number, aggregate=f"customer:{user_id}", seq=1)),
        d.StoreCustomer(b.customer(user_id, event_seq=1, version=2)),
    ]


def stored(storage, number, user_id):
    """What is there of it."""
    with b.looking(storage) as unit:
        return [
            unit.live_subscription(user_id, b.SITE),
            list(unit.entitlements([user_id])),
            unit.order(b.ident(number)),
            unit.key("checkout", user_id, f"k-{number}"),
            list(unit.events(aggregate=f"customer:{user_id}")),
            unit.customer(user_id),
        ]


@contextmanager
def listening(engine):
    """Collect the statements that SQLAlchemy executes on an engine; whoever is heard does not go straight."""
    sent = []

    def note(_connection, _cursor, statement, *_):
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def sell(storage, number, user_id):
    """Check out as the engine does; return what was read."""
    with storage.unit() as unit:
        customer = unit.lock_customer(b.customer(user_id))
        unit.read_ahead(operation="checkout", key="k-1", request=attrs.evolve(REQUEST, user_id=user_id))
        seen = [unit.plan("pro"), unit.gateway("main"), unit.network("anvil"), unit.contract("checkout", "anvil")]
        unit.apply(sale(number, user_id=user_id))
    return attrs.evolve(customer, user_id="anybody"), seen


def test_a_sale_is_the_same_whether_somebody_listens_or_not(sql_storage):
    b.seed(sql_storage, *CATALOGUE, users=[])
    engine = sql_storage._engine
    with listening(engine) as sent:
        assert not may_go_straight(engine)
        heard = sell(sql_storage, 1, "user-heard")
    # SQLite has no statement for several tables, and its BEGIN is counted here.
    assert len(sent) == {"sqlite": 11, "postgresql": 3}[engine.dialect.name]
    assert may_go_straight(engine)
    assert sell(sql_storage, 2, "user-straight") == heard
    for number, user_id in ((1, "user-heard"), (2, "user-straight")):
        live, entitlements, order, record, events, customer = stored(sql_storage, number, user_id)
        expected = sale(number, user_id=user_id)
        assert [live, order, record] == [expected[0].subscription, expected[2].order, expected[3].record]
        assert (entitlements, events) == ([expected[1].entitlement], [expected[4].event])
        assert customer == expected[5].customer


SPOILT = {
    "no such customer": (5, d.StoreCustomer(b.customer("user-absent")), NotFound),
    "no such version": (5, d.StoreOrder(b.order(7, version=2)), VersionConflict),
    "a taken order": (2, d.OpenOrder(b.order(1)), AlreadyExists),
    "a live subscription": (0, d.OpenSubscription(b.subscription(3)), Conflict),
    "a told event": (4, d.Publish(b.event(1)), AlreadyExists),
    "no text": (3, d.BindKey(b.key_record(key="nul \x00")), InputError),
}


@pytest.mark.parametrize(("place", "decision", "error"), SPOILT.values(), ids=SPOILT)
def test_one_bad_decision_has_its_own_error_and_nothing_is_kept(sql_storage, place, decision, error):
    b.seed(sql_storage, *CATALOGUE, *sale(1))
    before = stored(sql_storage, 2, b.BOB)
    decisions = sale(2, user_id=b.BOB)
    decisions[place] = decision
    with pytest.raises(error), sql_storage.unit() as unit:
        unit.apply(decisions)
    assert stored(sql_storage, 2, b.BOB) == before


def test_two_changes_of_one_row_are_applied_in_their_order(sql_storage):
    b.seed(sql_storage, *CATALOGUE)
    changes = [d.StoreOrder(b.order(1, version=n, failure_reason=f"step {n}")) for n in (2, 3, 4)]
    b.write(sql_storage, d.OpenOrder(b.order(1)), *changes)
    with b.looking(sql_storage) as unit:
        assert unit.order(b.ident(1)) == changes[-1].order


def test_records_are_kept_by_their_content_and_not_by_their_version(sql_storage):
    """A catalogue that was restored, or edited by hand, is seen at once."""
    b.seed(sql_storage, *CATALOGUE)
    for seconds in (60, 900, 60):
        with sql_storage._engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE {PREFIX}gateways SET order_ttl = :ttl"), {"ttl": seconds})
        with sql_storage.unit() as unit:
            unit.read_ahead(operation="checkout", key="k-1", request=REQUEST)
            assert unit.gateway("main") == b.gateway(order_ttl=seconds)


class Interrupted:
    """A cursor of somebody who presses a key."""

    def execute(self, *_):
        raise KeyboardInterrupt

    def close(self):
        """Nothing was opened."""


def test_a_connection_whose_statement_was_interrupted_is_not_used_again(sql_storage, monkeypatch):
    b.seed(sql_storage)
    with pytest.raises(KeyboardInterrupt), sql_storage.unit() as unit:  # noqa: PT012  - the unit is interrupted
        unit.lock_customer(b.customer())
        held = unit._connection.connection.driver_connection
        monkeypatch.setattr(unit._driver, "_opened", Interrupted())
        unit.lock_customer(b.customer())
    assert sql_storage._engine.pool.checkedout() == 0
    with sql_storage.unit() as unit:
        assert unit.lock_customer(b.customer()) == b.customer()
        assert unit._connection.connection.driver_connection is not held


def test_a_locked_row_is_a_retry_on_the_straight_way_too(postgres_storage):
    b.seed(postgres_storage)
    with postgres_storage.unit() as first:
        first.lock_customer(b.customer())
        with pytest.raises(RetryTransaction, match="lock"), postgres_storage.unit() as second:
            second.lock_customer(b.customer())


@contextmanager
def unit_of(storage, joined):
    """Open a unit of our own, or one in a host's transaction."""
    with ExitStack() as stack:
        whose = stack.enter_context(storage.join(stack.enter_context(storage._engine.begin()))) if joined else storage
        yield stack.enter_context(whose.unit())


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("more", [0, 1, 40])
def test_a_webhook_that_comes_again_is_no_error_of_the_database(sql_storage, joined, more):
    """PostgreSQL would write a refused INSERT into its log; replays come every day."""
    b.write(sql_storage, d.StoreInboxItem(b.hint()))
    again = [d.StoreInboxItem(b.hint(number)) for number in range(1 + more, 0, -1)]
    with (
        pytest.raises(AlreadyExists, match="this webhook was accepted before") as caught,
        unit_of(sql_storage, joined) as unit,
    ):
        unit.apply(again)
    assert (caught.value.field, caught.value.__cause__) == ("event_id", None)
    with b.looking(sql_storage) as unit:
        assert unit.inbox_item("relay", "msg_2") is None
    b.write(sql_storage, *again[:-1])


def test_every_decision_has_a_family():
    assert set(Applier._families) == set(get_args(d.Decision))
