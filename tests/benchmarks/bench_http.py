"""What the API's routes cost behind real servers, as a ratio to a route with one SELECT and one INSERT; printed.

``nox -s bench -- tests/benchmarks/bench_http.py [--quick]``

One worker of each server, in a process of its own; PostgreSQL; four clients on connections that stay open.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from bm_http import measure_server, table
from bm_served import PEER, URL
from bm_shops import stock

from servers import served

SERVERS = {"uvicorn": "bm_served:fastapi_app", "gunicorn": "bm_served:flask_app"}


@pytest.mark.parametrize("server", SERVERS)
def test_routes_behind_a_server(postgres_server, server, plan):
    rounds, asks = (3, 25) if plan.quick else (9, 100)
    with postgres_server.database() as url:
        stock(url)
        host = sa.create_engine(url)
        PEER.metadata.create_all(host)
        host.dispose()
        with served(server, Path(__file__).parent, SERVERS[server], {URL: url}) as port:
            results = measure_server(port, rounds=rounds, asks=asks)
    print("\n" + table(server, results))
    assert [one.ratio > 0 for one in results] == [True] * len(results)
