"""Two hosts over one engine, asked in the same words."""

from __future__ import annotations

import json as js
from collections.abc import Callable
from typing import Any

from attrs import frozen
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask

from evmbilling import Actor, Role
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.integrations.http.options import PREFIX, Options

BY_SETTING = {"ops-by-setting": frozenset({Role.FINANCE_OPS}), "admin-by-setting": frozenset(Role)}
OPTIONS = Options(public_url="https://shop.example", roles=lambda user: BY_SETTING.get(user, frozenset()))
CORRELATION = "corr-0001"


def identity(request: Any) -> Actor | None:
    """Who the test says it is: ``X-User`` and ``X-Roles``."""
    user = request.headers.get("x-user")
    if user is None:
        return None
    roles = request.headers.get("x-roles") or ""
    return Actor(user, frozenset(Role(word) for word in roles.split(",") if word))


@frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return js.loads(self.body)


@frozen
class Host:
    """One mounted host."""

    name: str
    engine: Any
    send: Callable[..., Reply]
    api: Any

    def ask(
        self,
        method: str,
        path: str,
        *,
        user: str | None = None,
        roles: str = "",
        json: Any = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        prefix: str = PREFIX,
    ) -> Reply:
        sent = {"X-Correlation-Id": CORRELATION}
        if user is not None:
            sent |= {"X-User": user, "X-Roles": roles}
        if json is not None:
            body = js.dumps(json).encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        return self.send(method, prefix + path, body, sent | (headers or {}))


def fastapi_host(engine: Any, options: Options = OPTIONS, *, pages: bool = False) -> Host:
    billing = FastApiBilling(engine, identity=identity, options=options, pages=pages, close=False)
    app = FastAPI(lifespan=billing.lifespan)
    app.include_router(billing.router)
    app.include_router(billing.pages)

    @app.get("/v1/reports")
    async def public_reports() -> str:
        return "for everybody"

    @app.get("/reports", dependencies=[billing.requires_plan("api")])
    async def reports() -> str:
        return "a report"

    @app.get("/desk", dependencies=[billing.require_finance_ops()])
    async def desk() -> str:
        return "a desk"

    @app.get("/calls", dependencies=[billing.consumes("calls")])
    async def calls() -> str:
        return "a call"

    client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)

    def send(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = client.request(method, path, content=body, headers=raw)
        return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)

    return Host("fastapi", engine, send, billing.api)


def flask_host(engine: Any, options: Options = OPTIONS, *, pages: bool = False) -> Host:
    billing = FlaskBilling(engine, identity=identity, options=options, pages=pages)
    app = Flask("host")
    billing.init_app(app)

    @app.get("/v1/reports")
    def public_reports() -> str:
        return "for everybody"

    @app.get("/reports")
    @billing.requires_plan("api")
    def reports() -> str:
        return "a report"

    @app.get("/desk")
    @billing.require_finance_ops()
    def desk() -> str:
        return "a desk"

    @app.get("/calls")
    @billing.consumes("calls")
    def calls() -> str:
        return "a call"

    client = app.test_client(use_cookies=False)

    def send(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        answer = client.open(path, method=method, data=body, headers=headers)
        return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.data)

    return Host("flask", engine, send, billing.api)


HOSTS = {"fastapi": fastapi_host, "flask": flask_host}
