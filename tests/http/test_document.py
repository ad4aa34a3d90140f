"""The OpenAPI document says everything: each status, each code, and examples that are what they say they are."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from typing import Any, get_type_hints

import attrs
import pytest
from jsonschema import Draft202012Validator

from evmbilling import errors
from evmbilling.engine.core import Engine
from evmbilling.integrations.http import problems
from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.openapi import codes_of
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.http.routes import Route
from evmbilling.integrations.pages import Pages
from evmbilling.testing.merchant import simulated_merchant

API = HttpApi(simulated_merchant(seed=9).engine)
DOCUMENT = API.document
OURS = {"storage_error", "configuration", "lease_lost", "host_transaction", "plugin", "schema", "append_only"}
"""Codes of what is our fault or the host's: told as ``internal_error``."""
CANNOT = {
    ("create_checkout", "NotFound"),
    ("history", "NotFound"),
    ("my_history", "NotFound"),
    ("find_orders", "NotFound"),
}
"""What a method raises and cannot here: the order was made a moment before; a cursor that names none is bad input."""


def parts(operation: dict[str, Any]):
    """Give every content of an operation with where it is."""
    if "requestBody" in operation:
        yield from (("request", content) for content in operation["requestBody"]["content"].values())
    for status, response in operation["responses"].items():
        yield from ((status, content) for content in response["content"].values())


@pytest.mark.parametrize("route", API.routes, ids=lambda route: route.name)
def test_every_example_is_of_its_shape(route: Route):
    operation = DOCUMENT["paths"][API.path_of(route)][route.method.lower()]
    for where, content in parts(operation):
        assert "example" in content, where
        if "schema" in content:
            whole = content["schema"] | {"components": DOCUMENT["components"]}
            assert not list(Draft202012Validator(whole).iter_errors(content["example"])), where
    for parameter in operation["parameters"]:
        if "example" in parameter:
            assert not list(Draft202012Validator(parameter["schema"]).iter_errors(parameter["example"]))


@pytest.mark.parametrize("route", API.routes, ids=lambda route: route.name)
def test_every_status_has_its_codes(route: Route):
    operation = DOCUMENT["paths"][API.path_of(route)][route.method.lower()]
    for status, codes in codes_of(route).items():
        (content,) = operation["responses"][str(int(status))]["content"].values()
        assert content["schema"]["allOf"][1]["properties"]["code"] == {"enum": codes}
        assert content["example"]["code"] in codes
    assert {"400", "413", "422", "500", "503"} <= set(operation["responses"])
    assert ("401" in operation["responses"]) is (route.access != "anyone" or route.raw)


@pytest.mark.parametrize("route", API.routes, ids=lambda route: route.name)
def test_what_the_engine_raises_is_in_the_document(route: Route):
    """What the docstrings of the methods that a handler calls say they raise, by the code that it is told with."""
    said = {code for codes in codes_of(route).values() for code in codes}
    for method, raised in raised_by(route.handler):
        for name in raised:
            kind = getattr(errors, name, None) or getattr(problems, name)
            if (route.name, name) in CANNOT or kind in {errors.InputError, errors.PermissionDenied}:
                continue
            if kind.code in OURS:
                continue
            assert kind.code in said, f"{method} raises {name}"


def test_the_reference_names_every_mounted_route(project):
    text = project.joinpath("docs/reference/http.md").read_text("utf-8")
    pages = Pages(API.engine, Options())
    wanted = [f"### {route.method} `{route.path}`" for route in API.routes]
    wanted += [f"| {route.method} `{route.path}` |" for route in pages.routes]
    assert [line for line in wanted if line not in text] == []


def raised_by(handler: Any):
    """Give the names of errors in the docstrings of the engine's methods that a handler calls."""
    for function in functions_of(handler):
        held = {
            target.id: face_of(node.value)
            for node in ast.walk(tree_of(function))
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in calls_in(function):
            owner = node.func.value
            face = held.get(owner.id) if isinstance(owner, ast.Name) else face_of(owner)
            method = inspect.getattr_static(face, node.func.attr, None) if face else None
            if inspect.isfunction(method):
                yield f"{face.__name__}.{node.func.attr}", raises_of(method)


def functions_of(handler: Any) -> set[Any]:
    """Return a handler with the functions of the API that it calls, and those that they call."""
    seen, wait = set(), [handler]
    while wait:
        function = wait.pop()
        if function in seen:
            continue
        seen.add(function)
        named = (
            function.__globals__.get(node.id) for node in ast.walk(tree_of(function)) if isinstance(node, ast.Name)
        )
        wait += [one for one in named if inspect.isfunction(one) and one.__module__.startswith(HttpApi.__module__[:-4])]
    return seen


def calls_in(function: Any) -> list[ast.Call]:
    return [n for n in ast.walk(tree_of(function)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]


@cache
def tree_of(function: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def face_of(node: ast.AST) -> type | None:
    """Return the class of ``call.engine``, or of what it gives by a name or a call, where that is the engine's."""
    if ast.unparse(node) == "call.engine":
        return Engine
    asked = node.func if isinstance(node, ast.Call) else node
    if not isinstance(asked, ast.Attribute) or ast.unparse(asked.value) != "call.engine":
        return None
    found = inspect.getattr_static(Engine, asked.attr)
    answer = get_type_hints(found.fget if isinstance(found, property) else found).get("return")
    ours = inspect.isclass(answer) and answer.__module__.startswith("evmbilling.engine")
    return answer if ours and not attrs.has(answer) else None


def raises_of(method: Any) -> list[str]:
    text = inspect.getdoc(method) or ""
    section = text.partition("\nRaises:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+(?:, \w+)*):", section, re.MULTILINE)
    return [name for several in found for name in several.split(", ")]
