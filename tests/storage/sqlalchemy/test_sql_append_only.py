"""Append-only rows hold against everybody, after every way in which the tables can have been made."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.orm import Session

from evmbilling.adapters.sqlalchemy.failures import translated
from evmbilling.adapters.sqlalchemy.migrating import check, revisions, sql, upgrade
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.triggers import GUARDS, guard_statements
from evmbilling.domain import decisions as d
from evmbilling.domain.books.seals import SealItem
from evmbilling.errors import AppendOnlyViolation, StorageError
from evmbilling.testing.conformance.storage import records as b
from sampling import EVERYTHING

PREFIX = "evmbilling_"
GUARDED = [guard.table for guard in GUARDS]
ROWS = [
    d.RecordChange(b.change()),
    d.AppendEntry(b.entry()),
    d.Publish(b.event()),
    d.RecordAudit(b.audit()),
    d.PostEntry(b.posting(lines=b.received(1)[:1])),
    d.AddSeal(b.seal(), (SealItem(table="audit", key=b.ident(1), digest=b.word(1), seal=1),)),
    d.StoreTransmission(b.sending()),
    d.RecordSigned(b.signed_version()),
    b.figures(),
    b.issued(),
]


def _fresh(_migrated):
    """``databases`` has made this one so: an upgrade from nothing, and a copy of the files."""


def _again(migrated):
    upgrade(migrated.url)


def _step_by_step(place):
    """In steps of some revisions in the usual run; another test takes them one by one, always."""
    known = revisions()
    for revision in known if EVERYTHING else [*known[::6], known[-1]]:
        upgrade(place.url, to=revision)


def _on_the_hosts_connection(place):
    with place.connect() as connection:
        upgrade(connection)


def _on_the_hosts_session(place):
    engine = sa.create_engine(place.url)
    with Session(engine) as session:
        upgrade(session)
        session.commit()
    engine.dispose()


def _by_hand(place):
    """Run the offline SQL as a person does, in a shell of the database."""
    text = sql(place.url)
    if place.dialect == "sqlite":
        import sqlite3

        connection = sqlite3.connect(sa.make_url(place.url).database)
        connection.executescript(text)
        connection.close()
    else:
        import psycopg

        with psycopg.connect(place.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(text)


PATHS = [
    ("migrated", _fresh),
    ("migrated", _again),
    ("empty", _step_by_step),
    ("empty", _on_the_hosts_connection),
    ("empty", _on_the_hosts_session),
    ("empty", _by_hand),
]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    return request.param


@pytest.fixture(params=PATHS, ids=lambda path: path[1].__name__.strip("_"))
def made(request, database):
    """A database made in each of these ways, with one row in every guarded table."""
    begin, go = request.param
    place = request.getfixturevalue(f"{begin}_{database}")
    go(place)
    return _filled(place)


def _filled(place):
    with place.storage() as storage:
        b.write(b.seeded(storage), *ROWS)
    return place


def _content(place):
    """How many rows each table has, by one statement."""
    counts = [f"(SELECT count(*) FROM {PREFIX}{table})" for table in GUARDED]
    return dict(zip(GUARDED, place.row(f"SELECT {', '.join(counts)}"), strict=True))


def _refused(stranger, statement):
    with pytest.raises(StorageError), translated():
        stranger.run(statement)


def _key(table):
    guard = next(guard for guard in GUARDS if guard.table == table)
    return guard.keys[0]


@pytest.mark.both_databases
def test_no_row_is_changed_removed_or_truncated(made):
    with made.strangers() as stranger:
        _assert_nothing_changes_or_goes(stranger)
        _assert_plans_change_by_their_archive_date_only(stranger)
        _assert_nothing_is_truncated_or_passed_by_a_replica(stranger)


def _assert_nothing_changes_or_goes(made):
    before = _content(made)
    assert set(before.values()) == {1}
    columns = build_tables(Names())
    for table in GUARDED:
        first = _key(table)[0]
        mutable = next(g.mutable for g in GUARDS if g.table == table)
        fixed = [c.name for c in columns[table].columns if c.name not in mutable]
        with pytest.raises(AppendOnlyViolation), translated():
            made.run(f"DELETE FROM {PREFIX}{table}")
        for name in fixed:
            value = "NULL" if columns[table].c[name].nullable else "0"
            if columns[table].c[name].nullable and made.scalar(f"SELECT {name} FROM {PREFIX}{table}") is None:
                continue
            if made.dialect == "sqlite":
                _refused(made, f"UPDATE {PREFIX}{table} SET {name} = {value}")
        if not mutable:
            with pytest.raises(AppendOnlyViolation), translated():
                made.run(f"UPDATE {PREFIX}{table} SET {first} = {first}")
    assert _content(made) == before


def _assert_plans_change_by_their_archive_date_only(made):
    instant = "'2026-01-01T00:00:00.000000Z'" if made.dialect == "sqlite" else "'2026-01-01T00:00:00Z'"
    made.run(f"UPDATE {PREFIX}plans SET archived_at = {instant}")
    for name, value in [("name", "'other'"), ("prices", "'[]'"), ("version", "7"), ("trial_days", "0")]:
        with pytest.raises(AppendOnlyViolation), translated():
            made.run(f"UPDATE {PREFIX}plans SET {name} = {value}, archived_at = NULL")
    assert made.scalar(f"SELECT name FROM {PREFIX}plans") == b.plan().name


def _assert_nothing_is_truncated_or_passed_by_a_replica(made):
    if made.dialect == "sqlite":
        # What SQLite calls truncation is a DELETE without a condition, which has its own fast path.
        for table in GUARDED:
            with pytest.raises(AppendOnlyViolation), translated():
                made.run(f"DELETE FROM {PREFIX}{table} WHERE 1")
        return
    for table in GUARDED:
        with pytest.raises(AppendOnlyViolation), translated():
            made.run(f"TRUNCATE {PREFIX}{table} CASCADE")
        for statement in (f"DELETE FROM {PREFIX}{table}", f"TRUNCATE {PREFIX}{table} CASCADE"):
            with pytest.raises(AppendOnlyViolation), translated():
                made.run("SET session_replication_role = replica", statement)
    assert set(_content(made).values()) == {1}


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
def test_no_row_is_replaced_on_sqlite(migrated_sqlite, recursive):
    with _filled(migrated_sqlite).strangers() as stranger:
        before = {table: stranger.scalar(f"SELECT quote(rowid) FROM {PREFIX}{table}") for table in GUARDED}
        stranger.run(f"PRAGMA recursive_triggers = {recursive}")
        assert stranger.scalar("PRAGMA recursive_triggers") == (recursive == "ON")
        _assert_nothing_is_replaced(stranger)
        after = {table: stranger.scalar(f"SELECT quote(rowid) FROM {PREFIX}{table}") for table in GUARDED}
        assert after == before
        assert _content(stranger) == dict.fromkeys(GUARDED, 1)


def _assert_nothing_is_replaced(stranger):
    tables = build_tables(Names())
    for guard in GUARDS:
        table = f"{PREFIX}{guard.table}"
        columns = [c.name for c in tables[guard.table].columns]
        listed = ", ".join(columns)
        for verb in ("INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT"):
            _refused(stranger, f"{verb} INTO {table} SELECT * FROM {table}")
        for key in guard.keys[1:]:
            others = ", ".join(f"'other-' || {c}" if c in guard.keys[0] else c for c in columns)
            assert key != guard.keys[0]
            _refused(stranger, f"REPLACE INTO {table} ({listed}) SELECT {others} FROM {table}")
        if guard.table not in {"instance", "seals"}:  # the number of a seal is its rowid: another one is another row
            fresh = ", ".join(_other(c, guard.keys) for c in columns)
            by_rowid = f"REPLACE INTO {table} (rowid, {listed}) SELECT rowid, {fresh} FROM {table}"
            _refused(stranger, by_rowid)
        _refused(stranger, f"UPDATE OR REPLACE {table} SET {guard.keys[0][0]} = 'x'")
        if guard.table not in {"instance", "seals"}:
            # Another row's rowid, taken without touching a column, would push that row out.
            _refused(stranger, f"UPDATE OR REPLACE {table} SET rowid = rowid + 1")


def _other(column, keys):
    """An expression for a row that shares no key with the row that is there."""
    if not any(column in key for key in keys):
        return column
    return f"{column} + 1" if column in {"seq", "version", "number", "serial"} else f"{column} || '-other'"


def test_a_rebuilt_table_loses_its_guards_until_they_are_put_back(migrated_sqlite):
    """Alembic's batch mode copies a table and drops the triggers without a word."""
    with migrated_sqlite.connect() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table(f"{PREFIX}audit", recreate="always") as batch:
            batch.add_column(sa.Column("later", sa.Text()))
    lost = [line for line in check(migrated_sqlite.url) if "trigger" in line]
    assert lost == [f"trigger {PREFIX}audit_guard_{verb} is absent" for verb in ("delete", "insert", "update")]
    guard = next(guard for guard in GUARDS if guard.table == "audit")
    columns = {"audit": [column.name for column in build_tables(Names())["audit"].columns]}
    migrated_sqlite.run(*guard_statements(Names(), "sqlite", columns, (guard,)))
    assert not [line for line in check(migrated_sqlite.url) if "trigger" in line]


def test_every_guarded_key_is_a_key_of_the_table():
    """REPLACE removes a row through any unique key, so each has to stand in the guard."""
    tables = build_tables(Names())
    for guard in GUARDS:
        table = tables[guard.table]
        unique = {tuple(table.primary_key.columns.keys())}
        unique |= {tuple(index.columns.keys()) for index in table.indexes if index.unique}
        assert set(guard.keys) == unique
