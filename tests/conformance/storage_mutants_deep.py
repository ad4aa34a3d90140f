"""Storages on a database that are subtly wrong: between processes, in a host's transaction, when a call fails."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import contextmanager
from functools import partial

import pytest
from sql_hands import NOON, hosting

from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance import StorageConformance
from example_plugins import FOLDER, load_own_tests

own = load_own_tests(FOLDER / "storage-journal")
from journal_storage import JournalStorage  # noqa: E402  - found once its tests are
from journal_storage.file import JournalFile  # noqa: E402


def opened(kind, path):
    return kind(path, FrozenClock(NOON), lock_timeout=0.4)


class OverJournal(own.TestJournalStorage):
    """A mutant of the example storage."""

    kind = JournalStorage

    @pytest.fixture
    def new_storage(self, tmp_path, clock, made):
        numbers = itertools.count()

        def make():
            made.append(str(tmp_path / f"{next(numbers)}.db"))
            return type(self).kind(made[-1], clock, lock_timeout=0.4)

        return make

    @pytest.fixture
    def reopen(self, storage, made):
        return partial(opened, type(self).kind, made[-1])


class NeverAgain(JournalStorage):
    caught_up = False

    def _catch_up(self, connection):
        if not self.caught_up:
            super()._catch_up(connection)
            self.caught_up = True


class TestStaleProcess(OverJournal):
    """What other processes write after the file was opened is not seen."""

    of = 14
    kind = NeverAgain


class OwnLeases(JournalStorage):
    def acquire_lease(self, name, owner, seconds):
        return self._model.acquire_lease(name, owner, seconds)

    def leases(self):
        return self._model.leases()


class TestLeasesOfAProcess(OverJournal):
    """Leases are kept in the memory of each process."""

    of = 14
    kind = OwnLeases


class OverSqlite(StorageConformance):
    """A mutant of our own storage on SQLite."""

    capabilities = frozenset({"host_transaction", "many_processes"})
    kind = SqlAlchemyStorage

    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{tmp_path}/billing.db"

    @pytest.fixture
    def new_storage(self, url, clock, tmp_path):
        def make():
            for path in tmp_path.glob("billing.db*"):
                path.unlink()
            upgrade(url)
            return type(self).kind.open(url, clock=clock)

        return make

    @pytest.fixture
    def host(self, storage, url):
        with hosting(url) as host:
            yield host


class Committing(SqlAlchemyStorage):
    @contextmanager
    def join(self, host):
        with super().join(host) as joined:
            yield joined
            host.commit()


class TestJoinedCommits(OverSqlite):
    """Joining commits the host's transaction at its end."""

    of = 15
    kind = Committing


class Apart(SqlAlchemyStorage):
    @contextmanager
    def join(self, host):
        with super().join(host):
            host.commit()
            yield self


class TestJoinedApart(OverSqlite):
    """A joined unit is a transaction of its own, beside the host's."""

    of = 15
    kind = Apart


class Quiet(JournalStorage):
    def _append(self, connection, steps):
        try:
            super()._append(connection, steps)
        except sqlite3.Error:
            return


class TestSwallowedCommit(OverJournal):
    """A commit that fails is taken for one that did not."""

    of = 16
    kind = Quiet


class LeakyFile(JournalFile):
    @contextmanager
    def connected(self):
        connection = sqlite3.connect(self._path, timeout=self._lock_timeout, isolation_level=None)
        self.open += 1
        with self._told():
            yield connection
        connection.close()
        self.open -= 1

    @contextmanager
    def _told(self):
        try:
            yield
        except sqlite3.Error as error:
            from evmbilling.errors import StorageError

            raise StorageError(str(error)) from error


class Leaky(JournalStorage):
    def __init__(self, path, clock, *, lock_timeout):
        super().__init__(path, clock, lock_timeout=lock_timeout)
        self._file = LeakyFile(path, lock_timeout=lock_timeout)


class TestKeptConnection(OverJournal):
    """The connection of a unit that failed is never given back."""

    of = 16
    kind = Leaky


class RawFile(JournalFile):
    @contextmanager
    def connected(self):
        connection = sqlite3.connect(self._path, timeout=self._lock_timeout, isolation_level=None)
        self.open += 1
        try:
            yield connection
        finally:
            connection.close()
            self.open -= 1


class Raw(JournalStorage):
    def __init__(self, path, clock, *, lock_timeout):
        super().__init__(path, clock, lock_timeout=lock_timeout)
        self._file = RawFile(path, lock_timeout=lock_timeout)


class TestDriversError(OverJournal):
    """The driver's own errors reach the engine."""

    of = 16
    kind = Raw
