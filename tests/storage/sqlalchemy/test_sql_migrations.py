"""Migrations: on a url or the host's connection, under any prefix and schema, and every difference by its name."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import ops
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from evmbilling.adapters.sqlalchemy.migrating import check, head, include_name, revisions, sql, upgrade
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX, Names
from evmbilling.adapters.sqlalchemy.rows import billing, catalogue, sending, subscriptions
from evmbilling.adapters.sqlalchemy.rows import chain as chain_rows
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.domain import decisions as d
from evmbilling.domain.addresses import checksum
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.errors import ConfigurationError, SchemaError
from evmbilling.testing.conformance.storage import records as b
from sampling import EVERYTHING

PREFIXES = {"sqlite": ["a", "evmbilling_"], "postgresql": ["abcdefghijklmnopqrst", ""]}
"""The first of each is tried there in the usual run: the longest where the length of a name is limited.

Other tests look at tables with our own prefix, and with none.
"""


def test_the_models_are_what_the_migrations_make_under_any_prefix(empty):
    for prefix in chain(*PREFIXES.values()) if EVERYTHING else PREFIXES[empty.dialect][:1]:
        upgrade(empty.url, prefix=prefix)
        assert check(empty.url, prefix=prefix) == []


def test_a_database_without_tables_is_told_apart(empty):
    found = check(empty.url)
    assert found[0] == f"revision none instead of {head()}"
    assert "table payment_transactions is absent" in found
    with empty.storage() as storage, pytest.raises(SchemaError):
        storage.instance_id()
    with empty.storage() as storage, pytest.raises(SchemaError), storage.unit(write=False) as unit:
        unit.networks()


@pytest.mark.in_turn
def test_a_newer_database_is_refused(migrated):
    migrated.run("UPDATE evmbilling_alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError):
        upgrade(migrated.url)
    assert check(migrated.url)[0] == f"revision 9999 instead of {head()}"


@pytest.mark.in_turn
def test_the_hosts_version_table_is_not_touched(empty):
    empty.run(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('host-1')",
    )
    known = revisions()
    for last in known if EVERYTHING else known[:2]:
        upgrade(empty.url, to=last)
        assert empty.scalar("SELECT version_num FROM evmbilling_alembic_version") == last
    assert empty.scalar("SELECT version_num FROM alembic_version") == "host-1"


def test_on_the_hosts_connection_the_host_commits(empty):
    engine = sa.create_engine(empty.url, poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection, to="head" if EVERYTHING else revisions()[2])
        connection.rollback()
    assert sa.inspect(engine).get_table_names() == []
    with engine.connect() as connection:
        upgrade(connection)
        connection.commit()
    assert check(empty.url) == []


@pytest.mark.fault("D21")
def test_d21_a_migration_that_fails_half_way_leaves_nothing(empty):
    empty.run("CREATE TABLE evmbilling_receipt_entries (id INTEGER)")
    with pytest.raises(Exception, match=r"receipt_entries|database refused"):
        upgrade(empty.url)
    assert check(empty.url)[0] == f"revision none instead of {head()}"
    empty.run("DROP TABLE evmbilling_receipt_entries")
    upgrade(empty.url)
    assert check(empty.url) == []


def test_several_start_at_once_and_one_migrates(empty):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upgrade(empty.url), range(4)))
    assert check(empty.url) == []


@pytest.mark.in_turn
def test_the_instance_id_is_random_and_stays(migrated):
    first = "head" if EVERYTHING else revisions()[0]  # there the instance is made
    upgrade(migrated.url, prefix="b_", to=first)
    found = []
    for prefix in (DEFAULT_PREFIX, "b_", DEFAULT_PREFIX):
        with migrated.storage(prefix=prefix) as storage:
            found.append(storage.instance_id())
        upgrade(migrated.url, prefix=prefix, to=first)
    assert found[0] == found[2] != found[1]
    assert all(len(each) == 8 for each in found)


@pytest.mark.in_turn
def test_two_prefixes_in_one_database_do_not_see_each_other(migrated):
    upgrade(migrated.url, prefix="b_")
    with migrated.storage() as first, migrated.storage(prefix="b_") as second:
        b.write(b.seeded(first), d.Publish(b.event()))
        with b.looking(second) as unit:
            assert (unit.customer(b.ALICE), unit.plan("pro"), list(unit.events())) == (None, None, [])
        b.seeded(second)
        with b.looking(first) as unit:
            assert len(unit.events()) == 1
    assert check(migrated.url) == check(migrated.url, prefix="b_") == []


def test_a_schema_of_postgresql_is_made_and_used(migrated_postgres):
    """Beside the tables in the schema that PostgreSQL takes when none is named."""
    made = [("money", ""), ("money", "evmbilling_")] if EVERYTHING else [("money", "")]
    for schema, prefix in (*made, ("public", "evmbilling_")):
        upgrade(migrated_postgres.url, schema=schema, prefix=prefix)
    for schema, prefix in (*made, ("public", "evmbilling_"), (None, "evmbilling_")):
        assert check(migrated_postgres.url, schema=schema, prefix=prefix) == []
    with migrated_postgres.storage(schema="money", prefix="") as storage:
        b.write(b.seeded(storage), d.Publish(b.event()))
        with pytest.raises(Exception, match="published"):
            b.write(storage, d.Publish(b.event()))
    assert migrated_postgres.scalar("SELECT count(*) FROM money.outbox") == 1
    assert migrated_postgres.scalar("SELECT count(*) FROM evmbilling_outbox") == 0


def test_a_schema_of_sqlite_is_an_attached_database(empty_sqlite, tmp_path):
    engine = sa.create_engine(empty_sqlite.url, poolclass=NullPool)
    sa.event.listen(engine, "connect", lambda c, _: c.execute(f"ATTACH '{tmp_path}/attached.db' AS money"))
    with engine.begin() as connection:
        upgrade(connection, schema="money")
    with engine.begin() as connection:
        assert check(connection, schema="money") == []
    storage = SqlAlchemyStorage(engine, schema="money")
    b.write(b.seeded(storage), d.Publish(b.event()))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM money.evmbilling_outbox")).scalar() == 1
        with pytest.raises(sa.exc.IntegrityError, match="append-only"):
            connection.execute(sa.text("DELETE FROM money.evmbilling_outbox"))


DAMAGE = {
    "both": [
        (
            "DROP INDEX evmbilling_uq_subscriptions_live",
            "index subscriptions.evmbilling_uq_subscriptions_live is absent",
        ),
        ("ALTER TABLE evmbilling_refunds ADD COLUMN extra TEXT", "column refunds.extra is not ours"),
        ("CREATE INDEX mine ON evmbilling_refunds (reason)", "index refunds.mine is not ours"),
        ("DROP TABLE evmbilling_leases", "table leases is absent"),
    ],
    "sqlite": [
        ("DROP TRIGGER evmbilling_audit_guard_insert", "trigger evmbilling_audit_guard_insert is absent"),
        ("ALTER TABLE evmbilling_refunds DROP COLUMN reason", "column refunds.reason is absent"),
    ],
    "postgresql": [
        (
            "ALTER TABLE evmbilling_audit DISABLE TRIGGER evmbilling_audit_guard_truncate",
            "trigger evmbilling_audit_guard_truncate is different or disabled",
        ),
        (
            "ALTER TABLE evmbilling_audit ENABLE TRIGGER evmbilling_audit_guard_delete",
            "trigger evmbilling_audit_guard_delete is different or disabled",
        ),
        (
            "DROP TRIGGER evmbilling_audit_guard_update ON evmbilling_audit",
            "trigger evmbilling_audit_guard_update is absent",
        ),
        (
            "CREATE OR REPLACE FUNCTION evmbilling_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "trigger evmbilling_outbox_guard_delete is different or disabled",
        ),
        (
            "ALTER TABLE evmbilling_payment_receipts DROP CONSTRAINT ck_payment_receipts_amount",
            "check payment_receipts.ck_payment_receipts_amount is absent",
        ),
        (
            "ALTER TABLE evmbilling_refunds ALTER COLUMN amount TYPE numeric(20, 0)",
            "column refunds.amount is NUMERIC(20, 0) NOT NULL instead of NUMERIC(78, 0) NOT NULL",
        ),
        (
            "ALTER TABLE evmbilling_refunds ALTER COLUMN reason DROP NOT NULL",
            'column refunds.reason is TEXT COLLATE "C" instead of TEXT COLLATE "C" NOT NULL',
        ),
        (
            'ALTER TABLE evmbilling_refunds ALTER COLUMN reason TYPE text COLLATE "default"',
            'column refunds.reason is TEXT NOT NULL instead of TEXT COLLATE "C" NOT NULL',
        ),
        (
            "ALTER TABLE evmbilling_refunds DROP CONSTRAINT fk_ledger_id",
            "foreign key refunds.fk_ledger_id is absent",
        ),
        (
            "ALTER TABLE evmbilling_leases DROP CONSTRAINT evmbilling_pk_leases",
            "key leases.evmbilling_pk_leases is absent",
        ),
    ],
}


@pytest.mark.parametrize(
    ("dialect", "statement", "named"),
    [(dialect, *case) for dialect in ("sqlite", "postgresql") for case in (*DAMAGE["both"], *DAMAGE[dialect])],
)
@pytest.mark.sampled(strength=1)
def test_check_names_each_difference(request, dialect, statement, named):
    place = request.getfixturevalue("migrated_sqlite" if dialect == "sqlite" else "migrated_postgres")
    with place.connect() as connection:
        connection.exec_driver_sql(statement)
        found = check(connection)
        connection.rollback()  # on PostgreSQL the next test finds the database as it was, and none is copied for it
    assert named in found


def test_check_names_a_table_that_is_not_strict(migrated_sqlite):
    made = str(migrated_sqlite.scalar("SELECT sql FROM sqlite_master WHERE name = 'evmbilling_leases'"))
    migrated_sqlite.run("DROP TABLE evmbilling_leases", made.replace("STRICT", ""))
    assert check(migrated_sqlite.url) == ["table leases is not STRICT"]


@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize(("prefix", "schema"), [("evmbilling_", None), ("", None), ("evmbilling_", "money")])
def test_a_hosts_autogenerate_leaves_our_tables_alone(request, prefix, schema):
    ours = (prefix, schema) == (DEFAULT_PREFIX, None)
    place = request.getfixturevalue("migrated_postgres" if ours else "empty_postgres")
    if not ours:
        upgrade(place.url, prefix=prefix, schema=schema)
    place.run("CREATE TABLE host_old (id INTEGER)", "CREATE TABLE evmbilling_of_the_host (id INTEGER)")

    def dropped(**options):
        with place.connect() as connection:
            opts = {"include_schemas": schema is not None, **options}
            found = produce_migrations(MigrationContext.configure(connection, opts=opts), sa.MetaData())
        return {op.table_name for op in found.upgrade_ops.ops if isinstance(op, ops.DropTableOp)}

    assert f"{prefix}payment_transactions" in dropped()
    assert dropped(include_name=include_name(prefix, schema)) == {"host_old", "evmbilling_of_the_host"}


def test_printed_sql_makes_the_schema_of_postgresql_that_it_needs(empty_postgres):
    run_as_printed(empty_postgres, sql("postgresql", schema="money", to="head" if EVERYTHING else "0001"))
    assert empty_postgres.scalar("SELECT count(*) FROM money.evmbilling_instance") == 1


def test_printed_sql_runs_for_a_role_that_was_given_its_schema_and_may_make_none(empty_postgres):
    guest = "evmbilling_guest_of_a_schema"
    empty_postgres.run(f"CREATE ROLE {guest}", f"CREATE SCHEMA money AUTHORIZATION {guest}")
    try:
        run_as_printed(empty_postgres, f"SET ROLE {guest};" + sql("postgresql", schema="money"))
        assert check(empty_postgres.url, schema="money") == []
    finally:
        empty_postgres.run(f"DROP OWNED BY {guest} CASCADE", f"DROP ROLE {guest}")


def run_as_printed(place, text):
    url = sa.make_url(place.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(text.encode())


def test_only_sql_that_needs_a_schema_of_postgresql_makes_one():
    assert 'CREATE SCHEMA "money"' in sql("postgresql", schema="money", to="0001")
    for without in (
        sql("postgresql", to="head" if EVERYTHING else "0001"),
        sql("postgresql", schema="money", to="0001:0002"),
        sql("sqlite", schema="money", to="head" if EVERYTHING else "0001"),
    ):
        assert "SCHEMA" not in without


@pytest.mark.parametrize(
    ("dialect", "url"), [("sqlite", "sqlite:///x.db"), ("postgresql", "postgresql+psycopg://u:hidden@h/d")]
)
def test_offline_sql_is_the_same_each_time_and_holds_no_secret(dialect, url):
    text = sql(dialect, prefix="p_", schema="money")
    assert text == sql(url, prefix="p_", schema="money")
    assert "hidden" not in text
    tables = build_tables(Names(prefix="p_", schema="money")).metadata.tables
    assert all(f"CREATE TABLE {name} (" in text for name in tables)
    assert "CREATE TRIGGER" in text
    assert sql(dialect, to="0001").count("CREATE TABLE") < text.count("CREATE TABLE")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"prefix": "Upper"}, "prefix"),
        ({"prefix": "a" * 21}, "prefix"),
        ({"prefix": "x;--"}, "prefix"),
        ({"prefix": "1a"}, "prefix"),
        ({"schema": "a b"}, "schema"),
        ({"schema": ""}, "schema"),
        ({"schema": 'a"'}, "schema"),
    ],
)
def test_names_that_would_need_quotes_are_refused(empty_sqlite, given, field):
    with pytest.raises(ConfigurationError) as caught:
        upgrade(empty_sqlite.url, **given)
    assert caught.value.field == field


def test_no_name_is_longer_than_postgresql_keeps():
    tables = build_tables(Names(prefix="abcdefghijklmnopqrst")).metadata.tables.values()
    names = [item.name for table in tables for item in (*table.indexes, *table.constraints) if item.name]
    assert len(names) > 100
    assert max(map(len, names)) <= 63


@pytest.mark.fault("D19")
def test_d19_both_databases_have_the_same_columns_keys_and_references(migrated_sqlite, migrated_postgres):
    shapes = []
    for place in (migrated_sqlite, migrated_postgres):
        with place.connect() as connection:
            inspector = sa.inspect(connection)
            shapes.append({name: _shape(inspector, name) for name in inspector.get_table_names()})
    assert shapes[0] == shapes[1]
    uniques = [index for shape in shapes[0].values() for index in shape["indexes"] if index[2]]
    assert len(uniques) >= 5


def _shape(inspector, table):
    return {
        "columns": [(column["name"], column["nullable"]) for column in inspector.get_columns(table)],
        "key": inspector.get_pk_constraint(table)["constrained_columns"],
        "indexes": sorted(
            (row["name"], tuple(row["column_names"]), bool(row["unique"]), _partial(row))
            for row in inspector.get_indexes(table)
        ),
        "references": sorted(
            (row["name"], tuple(row["constrained_columns"]), row["referred_table"], tuple(row["referred_columns"]))
            for row in inspector.get_foreign_keys(table)
        ),
    }


def _partial(row):
    return any(name.endswith("_where") for name in row.get("dialect_options", {}))


@pytest.mark.fault("D23")
def test_d23_no_text_of_ours_is_sorted_by_the_language_of_a_server(migrated_postgres):
    named = "FROM information_schema.columns WHERE table_name LIKE 'evmbilling$_%%' ESCAPE '$' AND data_type = 'text'"
    assert migrated_postgres.scalar(f"SELECT count(*) {named}") > 100
    assert migrated_postgres.scalar(f"SELECT count(*) {named} AND collation_name IS DISTINCT FROM 'C'") == 0


@pytest.mark.in_turn
def test_what_was_sold_before_renewals_is_renewed_and_what_was_sealed_stays_sealed(empty):
    """Rows of the revision before: live subscriptions are found by the biller, sealed changes keep their bytes."""
    upgrade(empty.url, to="0006")
    old = {"segments", "dunning_state", "dunned_at", "look_at", "looked_at", "due_at", "claim", "pull", "attempts"}
    old |= {"attempted_at", "retry_at", "reminded_at", "told", "call", "mark"}
    plain = {"status": SubscriptionStatus.ACTIVE, "chain_id": None, "look_at": None, "segments": ()}
    change = b.change(kind="pause", period=None, paid_to=None, zone=None, reason=None, terms=None, adoption=None)
    rows = {
        "customers": billing.customer_values(b.customer()),
        "plans": catalogue.plan_values(b.plan()),
        "subscriptions": subscriptions.subscription_values(b.subscription(**plain)),
        "payment_transactions": billing.order_values(b.order(subscription_id=b.ident(1), period=0)),
        "subscription_changes": subscriptions.change_values(change),
        "entitlements": billing.entitlement_values(b.entitlement()),
    }
    tables = build_tables(Names())
    added = {"period", "zone", "reason", "terms", "adoption", "paid_to"}
    more = {"subscription_changes": added, "subscriptions": {"chain_id"}}
    for short, values in rows.items():
        gone = old | more.get(short, set())
        kept = {name: value for name, value in values.items() if name not in gone}
        with empty.connect() as connection:
            connection.execute(sa.insert(tables[short]).values(kept))
    upgrade(empty.url)
    assert check(empty.url) == []
    with empty.storage() as storage, storage.unit() as unit:
        (found,) = unit.subscriptions([b.ident(1)]).values()
        assert (found.look_at, found.chain_id) == (found.next_charge_at, b.CHAIN)
        assert (found.anchor, found.segments) == (found.trial_end, ())
        assert [name for _, name in unit.claim_due(b.CHAIN, found.look_at, 9)] == [b.ident(1)]
        assert unit.entitlements([b.ALICE])[0].told == "pro"
        assert list(unit.changes([b.ident(1)])) == [change]
        (sealed,) = unit.sealed_rows("subscription_changes", [f"{b.ident(1)}:1"]).values()
        assert not added & set(json.loads(sealed.content))


@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize("schema", [None, "money"])
def test_what_was_sent_before_deposit_addresses_stays_and_stays_unchangeable(empty, tmp_path, schema):
    """The tables of our own transactions are made anew on SQLite; rows, keys and guards have to be there after it."""
    with empty.connect() as connection:
        if schema and connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"ATTACH DATABASE '{tmp_path / 'money.db'}' AS money")
        upgrade(connection, schema=schema, to="0018")
        tables = build_tables(Names(schema=schema))
        sent, signed = b.sending(mined=b.MINED, nonce=3, versions=1), b.signed_version()
        connection.execute(sa.insert(tables["transmissions"]).values(sending.transmission_values(sent)))
        connection.execute(sa.insert(tables["signed_transactions"]).values(sending.signed_values(signed)))
        upgrade(connection, schema=schema)
        assert check(connection, schema=schema) == []
        (row,) = connection.execute(sa.select(tables["transmissions"]))
        assert sending.read_transmission(row) == sent
        (row,) = connection.execute(sa.select(tables["signed_transactions"]))
        assert sending.read_signed(row) == signed
        swept = b.sending(2, purpose="sweep", subject="deposit:1:1")
        connection.execute(sa.insert(tables["transmissions"]).values(sending.transmission_values(swept)))
        with pytest.raises(sa.exc.DBAPIError), connection.begin_nested():
            connection.execute(sa.delete(tables["signed_transactions"]))
        again = sending.transmission_values(b.sending(3, nonce=3))
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.insert(tables["transmissions"]).values(again))


@pytest.mark.fault("D20")
@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize(("schema", "prefix"), [(None, "evmbilling_"), ("money", "evmbilling_"), ("money", "")])
def test_d20_logs_stay_as_they_were_when_emitters_are_looked_at_less(empty, tmp_path, schema, prefix):
    """Logs of the revision before, canonical or not; the version before writes on as it did."""
    known = revisions()
    emitters = [checksum(bytes(range(at, at + 20))) for at in range(0, 237, 20)]
    logs = [b.log(9 - place % 2, place, address=emitter, data=bytes(place)) for place, emitter in enumerate(emitters)]
    with empty.connect() as connection:
        if schema and connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"ATTACH DATABASE '{tmp_path / 'money.db'}' AS money")
        upgrade(connection, schema=schema, prefix=prefix, to=known[known.index("0029") - 1])
        table = build_tables(Names(prefix=prefix, schema=schema))["chain_logs"]
        written = chain_rows.log_columns(logs)
        rows = [dict(zip(written, row, strict=True)) for row in zip(*written.values(), strict=True)]
        rows[3]["canonical"] = False
        connection.execute(sa.insert(table), rows)
        assert "a-f" in check_of_emitters(connection, table)
        listed = sa.text(f"SELECT * FROM {table.fullname} ORDER BY log_index")
        before = connection.execute(listed).all()

        upgrade(connection, schema=schema, prefix=prefix)
        assert check(connection, schema=schema, prefix=prefix) == []
        assert "a-f" not in check_of_emitters(connection, table)
        assert connection.execute(listed).all() == before
        found = connection.execute(sa.select(table).order_by(table.c.log_index)).all()
        assert list(map(chain_rows.read_log, found)) == logs
        assert [row.canonical for row in found] == [place != 3 for place in range(len(logs))]
        again = (postgresql if empty.dialect == "postgresql" else sqlite).insert(table)
        upsert = again.on_conflict_do_update(
            index_elements=["chain_id", "block_hash", "log_index"], set_={"canonical": again.excluded.canonical}
        )
        connection.execute(upsert, [rows[0] | {"canonical": False}, rows[0] | {"log_index": 99}])
        found = connection.execute(sa.select(table.c.log_index, table.c.canonical)).all()
        assert sorted(found) == [*((place, place not in {0, 3}) for place in range(len(logs))), (99, True)]
        for refused in (emitters[0][:-1], emitters[0] + "0", "0X" + emitters[0][2:], "1" + emitters[0][1:]):
            spoilt = rows[0] | {"log_index": 100, "address": sa.literal_column(f"'{refused}'")}  # around the type
            with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
                connection.execute(sa.insert(table).values(spoilt))


def check_of_emitters(connection, table):
    checks = sa.inspect(connection).get_check_constraints(table.name, schema=table.schema)
    return {row["name"]: row["sqltext"] for row in checks}["ck_chain_logs_address"]
