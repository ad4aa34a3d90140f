"""The OpenAPI document, written from the routes: what is not in it does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NoReturn

import attrs
import msgspec
from attrs import frozen
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from evmbilling._version import __version__
from evmbilling.errors import (
    BillingError,
    InputError,
    InvalidAddress,
    InvalidAmount,
    PermissionDenied,
    RetryTransaction,
)
from evmbilling.integrations.http.problems import (
    AmbiguousLength,
    BodyTooLarge,
    BrokenBody,
    CrossSite,
    HttpError,
    InternalError,
    InvalidBody,
    ProblemDocument,
    Unauthenticated,
    UnsupportedMedia,
    status_of,
)
from evmbilling.integrations.http.routes import ROLES, Call, Parameter, Route
from evmbilling.integrations.http.samples import sample

_REF = "#/components/schemas/{model}"
_PROBLEM = "application/problem+json"
_EVERYWHERE: tuple[type[BillingError], ...] = (
    HttpError,
    AmbiguousLength,
    BrokenBody,
    CrossSite,
    BodyTooLarge,
    InputError,
    InternalError,
    RetryTransaction,
)
_WITH_BODY: tuple[type[BillingError], ...] = (UnsupportedMedia, InvalidBody, InvalidAddress, InvalidAmount)
_HINT = {"chain_id": 1, "tx_hash": "0x" + "5c" * 32}
_TEXTS = {
    "text/csv": "from,until,label,chain_id,token,symbol,received\r\n",
    "text/html": "<!doctype html>",
    "text/plain": 'evmbilling_network_halted{network="mainnet"} 0.0\n',
}
"""Examples of answers that are no JSON, by media type."""
_SAFE = frozenset({"GET", "HEAD"})


def openapi(routes: Sequence[Route], *, prefix: str, title: str = "Billing") -> dict[str, Any]:
    """Return the document (OpenAPI 3.1.0).

    Args:
        routes: what is served.
        prefix: where it is mounted.
        title: of the document.

    """
    written = _written(_without_handlers(routes))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = route.path if route.outside else prefix + route.path
        paths.setdefault(path, {})[route.method.lower()] = msgspec.json.decode(written.operations[route.name])
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__},
        "paths": paths,
        "components": {"schemas": msgspec.json.decode(written.components)},
    }


def inlined(routes: Sequence[Route]) -> dict[str, dict[str, Any]]:
    """Return what the document says of each route, by name, with the shapes written out in place of references."""
    written = _written(_without_handlers(routes))
    return {name: msgspec.json.decode(operation) for name, operation in written.whole.items()}


@frozen
class _Written:
    """What is said of routes, as JSON: whoever is given it may change it.

    Attributes:
        operations: of each route, by its name.
        whole: the same with no reference in it.
        components: what the operations refer to.

    """

    operations: dict[str, bytes]
    whole: dict[str, bytes]
    components: bytes


@lru_cache(maxsize=8)
def _written(routes: tuple[Route, ...]) -> _Written:
    """Write once what every host of this process serves: the shapes of a hundred routes take half a second."""
    schemas, components = _schemas(routes)
    operations = {route.name: _operation(route, schemas, components) for route in routes}
    return _Written(
        operations={name: msgspec.json.encode(operation) for name, operation in operations.items()},
        whole={
            name: msgspec.json.encode(_without_references(operation, components))
            for name, operation in operations.items()
        },
        components=msgspec.json.encode(components),
    )


def _without_handlers(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return routes as the document sees them: two APIs that serve the same have handlers of their own."""
    return tuple(attrs.evolve(route, handler=_documented, key=None) for route in routes)


def _documented(_: Call) -> NoReturn:
    raise AssertionError("a route of a document is not served")


def _without_references(value: Any, components: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_without_references(item, components) for item in value]
    if not isinstance(value, dict):
        return value
    named = value.get("$ref")
    if isinstance(named, str):
        return _without_references(components[named.rpartition("/")[2]], components)
    return {key: _without_references(item, components) for key, item in value.items()}


def errors_of(route: Route) -> dict[HTTPStatus, list[type[BillingError]]]:
    """Return what can go wrong on a route, by status."""
    kinds: list[type[BillingError]] = [*_EVERYWHERE, *route.errors]
    if route.access != "anyone":
        kinds.append(Unauthenticated)
        kinds += [PermissionDenied] if route.access in ROLES else []
        kinds += [] if route.method in _SAFE else [CrossSite]
    if route.body is not None:
        kinds += _WITH_BODY
    elif any(parameter.name == "wallet" for parameter in route.parameters):
        kinds.append(InvalidAddress)
    found: dict[HTTPStatus, list[type[BillingError]]] = {}
    for kind in dict.fromkeys(kinds):
        for status in _statuses(kind):
            found.setdefault(status, []).append(kind)
    return dict(sorted(found.items()))


def codes_of(route: Route) -> dict[HTTPStatus, list[str]]:
    """Return the codes that a route can answer with, by status."""
    return {status: sorted({kind.code for kind in kinds}) for status, kinds in errors_of(route).items()}


def _statuses(kind: type[BillingError]) -> Iterable[HTTPStatus]:
    many: tuple[int, ...] = getattr(kind, "statuses", ())
    return [HTTPStatus(status) for status in many] or [status_of(kind())]


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of every shape, and the components that they refer to."""
    shapes: dict[tuple[Any, JsonSchemaMode], TypeAdapter[Any]] = {}
    for route in routes:
        if route.body is not None:
            shapes[route.body, "validation"] = TypeAdapter(route.body)
        if route.answer is not None:
            shapes[route.answer, "serialization"] = TypeAdapter(route.answer)
    shapes[ProblemDocument, "serialization"] = TypeAdapter(ProblemDocument)
    made, shared = TypeAdapter.json_schemas(
        [(shape, mode, adapter) for (shape, mode), adapter in shapes.items()], ref_template=_REF
    )
    return {shape: schema for (shape, _), schema in made.items()}, shared.get("$defs", {})


def _operation(route: Route, schemas: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [_path_parameter(name) for name in route.params] + [_parameter(p) for p in route.parameters],
        "responses": _responses(route, schemas, components),
    }
    if route.text:
        operation["description"] = route.text
    if route.body is not None:
        shape = schemas[route.body]
        content = {"application/json": {"schema": shape, "example": sample(shape, components)}}
        operation["requestBody"] = {"required": _needs_body(route), "content": content}
    elif route.raw:
        content = {"application/json": {"schema": {"type": "object"}, "example": _HINT}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _needs_body(route: Route) -> bool:
    return route.body is not None and any(field.is_required() for field in route.body.model_fields.values())


def _responses(route: Route, schemas: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"example": _TEXTS.get(route.produces.partition(";")[0], "")}
    if route.answer is not None:
        good = {"schema": schemas[route.answer], "example": sample(schemas[route.answer], components)}
    responses: dict[str, Any] = {
        str(int(status)): {"description": status.phrase, "content": {route.produces: good}}
        for status in (route.status, *route.also)
    }
    codes = codes_of(route)
    for status, kinds in errors_of(route).items():
        responses[str(int(status))] = {
            "description": f"{status.phrase}: {', '.join(codes[status])}",
            "content": {_PROBLEM: _problem(schemas[ProblemDocument], status, codes[status], kinds[0])},
        }
    return responses


def _problem(shape: dict[str, Any], status: HTTPStatus, codes: list[str], kind: type[BillingError]) -> dict[str, Any]:
    """Return what a problem with a status looks like: its code is one of these."""
    narrow = {"properties": {"status": {"const": int(status)}, "code": {"enum": codes}}}
    example = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": kind.code,
        "detail": "…" if getattr(kind, "statuses", ()) else kind().message,
        "retry_safe": kind.retry_safe,
        "correlation_id": "4f6d0c8c2f7e4b1f9b7d3b8f1f0e9a55",
    }
    return {"schema": {"allOf": [shape, narrow]}, "example": example}


def _path_parameter(name: str) -> dict[str, Any]:
    shape = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": shape, "example": sample(shape, {}, name)}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.text,
        "schema": {"type": parameter.kind, **parameter.shape},
    }
    if parameter.example is not None:
        shown["example"] = parameter.example
    return shown
