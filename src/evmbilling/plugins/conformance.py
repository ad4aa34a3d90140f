"""Whether a class or an object has the operations of a port, as the engine calls them.

Types alone do not show it at run time: a misspelt method, an ``async def``, a renamed keyword would fail when money
moves. The rule is: every call that the port's signature allows must be accepted, without ``await``. Annotations are
left to type checkers.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from types import FunctionType, MethodType
from typing import Any

_ABSENT = object()
_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_ARGS = inspect.Parameter.VAR_POSITIONAL
_KWARGS = inspect.Parameter.VAR_KEYWORD


def problems(target: object, port: type) -> tuple[str, ...]:
    """Return what keeps a class, or a built object, from being a ``port``: one sentence an operation, by name.

    No property is read and nothing is called. A class must declare what the port has as a property: by a property, a
    class attribute or an annotation.
    """
    lasts = isinstance(target, type) and type(target).__hash__ is not None  # a metaclass may leave classes without one
    return _problems_of_class(target, port) if lasts else _problems(target, port)


@lru_cache(maxsize=256)
def _problems_of_class(target: type, port: type) -> tuple[str, ...]:
    """Return what every engine that is opened asks for anew, and what is a class's for good."""
    return _problems(target, port)


def _problems(target: object, port: type) -> tuple[str, ...]:
    return tuple(
        f"{name}: {problem}"
        for name, wanted in _sorted_operations(port)
        for problem in _problems_of_one(target, name, wanted)
    )


def operations(port: type) -> dict[str, Any]:
    """Return the public operations of a Protocol, inherited ones too, as they stand in its class bodies."""
    found: dict[str, Any] = {}
    for base in reversed(port.__mro__):
        if getattr(base, "_is_protocol", False) and base.__module__ != "typing":
            found |= {name: property() for name in inspect.get_annotations(base) if not name.startswith("_")}
            found |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    return found


@cache
def _sorted_operations(port: type) -> list[tuple[str, Any]]:
    """Return what every engine that is opened asks for anew."""
    return sorted(operations(port).items())


@lru_cache(maxsize=1024)
def _signature(function: FunctionType) -> inspect.Signature:
    """Return the signature of a plain function, which nobody changes; reading one costs more than comparing it."""
    return inspect.signature(function)


def _parameters(value: Any) -> list[inspect.Parameter]:
    """Return what a callable is called with, without what it is bound to."""
    if isinstance(value, MethodType) and isinstance(value.__func__, FunctionType):
        given = list(_signature(value.__func__).parameters.values())
        if given and given[0].kind in (_POSITIONAL_ONLY, _EITHER):
            return given[1:]
    signature = _signature(value) if isinstance(value, FunctionType) else inspect.signature(value)
    return list(signature.parameters.values())


def _problems_of_one(target: object, name: str, wanted: Any) -> Iterator[str]:
    held = inspect.getattr_static(target, name, _ABSENT)
    if held is _ABSENT and not inspect.isclass(target):
        # A proxy answers through __getattr__; there is nothing static to look at.
        held = getattr(target, name, _ABSENT)
    # Who inherits from the Protocol itself has its empty bodies, which do nothing.
    if held is wanted or (held is _ABSENT and not (isinstance(wanted, property) and _annotated(target, name))):
        yield "missing"
    elif isinstance(wanted, property):
        yield from _property_problems(held)
    elif held is None:
        yield "missing"
    elif isinstance(held, property | cached_property):
        yield "a property, but the port has a method"
    else:
        yield from _method_problems(target, name, held, wanted)


def _annotated(target: object, name: str) -> bool:
    return inspect.isclass(target) and any(name in inspect.get_annotations(base) for base in target.__mro__)


def _property_problems(held: object) -> Iterator[str]:
    getter = held.fget if isinstance(held, property) else held.func if isinstance(held, cached_property) else None
    if getter is not None and inspect.iscoroutinefunction(getter):
        yield "an async property; the engine reads it without await"
    elif isinstance(held, staticmethod | classmethod) or inspect.isfunction(held) or inspect.ismethod(held):
        yield "a method, but the port has a property"


def _method_problems(target: object, name: str, held: object, wanted: Any) -> Iterator[str]:
    value = getattr(target, name)
    if not callable(value):
        yield "not callable, but the port has a method"
        return
    body = value if inspect.isroutine(value) or inspect.isclass(value) else getattr(value, "__call__", value)  # noqa: B004  - the body is inspected, not tested for
    if inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(inspect.unwrap(body)):
        yield "async def; the engine calls it without await"
        return
    if inspect.isgeneratorfunction(body):
        yield "a generator function: calling it runs nothing (is @contextmanager missing?)"
        return
    try:
        given = _parameters(value)
    except (ValueError, TypeError):
        yield "its parameters cannot be read"
        return
    if inspect.isclass(target) and inspect.isfunction(value) and not isinstance(held, staticmethod):
        given = given[1:]
    yield from signature_problems(given, _parameters(wanted)[1:])


def signature_problems(given: list[inspect.Parameter], wanted: list[inspect.Parameter]) -> Iterator[str]:
    """Yield the ways in which a call made for ``wanted`` does not fit ``given``; both without ``self``."""
    kinds = {p.kind for p in given}
    catch_all = {_ARGS, _KWARGS} <= kinds
    slots = [p for p in given if p.kind in (_POSITIONAL_ONLY, _EITHER)]
    named = {p.name: p for p in given if p.kind in (_EITHER, _KEYWORD_ONLY)}
    position = 0
    for want in wanted:
        match: inspect.Parameter | None = None
        if want.kind is _EITHER:
            match = slots[position] if position < len(slots) else None
            position += 1
            if match is None and not catch_all:
                yield f"lacks parameter {position}, {want.name!r}"
            elif match is not None and match.name != want.name:
                yield f"parameter {position} is called {match.name!r}, the port calls it {want.name!r}"
            elif match is not None and match.kind is _POSITIONAL_ONLY:
                yield f"parameter {want.name!r} cannot be given by keyword"
        elif want.kind is _KEYWORD_ONLY:
            match = named.get(want.name)
            if match is None and _KWARGS not in kinds:
                yield f"lacks the keyword parameter {want.name!r}"
        elif want.kind not in kinds:
            yield f"lacks {'*' if want.kind is _ARGS else '**'}{want.name}"
        if match is not None and want.default is not want.empty and match.default is match.empty:
            yield f"parameter {match.name!r} needs a default"
    yield from _unexpected(given, wanted, position)


def _unexpected(given: list[inspect.Parameter], wanted: list[inspect.Parameter], position: int) -> Iterator[str]:
    names = {p.name for p in wanted}
    slots = [p for p in given if p.kind in (_POSITIONAL_ONLY, _EITHER)]
    extra = slots[position:] + [p for p in given if p.kind is _KEYWORD_ONLY]
    for parameter in extra:
        if parameter.default is parameter.empty and parameter.name not in names:
            yield f"demands a parameter {parameter.name!r} that the port does not give"
