"""Wrong implementations that were written from the clauses of the ports alone, as test classes of the kits."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.memory.unit import MemoryUnit
from evmbilling.testing.conformance import StorageConformance


def refused_by(kit):
    """Return what makes a test class of a kit out of a wrong implementation, with its clause and what is wrong."""

    def mutant(of, words):
        def make(kind):
            about = {"kind": kind, "of": of, "__doc__": words, "__module__": kind.__module__}
            return type(kind.__name__, (kit,), about)

        return make

    return mutant


class OverMemory(StorageConformance):
    """A mutant of the storage in memory."""

    kind = MemoryStorage

    @pytest.fixture
    def new_storage(self, clock):
        return lambda: type(self).kind(clock, lock_timeout=0.4)


class Stored(MemoryStorage):
    """A storage in memory with units of another class."""

    unit_class = MemoryUnit

    @contextmanager
    def unit(self, *, write=True, durable=True):
        with super().unit(write=write, durable=durable) as unit:
            unit.__class__ = self.unit_class
            unit.storage = self
            yield unit


class Each(MemoryUnit):
    """Applies decisions one by one; ``one`` returns what is written instead, and None for nothing."""

    def one(self, decision):
        return decision

    def apply(self, decisions):
        for decision in decisions:
            instead = self.one(decision)
            if instead is not None:
                MemoryUnit.apply(self, [instead])


storage = refused_by(OverMemory)


def unit_of(of, words):
    """Return what makes a mutant out of a class of units."""

    def make(unit):
        return storage(of, words)(type(unit.__name__, (Stored,), {"unit_class": unit, "__module__": unit.__module__}))

    return make
