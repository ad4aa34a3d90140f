"""From a request to a response: who asks, what is read, what is answered, and what goes wrong."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import attrs

from evmbilling.domain.actors import Actor
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.traces import summary_of, trace_of
from evmbilling.domain.web_urls import split_web_url
from evmbilling.engine.core import Engine
from evmbilling.engine.sampling import Sampler
from evmbilling.errors import BillingError
from evmbilling.integrations.http.admin_catalogue import catalogue
from evmbilling.integrations.http.admin_deposits import deposits
from evmbilling.integrations.http.admin_money import money
from evmbilling.integrations.http.admin_people import people
from evmbilling.integrations.http.links import links
from evmbilling.integrations.http.me import me
from evmbilling.integrations.http.messages import Answer, Pairs, Request, Response, dumps
from evmbilling.integrations.http.metrics_route import metrics_at
from evmbilling.integrations.http.openapi import openapi
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.http.overview import figures, papers
from evmbilling.integrations.http.problems import (
    AmbiguousLength,
    BodyTooLarge,
    CrossSite,
    HttpError,
    MethodNotAllowed,
    NoSuchRoute,
    Unauthenticated,
    internal_error,
    problem,
)
from evmbilling.integrations.http.public import hooks, shop
from evmbilling.integrations.http.reading import check_query, read_body, said_of_cursor
from evmbilling.integrations.http.routes import ROLES, Call, Route, RouteTable, joined, value_of
from evmbilling.ports.correlation import correlated

_log = logging.getLogger("evmbilling.http")
_CORRELATION = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OUR_FAULT = 500
TABLES: tuple[RouteTable, ...] = (shop, links, me, papers, hooks, catalogue, money, deposits, people, figures)
ALWAYS: Pairs = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Headers of every answer that does not say otherwise (OWASP secure headers)."""


class HttpApi:
    """The API of one engine; safe among threads.

    Args:
        engine: what is asked.
        options: what the host decides.
        tables: which parts are served; the API and its document when left out.
        prefix: where they are mounted; the API's own place when left out.

    """

    def __init__(
        self,
        engine: Engine,
        options: Options | None = None,
        *,
        tables: Sequence[RouteTable] | None = None,
        prefix: str | None = None,
    ) -> None:
        self.engine = engine
        self.options = options or Options()
        self._sampler = Sampler()
        self.prefix = self.options.prefix if prefix is None else prefix
        own = [*TABLES, metrics_at(self.options.metrics_path), self._documents()]
        self.routes: tuple[Route, ...] = joined(own if tables is None else tables)

    def respond(self, route: Route, request: Request, actor: Actor | None) -> Response:
        """Answer a request to a route; never raises an Exception.

        Args:
            route: one of :attr:`routes`, which the request matched.
            request: as it came.
            actor: who asks, as the host says; None for nobody who is signed in.

        """
        correlation = correlation_of(request)
        try:
            with correlated(correlation):
                answer = value_of(route.handler(self._admit(route, request, actor)))
            return _dressed(self._written(route, answer), correlation)
        except Exception as error:  # noqa: BLE001  # the border: whatever happens inside, the answer is ours
            return self.failed(said_of_cursor(error, request), request, correlation)

    def failed(self, error: Exception, request: Request, correlation: str | None = None) -> Response:
        """Return an error as a problem document; what is our fault is logged whole and told without its inside."""
        name = correlation or correlation_of(request)
        told = problem(error, name) if isinstance(error, BillingError) else internal_error(name)
        if told.status == _OUR_FAULT:
            self._log(error, request, name)
        return _dressed(told, name)

    def _log(self, error: Exception, request: Request, correlation: str) -> None:
        """Log where it was raised; what fails again and again is said at every power of two."""
        times = self._sampler.times(type(error).__name__)
        if times is not None:
            facts = {"correlation_id": correlation, "method": request.method, "trace": trace_of(error), "times": times}
            _log.error("request failed: %s", summary_of(error), extra=facts)

    def no_route(self, request: Request, path: str) -> Response:
        """Answer what no route takes: 405 where the path exists with another method, else 404.

        Args:
            request: as it came.
            path: below the mount point.

        """
        allowed = sorted({route.method for pattern, route in self._patterns if pattern.fullmatch(path)})
        error = MethodNotAllowed(allowed=allowed) if allowed else NoSuchRoute()
        return self.failed(error, request)

    def wrong_method(self, route: Route, request: Request) -> Response:
        """Answer a request for a route's path by another method."""
        return self.failed(MethodNotAllowed(allowed=[route.method]), request)

    def has_key(self, route: Route, request: Request) -> bool:
        """Whether a request brings the route's own credential: then nobody has to be asked who sends it."""
        return route.key is not None and route.key(request, self.options)

    def path_of(self, route: Route) -> str:
        """Return the template of a route from the root of the host."""
        return route.path if route.outside else self.prefix + route.path

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route that takes a path below the mount point, and what its template matched."""
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None and route.method == method:
                return route, found.groupdict()
        return None

    @cached_property
    def _patterns(self) -> tuple[tuple[re.Pattern[str], Route], ...]:
        return tuple((route.pattern, route) for route in self.routes if not route.outside)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document of what is served."""
        return openapi(self.routes, prefix=self.prefix)

    def _documents(self) -> RouteTable:
        table = RouteTable("document", access="anyone")

        @table.get("/openapi.json", answer=dict[str, Any])
        def get_openapi(call: Call) -> dict[str, Any]:
            """The OpenAPI document of this API."""
            del call
            return self.document

        return table

    def _admit(self, route: Route, request: Request, actor: Actor | None) -> Call:
        """Check who asks and what they send, in the order of what it costs."""
        _check_length(request)
        if len(request.body) > self.options.max_body:
            raise BodyTooLarge(field="body")
        who = self.known(actor)
        if route.access != "anyone" and not self.has_key(route, request):
            _check_site(request, self.options)
            if who is None:
                raise Unauthenticated
            if route.access in ROLES:
                who.require(*ROLES[route.access])
        check_query(request, tuple(p.name for p in route.parameters if p.where == "query"))
        body = read_body(request, route.body, self.options.max_body) if route.body else None
        return Call(engine=self.engine, request=request, options=self.options, actor=who, body=body)

    def known(self, actor: Actor | None) -> Actor | None:
        """Return the actor with the roles that billing's own setting gives to users without any."""
        if actor is None:
            return None
        parse_opaque(actor.user_id, field="user_id")
        return actor if actor.roles else attrs.evolve(actor, roles=self.options.roles(actor.user_id))

    def _written(self, route: Route, answer: Answer) -> Response:
        status = int(answer.status or route.status)
        body: Any = answer.value
        made = Response(status=status, headers=answer.headers, body=body if isinstance(body, bytes) else dumps(body))
        return made.with_headers((("Content-Type", route.produces),))


def pages_of(engine: Engine, options: Options) -> HttpApi:
    """Return the pages of an engine, which are routes like any other.

    Raises:
        MissingExtra: what draws them is not installed.

    """
    from evmbilling.integrations.pages import Pages

    return Pages(engine, options)


def correlation_of(request: Request) -> str:
    """Return the id under which a request is logged: the caller's where it is a plain word, else a fresh one."""
    given = request.header("x-correlation-id") or request.header("x-request-id") or ""
    return given if _CORRELATION.fullmatch(given) else uuid4().hex


def parse_query(raw: str) -> Pairs:
    """Return the pairs of a query string, doubled and empty ones too.

    Raises:
        HttpError: more parameters than anybody needs.

    """
    try:
        return tuple(parse_qsl(raw, keep_blank_values=True, max_num_fields=50, errors="replace"))
    except ValueError:
        raise HttpError("too many parameters", field="query") from None


def _dressed(response: Response, correlation: str) -> Response:
    return response.with_headers((*ALWAYS, ("X-Correlation-Id", correlation)))


def _check_length(request: Request) -> None:
    """Refuse a request whose end a proxy before this server may have seen elsewhere (request smuggling).

    Raises:
        AmbiguousLength: it says its length twice.

    """
    if request.header("transfer-encoding") is not None and request.header("content-length") is not None:
        raise AmbiguousLength(field="content-length")


def _check_site(request: Request, options: Options) -> None:
    """Refuse what a page of another site sends with the user's cookies.

    Browsers say where a request comes from (Fetch Metadata, ``Sec-Fetch-Site``; older ones ``Origin``), once. Callers
    that are no browsers send neither, and no cookies of a victim.

    Raises:
        CrossSite: it comes from elsewhere.

    """
    if request.method in _SAFE_METHODS or request.header("cookie") is None:
        return
    origin, site = request.header("origin"), request.header("sec-fetch-site")
    if any(len(request.headers_named(name)) > 1 for name in ("origin", "sec-fetch-site")):
        raise CrossSite(field="origin")
    if origin is not None and options.knows(origin):
        return
    if site is not None and site not in ("same-origin", "none"):
        raise CrossSite(field="origin")
    if site is None and origin is not None:
        parts = split_web_url(origin)
        if parts is None or parts.netloc != request.header("host"):
            raise CrossSite(field="origin")
