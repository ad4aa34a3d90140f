"""The measurements themselves, with few checkouts: they run, compare equals, and say what they found."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvicorn
from bm_chain import Shape, full_chain, overheard, read_raw
from bm_clones import PAID, clone, model_of
from bm_contenders import contenders
from bm_effects import Stand
from bm_http import measure_server, routes_of
from bm_http import table as table_of_routes
from bm_limits import MOST_STATEMENTS
from bm_program import run_program
from bm_reading import close, compare, decoded, fetched, open_shop, rows_of, took
from bm_recording import WRITTEN, count_rows, read_rows, record
from bm_rounds import Size, measure, table
from bm_served import PEER, URL
from bm_shops import open_host, postgres_copies, sqlite_files
from bm_web3 import Web3Reader
from bm_worker import verified

import forks
from databases import make_sqlite
from sampling import EVERYTHING
from servers import served

SIZE = Size(rounds=2, checkouts=4) if EVERYTHING else Size(rounds=1, checkouts=2)
LITTLE_GAS = "30000000"
"""Enough for a block of these logs: the contract that writes them uses all there is when it is tried as a token."""


FEW = Shape(name="30 transfers a transaction", transactions=3, logs=30)


def warm(file: str, *arguments: str) -> str:
    """Run a program as a fork of a process that has imported what it needs; what that costs is for the measurements."""
    done = forks.program(Path(file), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def serve(port: int) -> None:
    """Be the server that a measurement starts."""
    uvicorn.run("bm_served:fastapi_app", factory=True, port=port, log_level="warning")


@contextmanager
def warm_server(url: str) -> Iterator[int]:
    """Serve in a fork, and give the port."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    process = forks.begin(serve, port, env=os.environ | {URL: url})
    try:
        until = time.monotonic() + 60
        while True:
            assert process.exitcode is None, "the server did not start"
            assert time.monotonic() < until, "the server did not start"
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.join()


@pytest.fixture(scope="module")
def sqlite_shops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shops")
    make_sqlite(folder / "template.db")
    return sqlite_files(folder)


@pytest.fixture(scope="module")
def postgres_shops(postgres_server, databases):
    with postgres_copies(postgres_server, migrated=databases.postgres_template(postgres_server)) as copies:
        yield copies


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    return request.getfixturevalue("sqlite_shops" if request.param == "sqlite" else "postgres_shops")


def test_contenders_make_equal_rows_and_every_ratio_is_printed(database):
    own, joined = (record(database, SIZE.users, joined=joined) for joined in (False, True))
    assert len(own.statements()) <= MOST_STATEMENTS[database.name, "own connection"]
    assert len(joined.statements()) <= MOST_STATEMENTS[database.name, "joined"]
    for clients in (1, 2) if EVERYTHING else (2,):
        with contenders(database, own, joined) as found:
            standings = measure(database.name, found, SIZE, clients)
            for one in found:
                assert count_rows(one.url) == dict.fromkeys(WRITTEN, SIZE.users), one.name
                if one.name.startswith(("raw", "ORM")):
                    recorded = joined if "joined" in one.name else own
                    host = open_host(one.url)
                    assert read_rows(host, SIZE.users) == recorded.rows, one.name
                    host.dispose()
        printed = table(standings, SIZE)
        assert len(standings) == 7
        for standing in standings:
            line = next(text for text in printed.splitlines() if text.strip().startswith(f"{standing.contender} "))
            assert f"{standing.to_raw:.2f} (" in line
            assert f"{standing.to_orm:.2f} (" in line
            assert standing.raw_range[0] <= standing.to_raw <= standing.raw_range[1]
            assert standing.per_second > 0


def test_the_reader_and_its_peer_make_equal_rows(tmp_path):
    """One round of few logs; what is compared, and that the figures are said."""
    with full_chain(FEW, 2 * FEW.a_block, gas_limit=LITTLE_GAS) as full:
        peer, span = Web3Reader(full.node.url, full.shape.a_block), (full.first, full.last)
        assert fetched(full) == decoded(full.node.url, *span) == peer.decoded(*span)
        rows = []
        for name in ("ours", "theirs"):
            url = make_sqlite(tmp_path / f"{name}.db")
            engine = open_shop(full.node.url, url)
            engine.read_chain("local", to_block=full.last if name == "ours" else 0)
            close(engine)
            database = open_host(url)
            if name == "theirs":
                peer.written(database, *span)
            rows.append(rows_of(database))
            database.dispose()
        assert rows[0] == rows[1]
        assert len(rows[0]["chain_logs"]) == full.logs
        standing = compare(full, 1, lambda: took(full, lambda: None), lambda: took(full, lambda: None))
        with overheard() as bodies:
            decoded(full.node.url, *span)
        seconds, size = read_raw(full.node.url, bodies)
    assert "web3.py" in str(standing)
    assert seconds > 0
    assert size > 300 * full.logs


@pytest.mark.exhaustive  # test_signers.py shows that it is named; here an interpreter begins for the measurement
def test_a_missing_coincurve_is_named_and_costs_time(sqlite_shops):
    with sqlite_shops.fresh() as url:
        fast = run_program("signing", 2, url, run=warm)
    with sqlite_shops.fresh() as url:
        slow = run_program("signing", 2, url, "--without-coincurve")
    assert (fast["backend"], fast["warnings"]) == ("coincurve", [])
    assert slow["backend"] == "python"
    assert len(slow["warnings"]) == 1
    assert "pip install coincurve" in slow["warnings"][0]
    assert 0 < fast["share"] < 1
    assert 0 < slow["share"] < 1


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.exhaustive)], indirect=True
)
def test_copies_of_a_customer_are_customers_like_others(database):
    """Otherwise what is measured among many of them is the cost of naming differences."""
    with database.fresh() as url:
        stand = Stand(url)
        stand.pay(1)
        stand.take_in()
        clone(url, model_of(url, "user-0", PAID), 0, 4)
        stand.engine.close()
        found = verified(url, run=warm)
    assert (found["counts"]["orders"], found["differences"]) == (5, {"unproved": 1})


def test_memory_is_measured(sqlite_shops):
    with sqlite_shops.fresh() as url:
        found = run_program("memory", url, 5, 10, run=warm)
        assert 0 < found["first"] <= found["last"]
        assert count_rows(url) == dict.fromkeys(WRITTEN, 10)


def test_routes_are_asked_behind_a_server_and_every_answer_is_a_good_one(postgres_shops):
    with postgres_shops.fresh() as url:
        host = sa.create_engine(url)
        PEER.metadata.create_all(host)
        host.dispose()
        with (
            served("uvicorn", Path(__file__).parent, "bm_served:fastapi_app", {URL: url})
            if EVERYTHING
            else warm_server(url) as port
        ):
            results = measure_server(port, rounds=1, asks=2 if EVERYTHING else 1, orders=20 if EVERYTHING else 2)
    assert [one.name for one in results] == list(routes_of(""))
    assert results[0].ratio == 1
    assert all(f" {one.name} " in table_of_routes("uvicorn", results) for one in results)
