"""Moving between databases: every row arrives as it was, or nothing does."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from moving_rows import fill, row, tables_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import forks
from evmbilling.adapters.sqlalchemy import copying
from evmbilling.adapters.sqlalchemy.copying import CopiedTable, copy_database
from evmbilling.adapters.sqlalchemy.engines import Waits, open_engine
from evmbilling.adapters.sqlalchemy.failures import translated
from evmbilling.adapters.sqlalchemy.migrating import check, head, revisions
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.errors import AppendOnlyViolation, Conflict, RetryTransaction, SchemaError, StorageError
from evmbilling.ports.crash import CRASH_VARIABLE
from sampling import EVERYTHING

OTHER = {"sqlite": "postgres", "postgres": "sqlite"}


@pytest.fixture
def lent(databases, request):
    """Databases with our tables, until the end of the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda name: stack.enter_context(databases.lend(name))


_first = {}


def open_compiled(url, **how):
    """Open an engine with what was compiled for the first of its kind, which costs more than all that a copy does."""
    engine = open_engine(url, **how)
    first = _first.setdefault(engine.dialect.name, engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
    return engine


@pytest.fixture(autouse=True)
def _statements_are_compiled_once(monkeypatch):
    monkeypatch.setattr(copying, "open_engine", open_compiled)


def run(url, work):
    engine = open_compiled(url)
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def filled(url, rows=3):
    # Every lease of the rows is over: its time is in the past.
    run(url, lambda connection: fill(connection, Names(), rows))
    return url


def our_tables():
    return tables_of(Names()).metadata.sorted_tables


def empty(url):
    names = [table.name for table in our_tables() if table.name != "evmbilling_instance"]
    return run(url, lambda c: all(c.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() == 0 for name in names))


def content(url):
    """Everything in every table, as values."""
    return run(
        url,
        lambda c: {
            table.name: [tuple(row) for row in c.execute(sa.select(table).order_by(*table.primary_key.columns))]
            for table in our_tables()
        },
    )


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
def test_every_row_of_every_table_arrives_as_it_was(lent, source):
    left, entered = filled(lent(source)), lent(OTHER[source])
    before, told = content(left), []
    copied = copy_database(left, entered, progress=lambda *values: told.append(values))
    assert content(entered) == before == content(left)
    assert check(entered) == []
    assert copied.revision == head()
    assert {table.rows for name, table in copied.tables.items() if name != "instance"} == {3}
    assert copied.tables["instance"].rows == 1
    assert copied.rows == told[-1][1] == told[-1][2] == 3 * (len(copied.tables) - 1) + 1
    assert len({table.sha256 for table in copied.tables.values()}) == len(copied.tables)


def test_rows_in_the_target_never_change_either(lent):
    left, entered = filled(lent("sqlite")), lent("postgres")
    copy_database(left, entered)
    for statement in (
        "UPDATE evmbilling_ledger_lines SET amount = 0",
        "DELETE FROM evmbilling_audit",
        "TRUNCATE evmbilling_seals CASCADE",
        "UPDATE evmbilling_instance SET instance_id = '\\x0000000000000000'",
    ):
        with pytest.raises(AppendOnlyViolation), translated():
            run(entered, lambda c, statement=statement: c.exec_driver_sql(statement))


def test_no_table_has_a_sequence_or_an_identity_column(lent):
    ours = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()"
    kinds = run(
        lent("postgres"), lambda c: c.exec_driver_sql(f"SELECT DISTINCT c.relkind::text {ours}").scalars().all()
    )
    assert set(kinds) == {"r", "i"}  # tables and indexes; a sequence would be S


def prefixed(template, path):
    """Make an SQLite file whose tables have another prefix: migrating it costs more than copying does."""
    with closing(sqlite3.connect(template)) as ours, closing(sqlite3.connect(path)) as made:
        made.executescript("\n".join(ours.iterdump()).replace("evmbilling_", "shop_"))
    return f"sqlite:///{path}"


def test_tables_are_made_where_there_are_none_under_the_same_prefix_in_another_schema(
    databases, tmp_path, postgres_url
):
    left, again = (prefixed(databases.sqlite_template, tmp_path / name) for name in ("shop.db", "back.db"))
    assert check(left, prefix="shop_") == []
    run(left, lambda c: fill(c, Names(prefix="shop_")))
    copied = copy_database(left, postgres_url, prefix="shop_", target_schema="money")
    assert check(postgres_url, prefix="shop_", schema="money") == []
    assert copy_database(postgres_url, again, prefix="shop_", source_schema="money") == copied


def test_pages_follow_each_other_without_a_gap(lent, monkeypatch):
    monkeypatch.setattr(copying, "PAGE", 2)
    left, entered = filled(lent("sqlite"), rows=5), lent("postgres")
    copied = copy_database(left, entered)
    assert copied.tables["ledger_lines"].rows == 5
    assert content(entered) == content(left)


def test_a_target_with_rows_is_refused_and_stays_as_it_is(lent):
    left, entered = filled(lent("sqlite")), filled(lent("postgres"), rows=1)
    before = content(entered)
    with pytest.raises(Conflict) as caught:
        copy_database(left, entered)
    assert caught.value.field == "target"
    assert "the target holds rows: " in caught.value.message
    assert content(entered) == before


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
def test_it_waits_for_no_worker_that_holds_a_lease(lent, source):
    left, entered = lent(source), lent(OTHER[source])
    storage = SqlAlchemyStorage.open(left)
    lease = storage.acquire_lease("reader:mainnet", "worker-1", 60)
    with pytest.raises(Conflict) as caught:
        copy_database(left, entered)
    assert caught.value.field == "source"
    assert "reader:mainnet" in caught.value.message
    assert empty(entered)
    storage.release_lease(lease)
    storage.close()
    assert copy_database(left, entered).tables["leases"].rows == 1


def test_databases_of_another_version_are_refused(lent, tmp_path):
    old, new = lent("sqlite"), lent("sqlite")
    run(old, lambda c: c.exec_driver_sql("UPDATE evmbilling_alembic_version SET version_num = ?", (revisions()[-2],)))
    for source, target, field in ((old, new, "source"), (new, old, "target")):
        with pytest.raises(SchemaError) as caught:
            copy_database(source, target)
        assert caught.value.field == field
    with pytest.raises(SchemaError, match="at revision none"):
        copy_database(f"sqlite:///{tmp_path}/nothing.db", new)


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
def test_nobody_writes_to_the_source_meanwhile(lent, source):
    left, entered = filled(lent(source)), lent(OTHER[source])
    host = SqlAlchemyStorage.open(left, waits=Waits(lock=0.05, pool=0.05))
    refused = []

    def write_beside(*_):
        if not refused:
            with pytest.raises(RetryTransaction) as caught:
                host.acquire_lease("x", "host", 1)
            refused.append(caught.value)

    copy_database(left, entered, progress=write_beside)
    assert len(refused) == 1
    assert host.acquire_lease("x", "host", 1) is not None
    host.close()


def test_a_target_that_ends_up_different_is_not_kept(lent):
    left, entered = filled(lent("sqlite")), lent("postgres")
    run(
        entered,
        lambda c: c.exec_driver_sql(
            "CREATE FUNCTION bend() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN NEW.note := 'bent'; RETURN NEW; END $$;"
            " CREATE TRIGGER bend BEFORE INSERT ON evmbilling_finance_queue FOR EACH ROW EXECUTE FUNCTION bend()"
        ),
    )
    with pytest.raises(StorageError, match="finance_queue is not in the target as it is in the source"):
        copy_database(left, entered)
    assert empty(entered)


def test_a_target_that_lost_a_guard_is_not_kept(lent):
    left, entered = filled(lent("sqlite")), lent("postgres")
    run(entered, lambda c: c.exec_driver_sql("DROP TRIGGER evmbilling_audit_guard_delete ON evmbilling_audit"))
    with pytest.raises(SchemaError, match="trigger evmbilling_audit_guard_delete is absent"):
        copy_database(left, entered)
    assert empty(entered)


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    "place",
    # A later page is in the middle as the first one is.
    [pytest.param("copy.page:1", marks=pytest.mark.exhaustive), "copy.page:40", "copy.before_commit:1"],
)
@pytest.mark.sampled(strength=1)
def test_killed_in_the_middle_it_leaves_nothing_and_is_run_again(lent, source, place):
    left, entered = filled(lent(source)), lent(OTHER[source])
    killed = forks.run(copy_database, left, entered, env=dict(os.environ) | {CRASH_VARIABLE: place})
    assert killed.returncode == -signal.SIGKILL
    assert empty(entered)
    copy_database(left, entered)
    assert content(entered) == content(left)


def test_memory_does_not_grow_with_the_tables(lent, monkeypatch):
    rows, page = (2_000, 50) if EVERYTHING else (500, 10)
    monkeypatch.setattr(copying, "PAGE", page)
    left, entered = lent("sqlite"), lent("sqlite")
    audit = tables_of(Names())["audit"]
    like = row(audit, 0, bare=False)
    added = [like | {"audit_id": f"{number:08d}" + "x" * 2000} for number in range(rows)]
    run(left, lambda c: c.execute(sa.insert(audit), added))

    peaks = []

    def told(table, *_):
        if table == "audit" and tracemalloc.is_tracing():
            peaks.append(tracemalloc.get_traced_memory()[1])
        elif table == "audit":
            tracemalloc.start()
        else:
            tracemalloc.stop()

    try:
        assert copy_database(left, entered, progress=told).tables["audit"].rows == rows
        assert len(peaks) == rows / page - 1
        assert 0 < peaks[-1] < rows * 2_000 / 2
    finally:
        tracemalloc.stop()


def test_a_digest_tells_neighbours_apart():
    def digest(*row):
        made = copying._Digest()
        made.add([row])
        return made.result()

    assert digest("ab", "c") != digest("a", "bc")
    assert digest(None, "") != digest("", None)
    assert digest(b"1") == CopiedTable(1, digest(1).sha256)
    assert re.fullmatch("[0-9a-f]{64}", digest().sha256)
