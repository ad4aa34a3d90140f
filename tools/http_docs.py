# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/http.md`` from the OpenAPI document that the API serves.

::

    python tools/http_docs.py             write it
    python tools/http_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from docstrings import markdown, plain
from written import cell, keep

from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.openapi import openapi
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.http.routes import Route
from evmbilling.integrations.pages import Pages
from evmbilling.testing.merchant import simulated_merchant

WHO = {
    "anyone": "For anyone.",
    "user": "For users who are signed in.",
    "finance_ops": "For the roles `finance_ops` and `billing_admin`.",
    "billing_admin": "For the role `billing_admin`.",
}
HEAD = """\
# HTTP

Written by `tools/http_docs.py` from the OpenAPI document, which is served at `/v1/billing/openapi.json` beside the API.
Both hosts, FastAPI and Flask, mount exactly these routes under `/v1/billing`, or where you say; metrics and pages
are elsewhere, and say so.

* **Who asks** is said by the host's `identity` callable, for every request. No `user_id` is taken from a body.
* **Amounts** are strings of base units beside a display string; instants are RFC 3339 in UTC; a wallet's payload is
  ready for `eth_sendTransaction`.
* **Pages** have `items` and `next`; give `next` back as `cursor` to go on.
* **Errors** are problem documents (RFC 9457, `application/problem+json`) with a stable `code`; what each means and what
  to do about it stands in [Errors](errors.md). Every route may also answer 400 `bad_request`, `broken_body` and
  `ambiguous_length`, 413 `too_large`, 422 `invalid_input`, 503 `retry_transaction`, and, for what is our fault, 500
  `internal_error` with a `correlation_id` that the log has. Routes for users may answer 401 `unauthenticated` and 403
  `permission_denied`, or `cross_site` where they change something; those with a body 415 `unsupported_media_type` and
  422 `invalid_body`, `invalid_address` and `invalid_amount`. These are not repeated below.
"""
EVERYWHERE = {
    "bad_request",
    "invalid_input",
    "unauthenticated",
    "permission_denied",
    "too_large",
    "unsupported_media_type",
    "invalid_body",
    "invalid_address",
    "invalid_amount",
    "internal_error",
    "retry_transaction",
    "ambiguous_length",
    "broken_body",
    "cross_site",
}
SHAPE = "#/components/schemas/"


def render() -> str:
    """The whole page."""
    engine = simulated_merchant(seed=1).engine
    routes = HttpApi(engine).routes
    document = openapi(routes, prefix="")
    lines = [HEAD]
    order = {tag: place for place, tag in enumerate(dict.fromkeys(route.tag for route in routes))}
    for tag, group in groupby(sorted(routes, key=lambda route: (order[route.tag], route.path)), lambda r: r.tag):
        lines.append(f"## {tag[0].upper()}{tag[1:]}\n")
        for route in group:
            lines += _route(route, document["paths"][route.path][route.method.lower()])
    lines += _pages(Pages(engine, Options()))
    lines.append("## Shapes\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _shape(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _pages(pages: Pages) -> Iterator[str]:
    yield "## Pages\n"
    yield f"Below `{pages.prefix}`, where the host asked for them; see [the pages](../how-to/pages.md).\n"
    yield "| route | who | what |"
    yield "|---|---|---|"
    for route in sorted(pages.routes, key=lambda route: (route.tag != "pages", route.path, route.method)):
        who = WHO[route.access].removeprefix("For ").rstrip(".")
        yield f"| {route.method} `{route.path}` | {cell(who)} | {cell(plain(route.summary))} |"
    yield ""


def _route(route: Route, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {route.method} `{route.path}`\n"
    where = " At this path from the root of the host, or at `Options.metrics_path`." if route.outside else ""
    yield f"{plain(route.summary)}. *{WHO[route.access]}*{where}\n"
    yield from markdown(route.text) if route.text else ()
    told = [p for p in operation["parameters"] if p["in"] != "path"]
    if told:
        yield "| parameter | kind | meaning |"
        yield "|---|---|---|"
        for p in told:
            kind = f"{p['in']}, {type_of(p['schema'])}{', required' if p['required'] else ''}"
            yield f"| `{p['name']}` | {kind} | {cell(plain(p['description']))} |"
        yield ""
    body = operation.get("requestBody")
    if body is not None:
        yield f"Body: {type_of(body['content']['application/json']['schema'])}.\n"
    yield "\n".join(_answers(operation["responses"])) + "\n"


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    for status, response in responses.items():
        ((media, content),) = response["content"].items()
        if media == "application/problem+json":
            codes = [code for code in response["description"].partition(": ")[2].split(", ") if code not in EVERYWHERE]
            if codes:
                yield f"* {status}: {', '.join(f'`{code}`' for code in codes)}"
        else:
            yield f"* {status}: {type_of(content['schema']) if 'schema' in content else f'`{media}`'}"


def _shape(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{name}`\n"
    if "description" in schema:
        yield plain(" ".join(schema["description"].split())) + "\n"
    if "properties" not in schema:
        yield f"{type_of(schema)}\n"
        return
    yield "| field | type | more |"
    yield "|---|---|---|"
    required = set(schema.get("required", ()))
    for field, inner in schema["properties"].items():
        told = [inner["description"]] if "description" in inner else []
        told += [f"`{inner['default']}` when left out"] if inner.get("default") is not None else []
        told += [] if field in required else ["may be absent"] if "default" not in inner else []
        yield f"| `{field}` | {cell(type_of(inner))} | {cell('; '.join(told))} |"
    yield ""


def type_of(schema: Mapping[str, Any]) -> str:
    """A schema in words; shapes as links."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SHAPE)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(type_of(each) for each in schema["anyOf"])
    words = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if words:
        return ", ".join(f"`{word}`" for word in words)
    return _made_of(schema)


def _made_of(schema: Mapping[str, Any]) -> str:
    kind = str(schema.get("type", "any JSON"))
    below = schema.get("items") if kind == "array" else schema.get("additionalProperties")
    shown = {"array": "list"}.get(kind, kind)
    return f"{shown} of {type_of(below)}" if isinstance(below, dict) and below else shown


if __name__ == "__main__":
    keep("http.md", render(), tool="http_docs.py")
