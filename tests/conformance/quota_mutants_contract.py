"""Quota backends that count nearly right."""

from __future__ import annotations

import json
import sqlite3
import threading

import attrs
import pytest
from contract_mutants import refused_by

from evmbilling.ports.quota import QuotaAnswer
from evmbilling.testing.conformance import QuotaConformance
from example_plugins import FOLDER, load_own_tests

own = load_own_tests(FOLDER / "quota-file")
from file_quota import FileQuota  # noqa: E402  - found once its tests are
from file_quota.backend import REFUSED, _left, _used, _whole  # noqa: E402


class OverFile(own.TestFileQuota):
    """A mutant of the example backend."""

    capabilities = frozenset({"breakable"})
    kind = FileQuota

    @pytest.fixture
    def backend(self, path):
        return type(self).kind(str(path))


counting = refused_by(OverFile)


@counting(5, "The end of a plan that could not be kept is swallowed.")
class TestSwallowsTheEnd(FileQuota):
    def plan_changed(self, event):
        try:
            super().plan_changed(event)
        except sqlite3.Error:
            if event.data["new_plan"] is not None:
                raise


@counting(5, "A pause leaves what was allowed.")
class TestPauseLeaves(FileQuota):
    def plan_changed(self, event):
        if event.data["cause"] != "pause" or event.data["new_plan"] is not None:
            super().plan_changed(event)


@counting(5, "A smaller plan forgets what was used above it.")
class TestSmallerForgets(FileQuota):
    def plan_changed(self, event):
        super().plan_changed(event)
        user = event.data["user_id"]
        for limit, most in event.data["limits"].items():
            with self._writing() as connection:
                used = str(min(int(most), _used(connection, user, limit)))
                connection.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (user, limit, used))


@counting(6, "Users who differ in capitals are allowed apart, and counted together.")
class TestCountsWithoutCapitals(FileQuota):
    def consume(self, user_id, limit, amount=1):
        answer = super().consume(user_id, limit, amount)
        if answer.allowed:
            with self._writing() as connection:
                connection.execute("UPDATE used SET amount = ? WHERE name = ? AND lower(user_id) = lower(?)",
                                   (str(_used(connection, user_id, limit)), limit, user_id))  # fmt: skip
        return answer


@counting(6, "Keys are joined with a colon.")
class TestJoinsKeys(FileQuota):
    def check(self, user_id, limit, amount=1):
        return self._ask(user_id, limit, amount, take=False)

    def consume(self, user_id, limit, amount=1):
        return self._ask(user_id, limit, amount, take=True)

    def _ask(self, user_id, limit, amount, *, take):
        _whole(amount)
        try:
            return self._count(user_id, limit, amount, take=take)
        except sqlite3.Error:
            return REFUSED

    def _count(self, user_id, limit, amount, *, take):
        joined = f"{user_id}:{limit}"
        with self._writing() as connection:
            rows = connection.execute("SELECT limits FROM allowed WHERE user_id = ?", (user_id,))
            most = max((int(json.loads(limits).get(limit, 0)) for (limits,) in rows), default=0)
            used = _used(connection, joined, "")
            if amount > most - used:
                return QuotaAnswer(allowed=False, left=max(0, most - used))
            if take:
                values = (joined, "", str(used + amount))
                connection.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", values)
        return QuotaAnswer(allowed=True, left=most - used - (amount if take else 0))


@counting(5, "A plan that ends forgets what was used.")
class TestForgetsAtEnd(FileQuota):
    def plan_changed(self, event):
        super().plan_changed(event)
        if event.data["new_plan"] is None:
            with self._writing() as connection:
                connection.execute("DELETE FROM used WHERE user_id = ?", (event.data["user_id"],))


@counting(5, "Repeated events are known by id; a late one is taken.")
class TestTakesLate(FileQuota):
    def __init__(self, path, *, timeout=5.0):
        super().__init__(path, timeout=timeout)
        with self._open() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY)")

    def plan_changed(self, event):
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM seen WHERE event_id = ?", (event.event_id,)).fetchone():
                return
            connection.execute("INSERT INTO seen VALUES (?)", (event.event_id,))
            limits = json.dumps(event.data["limits"] if event.data["new_plan"] is not None else {})
            values = (event.data["user_id"], event.data["product"], event.seq, limits)
            connection.execute("INSERT OR REPLACE INTO allowed VALUES (?, ?, ?, ?)", values)


@counting(6, "One number of the last event for all products of a user.")
class TestOneSeq(FileQuota):
    def plan_changed(self, event):
        with self._open() as connection:
            (last,) = connection.execute(
                "SELECT max(seq) FROM allowed WHERE user_id = ?", (event.data["user_id"],)
            ).fetchone()
        if last is None or event.seq > last:
            super().plan_changed(event)


@counting(8, "Amounts are made whole by int().")
class TestMakesWhole(FileQuota):
    def consume(self, user_id, limit, amount=1):
        return super().consume(user_id, limit, int(amount))


@counting(7, "Counts in floating point.")
class TestCountsInFloats(FileQuota):
    def consume(self, user_id, limit, amount=1):
        _whole(amount)
        with self._writing() as connection:
            left = _left(connection, user_id, limit)
            if amount > left:
                return QuotaAnswer(allowed=False, left=left)
            total = int(float(_used(connection, user_id, limit)) + float(amount))
            connection.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (user_id, limit, str(total)))
        return QuotaAnswer(allowed=True, left=left - amount)


@counting(2, "Check wants one more than there is to be left.")
class TestChecksBelow(FileQuota):
    def check(self, user_id, limit, amount=1):
        answer = super().check(user_id, limit, amount)
        return attrs.evolve(answer, allowed=amount < answer.left)


@counting(1, "What is left after a smaller plan is below zero.")
class TestLeftBelowZero(FileQuota):
    def check(self, user_id, limit, amount=1):
        _whole(amount)
        with self._open() as connection:
            rows = connection.execute("SELECT limits FROM allowed WHERE user_id = ?", (user_id,)).fetchall()
            most = max((int(json.loads(limits).get(limit, 0)) for (limits,) in rows), default=0)
            left = most - _used(connection, user_id, limit)
        return QuotaAnswer(allowed=amount <= left, left=left)


@counting(5, "A change of plan that could not be kept is swallowed.")
class TestSwallowsChange(FileQuota):
    def plan_changed(self, event):
        try:
            super().plan_changed(event)
        except Exception:  # noqa: BLE001  - the mutant itself
            return


class Keeping(FileQuota):
    def __init__(self, path, **about):
        super().__init__(path, **about)
        self.known = {}

    def plan_changed(self, event):
        data = event.data
        if data["new_plan"] is not None:
            key = (data["user_id"], data["product"])
            self.known[key] = self.known.get(key, {}) | data["limits"]
            event = attrs.evolve(event, data=data | {"limits": self.known[key]})
        super().plan_changed(event)


class TestKeepsLimits(OverFile):
    """A limit that the new plan does not name stays as it was."""

    of = 5
    kind = Keeping


class Trimmed(FileQuota):
    def check(self, user_id, limit, amount=1):
        return super().check(user_id.strip(), limit, amount)

    def consume(self, user_id, limit, amount=1):
        return super().consume(user_id.strip(), limit, amount)


class TestTrimmedUsers(OverFile):
    """Blanks around a user's id are not significant."""

    of = 6
    kind = Trimmed


class Counter:
    """Counts in memory."""

    def __init__(self):
        self.lock, self.plans, self.used = threading.Lock(), {}, {}

    def check(self, user_id, limit, amount=1):
        _whole(amount)
        left = self.left(user_id, limit)
        return QuotaAnswer(allowed=amount <= left, left=left)

    def consume(self, user_id, limit, amount=1):
        _whole(amount)
        with self.lock:
            left = self.left(user_id, limit)
            if amount > left:
                return QuotaAnswer(allowed=False, left=left)
            self.used[user_id, limit] = self.used.get((user_id, limit), 0) + amount
        return QuotaAnswer(allowed=True, left=left - amount)

    def plan_changed(self, event):
        data = event.data
        key = (data["user_id"], data["product"])
        limits = data["limits"] if data["new_plan"] is not None else {}
        if event.seq > self.plans.get(key, (-1, {}))[0]:
            self.plans[key] = event.seq, {name: int(most) for name, most in limits.items()}

    def left(self, user_id, limit):
        named = [limits.get(limit, 0) for (user, _), (_, limits) in self.plans.items() if user == user_id]
        return max(0, max(named, default=0) - self.used.get((user_id, limit), 0))


class OverCounter(QuotaConformance):
    """A mutant of a backend in memory."""

    kind = Counter

    @pytest.fixture
    def backend(self):
        return type(self).kind()


class TestCounterControl(OverCounter):
    """Nothing is wrong."""

    of = 0


class NoLock:
    """Lets everybody in."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class Unlocked(Counter):
    def __init__(self):
        super().__init__()
        self.lock = NoLock()


class TestUnlocked(OverCounter):
    """Nothing but the interpreter keeps two threads from taking the same."""

    of = 3
    kind = Unlocked
