"""The bound of an effect: the same rule on facts that are there already, its rows written by the driver alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import Factory, frozen
from bm_wire import COMMIT, Call, Wire


@frozen
class Told:
    """One unit of work: what it asked and was answered, and what it made the driver do."""

    answers: list[tuple[str, Any]] = Factory(list)
    calls: list[Call] = Factory(list)


class NotingStorage:
    """A storage that remembers what each of its units was answered, and its calls of the driver."""

    def __init__(self, storage: Any, calls: list[Call], units: list[Told]) -> None:
        self._storage, self._calls = storage, calls
        self.units = units

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[Any]:
        told, before = Told(), len(self._calls)
        with self._storage.unit(write=write, durable=durable) as unit:
            yield _NotingUnit(unit, told.answers)
        told.calls.extend(self._calls[before:])
        self.units.append(told)


class _NotingUnit:
    def __init__(self, unit: Any, answers: list[tuple[str, Any]]) -> None:
        self._unit, self._answers = unit, answers

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._unit, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            answer = method(*arguments, **options)
            self._answers.append((name, answer))
            return answer

        return noted


class HandingStorage:
    """A storage that gives the answers of before without looking, and only writes."""

    def __init__(self, storage: Any, units: list[Told], wire: Wire) -> None:
        self._storage, self._wire = storage, wire
        self._units = iter(
            [Told(t.answers, [c for c in t.calls if c.writes or c.text in {COMMIT, "BEGIN IMMEDIATE"}]) for t in units]
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[Any]:
        told = next(self._units)
        yield _HandingUnit(told.answers)
        if write:
            self._wire.send(told.calls)


class _HandingUnit:
    def __init__(self, answers: list[tuple[str, Any]]) -> None:
        self._answers = iter(answers)

    def __getattr__(self, name: str) -> Any:
        def given(*_: Any, **__: Any) -> Any:
            asked, answer = next(self._answers)
            if asked != name:
                raise AssertionError(f"{name} was asked where {asked} was asked before")
            return answer

        return given
