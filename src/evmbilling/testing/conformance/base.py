"""What all kits have in common: capabilities by name, standard tests that stay, and the clause that a test is of.

A kit is a class of standard tests. A plugin's author subclasses it, says what the plugin can do, and gives the
fixtures that the kit names. What pytest then collects is the author's class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])

_HOME = "evmbilling.testing.conformance"
_NEEDS = "_conformance_needs"
_REASON = "_conformance_reason"
_CLAUSE = "_conformance_clause"
_ROLE = re.compile(r":\w+:(`[\w.]+`)")
_CLAUSES = re.compile(r"^(\d+)\. (.+?)(?=^\d+\. |^\S|\Z)", re.MULTILINE | re.DOTALL)


def needs(*capabilities: str) -> Callable[[Test], Test]:
    """Mark a standard test that only runs where the plugin declares these capabilities."""

    def mark(test: Test) -> Test:
        setattr(test, _NEEDS, frozenset(capabilities))
        return test

    return mark


def of_clause(number: int) -> Callable[[Test], Test]:
    """Mark a standard test with the clause of the port's contract that it is of, where that is not its class's."""

    def mark(test: Test) -> Test:
        setattr(test, _CLAUSE, number)
        return test

    return mark


def deviates(reason: str) -> Callable[[Test], Test]:
    """Mark a test of your own that stands in for a standard test of the same name.

    The end of each run lists it with its reason, so that whoever relies on the plugin sees what was not kept.

    Args:
        reason: why the standard test does not hold here, in a sentence.

    """
    if not reason.strip():
        raise ValueError("a deviation needs a reason")

    def mark(test: Test) -> Test:
        setattr(test, _REASON, reason)
        return test

    return mark


def not_given(what: str) -> NoReturn:
    """Fail a test because its author has not given what the kit needs: a sentence that begins with its name."""
    pytest.fail(f"the kit needs {what}", pytrace=False)


class Kit:
    """The base of every kit.

    Attributes:
        port: the Protocol whose contract the kit checks; its docstring lists the clauses.
        capabilities: what the plugin can do, by name. Tests of what is not declared are not collected.
        known: every capability that the kit knows, and what it promises.
        clause: the clause that the tests of a class are of, unless a test says otherwise.

    """

    port: ClassVar[type]
    capabilities: ClassVar[frozenset[str]] = frozenset()
    known: ClassVar[Mapping[str, str]] = {}
    clause: ClassVar[int] = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if _is_ours(cls):
            return
        unknown = sorted(set(cls.capabilities) - set(cls.known))
        if unknown:
            told = "\n".join(f"  {name}: {meaning}" for name, meaning in sorted(cls.known.items()))
            raise TypeError(f"{cls.__name__} declares capabilities that no kit knows: {unknown}; known are\n{told}")
        for name, standard in standard_tests(cls).items():
            own = _own(cls, name)
            if own is not None and not getattr(own[0], _REASON, ""):
                raise TypeError(
                    f"{own[1].__name__}.{name} replaces a standard test of {_kit_of(cls).__name__}. Fix the plugin, or "
                    f"leave out the capability that it needs; if neither fits, mark yours with @deviates('why')"
                )
            if own is None:
                fits = _needed(standard) <= set(cls.capabilities)
                setattr(cls, name, standard if fits else None)

    def examples(self, number: int) -> int:
        """Return how many examples a property takes where the kit would take ``number``."""
        return number


def standard_tests(kit: type) -> dict[str, Callable[..., Any]]:
    """Return the standard tests of a kit by name, as they stand in this package."""
    return dict(_standard(kit))


@cache
def _standard(kit: type) -> Mapping[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(kit.__mro__):
        if _is_ours(base):
            found |= {name: value for name, value in vars(base).items() if name.startswith("test_")}
    return found


def deviations(kit: type) -> dict[str, str]:
    """Return the standard tests that a subclass replaces, and why."""
    if not issubclass(kit, Kit):
        return {}
    held = {name: str(getattr(getattr(kit, name, None), _REASON, "")) for name in standard_tests(kit)}
    return {name: reason for name, reason in held.items() if reason}


def clause_of(kit: type, name: str) -> int:
    """Return the number of the clause that a standard test is of."""
    for base in kit.__mro__:
        if _is_ours(base) and name in vars(base):
            return int(getattr(vars(base)[name], _CLAUSE, vars(base).get("clause", 0)))
    return 0


@cache
def contract(port: type) -> Mapping[int, str]:
    """Return the clauses of a port's contract, which the docstring of its module numbers."""
    text = _ROLE.sub(r"\1", inspect.getdoc(inspect.getmodule(port)) or "")
    return {int(number): " ".join(words.split()) for number, words in _CLAUSES.findall(text)}


def breach(kit: type, name: str) -> str:
    """Return which promise a failed standard test is about; empty for a test that is none."""
    if not issubclass(kit, Kit) or name not in standard_tests(kit):
        return ""
    number = clause_of(kit, name)
    words = contract(kit.port).get(number, "")
    return f"{kit.port.__name__}, clause {number}: {words}" if words else ""


def _own(kit: type, name: str) -> tuple[Any, type] | None:
    """Return what a class outside this package says a standard test is, and which class it is."""
    for base in kit.__mro__:
        if _is_ours(base):
            continue
        held = vars(base).get(name, _ABSENT)
        # What a base of the author's leaves out for want of a capability is no opinion of the author's.
        if held is not _ABSENT and held is not _standard(base).get(name) and not _left_out(base, name, held):
            return held, base
    return None


_ABSENT = object()


def _left_out(kit: type, name: str, held: object) -> bool:
    standard = _standard(kit).get(name)
    return held is None and not _needed(standard) <= set(getattr(kit, "capabilities", ()))


def _needed(standard: object) -> frozenset[str]:
    needed: frozenset[str] = getattr(standard, _NEEDS, frozenset())
    return needed


def _is_ours(kit: type) -> bool:
    return kit.__module__.startswith(_HOME)


def _kit_of(kit: type) -> type:
    return next(_kits(kit))


def _kits(kit: type) -> Iterator[type]:
    return (base for base in kit.__mro__ if _is_ours(base))
