"""What a server loads for a measurement: the API, and beside it a route with one SELECT and one INSERT."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from flask import Flask

from evmbilling import Actor
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.messages.standard_webhooks import make_secret, secret_key
from evmbilling.factory import BillingEngine
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.integrations.http.options import Options
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import repeatable_secrets

URL = "EVMBILLING_BENCH_URL"
THREADS = 8
OPTIONS = Options(public_url="https://shop.example")
SECRET = make_secret(["relay of a measurement, public"])
PEER = sa.Table(
    "bench_peer",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.String(64), index=True),
    sa.Column("note", sa.String(64)),
)
_LAST = (
    sa.select(PEER.c.id, PEER.c.note).where(PEER.c.user_id == sa.bindparam("asked")).order_by(PEER.c.id.desc()).limit(1)
)


def open_billing(url: str) -> BillingEngine:
    """An engine whose chain answers at once: what is measured is ours."""
    storage = SqlAlchemyStorage.open(url, waits=Waits(lock=30, pool=30, pool_size=THREADS + 2))
    return BillingEngine(
        storage=storage,
        secrets=repeatable_secrets(),
        relay_keys=[secret_key(SECRET)],
        sources=lambda network: FakeChain(network.chain_id, start=datetime.now(UTC)),
    )


def who(request: Any) -> Actor | None:
    user = request.headers.get("x-user")
    return None if user is None else Actor(user)


class Peer:
    """The other route: reads a row by an index, adds one, commits."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_size=THREADS + 2)

    def answer(self, user: str) -> dict[str, Any]:
        with self._engine.begin() as connection:
            last = connection.execute(_LAST, {"asked": user}).first()
            connection.execute(PEER.insert(), {"user_id": user, "note": "asked"})
        return {"last": None if last is None else last.id}


def fastapi_app() -> FastAPI:
    url, app = os.environ[URL], FastAPI()
    peer = Peer(url)
    app.include_router(FastApiBilling(open_billing(url), identity=who, options=OPTIONS, threads=THREADS).router)

    @app.post("/peer/{user}")
    def one_of_each(user: str) -> dict[str, Any]:
        return peer.answer(user)

    return app


def flask_app() -> Flask:
    url, app = os.environ[URL], Flask("bench")
    peer = Peer(url)
    FlaskBilling(open_billing(url), identity=who, options=OPTIONS).init_app(app)

    @app.post("/peer/<user>")
    def one_of_each(user: str) -> dict[str, Any]:
        return peer.answer(user)

    return app
