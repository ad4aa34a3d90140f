"""Quota backends that are subtly wrong, one way each: the kit has to refuse every one of them."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial

import attrs
import pytest

from evmbilling.errors import InputError
from evmbilling.ports.quota import QuotaAnswer
from example_plugins import FOLDER, load_own_tests

own = load_own_tests(FOLDER / "quota-file")
from file_quota import FileQuota  # noqa: E402  - found once its tests are
from file_quota.backend import _left, _used  # noqa: E402


class OverFile(own.TestFileQuota):
    """A mutant of the example backend."""

    kind = FileQuota

    @pytest.fixture
    def backend(self, path):
        return type(self).kind(str(path))

    @pytest.fixture
    def reopen(self, path):
        return partial(type(self).kind, str(path))


class TestControl(OverFile):
    """Nothing is wrong."""

    of = 0


class Partial(FileQuota):
    def consume(self, user_id, limit, amount=1):
        left = self.check(user_id, limit, amount).left
        return super().consume(user_id, limit, min(amount, left) if left and isinstance(amount, int) else amount)


class TestTakesAPart(OverFile):
    """What does not fit is taken as far as it does."""

    of = 1
    kind = Partial


class Negative(FileQuota):
    def check(self, user_id, limit, amount=1):
        answer = super().check(user_id, limit, amount)
        with self._open() as connection:
            used = _used(connection, user_id, limit)
        return answer if answer.left else QuotaAnswer(allowed=False, left=-used)


class TestNegative(OverFile):
    """What is left falls below zero."""

    of = 1
    kind = Negative


class Taking(FileQuota):
    def check(self, user_id, limit, amount=1):
        return super().consume(user_id, limit, amount)


class TestLookingTakes(OverFile):
    """A look is a use."""

    of = 2
    kind = Taking


class Racing(FileQuota):
    def consume(self, user_id, limit, amount=1):
        answer = self.check(user_id, limit, amount)
        if not answer.allowed:
            return answer
        threading.Event().wait(0.001)
        with self._writing() as connection:
            total = _used(connection, user_id, limit) + amount
            connection.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (user_id, limit, str(total)))
        return QuotaAnswer(allowed=True, left=answer.left - amount)


class TestCheckThenTake(OverFile):
    """It is looked first, and taken afterwards."""

    of = 3
    kind = Racing


class Open(FileQuota):
    def consume(self, user_id, limit, amount=1):
        answer = super().consume(user_id, limit, amount)
        try:
            with self._open() as connection:
                _left(connection, user_id, limit)
        except sqlite3.Error:
            return QuotaAnswer(allowed=True, left=0)
        return answer


class TestFailsOpen(OverFile):
    """When it cannot count, it allows."""

    of = 4
    kind = Open


class Loud(FileQuota):
    def check(self, user_id, limit, amount=1):
        answer = super().check(user_id, limit, amount)
        with self._open() as connection:
            if not connection.execute("SELECT 1 FROM allowed WHERE user_id = ?", (user_id,)).fetchone():
                raise KeyError(user_id)
        return answer


class TestUnknownUser(OverFile):
    """A user who was never seen is an error."""

    of = 4
    kind = Loud


class Resetting(FileQuota):
    def plan_changed(self, event):
        super().plan_changed(event)
        with self._writing() as connection:
            connection.execute("DELETE FROM used WHERE user_id = ?", (event.data["user_id"],))


class TestEachEventResets(OverFile):
    """An event that is delivered again sets the counters back."""

    of = 5
    kind = Resetting


class Unordered(FileQuota):
    def plan_changed(self, event):
        with self._writing() as connection:
            connection.execute("UPDATE allowed SET seq = 0")
        super().plan_changed(event)


class TestLateEvents(OverFile):
    """An event that came too late is taken for the newest."""

    of = 5
    kind = Unordered


class Shared(FileQuota):
    def consume(self, user_id, limit, amount=1):
        answer = super().consume(user_id, limit, amount)
        if answer.allowed:
            with self._writing() as connection:
                connection.execute("INSERT OR REPLACE INTO used SELECT ?, name, amount FROM used", ("user-2",))
        return answer


class TestSharedCounters(OverFile):
    """What one user uses, another has used too."""

    of = 6
    kind = Shared


class OneProduct(FileQuota):
    def plan_changed(self, event):
        super().plan_changed(attrs.evolve(event, data=event.data | {"product": "any"}))


class TestOneProduct(OverFile):
    """The end of one product is the end of all."""

    of = 6
    kind = OneProduct


class Floats(FileQuota):
    def plan_changed(self, event):
        limits = {name: int(float(most)) for name, most in event.data["limits"].items()}
        super().plan_changed(attrs.evolve(event, data=event.data | {"limits": limits}))


class TestFloats(OverFile):
    """Limits go through a float."""

    of = 7
    kind = Floats


class Lenient(FileQuota):
    def consume(self, user_id, limit, amount=1):
        try:
            return super().consume(user_id, limit, amount)
        except InputError:
            return QuotaAnswer(allowed=False, left=self.check(user_id, limit).left)


class TestAnyAmount(OverFile):
    """An amount that makes no sense is refused as if it did not fit."""

    of = 8
    kind = Lenient


class Apart(FileQuota):
    def __init__(self, path, **about):
        super().__init__(path, **about)
        self.taken, self.lock = {}, threading.Lock()

    def consume(self, user_id, limit, amount=1):
        answer = self.check(user_id, limit, amount)
        with self.lock:
            taken = self.taken.get((user_id, limit), 0) + amount
            if taken > answer.left:
                return QuotaAnswer(allowed=False, left=max(0, answer.left - taken + amount))
            self.taken[user_id, limit] = taken
        return QuotaAnswer(allowed=True, left=answer.left - taken)


class TestCountersOfAProcess(OverFile):
    """Uses are counted in the memory of each process."""

    of = 9
    kind = Apart
