"""The PostgreSQL server that tests stand on."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from evmbilling.errors import ConfigurationError
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


def test_url_serves_the_other_drivers(postgres_url):
    import asyncpg
    import psycopg

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
