# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/api.md`` from the docstrings and signatures of the public names.

::

    python tools/api_docs.py             write it
    python tools/api_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import attrs
from docstrings import markdown
from written import cell, keep

import evmbilling
from evmbilling import AsyncBillingEngine, BillingEngine, presets, proration, sqlite
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.engine.core import Engine
from evmbilling.engine.mandates.mandates import Mandates
from evmbilling.engine.operations import Operations
from evmbilling.engine.people.people import PeopleOperations
from evmbilling.engine.subscriptions.changes import ChangeOperations
from evmbilling.engine.subscriptions.subscriptions import SubscriptionOperations
from evmbilling.engine.worker_steps import WorkerSteps
from evmbilling.integrations import celery
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.integrations.http.options import Options

HEAD = """\
# API

Written by `tools/api_docs.py` from the docstrings of the public names.

What is public is what `evmbilling.__all__` holds and what the engine's methods return. Everything else may change in
any version; see [Compatibility](compatibility.md).

* An amount is an `int` of base units, and never a float: 19.99 of a token with 6 decimals is `19_990_000`.
* An instant is an aware `datetime`; answers are in UTC.
* An address is `0x` and 40 hex digits; answers have the EIP-55 checksum.
* Records are frozen. A page of them is asked for with `after` or `before` (the last id of the page before) and `limit`.
* Every call may raise `StorageError` when the database fails, and `RetryTransaction` inside `within`. A value of the
  wrong Python type is an `InputError` that names its parameter. The other errors stand with the methods, and are
  explained in [Errors](errors.md).
* A *desk* is a face for people with a role: `engine.admin(actor)` and the like. Each of its methods raises
  `PermissionDenied` when the actor's roles do not allow it.
"""
#: Longer signatures have a line for each parameter.
WIDTH = 100
ENGINE: dict[str, type] = {
    "Building one": BillingEngine,
    "Selling": Operations,
    "Subscriptions": SubscriptionOperations,
    "Changing a subscription": ChangeOperations,
    "People, wallets, quota": PeopleOperations,
    "Paying, webhooks, desks": Engine,
    "Work that workers do": WorkerSteps,
}
"""The classes of which an engine is made, by what they are for."""


def desks() -> dict[str, type]:
    """The desks of an engine: the expression that gives one, and its class. ``engine.mandates`` needs no actor."""
    found = {
        f"engine.{name}(actor)": _returned(function)
        for name, function in public(BillingEngine, inherited=True).items()
        if [*inspect.signature(function).parameters] == ["self", "actor"]
    }
    return dict(sorted(found.items())) | {"engine.mandates": Mandates}


def _returned(function: Any) -> type:
    found: type = vars(inspect.getmodule(function))[inspect.signature(function).return_annotation]
    return found


def public(owner: type, *, inherited: bool = False) -> dict[str, Any]:
    """The public functions of a class, in the order of the source: methods, and the functions behind properties."""
    classes = [c for c in owner.__mro__ if c is not object] if inherited else [owner]
    found: dict[str, Any] = {}
    for each in classes:
        for name, value in vars(each).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if not name.startswith("_") and inspect.isfunction(function):
                found.setdefault(name, function)
    return found


def render() -> str:
    """The whole page."""
    lines = [HEAD, "## `BillingEngine`\n"]
    for title, owner in ENGINE.items():
        lines += [f"### {title}\n", *(markdown(owner.__doc__) if owner is BillingEngine else ())]
        lines += methods(owner)
    lines += ["## `AsyncBillingEngine`\n", *markdown(AsyncBillingEngine.__doc__)]
    for expression, owner in desks().items():
        lines += [f"## `{expression}`\n", *markdown(owner.__doc__), *methods(owner, inherited=True)]
    lines += ["## Records\n"]
    for name in evmbilling.__all__:
        value = getattr(evmbilling, name)
        if inspect.isclass(value) and value not in {BillingEngine, AsyncBillingEngine}:
            lines += [f"### `{name}`\n", *markdown(value.__doc__), *_fields(value)]
    lines += ["## Mounting it\n"]
    for place, record in (("fastapi", FastApiBilling), ("flask", FlaskBilling), ("http.options", Options)):
        lines += [f"### `{record.__name__}`\n", f"`evmbilling.integrations.{place}.{record.__name__}`\n"]
        lines += thing(record, record.__name__)
    lines += ["## Other modules\n"]
    for module in (presets, proration, sqlite, celery):
        lines += [f"### `{module.__name__}`\n", *markdown(module.__doc__)]
        lines += [line for name in module.__all__ if name[0].islower() for line in thing(getattr(module, name), name)]
    lines += ["## What administrators configure\n"]
    for record in (Network, PaymentGateway, PaymentContract, SubscriptionPlan):
        lines += [f"### `{record.__name__}`\n", *markdown(record.__doc__), *_fields(record)]
    return "\n".join(lines).rstrip() + "\n"


def thing(value: Any, name: str) -> Iterator[str]:
    """A function, or a class with its constructor, fields and methods: signatures and docstrings."""
    owner = value if inspect.isclass(value) else None
    made = value if owner is None else value.__init__
    yield from ("```python no-run", _signature_of(name, made, returns=owner is None), "```", "")
    yield from markdown(inspect.getdoc(value))
    if owner is not None:
        yield from methods(owner, inherited=True)


def methods(owner: type, *, inherited: bool = False) -> Iterator[str]:
    """Every public function of a class: a heading, its signature, its docstring."""
    for name, function in public(owner, inherited=inherited).items():
        yield f"#### `{name}`\n"
        yield from ("```python no-run", _signature(name, owner, function), "```", "")
        yield from markdown(inspect.getdoc(function))


def _signature(name: str, owner: type, function: Any) -> str:
    if isinstance(inspect.getattr_static(owner, name), property):
        return f"{name}: {_annotation(inspect.signature(function).return_annotation)}"
    return _signature_of(name, function)


def _signature_of(name: str, function: Any, *, returns: bool = True) -> str:
    whole = inspect.signature(function)
    mine = [p for p in whole.parameters.values() if p.name not in {"self", "cls"}]
    parts: list[str] = []
    for place, parameter in enumerate(mine):
        if parameter.kind is parameter.KEYWORD_ONLY and (
            place == 0 or mine[place - 1].kind not in {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}
        ):
            parts.append("*")
        parts.append(_parameter(function, parameter))
    end = f") -> {_annotation(whole.return_annotation)}" if returns else ")"
    short = f"{name}({', '.join(parts)}{end}"
    if len(short) <= WIDTH:
        return short
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + end


def _parameter(function: Any, parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    shown = f"{stars}{parameter.name}: {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return shown
    return f"{shown} = {_default(function, parameter.default)}"


def _default(function: Any, value: Any) -> str:
    """A default; by its name where it is more than a plain value, and dots where it has none."""
    if value is None or isinstance(value, str | int | tuple):
        return repr(value).replace("'", '"')
    around = vars(inspect.getmodule(function) or inspect)
    return next((name for name, known in around.items() if known is value), "...")


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "Any"
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def words_of(record: type, annotation: str) -> str:
    """The words of a closed set, where an annotation in the module of a record names one."""
    named = getattr(sys.modules[record.__module__], annotation.partition(" | ")[0], None)
    if get_origin(named) is Literal:
        return ": " + ", ".join(f"`{word}`" for word in get_args(named))
    members = getattr(named, "__members__", {}) if inspect.isclass(named) else {}
    return ": " + ", ".join(f"`{member.value}`" for member in members.values()) if members else ""


def _fields(record: type) -> Iterator[str]:
    """The fields of a record, or the members of an enumeration."""
    if attrs.has(record):
        yield "| field | type |"
        yield "|---|---|"
        for field in attrs.fields(record):
            if not field.name.startswith("_"):
                kind = _annotation(field.type)
                yield f"| `{field.name}` | {cell(f'`{kind}`{words_of(record, kind)}')} |"
        yield ""
    members = getattr(record, "__members__", {})
    if members:
        yield "Members: " + ", ".join(f"`{name}`" for name in members) + ".\n"
    for name, function in public(record).items():
        if isinstance(inspect.getattr_static(record, name), property):
            first = (inspect.getdoc(function) or "").partition("\n\n")[0]
            yield f"* `{name}`: {' '.join(first.split()).replace('``', '`')}"
        else:
            yield f"* `{_signature(name, record, function)}`: " + " ".join(
                (inspect.getdoc(function) or "").partition("\n\n")[0].split()
            ).replace("``", "`")
    yield ""


if __name__ == "__main__":
    keep("api.md", render(), tool="api_docs.py")
