"""Two hosts over one engine, asked in the same words."""

from __future__ import annotations

import asyncio
import json as js
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import attrs
import httpx2
from attrs import frozen
from fastapi import FastAPI
from flask import Flask

from evmbilling import Actor, Role
from evmbilling.engine.sampling import Sampler
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
    billing: Any

    @property
    def api(self) -> Any:
        return self.billing.api

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


class _Loop:
    """The event loop of a thread that sends: it serves one request after another, and ends with its thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        self._loop.close()

    def run(self, work: Any) -> None:
        self._loop.run_until_complete(work)


_here = threading.local()


def _asgi(app: FastAPI) -> Callable[..., Reply]:
    """Send to an application as a server does, without the client between that costs more than the answer."""

    def send(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        target, _, query = httpx2.URL("http://testserver" + path).raw_path.partition(b"?")
        sent = {"Host": "testserver", "Accept": "*/*", "User-Agent": "testclient"} | headers
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "client": ("testclient", 50000),
            "server": ("testserver", 80),
            "method": method,
            "raw_path": target,
            "path": unquote(target.decode()),
            "query_string": query,
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()],
        }
        told: list[dict[str, Any]] = []
        came = iter([{"type": "http.request", "body": body or b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            return next(came, {"type": "http.disconnect"})

        async def tell(message: dict[str, Any]) -> None:
            told.append(message)

        if not hasattr(_here, "loop"):
            _here.loop = _Loop()
        _here.loop.run(app(scope, receive, tell))
        names = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in told[0]["headers"]]
        content = b"".join(part.get("body", b"") for part in told[1:])
        return Reply(told[0]["status"], dict(names), content if method != "HEAD" else b"")

    return send


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

    return Host("fastapi", engine, _asgi(app), billing)


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

    return Host("flask", engine, send, billing)


HOSTS = {"fastapi": fastapi_host, "flask": flask_host}
_free: defaultdict[str, list[Host]] = defaultdict(list)


@contextmanager
def lending(name: str) -> Iterator[Callable[..., Host]]:
    """Lend mounted hosts to a test, over its own engines: to mount a hundred routes costs more than to ask one.

    What was mounted with the usual options is there for the next test.
    """
    lent: list[Host] = []

    def mount(engine: Any, options: Options = OPTIONS, *, pages: bool = False) -> Host:
        if options is not OPTIONS or pages:
            return HOSTS[name](engine, options, pages=pages)
        found = _free[name].pop() if _free[name] else HOSTS[name](engine)
        lent.append(found)
        found.billing.engine = found.api.engine = engine
        found.api._sampler = Sampler()
        return attrs.evolve(found, engine=engine)

    yield mount
    _free[name] += lent
