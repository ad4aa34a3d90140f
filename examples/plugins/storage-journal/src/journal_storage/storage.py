"""The storage: one append-only table holds what was decided; a model in memory answers."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any, NoReturn

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.reading.evidence import ChainLog, Lease
from evmbilling.errors import HostTransactionError
from evmbilling.ports.clock import Clock
from evmbilling.ports.storage import JoinedStorage, Storage
from journal_storage.codec import dumps, loads
from journal_storage.file import JournalFile
from journal_storage.unit import JournalUnit, do_again


class JournalStorage:
    """Implements :class:`evmbilling.ports.storage.Storage` on one SQLite file, for threads and processes.

    A unit that writes holds SQLite's only write lock. Its steps (the decisions that it applied) become one row of the
    journal in one commit, and the model, which is evmbilling's own storage in memory, is brought up to the newest row
    before each unit. So the rules of every decision are those of the model, and what is here is what a database adds:
    durability, atomicity, other processes.

    What it costs: opening reads the whole journal, and the model holds everything. That suits a shop of some ten
    thousand orders, not more. It joins no host transaction.

    Args:
        path: the file.
        clock: whose time ``now()`` and the leases go by.
        lock_timeout: seconds that a unit waits for another one.

    """

    def __init__(self, path: str, clock: Clock, *, lock_timeout: float = 5.0) -> None:
        self._file = JournalFile(path, lock_timeout=lock_timeout)
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._catching_up = threading.RLock()
        self._start_again()

    @property
    def capabilities(self) -> frozenset[str]:
        """Several processes may use one file; no host transaction is joined."""
        return frozenset({"many_processes"})

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[Any]:
        """Open a transaction; it commits at the end and leaves nothing when it raises. Every one is durable."""
        del durable
        if not write:
            with self._file.connected() as connection:
                self._catch_up(connection)
            with self._model.unit(write=False) as reading:
                yield reading
            return
        with self._file.writing() as connection:
            self._catch_up(connection)
            with self._model.unit() as changed:
                unit = JournalUnit(changed)
                yield unit
                # The file first: when it fails, this raises and the model forgets the unit as well.
                self._append(connection, unit.written())

    def prepare(self, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
        """Return the same logs."""
        return logs

    def join(self, host: object) -> AbstractContextManager[JoinedStorage]:
        """Refuse: the journal is in a file of its own."""
        return _refuse(host)

    def now(self) -> datetime:
        """Return the injected clock's time."""
        return self._clock.now()

    def instance_id(self) -> bytes:
        """Return the 8 bytes that whoever made the file drew."""
        return bytes(self._instance)

    def acquire_lease(self, name: str, owner: str, seconds: int) -> Lease | None:
        """Take or renew a lease; None while another owner holds it."""
        now = self._clock.now()
        with self._file.writing() as connection:
            held = self._lease(connection, name)
            if held is not None and held.owner != owner and now < held.until:
                return None
            before = 0 if held is None else held.fence
            fence = before if held is not None and held.owner == owner else before + 1
            lease = Lease(name=name, owner=owner, fence=fence, until=now + timedelta(seconds=seconds))
            self._keep(connection, lease)
        return lease

    def leases(self) -> Sequence[Lease]:
        """Return every lease that was ever taken, by name."""
        with self._file.connected() as connection:
            rows = self._file.run(connection, "SELECT name, owner, fence, until FROM leases ORDER BY name")
        return [_lease(row) for row in rows]

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back if it is still ours; its fence stays used."""
        with self._file.writing() as connection:
            held = self._lease(connection, lease.name)
            if held is not None and (held.owner, held.fence) == (lease.owner, lease.fence):
                ended = Lease(name=held.name, owner=held.owner, fence=held.fence, until=self._clock.now())
                self._keep(connection, ended)

    def prune(self, table: str, before: datetime, limit: int) -> int:
        """Remove erasable rows from the model; the journal notes that they went, and keeps what it holds."""
        with self._file.writing() as connection:
            self._catch_up(connection)
            try:
                count = self._model.prune(table, before, limit)
                self._append(connection, [dumps(["prune", [table, before, limit]])] if count else [])
            except sqlite3.Error:
                self._start_again()  # the model has forgotten what the file still has
                raise
        return count

    def close(self) -> None:
        """Let go of what we opened: nothing stays open between transactions."""

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return self._file.open

    def _start_again(self) -> None:
        with self._file.connected() as connection:
            ((self._instance,),) = self._file.run(connection, "SELECT id FROM instance")
        self._model: Storage = MemoryStorage(
            self._clock, instance_id=bytes(self._instance), lock_timeout=self._lock_timeout
        )
        self._seen = 0

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Bring the model to the newest row of the journal."""
        with self._catching_up:
            rows = self._file.run(
                connection, "SELECT seq, steps FROM journal WHERE seq > ? ORDER BY seq", (self._seen,)
            )
            for seq, text in rows:
                self._follow(seq, [loads(json.dumps(step)) for step in json.loads(text)])

    def _follow(self, seq: int, steps: Sequence[tuple[str, Any]]) -> None:
        for kind, what in steps:
            if kind == "prune" and seq > self._seen:
                self._model.prune(*what)
                self._seen = seq
        with self._model.unit() as unit:
            if seq > self._seen:  # a unit of this process may have committed it while we waited for the model
                do_again(unit, steps)
                self._seen = seq

    def _append(self, connection: sqlite3.Connection, steps: Sequence[str]) -> None:
        if not steps:
            return
        self._file.run(connection, "INSERT INTO journal (seq, steps) VALUES (?, ?)", (self._seen + 1, _list(steps)))
        self._file.run(connection, "COMMIT")
        self._seen += 1

    def _lease(self, connection: sqlite3.Connection, name: str) -> Lease | None:
        rows = self._file.run(connection, "SELECT name, owner, fence, until FROM leases WHERE name = ?", (name,))
        return _lease(rows[0]) if rows else None

    def _keep(self, connection: sqlite3.Connection, lease: Lease) -> None:
        values = (lease.name, lease.owner, lease.fence, lease.until.isoformat())
        self._file.run(connection, "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", values)


def _list(lines: Sequence[str]) -> str:
    return "[" + ",".join(lines) + "]"


def _lease(row: Sequence[Any]) -> Lease:
    return Lease(name=row[0], owner=row[1], fence=row[2], until=datetime.fromisoformat(row[3]))


def _refuse(host: object) -> NoReturn:
    raise HostTransactionError(f"a journal cannot join a transaction of {type(host).__name__}")
