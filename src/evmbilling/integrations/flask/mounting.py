"""The blueprint: each route of the API as a rule of Flask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import attrs
from flask import Blueprint, Flask, abort, g
from flask import Request as HostRequest
from flask import Response as HostResponse
from flask import request as current
from flask.sansio.app import App
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import RequestEntityTooLarge

from evmbilling.domain.actors import Actor
from evmbilling.engine.core import Engine
from evmbilling.errors import BillingError
from evmbilling.integrations.http.api import HttpApi, pages_of, parse_query
from evmbilling.integrations.http.guards import finance_only, plan_needed, quota_needed
from evmbilling.integrations.http.messages import Request, Response
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.http.problems import BodyTooLarge, BrokenBody
from evmbilling.integrations.http.routes import Route

P = ParamSpec("P")
R = TypeVar("R")
Identity = Callable[[HostRequest], Actor | None]
"""Says who sends a request; None for nobody who is signed in."""
_EXACTLY: dict[str, Any] = {"strict_slashes": True, "merge_slashes": False}
"""Paths are taken as they are: Werkzeug would redirect others, to wherever the request's ``Host`` says."""


class FlaskBilling:
    """Billing for Flask applications.

    Args:
        engine: the engine; the host closes it.
        identity: says who sends a request.
        options: what the host decides.
        pages: whether the checkout page is served too (extra ``pages``).

    Attributes:
        blueprint: for ``app.register_blueprint``: the API.
        pages: the blueprint of the pages; None when they were not asked for.

    """

    def __init__(
        self, engine: Engine, *, identity: Identity, options: Options | None = None, pages: bool = False
    ) -> None:
        self.engine = engine
        self.api = HttpApi(engine, options)
        self._identity = identity
        self.blueprint = self._make_blueprint("evmbilling", self.api)
        self.pages = self._make_blueprint("evmbilling_pages", pages_of(engine, self.api.options)) if pages else None

    def init_app(self, app: Flask) -> None:
        """Mount the API on an application; several may share the engine."""
        app.register_blueprint(self.blueprint)
        if self.pages is not None:
            app.register_blueprint(self.pages)
        app.extensions["evmbilling"] = self

    # -- for the host's own routes

    def requires_plan(
        self, product: str | None = None, *, feature: str | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let users through who have access; else 402. ``g.billing_access`` holds the access."""

        def check(actor: Actor | None) -> None:
            g.billing_access = plan_needed(self.engine, actor, product, feature)

        return self._guard(check)

    def require_finance_ops(self) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let ``finance_ops`` and administrators through; else 403. ``g.billing_actor`` holds the actor."""

        def check(actor: Actor | None) -> None:
            g.billing_actor = finance_only(self.api.known(actor))

        return self._guard(check)

    def consumes(self, limit: str, amount: int = 1) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Take from a limit of the user's plan; 429 when not so much is left. ``g.billing_left`` holds the rest."""

        def check(actor: Actor | None) -> None:
            g.billing_left = quota_needed(self.engine, actor, limit, amount)

        return self._guard(check)

    # -- inside

    def _guard(self, check: Callable[[Actor | None], None]) -> Callable[[Callable[P, R]], Callable[P, R]]:
        def wrap(view: Callable[P, R]) -> Callable[P, R]:
            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                try:
                    check(self._identity(current))
                except BillingError as error:
                    abort(_sent(self.api.failed(error, _head(current, {}))))
                return view(*args, **kwargs)

            return guarded

        return wrap

    def _make_blueprint(self, name: str, api: HttpApi) -> Blueprint:
        blueprint = Blueprint(name, __name__, url_prefix=api.prefix)
        for route in api.routes:
            if route.outside:
                blueprint.record(partial(self._mount_outside, name, api, route))
                continue
            # Flask would answer HEAD and OPTIONS by itself: those stay with the last rule, like everything unknown.
            blueprint.add_url_rule(
                route.written("<", ">") or "/",
                endpoint=route.name,
                view_func=self._view(api, route),
                methods=[route.method],
                provide_automatic_options=False,
                **_EXACTLY,
            )
        blueprint.record(lambda state: _take_the_rest(state.app, name, api))
        return blueprint

    def _mount_outside(self, name: str, api: HttpApi, route: Route, state: BlueprintSetupState) -> None:
        """Add a rule that is not below the mount point."""
        endpoint, path = f"{name}.{route.name}", route.written("<", ">")
        state.app.url_map.add(state.app.url_rule_class(path, endpoint=endpoint, methods=[route.method], **_EXACTLY))
        state.app.view_functions[endpoint] = self._view(api, route)

    def _view(self, api: HttpApi, route: Route) -> Callable[..., HostResponse]:
        def view(**params: str) -> HostResponse:
            head = _head(current, params)
            if current.method != route.method:
                return _sent(api.wrong_method(route, head))
            try:
                query = parse_query(current.query_string.decode("latin-1"))
                asked = attrs.evolve(head, query=query, body=self._body())
                actor = None if api.has_key(route, head) else self._identity(current)
            except Exception as error:  # noqa: BLE001  # what the host's identity raises is answered like anything else
                return _sent(api.failed(error, head))
            return _sent(api.respond(route, asked, actor))

        return view

    def _body(self) -> bytes:
        # Werkzeug cuts a chunked body off where the limit is and says nothing: one byte more tells that it went on.
        current.max_content_length = self.api.options.max_body + 1
        try:
            return current.get_data(cache=True)
        except RequestEntityTooLarge:
            raise BodyTooLarge(field="body") from None
        except Exception:  # noqa: BLE001  # each server has errors of its own for a client that leaves or breaks off
            raise BrokenBody(field="body") from None


def _take_the_rest(app: App, name: str, api: HttpApi) -> None:
    """Add a rule for every other path and method: what is not there is answered by us too, in the same words."""

    def answer(rest: str) -> HostResponse:
        return _sent(api.no_route(_head(current, {}), "/" + rest))

    endpoint = f"{name}.rest"
    app.url_map.add(app.url_rule_class(f"{api.prefix}/<path:rest>", endpoint=endpoint, methods=None, **_EXACTLY))
    app.view_functions[endpoint] = answer


def create_blueprint(engine: Engine, *, identity: Identity, options: Options | None = None) -> Blueprint:
    """Return a blueprint with the whole API, for ``app.register_blueprint``.

    Args:
        engine, identity, options: as :class:`FlaskBilling`.

    """
    return FlaskBilling(engine, identity=identity, options=options).blueprint


def _head(request: HostRequest, params: dict[str, Any]) -> Request:
    """Return a request as ours, without its query and body."""
    return Request(
        method=request.method,
        path=request.path,
        params=params,
        headers=tuple((name, value) for name, value in request.headers.items()),
    )


def _sent(answer: Response) -> HostResponse:
    response = HostResponse(response=answer.body, status=answer.status)
    response.headers.clear()
    for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
        if name != "Connection":  # the server's own affair (PEP 3333)
            response.headers.add(name, value)
    return response
