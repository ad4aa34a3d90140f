"""What a step claims, and what the chain or the database says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World

Source = Literal["chain", "database", "answer"]


@frozen(kw_only=True)
class Check:
    """One fact, looked up again after a step.

    Attributes:
        source: ``chain`` a raw JSON-RPC read, ``database`` an SQL read on a fresh connection, ``answer`` what a host
            gets when it asks the engine.

    """

    source: Source
    what: str
    expected: object
    found: object

    @property
    def ok(self) -> bool:
        """Whether what was found is what was expected, type and all."""
        return type(self.expected) is type(self.found) and self.expected == self.found


def chain(what: str, *, expected: object, found: object) -> Check:
    """Return a check of the chain."""
    return Check(source="chain", what=what, expected=expected, found=found)


def database(what: str, *, expected: object, found: object) -> Check:
    """Return a check of the database."""
    return Check(source="database", what=what, expected=expected, found=found)


def answer(what: str, *, expected: object, found: object) -> Check:
    """Return a check of what the engine answers, beside those of chain and database."""
    return Check(source="answer", what=what, expected=expected, found=found)


Checks: TypeAlias = "Iterator[Check]"


@frozen(kw_only=True)
class Step:
    """One thing that happens, and how it is looked up afterwards.

    Attributes:
        key: stable name, for ``--json``.
        title: for people.
        act: does it.
        verify: yields what chain and database say about it.
        show: returns the rows that people want to see afterwards, from the database.

    """

    key: str
    title: str
    act: Callable[[World], None]
    verify: Callable[[World], Checks]
    show: Callable[[World], dict[str, object]] | None = None


@frozen(kw_only=True)
class Outcome:
    """How a step went. It is verified when all its checks hold, there is one, and nothing was raised."""

    key: str
    title: str
    seconds: float
    checks: tuple[Check, ...] = ()
    shown: dict[str, object] = field(factory=dict)
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the step was verified."""
        return self.error is None and bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.ok)
