"""Connections, statements and rows of our own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from databases import migrate_in_memory
from evmbilling import sqlite
from evmbilling.adapters.sqlalchemy.engines import Waits, open_engine
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.statements import Statements
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.writing.grouping import grouped, touched
from evmbilling.domain import decisions as d
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import ConfigurationError, MissingExtra, RetryTransaction
from evmbilling.testing.conformance.storage import records as b


def statements_of(engine, work):
    """Run something and return the SQL that it sent."""
    sent = []

    def note(_connection, _cursor, statement, *_: object) -> None:
        sent.append(" ".join(statement.split())[:60])

    event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent


def _effects(users):
    """What a batch of payments writes, customer by customer."""
    decisions = []
    for number, user in enumerate(users, start=10):
        order = b.order(number, user_id=user)
        receipt = b.receipt(number, ledger_id=order.ledger_id, user_id=user)
        decisions += [
            d.OpenOrder(order),
            d.StoreReceipt(receipt),
            d.AppendEntry(b.entry(receipt_id=receipt.receipt_id)),
            d.StoreOrder(b.order(number, user_id=user, version=2, failure_reason="x")),
            d.StoreEntitlement(b.entitlement(user_id=user, source_id=order.ledger_id)),
            d.Publish(b.event(number, aggregate=f"customer:{user}", seq=1)),
        ]
    return decisions


def test_a_batch_takes_as_many_statements_as_it_has_kinds(sql_storage):
    users = [f"user-{n:03}" for n in range(50)]
    b.seed(sql_storage, users=users)
    sent = statements_of(sql_storage._engine, lambda: b.write(sql_storage, *_effects(users)))
    assert len([line for line in sent if not line.startswith("BEGIN")]) == 7, sent
    with b.looking(sql_storage) as unit:
        found = unit.orders_of_user(users[-1])
        assert [(o.version, o.failure_reason) for o in found] == [(2, "x")]


def test_a_checkout_takes_few_statements(sql_storage):
    b.seed(sql_storage)

    def checkout():
        with sql_storage.unit() as unit:
            unit.lock_customer(b.customer())
            assert unit.key("checkout", b.ALICE, "k-1") is None
            unit.apply([d.OpenOrder(b.order()), d.BindKey(b.key_record()), d.Publish(b.event())])

    sent = statements_of(sql_storage._engine, checkout)
    together = 1 if sql_storage._engine.dialect.name == "postgresql" else 4
    assert len([line for line in sent if not line.startswith("BEGIN")]) == 2 + together, sent


def test_what_waits_to_be_sent_together_is_sent_before_what_follows_it(sql_storage):
    log = b.log(9, 1)
    record = d.RecordEvidence(cursor=b.cursor(9), headers=(b.header(9),), logs=(log,), keep_from=0)
    b.write(sql_storage, record)
    settled = d.StoreItem(b.item(1, wait="never"))
    b.write(sql_storage, settled, d.Rewind(cursor=b.cursor(8)))
    with sql_storage.unit() as unit:
        assert [item.wait for item in unit.claim_items(b.CHAIN, b.cursor(8), b.T0, 9)] == ["now"]
    b.write(sql_storage, record, settled, record, settled)
    with sql_storage.unit() as unit:
        assert unit.claim_items(b.CHAIN, b.cursor(9), b.T0, 9) == []


def test_a_reading_unit_keeps_no_writer_waiting_and_sees_one_state(sql_storage):
    b.seed(sql_storage)
    with b.looking(sql_storage) as unit:
        before = unit.customers()
        b.seed(sql_storage, users=["user-zoe"])
        assert unit.customers() == before
    with b.looking(sql_storage) as unit:
        assert [c.user_id for c in unit.customers()] == [b.ALICE, b.BOB, "user-zoe"]


LISTS = st.lists(
    st.one_of(
        st.builds(lambda n, u: d.OpenOrder(b.order(n, user_id=u)), st.integers(1, 4), st.sampled_from("abc")),
        st.builds(lambda n, u: d.StoreOrder(b.order(n, user_id=u)), st.integers(1, 4), st.sampled_from("abc")),
        st.builds(
            lambda n, u: d.StoreSubscription(b.subscription(n, user_id=u)), st.integers(1, 4), st.sampled_from("abc")
        ),
        st.builds(
            lambda n, o: d.StoreReceipt(b.receipt(n, ledger_id=b.ident(o))), st.integers(1, 4), st.integers(1, 4)
        ),
        st.builds(lambda n: d.AppendEntry(b.entry(receipt_id=b.ident(n))), st.integers(1, 4)),
        st.builds(lambda u, n: d.Publish(b.event(n, aggregate=u)), st.sampled_from("abc"), st.integers(1, 9)),
        st.builds(lambda n: d.AddPlanVersion(b.plan(version=n)), st.integers(1, 4)),
        st.builds(lambda n: d.StoreItem(b.item(n)), st.integers(1, 4)),
        st.builds(lambda n: d.StoreCursor(b.cursor(n)), st.integers(1, 4)),
    ),
    max_size=25,
)


def _related(first, second):
    names = set(touched(first)) & set(touched(second))
    return bool(names) or ("*", None) in (*touched(first), *touched(second))


@given(decisions=LISTS)
def test_grouping_keeps_everything_and_the_order_of_what_is_related(decisions):
    groups = grouped(decisions)
    flat = [decision for _, group in groups for decision in group]
    assert sorted(map(id, flat)) == sorted(map(id, decisions))
    assert all(type(decision) is kind for kind, group in groups for decision in group)
    place = {id(decision): number for number, decision in enumerate(flat)}
    for number, first in enumerate(decisions):
        for second in decisions[number + 1 :]:
            if _related(first, second):
                assert place[id(first)] < place[id(second)]


def test_secrets_stand_in_rows_as_references_or_ciphertext(migrated):
    network = b.network(rpc_urls=(SecretRef("env", "RPC_URL"), SecretRef("enc", "gAAAA-cipher")))
    with migrated.storage() as storage:
        b.write(storage, d.SaveNetwork(network), d.SaveGateway(b.gateway()), d.SaveContract(b.contract()))
    assert migrated.scalar("SELECT rpc_urls FROM evmbilling_networks") == '["env:RPC_URL","enc:gAAAA-cipher"]'
    assert migrated.scalar("SELECT signer FROM evmbilling_gateways") == "file:/run/secrets/signer"
    assert migrated.scalar("SELECT webhook_secret FROM evmbilling_contracts") == "env:HOOK"


def test_a_session_of_ours_on_postgresql_waits_for_nothing_without_end(postgres_storage):
    wanted = {
        "lock_timeout": "400ms",
        "statement_timeout": "30s",
        "jit": "off",
        "idle_in_transaction_session_timeout": "1min",
        "TimeZone": "UTC",
    }
    with postgres_storage._engine.connect() as connection:
        found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in wanted}
    assert found == wanted


@pytest.mark.fault("D07")
def test_d07_a_pool_is_waited_for_in_bounded_time(migrated):
    waits = Waits(pool_size=1, pool=0.2, lock=0.2)
    with (
        migrated.storage(waits=waits) as storage,
        storage.unit(write=False),
        pytest.raises(RetryTransaction, match="pool"),
        storage.unit(write=False),
    ):
        pytest.fail("a second connection")


KILL = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.mark.fault("D07")
def test_d07_a_connection_that_died_in_the_pool_is_replaced(migrated_pair):
    storage, place = migrated_pair
    b.seed(storage)
    place.run(KILL)
    with b.looking(storage) as unit:
        assert unit.customer(b.ALICE) is not None


def test_a_connection_that_dies_in_a_unit_is_run_again(migrated_pair):
    storage, place = migrated_pair
    with pytest.raises(RetryTransaction, match=r"shutting down|lost") as caught, storage.unit() as unit:  # noqa: PT012  - the unit is what fails
        unit.lock_customer(b.customer())
        place.run(KILL)
        unit.apply([d.RecordAudit(b.audit())])
    assert caught.value.retry_safe
    with b.looking(storage) as unit:
        assert (unit.customer(b.ALICE), list(unit.audit())) == (None, [])


@pytest.fixture
def migrated_pair(migrated_postgres):
    with migrated_postgres.storage() as storage:
        yield storage, migrated_postgres


def test_a_database_in_memory_is_one_for_all_threads():
    storage = SqlAlchemyStorage.open("sqlite://")
    migrate_in_memory(storage._engine)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: b.seed(storage, users=[f"user-{n}"]), range(12)))
    with b.looking(storage) as unit:
        assert len(unit.customers()) == 12
    storage.close()


@pytest.mark.parametrize(
    "url",
    ["mysql://u:hidden@h/d", "postgresql+asyncpg://u:hidden@h/d", "sqlite+aiosqlite:///x", "hidden", "://hidden", ""],
)
def test_an_url_that_cannot_be_used_is_refused_without_being_told(url):
    with pytest.raises(ConfigurationError) as caught:
        open_engine(url)
    assert caught.value.field == "database_url"
    assert "hidden" not in f"{caught.value}{caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_driver_is_answered_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"evmbilling\[postgres\]"):
        open_engine("postgresql://u:hidden@h/d")


@pytest.mark.parametrize("name", ["pool_size", "pool", "connect", "lock", "statement", "idle"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_no_wait_is_without_end(name, value):
    with pytest.raises(ConfigurationError) as caught:
        Waits(**{name: value})
    assert caught.value.field == name
    with pytest.raises(FrozenInstanceError):
        setattr(Waits(), name, 0)


def test_only_an_engine_that_can_work_is_taken(tmp_path):
    asynchronous = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError):
        SqlAlchemyStorage(asynchronous.sync_engine)
    with pytest.raises(ConfigurationError):
        sqlite.configure(sa.create_engine("postgresql+psycopg://h/d"))


def test_a_hosts_own_engine_is_used_and_left_open(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/host.db")
    sqlite.configure(engine)
    with engine.begin() as connection:
        upgrade(connection)
    storage = SqlAlchemyStorage(engine)
    b.seeded(storage)
    storage.close()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM evmbilling_customers").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_autocommit_of_a_configured_engine_is_left_to_the_host(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/host.db")
    sqlite.configure(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["mine"]
    engine.dispose()


def test_two_engines_share_no_statement():
    first, second = Statements(Names(prefix="a_"), "sqlite"), Statements(Names(prefix="b_"), "sqlite")
    assert "a_customers" in str(first.customers.customer)
    assert "b_customers" in str(second.customers.customer)
    assert not set(first.uniques.values()) & set(second.uniques.values())
