"""What joining does to a host, and what it refuses."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import attrs
import pytest
import sqlalchemy as sa
from hosts import POSTGRES_HOSTS, SQLITE_HOSTS, Abandon, Note, Place, count_up, read_notes, write_note
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from databases import let_go, migrate_in_memory, open_sql
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.renewing import renew_instance
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.people.customers import Customer
from evmbilling.errors import HostTransactionError, RetryTransaction, SchemaError

PATIENCE = Waits(lock=0.3, pool_size=3)


@pytest.fixture
def on_sqlite(sqlite_url):
    storage = open_sql(str(sqlite_url), waits=PATIENCE)
    yield Place(SQLITE_HOSTS["sqlite3-default"](sqlite_url), storage)
    storage.close()


@pytest.fixture
def on_postgres(postgres_host_url):
    storage = open_sql(postgres_host_url.render_as_string(hide_password=False), waits=PATIENCE)
    yield Place(POSTGRES_HOSTS["psycopg"](postgres_host_url), storage)
    storage.close()


@pytest.fixture
def bob(alice) -> Customer:
    return attrs.evolve(alice, user_id="user-bob")


def test_a_session_is_neither_flushed_nor_expired(place, alice):
    def body(session):
        first = Note(id=1, text="loaded")
        session.add(first)
        session.flush()
        pending = Note(id=2, text="pending")
        session.add(pending)
        count_up(place.storage, session, alice)
        with pytest.raises(Abandon), place.storage.join(session) as joined, joined.unit() as unit:  # noqa: PT012  - the unit is what is entered and left
            unit.lock_customer(alice)
            raise Abandon
        assert pending in session.new
        assert "text" in first.__dict__, "an expired object would have lost what it loaded"

    place.host.transaction(body, session=True)
    assert place.notes() == ["loaded", "pending"]


def test_a_scoped_session_is_joined(on_sqlite, alice):
    registry = scoped_session(sessionmaker(sa.create_engine(on_sqlite.host.url)))
    count_up(on_sqlite.storage, registry, alice)
    registry.rollback()
    assert on_sqlite.count(alice) is None
    count_up(on_sqlite.storage, registry, alice)
    registry.commit()
    registry.remove()
    registry.get_bind().dispose()
    assert on_sqlite.count(alice) == 1


@pytest.mark.fault("D27")
def test_d27_a_joined_call_uses_the_hosts_connection_and_no_socket(place, alice, monkeypatch):
    fresh = SqlAlchemyStorage.open(place.host.url.set(drivername=place.storage._engine.url.drivername))
    fresh.instance_id()  # what the first join of a process asks on a connection of ours
    fresh._engine.dispose()
    opened = []
    event.listen(fresh._engine, "connect", lambda *_: opened.append("a connection of ours"))

    def refuse(*_: object) -> None:
        raise AssertionError("a network call inside a transaction")

    def body(target):
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", refuse)
            patch.setattr(socket, "create_connection", refuse)
            patch.setattr(socket, "getaddrinfo", refuse)
            count_up(fresh, target, alice)
            assert len(fresh.instance_id()) == 8

    place.host.transaction(body)
    assert opened == []
    assert place.count(alice) == 1
    fresh.close()


def _async_side(url: sa.URL) -> object:
    async def connect() -> tuple[object, object]:
        engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"))
        connection, session = engine.connect(), AsyncSession(engine)
        await engine.dispose()
        return connection, session

    return asyncio.run(connect())


def test_what_cannot_be_joined_is_named(on_sqlite, alice):
    connection, session = _async_side(on_sqlite.host.url)
    engine = sa.create_engine(on_sqlite.host.url)
    closed = engine.connect()
    closed.close()
    cases = [
        (connection, "run_sync"),
        (session, "run_sync"),
        (closed, "closed"),
        (engine, "Engine"),
        (None, "NoneType"),
        (Session(), "session cannot give"),
    ]
    for target, words in cases:
        with pytest.raises(HostTransactionError, match=words):
            count_up(on_sqlite.storage, target, alice)
    engine.dispose()
    assert on_sqlite.count(alice) is None


def test_a_driver_that_commits_by_itself_is_refused(on_sqlite, alice):
    engine = sa.create_engine(on_sqlite.host.url, connect_args={"isolation_level": None})
    with engine.connect() as connection, pytest.raises(HostTransactionError, match="AUTOCOMMIT"):
        count_up(on_sqlite.storage, connection, alice)
    engine.dispose()
    autocommit = sa.create_engine(on_sqlite.host.url, isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection, pytest.raises(HostTransactionError, match="AUTOCOMMIT"):
        count_up(on_sqlite.storage, connection, alice)
    autocommit.dispose()


def test_an_engine_that_commits_by_itself_is_refused_on_postgresql_too(on_postgres, alice):
    for options in ({"isolation_level": "AUTOCOMMIT"}, {"connect_args": {"autocommit": True}}):
        engine = sa.create_engine(on_postgres.host.url, **options)
        with engine.connect() as connection, pytest.raises(HostTransactionError, match="AUTOCOMMIT"):
            count_up(on_postgres.storage, connection, alice)
        engine.dispose()
    assert on_postgres.count(alice) is None


def test_another_database_is_refused(on_sqlite, sqlite_template, alice, tmp_path):
    other = sa.create_engine(f"sqlite:///{tmp_path}/other.db")
    with other.connect() as connection, pytest.raises(SchemaError):
        count_up(on_sqlite.storage, connection, alice)
    on_sqlite.storage.instance_id()
    shutil.copyfile(sqlite_template, tmp_path / "other.db")
    renew_instance(f"sqlite:///{tmp_path}/other.db")
    with other.connect() as connection, pytest.raises(HostTransactionError, match="another database"):
        count_up(on_sqlite.storage, connection, alice)
    other.dispose()


@pytest.mark.fault("D26")
def test_d26_the_first_deed_of_an_engine_is_to_join_another_database(on_sqlite, sqlite_template, alice, tmp_path):
    """The instance of the host's connection is not believed: our own engine is asked."""
    shutil.copyfile(sqlite_template, tmp_path / "other.db")
    renew_instance(f"sqlite:///{tmp_path}/other.db")
    other = sa.create_engine(f"sqlite:///{tmp_path}/other.db")
    for _ in range(2):
        with other.connect() as connection, pytest.raises(HostTransactionError, match="another database"):
            count_up(on_sqlite.storage, connection, alice)
    other.dispose()
    assert on_sqlite.host.transaction(lambda t: count_up(on_sqlite.storage, t, alice)) == 1


def test_the_first_deed_of_an_engine_is_to_join_while_the_host_writes(on_sqlite, alice):
    def body(target):
        write_note(target, 1)
        return count_up(on_sqlite.storage, target, alice)

    assert on_sqlite.host.transaction(body) == 1


def test_the_first_deed_of_an_engine_whose_own_database_has_no_tables_is_refused(on_sqlite, alice, tmp_path):
    empty = SqlAlchemyStorage.open(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(SchemaError):
        on_sqlite.host.transaction(lambda t: count_up(empty, t, alice))
    empty.close()


def test_the_first_deed_joins_the_only_connection_of_a_database_in_memory(alice):
    for pool in (StaticPool, None):
        engine = sa.create_engine("sqlite://", poolclass=pool)
        migrate_in_memory(engine)
        storage = SqlAlchemyStorage(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE of_the_host (id INTEGER)"))
            assert count_up(storage, connection, alice) == 1
            connection.rollback()
        with storage.unit(write=False) as unit:
            assert unit.customer(alice.user_id) is None
        engine.dispose()


@pytest.mark.fault("D26")
def test_d26_the_first_deed_joins_a_connection_of_our_only_pool(umbrella_url, alice):
    """The host's one engine is ours too, has one connection, and that one looks at other schemas at the moment."""
    engine = sa.create_engine(umbrella_url, pool_size=1, max_overflow=0, pool_timeout=1)
    storage = SqlAlchemyStorage(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = umbrella"))
        with pytest.raises(HostTransactionError, match="search_path"):
            count_up(storage, connection, alice)
    with engine.begin() as connection:
        assert count_up(storage, connection, alice) == 1
    engine.dispose()


@pytest.mark.fault("D26")
@pytest.mark.parametrize("path", ["umbrella", "umbrella, public", "pg_temp"])
def test_d26_other_schemas_are_refused_after_any_number_of_good_joins(umbrella_url, alice, path):
    storage, engine = open_sql(umbrella_url.render_as_string(hide_password=False)), sa.create_engine(umbrella_url)
    with engine.connect() as connection:
        for count in (1, 2):
            with connection.begin():
                assert count_up(storage, connection, alice) == count
            with connection.begin(), storage.join(connection) as joined:
                connection.execute(sa.text(f"SET LOCAL search_path = {path}"))
                with pytest.raises((HostTransactionError, SchemaError)), joined.unit() as unit:
                    unit.customer(alice.user_id)
                with pytest.raises((HostTransactionError, SchemaError)), joined.unit() as unit:
                    unit.lock_customer(alice)
                connection.execute(sa.text("SET LOCAL search_path = public"))
                with joined.unit() as unit:
                    assert unit.customer(alice.user_id).event_seq == count
    engine.dispose()
    assert let_go(storage) == 0


HOSTS_OPTIONS = [
    {"stream_results": True},
    {"stream_results": True, "max_row_buffer": 2},
    {"yield_per": 2},
    {"no_parameters": True},
    {"compiled_cache": None},
    {"schema_translate_map": {None: "elsewhere"}},
]


@pytest.mark.parametrize("options", HOSTS_OPTIONS, ids=lambda options: "-".join(map(str, options)))
@pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])
@pytest.mark.sampled(strength=2)
def test_what_the_host_set_for_its_own_statements_is_not_for_ours(place, alice, options, session):
    def body(target):
        if session:
            target.connection(execution_options=options)
        else:
            target.execution_options(**options)
        reached = [count_up(place.storage, target, alice) for _ in range(2)]
        with pytest.raises(Abandon), place.storage.join(target) as joined, joined.unit():
            raise Abandon
        kept = (target.connection() if session else target).get_execution_options()
        assert {name: kept[name] for name in options} == options
        return reached

    assert place.host.transaction(body, session=session) == [1, 2]
    assert place.count(alice) == 2


def test_a_read_only_sqlite_is_named(on_sqlite, alice):
    path = on_sqlite.host.url.database
    only_read = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    told_so = sa.create_engine(on_sqlite.host.url)
    event.listen(told_so, "connect", lambda driver, _: driver.execute("PRAGMA query_only=ON"))
    for engine in (only_read, told_so):
        with engine.connect() as connection, pytest.raises(HostTransactionError, match="read-only"):
            count_up(on_sqlite.storage, connection, alice)
        engine.dispose()


def test_a_driver_that_answers_with_bytes_for_text_is_refused(on_sqlite, alice):
    engine = sa.create_engine(on_sqlite.host.url)
    event.listen(engine, "connect", lambda driver, _: setattr(driver, "text_factory", bytes))
    with engine.connect() as connection, pytest.raises(HostTransactionError, match="text_factory"):
        count_up(on_sqlite.storage, connection, alice)
    engine.dispose()


@pytest.mark.parametrize(
    ("setting", "words"),
    [("DateStyle = 'SQL, DMY'", "DateStyle"), ("client_encoding = 'SQL_ASCII'", "client_encoding")],
)
@pytest.mark.parametrize("host", ["psycopg", "psycopg-async", "asyncpg"])
def test_a_session_whose_values_would_be_read_wrongly_is_refused(on_postgres, alice, setting, words, host):
    def body(target):
        target.execute(sa.text(f"SET LOCAL {setting}"))
        if host == "asyncpg":  # it speaks binary
            return count_up(on_postgres.storage, target, alice)
        with pytest.raises(HostTransactionError, match=words):
            count_up(on_postgres.storage, target, alice)
        return 1

    assert POSTGRES_HOSTS[host](on_postgres.host.url).transaction(body) == 1


def test_a_connection_that_left_its_pool_is_joined(on_sqlite, alice):
    engine = sa.create_engine(on_sqlite.host.url)
    with engine.connect() as connection:
        connection.detach()
        count_up(on_sqlite.storage, connection, alice)
        connection.commit()
    assert on_sqlite.count(alice) == 1
    engine.dispose()


def test_another_kind_of_database_is_refused(on_sqlite, on_postgres, alice):
    engine = sa.create_engine(on_postgres.host.url)
    with engine.connect() as connection, pytest.raises(HostTransactionError, match="postgresql"):
        count_up(on_sqlite.storage, connection, alice)
    engine.dispose()


def test_a_failed_transaction_of_the_host_is_named(on_postgres, alice):
    engine = sa.create_engine(on_postgres.host.url)
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT * FROM nowhere"))
        with pytest.raises(HostTransactionError, match="already failed"):
            count_up(on_postgres.storage, connection, alice)
    with Session(engine) as session:
        session.add(Note(id=1, text="a"))
        session.flush()
        session.expunge_all()
        session.add(Note(id=1, text="b"))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        with pytest.raises(HostTransactionError, match="already failed"):
            count_up(on_postgres.storage, session, alice)
    engine.dispose()


def test_a_read_only_transaction_of_the_host_is_named(on_postgres, alice):
    engine = sa.create_engine(on_postgres.host.url).execution_options(postgresql_readonly=True)
    with engine.connect() as connection, pytest.raises(HostTransactionError, match="read-only"):
        count_up(on_postgres.storage, connection, alice)
    engine.dispose()


def test_a_lock_is_waited_for_in_bounded_time_and_the_host_goes_on(on_postgres, alice, bob):
    count = on_postgres.host.transaction(lambda t: count_up(on_postgres.storage, t, alice))
    engine = sa.create_engine(on_postgres.host.url)
    with engine.connect() as idle, engine.begin() as other:
        count_up(on_postgres.storage, idle, alice)
        started = time.monotonic()
        with pytest.raises(RetryTransaction, match="lock timeout"):
            count_up(on_postgres.storage, other, alice)
        assert 0.2 < time.monotonic() - started < 30
        count_up(on_postgres.storage, other, bob)
        write_note(other, 1)
    engine.dispose()
    assert (on_postgres.count(alice), on_postgres.count(bob), on_postgres.notes()) == (count, 1, ["host"])


@pytest.mark.parametrize("own", ["0", "7s"])
def test_the_hosts_own_lock_timeout_is_given_back(on_postgres, alice, own):
    def body(target):
        target.execute(sa.text(f"SET LOCAL lock_timeout = '{own}'"))
        count_up(on_postgres.storage, target, alice)
        after_success = target.execute(sa.text("SHOW lock_timeout")).scalar_one()
        with pytest.raises(Abandon), on_postgres.storage.join(target) as joined, joined.unit() as unit:  # noqa: PT012  - as above
            unit.lock_customers(["user-alice"])
            inside = target.execute(sa.text("SHOW lock_timeout")).scalar_one()
            raise Abandon
        return after_success, inside, target.execute(sa.text("SHOW lock_timeout")).scalar_one()

    assert on_postgres.host.transaction(body) == (own, "300ms", own)


def test_a_deadlock_is_one_of_the_errors_to_run_again(on_postgres, alice, bob):
    for customer in (alice, bob):
        on_postgres.host.transaction(lambda t, c=customer: count_up(on_postgres.storage, t, c))
    meet = Barrier(2)
    patient = SqlAlchemyStorage.open(on_postgres.host.url, waits=Waits(lock=10))

    def cross(customers):
        def body(target):
            count_up(patient, target, customers[0])
            meet.wait(60)
            return count_up(patient, target, customers[1])

        try:
            return on_postgres.host.transaction(body)
        except RetryTransaction as error:
            return error.details["reason"]

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(cross, [(alice, bob), (bob, alice)]))
    patient.close()
    assert sorted(ended, key=str) == [2, "deadlock"] or sorted(ended, key=str) == [3, "deadlock"]


def test_an_idle_host_transaction_stops_nobody_else(on_postgres, alice, bob):
    """No row that two customers share is locked by a joined call."""
    engine = sa.create_engine(on_postgres.host.url)
    with engine.connect() as idle:
        count_up(on_postgres.storage, idle, alice)
        started = time.monotonic()
        for _ in range(20):
            on_postgres.host.transaction(lambda t: count_up(on_postgres.storage, t, bob))
        assert time.monotonic() - started < 30
    engine.dispose()
    assert (on_postgres.count(alice), on_postgres.count(bob)) == (None, 20)


def test_a_busy_sqlite_is_one_of_the_errors_to_run_again(on_sqlite, alice):
    engine = sa.create_engine(on_sqlite.host.url, connect_args={"timeout": 0.2})
    with engine.connect() as writer, engine.connect() as other:
        write_note(writer, 1)
        started = time.monotonic()
        with pytest.raises(RetryTransaction, match="database is locked"):
            count_up(on_sqlite.storage, other, alice)
        assert time.monotonic() - started < 20
        other.rollback()
        writer.commit()
        assert count_up(on_sqlite.storage, other, alice) == 1
        other.commit()
    engine.dispose()
    assert on_sqlite.notes() == ["host"]


def test_a_read_in_a_deferred_transaction_keeps_no_writer_waiting(on_sqlite, alice):
    place = Place(SQLITE_HOSTS["sqlite3-begin"](on_sqlite.host.url), on_sqlite.storage)
    done = Event()

    def read(target):
        with place.storage.join(target) as joined, joined.unit() as unit:
            assert unit.entitlements(["user-alice"]) == []
            with ThreadPoolExecutor(1) as pool:
                pool.submit(place.host.transaction, lambda t: count_up(place.storage, t, alice)).result(60)
            done.set()

    place.host.transaction(read)
    assert done.is_set()
    assert place.count(alice) == 1


def test_two_prefixes_in_one_host_transaction_do_not_see_each_other(on_sqlite, alice):
    upgrade(on_sqlite.host.url, prefix="second_")
    second = SqlAlchemyStorage.open(on_sqlite.host.url, prefix="second_")

    def body(target):
        count_up(on_sqlite.storage, target, alice)
        with second.join(target) as joined, joined.unit() as unit:
            return unit.customer(alice.user_id)

    assert on_sqlite.host.transaction(body) is None
    assert on_sqlite.storage.instance_id() != second.instance_id()
    second.close()


def test_the_host_may_run_its_own_statements_between_and_inside_calls(place, alice):
    def body(target):
        with place.storage.join(target) as joined:
            with joined.unit() as unit:
                unit.lock_customer(alice)
                write_note(target, 1, "inside")
            write_note(target, 2, "between")
            with pytest.raises(Abandon), joined.unit() as unit:  # noqa: PT012  - the unit is what raises
                write_note(target, 3, "undone with the unit")
                raise Abandon
        return read_notes(target)

    assert sorted(place.host.transaction(body)) == ["between", "inside"]
