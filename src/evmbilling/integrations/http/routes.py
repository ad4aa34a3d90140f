"""What a route is: one row of the table from which hosts mount, checks are made and OpenAPI is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from inspect import getdoc
from typing import Any, Literal, TypeVar

from attrs import field, frozen
from pydantic import BaseModel

from evmbilling.domain.actors import Actor, Role
from evmbilling.engine.core import Engine
from evmbilling.errors import (
    ArchivedPlan,
    BillingError,
    NetworkUnavailable,
    NotAllowed,
    UnknownAsset,
    UnknownNetwork,
    UnknownPlan,
)
from evmbilling.integrations.http.languages import language_of
from evmbilling.integrations.http.messages import Answer, Request
from evmbilling.integrations.http.options import Options

Access = Literal["anyone", "user", "finance_ops", "billing_admin"]
"""Who may ask: ``finance_ops`` stands for both roles, because who configures may look as well."""
SOLD: tuple[type[BillingError], ...] = (
    UnknownPlan,
    ArchivedPlan,
    UnknownNetwork,
    UnknownAsset,
    NotAllowed,
    NetworkUnavailable,
)
"""What can be wrong with what somebody wants to buy."""
ROLES: dict[Access, frozenset[Role]] = {
    "finance_ops": frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}),
    "billing_admin": frozenset({Role.BILLING_ADMIN}),
}
Handler = Callable[["Call"], Any]
INSTANT: Mapping[str, Any] = {"format": "date-time"}
"""The shape of an instant in a query."""
H = TypeVar("H", bound=Handler)
_PARAM = re.compile(r"\{(\w+)\}")


@frozen(kw_only=True)
class Parameter:
    """A parameter of the query or a header.

    Attributes:
        kind: ``integer`` values are read by the handler; everything arrives as text.
        shape: what else JSON Schema can say of the value.

    """

    name: str
    where: Literal["query", "header"] = "query"
    text: str
    kind: Literal["string", "integer", "boolean"] = "string"
    required: bool = False
    example: str | int | bool | None = None
    shape: Mapping[str, Any] = field(factory=dict, hash=False)


LANG = (Parameter(name="lang", text="`en` or `ru`; otherwise as the browser asks, or the host says.", example="ru"),)
"""The language of what people read."""


@frozen(kw_only=True)
class Call:
    """One request on its way through a handler.

    Attributes:
        actor: who asks; None for nobody in particular, on routes that anyone may use.
        body: of the class that the route names; None without one.

    """

    engine: Engine
    request: Request
    options: Options
    actor: Actor | None = None
    body: Any = field(default=None, repr=False)

    @property
    def user(self) -> str:
        """The id of the user who asks; only on routes for users."""
        return self.who.user_id

    @property
    def who(self) -> Actor:
        """Who asks; only on routes that are not for anyone."""
        if self.actor is None:
            raise LookupError("this route was let through without an actor")
        return self.actor

    @property
    def language(self) -> str:
        """The language of who asks, among those that we speak."""
        return language_of(self.request, self.options.language)

    def param(self, name: str) -> str:
        """Return what the template matched."""
        return self.request.params[name]


@frozen(kw_only=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        name: unique; the ``operationId``.
        path: template below the mount point.
        handler: returns a value of the shape ``answer``, or an :class:`Answer`.
        body: the class of the JSON body; None for none. ``raw`` gives the handler the bytes instead.
        answer: the shape of a good answer; None for bytes that are no JSON.
        produces: its media type.
        errors: what can go wrong beside what can go wrong everywhere.
        outside: its path is not below the mount point, where everything else is the host's.
        key: whether a request brings a credential of the route's own, which takes the place of an actor.

    """

    name: str
    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    text: str = ""
    tag: str
    body: type[BaseModel] | None = None
    raw: bool = False
    answer: Any = None
    produces: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK
    also: tuple[HTTPStatus, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[BillingError], ...] = ()
    outside: bool = False
    key: Callable[[Request, Options], bool] | None = None

    @property
    def params(self) -> tuple[str, ...]:
        """The names in the template."""
        return tuple(_PARAM.findall(self.path))

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its paths look like."""
        return re.compile(_PARAM.sub(r"(?P<\1>[^/]+)", self.path))

    def written(self, start: str, end: str) -> str:
        """Return the template with its parameters between other marks, as frameworks write them."""
        return _PARAM.sub(lambda found: f"{start}{found[1]}{end}", self.path)


class RouteTable:
    """The routes of one part of the API, as its module declares them.

    Args:
        tag: the heading in OpenAPI.
        access: who may ask, where a route says nothing else.
        prefix: in front of its paths.

    """

    def __init__(self, tag: str, *, access: Access, prefix: str = "") -> None:
        self._tag = tag
        self._access = access
        self._prefix = prefix
        self.routes: list[Route] = []

    def get(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare a route that reads."""
        return self._declare("GET", path, more)

    def post(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare a route that does something."""
        return self._declare("POST", path, more)

    def patch(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare a route that changes fields."""
        return self._declare("PATCH", path, more)

    def delete(self, path: str, **more: Any) -> Callable[[H], H]:
        """Declare a route that takes something out of use."""
        return self._declare("DELETE", path, more)

    def _declare(self, method: str, path: str, more: dict[str, Any]) -> Callable[[H], H]:
        def keep(handler: H) -> H:
            summary, _, text = (getdoc(handler) or "").partition("\n\n")
            made: dict[str, Any] = {
                "name": handler.__name__,
                "method": method,
                "path": self._prefix + path,
                "handler": handler,
                "access": self._access,
                "summary": " ".join(summary.split()).rstrip("."),
                "text": text,
                "tag": self._tag,
            }
            self.routes.append(Route(**(made | more)))
            return handler

        return keep


def joined(tables: Sequence[RouteTable]) -> tuple[Route, ...]:
    """Return the routes of several tables; templates without parameters stand before those that would match them."""
    routes = [route for table in tables for route in table.routes]
    return tuple(sorted(routes, key=lambda route: len(route.params)))


def value_of(answered: object) -> Answer:
    """Return what a handler returned as an answer."""
    return answered if isinstance(answered, Answer) else Answer(value=answered)
