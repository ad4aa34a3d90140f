"""The rule by which a class is held against its port, as tables of what is wrong and how it is said."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import pytest
from attrs import define

from evmbilling.plugins.conformance import operations, problems


class Port(Protocol):
    @property
    def size(self) -> int: ...

    def use(self, user_id: str, limit: str, amount: int = 1) -> bool: ...

    def find(self, *, after: str = "", limit: int = 100) -> str: ...

    def open(self) -> object: ...


class WiderPort(Port, Protocol):
    def count(self, name: str, **labels: str) -> None: ...

    def pick(self, *names: str) -> None: ...


class Good:
    size = 3

    def use(self, user_id, limit, amount=1): ...

    def find(self, *, after="", limit=100): ...

    def open(self): ...


def variant(**changes):
    """A class like Good with some attributes replaced; None removes one."""
    body = {name: value for name, value in vars(Good).items() if not name.startswith("__")} | changes
    return type("Variant", (), {name: value for name, value in body.items() if value is not None})


@contextmanager
def a_context(self):
    yield


@asynccontextmanager
async def an_async_context(self):
    yield


async def coroutine(self): ...


def generator(self):
    yield


class AsyncCall:
    async def __call__(self): ...


class Call:
    def __call__(self): ...


FITTING = [
    variant(),
    variant(size=property(lambda self: 1)),
    variant(size=functools.cached_property(lambda self: 1)),
    variant(size=None, __annotations__={"size": int}),
    variant(use=lambda self, *args, **kwargs: None),
    variant(use=lambda self, user_id, limit, amount=1, more=2: None),
    variant(use=staticmethod(lambda user_id, limit, amount=1: None)),
    variant(use=classmethod(lambda cls, user_id, limit, amount=1: None)),
    variant(find=lambda self, limit=1, after="": None),
    variant(find=lambda self, **anything: None),
    variant(open=a_context),
    variant(open=functools.partialmethod(lambda self, extra: None, 1)),
    variant(open=Call()),
    define(type("Slotted", (Good,), {"__annotations__": {"size": int}})),
]


@pytest.mark.parametrize("cls", FITTING)
def test_fitting_classes_have_no_problems(cls):
    assert problems(cls, Port) == ()


WRONG = [
    (variant(use=None), "use: missing"),
    (variant(size=None), "size: missing"),
    (type("NoBodies", (Port,), {}), "open: missing"),
    (variant(size=lambda self: 1), "size: a method, but the port has a property"),
    (variant(size=property(coroutine)), "size: an async property; the engine reads it without await"),
    (variant(open=property(lambda self: 1)), "open: a property, but the port has a method"),
    (variant(open=3), "open: not callable, but the port has a method"),
    (variant(open=coroutine), "open: async def; the engine calls it without await"),
    (variant(open=an_async_context), "open: async def; the engine calls it without await"),
    (variant(open=AsyncCall()), "open: async def; the engine calls it without await"),
    (variant(open=generator), "open: a generator function: calling it runs nothing (is @contextmanager missing?)"),
    (variant(use=lambda self, user_id: None), "use: lacks parameter 2, 'limit'"),
    (variant(use=lambda self, *args: None), "use: lacks parameter 1, 'user_id'"),
    (
        variant(use=lambda self, limit, user_id, amount=1: None),
        "use: parameter 1 is called 'limit', the port calls it 'user_id'",
    ),
    (
        variant(use=lambda self, user_id, /, limit, amount=1: None),
        "use: parameter 'user_id' cannot be given by keyword",
    ),
    (variant(use=lambda self, user_id, limit, amount: None), "use: parameter 'amount' needs a default"),
    (
        variant(use=lambda self, user_id, limit, amount=1, *, shard: None),
        "use: demands a parameter 'shard' that the port does not give",
    ),
    (variant(open=lambda self, mode: None), "open: demands a parameter 'mode' that the port does not give"),
    (variant(find=lambda self, *, after="": None), "find: lacks the keyword parameter 'limit'"),
    (variant(find=lambda self, *, after="", limit: None), "find: parameter 'limit' needs a default"),
]


@pytest.mark.parametrize(("cls", "expected"), WRONG)
def test_misfits_are_named(cls, expected):
    assert expected in problems(cls, Port)


@pytest.mark.parametrize(("cls", "expected"), WRONG)
def test_built_objects_are_held_to_the_same_rule(cls, expected):
    assert expected in problems(object.__new__(cls), Port)


def test_every_problem_is_listed_at_once():
    cls = variant(use=None, open=coroutine, find=lambda self, *, since: None)
    assert problems(cls, Port) == (
        "find: lacks the keyword parameter 'after'",
        "find: lacks the keyword parameter 'limit'",
        "find: demands a parameter 'since' that the port does not give",
        "open: async def; the engine calls it without await",
        "use: missing",
    )


def test_inherited_operations_and_catch_alls_of_a_port_are_wanted():
    assert set(operations(WiderPort)) == {"size", "use", "find", "open", "count", "pick"}
    cls = variant(count=lambda self, name: None, pick=lambda self: None)
    assert problems(cls, WiderPort) == ("count: lacks **labels", "pick: lacks *names")
    assert problems(variant(count=lambda self, name, **kw: None, pick=lambda self, *a: None), WiderPort) == ()


def test_a_declared_property_must_be_there_once_built():
    cls = variant(size=None, __annotations__={"size": int})
    assert problems(cls, Port) == ()
    assert problems(cls(), Port) == ("size: missing",)


def test_a_proxy_answers_for_what_it_wraps():
    class Proxy:
        def __getattr__(self, name):
            return getattr(Good(), name)

    assert problems(Proxy(), Port) == ()


def test_looking_runs_no_property_and_no_operation():
    class Touchy:
        def _boom(self):
            raise AssertionError("run while it was only looked at")

        size = property(_boom)

        def use(self, user_id, limit, amount=1):
            self._boom()

        find = open = lambda self, **anything: Touchy._boom(self)

    assert problems(Touchy, Port) == ()
    assert problems(Touchy(), Port) == ()


def test_unreadable_parameters_are_a_problem():
    assert problems(variant(open=dict.update), Port) == ("open: its parameters cannot be read",)
    assert problems(variant(open=lambda: None)(), Port) == ("open: its parameters cannot be read",)


def test_a_class_without_a_hash_is_held_against_its_port_like_others():
    class Equal(type):  # noqa: PLW1641  - what is asked about
        def __eq__(cls, other):
            return True

    class Odd(Good, metaclass=Equal): ...

    class Missing(metaclass=Equal): ...

    assert problems(Odd, Port) == ()
    assert len(problems(Missing, Port)) == 4
