"""The PostgreSQL server that tests stand on."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from evmbilling.errors import ConfigurationError
from evmbilling.testing._copies import Copies
from evmbilling.testing.postgres import PostgresServer


def tables(url: str) -> list[str]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        found = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        names = list(found.scalars())
        connection.execute(text("CREATE TABLE left_behind (n integer)"))
    return names


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_database(postgres_url, turn):
    assert tables(postgres_url) == [], turn


def test_database_is_dropped_although_somebody_is_connected(postgres_server):
    with postgres_server.database() as url:
        name = make_url(url).database
        assert postgres_server.sessions(name) == 0
        engine = create_engine(url, poolclass=NullPool)
        held = engine.connect()
        held.execute(text("SELECT 1"))
        assert postgres_server.sessions(name) == 1
    assert postgres_server.sessions(name) == 0
    held.invalidate()
    held.close()


def test_template_is_copied(postgres_server):
    with postgres_server.database() as source:
        tables(source)
        with postgres_server.database(template=make_url(source).database) as copy:
            engine = create_engine(copy, poolclass=NullPool)
            with engine.connect() as connection:
                assert connection.execute(text("SELECT count(*) FROM left_behind")).scalar_one() == 0


SOME = """
CREATE TABLE books (id integer PRIMARY KEY, of integer REFERENCES books, title text);
INSERT INTO books VALUES (1, NULL, 'kept'), (2, 1, 'kept too');
CREATE TABLE "odd ""name" (n integer);
CREATE SEQUENCE numbers;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'append-only'; END $$;
CREATE TRIGGER guard BEFORE DELETE ON books EXECUTE FUNCTION refuse();
ALTER TABLE books ENABLE ALWAYS TRIGGER guard
"""
ROWS = 'SELECT string_agg(books::text, \'|\' ORDER BY id) || (SELECT count(*) FROM "odd ""name") FROM books'
LIKE_NEW = '(1,,kept)|(2,1,"kept too")0'


@pytest.fixture(scope="module")
def template(postgres_server):
    name = postgres_server.create()
    run(postgres_server.url(name), SOME)
    yield name
    postgres_server.drop(name)


def run(url: str, *statements: str) -> list[str]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        return [
            str(cursor.fetchone()[0]) if cursor.description else "" for cursor in map(connection.execute, statements)
        ]


def test_a_copy_whose_rows_were_changed_is_lent_again_like_new(postgres_server, template):
    urls = set()
    for _ in range(3):
        with postgres_server.database(template=template) as url:
            urls.add(url)
            assert postgres_server.sessions(make_url(url).database) == 0
            assert run(url, ROWS) == [LIKE_NEW]
            run(
                url,
                "INSERT INTO books VALUES (3, 2, 'new')",
                "UPDATE books SET title = 'changed' WHERE id = 1",
                'INSERT INTO "odd ""name" VALUES (1)',
            )
            with pytest.raises(psycopg.errors.RaiseException):
                run(url, "SET session_replication_role = replica", "DELETE FROM books")
    assert len(urls) == 1


CHANGES = [
    "ALTER TABLE books DISABLE TRIGGER guard",
    "ALTER TABLE books ADD COLUMN more text",
    "ALTER TABLE books ALTER COLUMN title SET DEFAULT 'x'",
    "ALTER TABLE books DROP CONSTRAINT books_pkey CASCADE",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "DROP TRIGGER guard ON books",
    "CREATE TABLE more (n integer)",
    "CREATE SCHEMA more",
    "CREATE VIEW seen AS SELECT 1 AS n",
    "CREATE INDEX ON books (title)",
    "GRANT CREATE ON SCHEMA public TO public",
    "TRUNCATE books",
    "SELECT nextval('numbers')",
    "SELECT lo_create(0)",
    "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET lock_timeout = 1'; END $$",
    "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' CONNECTION LIMIT 9'; END $$",
    "INSERT INTO books SELECT n, 1, repeat('x', 300) FROM generate_series(3, 10000) n",
    "DROP TABLE books",
]


def test_a_copy_that_was_changed_in_any_other_way_is_not_lent_again(postgres_server, template):
    with postgres_server.database(template=template) as url:
        run(url, CHANGES[0])
    with postgres_server.database(template=template) as other:
        assert other != url
        copies, name = Copies(postgres_server._connect), make_url(other).database
        for change in CHANGES:
            copies.add(name)
            run(other, change)
            assert not copies.give_back(name), change
        assert copies.take() is None


def test_a_copy_is_like_new_although_somebody_was_connected_or_took_it_as_a_template(postgres_server, template):
    with postgres_server.database(template=template) as url:
        run(url, "INSERT INTO books VALUES (3, 2, 'new')")
        with postgres_server.database(template=make_url(url).database) as second:
            assert run(second, ROWS) != [LIKE_NEW]
        held = psycopg.connect(url.replace("+psycopg", ""))
        held.execute("UPDATE books SET title = 'held'")
    with postgres_server.database(template=template) as again:
        assert again == url
        assert run(again, ROWS) == [LIKE_NEW]
    held.close()


def test_connections_that_rest_in_a_pool_go_on_with_a_copy_and_no_others(postgres_server, template):
    with postgres_server.database(template=template) as url:
        copies, name = Copies(postgres_server._connect), make_url(url).database
        copies.add(name)
        resting, busy, stranger = (psycopg.connect(url.replace("+psycopg", "")) for _ in range(3))
        resting.execute("INSERT INTO books VALUES (3, 2, 'new')")
        resting.commit()
        busy.execute("UPDATE books SET title = 'held'")
        assert copies.give_back(name, [held.info.backend_pid for held in (resting, busy)])
        assert resting.execute(ROWS).fetchone() == (LIKE_NEW,)
        for ended in (busy, stranger):
            with pytest.raises(psycopg.OperationalError):
                ended.execute("SELECT 1")
            ended.close()
        resting.close()
        copies.forget()


def test_a_named_server_keeps_no_copy(postgres_server, postgres_url, monkeypatch):
    monkeypatch.setenv("EVMBILLING_TEST_POSTGRES_URL", postgres_url)
    databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"
    with PostgresServer() as named:
        before = run(postgres_url, databases)
        template = named.create()
        for _ in range(2):
            with named.database(template=template) as url:
                name = make_url(url).database
        assert name in run(postgres_url, databases)[0]
        named._run(f"DROP DATABASE {template}")
    assert run(postgres_url, databases) == before


def test_url_serves_the_other_drivers(postgres_url):
    import asyncpg

    url = make_url(postgres_url)
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    async def one() -> int:
        connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
        try:
            return await connection.fetchval("SELECT 1")
        finally:
            await connection.close()

    assert asyncio.run(one()) == 1


def test_names_are_checked(postgres_server):
    with pytest.raises(ConfigurationError):
        postgres_server.create('x"; DROP DATABASE postgres; --')


def test_named_server_is_used_and_left_running(postgres_server, postgres_url, monkeypatch):
    monkeypatch.setenv("EVMBILLING_TEST_POSTGRES_URL", postgres_url)
    with PostgresServer() as named, named.database() as url:
        assert tables(url) == []
        name = make_url(url).database
    assert tables(postgres_url) == []
    assert postgres_server.sessions(name) == 0


def test_unreachable_server_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("EVMBILLING_TEST_POSTGRES_URL", "postgresql://me:canary@127.0.0.1:1/x")
    with pytest.raises(ConfigurationError) as caught, PostgresServer():
        pass
    assert "canary" not in str(caught.value)
    assert caught.value.field == "EVMBILLING_TEST_POSTGRES_URL"


def test_server_that_is_not_started_says_so():
    server = PostgresServer()
    with pytest.raises(ConfigurationError):
        server.url("x")
    with pytest.raises(ConfigurationError):
        server.create()
    with pytest.raises(ConfigurationError):
        server.sessions("x")
