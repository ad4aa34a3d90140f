"""The router: each route of the API as a route of FastAPI, answered in worker threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi import Request as HostRequest
from fastapi import Response as HostResponse
from starlette.requests import ClientDisconnect
from starlette.routing import Route as HostRoute
from starlette.types import Receive, Scope, Send

from evmbilling.domain.actors import Actor
from evmbilling.domain.subscriptions.access import Access
from evmbilling.engine.core import Engine
from evmbilling.errors import BillingError
from evmbilling.integrations.http.api import HttpApi, pages_of, parse_query
from evmbilling.integrations.http.guards import finance_only, plan_needed, quota_needed
from evmbilling.integrations.http.messages import Request, Response
from evmbilling.integrations.http.openapi import inlined
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.http.problems import BodyTooLarge, BrokenBody
from evmbilling.integrations.http.routes import Route

R = TypeVar("R")
Identity = Callable[[HostRequest], Actor | Awaitable[Actor | None] | None]
"""Says who sends a request; None for nobody who is signed in."""
DEFAULT_THREADS = 10


class FastApiBilling:
    """Billing for one FastAPI application.

    Args:
        engine: the engine.
        identity: says who sends a request: a function, in a worker thread, or a coroutine function.
        options: what the host decides.
        threads: requests that work at once; as many as the engine's connection pool holds.
        pages: whether the checkout page is served too (extra ``pages``).
        close: whether the end of the application closes the engine.

    Attributes:
        router: for ``app.include_router``, without a prefix: the API, and the metrics beside it.
        pages: for ``app.include_router``: the pages, when they were asked for.

    """

    def __init__(
        self,
        engine: Engine,
        *,
        identity: Identity,
        options: Options | None = None,
        threads: int = DEFAULT_THREADS,
        pages: bool = False,
        close: bool = True,
    ) -> None:
        self.engine = engine
        self.api = HttpApi(engine, options)
        self._identity = identity
        self._threads = threads
        self._close = close
        # A limiter belongs to one event loop; tests and embedded servers run several.
        self._limiters: RunVar[anyio.CapacityLimiter] = RunVar(f"evmbilling-{id(self)}")
        self.router = self._make_router(self.api)
        self.pages = self._make_router(pages_of(engine, self.api.options)) if pages else APIRouter()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Close the engine when the application ends; pass it to ``FastAPI(lifespan=…)`` or enter it in your own."""
        del app
        try:
            yield
        finally:
            if self._close:
                await self._in_thread(self.engine.close)

    # -- for the host's own routes

    def requires_plan(self, product: str | None = None, *, feature: str | None = None) -> Any:
        """Return a dependency that lets users through who have access, and gives their :class:`Access`; else 402."""

        async def check(request: HostRequest) -> Access:
            return await self._guarded(request, lambda actor: plan_needed(self.engine, actor, product, feature))

        return Depends(check)

    def require_finance_ops(self) -> Any:
        """Return a dependency that lets ``finance_ops`` and administrators through, and gives the actor; else 403."""

        async def check(request: HostRequest) -> Actor:
            return await self._guarded(request, lambda actor: finance_only(self.api.known(actor)))

        return Depends(check)

    def consumes(self, limit: str, amount: int = 1) -> Any:
        """Return a dependency that takes from a limit of the user's plan, and gives what is left; else 429."""

        async def check(request: HostRequest) -> int:
            return await self._guarded(request, lambda actor: quota_needed(self.engine, actor, limit, amount))

        return Depends(check)

    # -- inside

    async def _guarded(self, request: HostRequest, work: Callable[[Actor | None], R]) -> R:
        actor = await self._who(request)
        try:
            return await self._in_thread(lambda: work(actor))
        except BillingError as error:
            answer = self.api.failed(error, _head(request))
            raise HTTPException(answer.status, detail=error.message, headers=dict(answer.headers)) from error

    async def _in_thread(self, work: Callable[[], R]) -> R:
        limiter = self._limiters.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self._threads)
            self._limiters.set(limiter)
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    async def _who(self, request: HostRequest) -> Actor | None:
        found = await self._in_thread(lambda: self._identity(request))
        return await found if isawaitable(found) else found

    async def _body(self, request: HostRequest) -> bytes:
        """Return the body; one that is too large is not read to its end.

        Raises:
            BodyTooLarge: it is.
            BrokenBody: the client left before its end.

        """
        read = bytearray()
        try:
            async for chunk in request.stream():
                read += chunk
                if len(read) > self.api.options.max_body:
                    raise BodyTooLarge(field="body")
        except ClientDisconnect:
            raise BrokenBody(field="body") from None
        return bytes(read)

    def _make_router(self, api: HttpApi) -> APIRouter:
        router = APIRouter()
        told = inlined(api.routes)
        for route in api.routes:
            router.add_api_route(
                api.path_of(route),
                self._endpoint(api, route),
                methods=[route.method],
                name=route.name,
                operation_id=route.name,
                response_class=HostResponse,
                response_model=None,
                status_code=int(route.status),
                summary=route.summary,
                description=route.text or route.summary,
                tags=[route.tag],
                openapi_extra=told[route.name],
            )
        # Last, and for every method: what is not there is answered by us too, and in the same words.
        router.routes.append(HostRoute(api.prefix + "/{rest:path}", _Everything(api), include_in_schema=False))
        return router

    def _endpoint(self, api: HttpApi, route: Route) -> Callable[[HostRequest], Awaitable[HostResponse]]:
        async def endpoint(request: HostRequest) -> HostResponse:
            return _sent(await self._answer(api, route, request))

        return endpoint

    async def _answer(self, api: HttpApi, route: Route, request: HostRequest) -> Response:
        head = _head(request)
        try:
            asked = attrs.evolve(head, query=parse_query(request.url.query), body=await self._body(request))
            actor = None if api.has_key(route, head) else await self._who(request)
        except Exception as error:  # noqa: BLE001  # what the host's identity raises is answered like anything else
            return api.failed(error, head)
        return await self._in_thread(lambda: api.respond(route, asked, actor))


class _Everything:
    """Answers what no route takes (ASGI)."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HostRequest(scope, receive)
        answer = self._api.no_route(_head(request), "/" + request.path_params["rest"])
        await _sent(answer)(scope, receive, send)


def create_router(engine: Engine, *, identity: Identity, options: Options | None = None) -> APIRouter:
    """Return a router with the whole API, for ``app.include_router``; the engine stays the host's to close.

    Args:
        engine, identity, options: as :class:`FastApiBilling`.

    """
    return FastApiBilling(engine, identity=identity, options=options, close=False).router


def _head(request: HostRequest) -> Request:
    """Return a request as ours, without its query and body."""
    return Request(
        method=request.method,
        path=request.url.path,
        params={name: str(value) for name, value in request.path_params.items()},
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw),
    )


def _sent(answer: Response) -> HostResponse:
    response = HostResponse(content=answer.body, status_code=answer.status)
    response.raw_headers = [
        (b"content-length", str(len(answer.body)).encode()),
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers),
    ]
    return response
