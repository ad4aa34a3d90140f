"""The storage itself: who may open a unit, and what is not part of a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from threading import RLock
from typing import NoReturn

from evmbilling.adapters.memory.pruning import prune
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.unit import MemoryUnit
from evmbilling.domain.identity import INSTANCE_ID_BYTES
from evmbilling.domain.reading.evidence import ChainLog, Lease
from evmbilling.errors import ConfigurationError, HostTransactionError, InputError, RetryTransaction, StorageError
from evmbilling.ports.clock import Clock
from evmbilling.ports.storage import JoinedStorage

LOCK_TIMEOUT = 5
"""Seconds that a unit waits for the others."""


class MemoryStorage:
    """Implements :class:`evmbilling.ports.storage.Storage` in the memory of one process.

    Units serialise: one thread at a time has units open, and another waits at most ``lock_timeout`` seconds for it
    (then RetryTransaction). So a unit sees no other's work while it is open, and whatever it locks or claims is its
    own. A thread that has a write unit open may open units to read beside it, which see what is committed; a second
    write unit in the same thread could only wait for itself and is refused (StorageError).

    Args:
        clock: whose time ``now()`` and the leases go by.
        instance_id: 8 bytes; random when absent.
        lock_timeout: seconds.

    Raises:
        ConfigurationError: the instance id is not 8 bytes.

    """

    def __init__(self, clock: Clock, *, instance_id: bytes | None = None, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._clock = clock
        self._instance_id = secrets.token_bytes(INSTANCE_ID_BYTES) if instance_id is None else instance_id
        if len(self._instance_id) != INSTANCE_ID_BYTES:
            raise ConfigurationError(f"an instance id has {INSTANCE_ID_BYTES} bytes", field="instance_id")
        self._lock_timeout = lock_timeout
        self._lock = RLock()
        self._writing = False
        self._committed = Tables()
        self._leases: dict[str, Lease] = {}

    @property
    def capabilities(self) -> frozenset[str]:
        """Nothing beyond the contract: no host transaction, one process."""
        return frozenset()

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[MemoryUnit]:
        """Open a transaction; it commits at the end and leaves nothing when it raises. None is durable here.

        Raises:
            RetryTransaction: another thread's units stayed open longer than the lock timeout.
            StorageError: this thread has a write unit open already.

        """
        del durable
        with self._turn():
            if write and self._writing:
                raise StorageError("this thread has a write unit open already")
            unit = MemoryUnit(self._committed.over(), write=write)
            self._writing = self._writing or write
            try:
                yield unit
                if write:
                    unit.commit()
            finally:
                unit.end()
                self._writing = self._writing and not write

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._lock_timeout):
            raise RetryTransaction(
                "another thread holds the storage: run your whole transaction again", reason="lock timeout"
            )
        try:
            yield
        finally:
            self._lock.release()

    def prepare(self, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
        """Return the same logs."""
        return logs

    def join(self, host: object) -> AbstractContextManager[JoinedStorage]:
        """Refuse: there is no host transaction that memory could be part of.

        Raises:
            HostTransactionError: always.

        """
        return _refuse(host)

    def now(self) -> datetime:
        """Return the injected clock's time."""
        return self._clock.now()

    def instance_id(self) -> bytes:
        """Return the 8 bytes by which this instance's references are known."""
        return self._instance_id

    def acquire_lease(self, name: str, owner: str, seconds: int) -> Lease | None:
        """Take or renew a lease; None while another owner holds it. A new owner raises the fence by one."""
        with self._turn():
            now = self._clock.now()
            held = self._leases.get(name)
            if held is not None and held.owner != owner and now < held.until:
                return None
            fence = held.fence if held and held.owner == owner else (held.fence if held else 0) + 1
            lease = Lease(name=name, owner=owner, fence=fence, until=now + timedelta(seconds=seconds))
            self._leases[name] = lease
            return lease

    def leases(self) -> Sequence[Lease]:
        """Return every lease that was ever taken, by name."""
        with self._turn():
            return [self._leases[name] for name in sorted(self._leases)]

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back if it is still ours; its fence stays used."""
        with self._turn():
            held = self._leases.get(lease.name)
            if held is not None and (held.owner, held.fence) == (lease.owner, lease.fence):
                self._leases[lease.name] = Lease(
                    name=lease.name, owner=lease.owner, fence=lease.fence, until=self._clock.now()
                )

    def prune(self, table: str, before: datetime, limit: int) -> int:
        """Remove up to ``limit`` erasable rows of a table that ended before an instant; return how many.

        Raises:
            InputError: rows of this table never go, or the instant carries no time zone.

        """
        if before.utcoffset() is None:
            raise InputError("an instant carries its time zone", field="before")
        with self._turn():
            if self._writing:
                raise StorageError("this thread has a write unit open already")
            return prune(self._committed, table, before, limit)

    def close(self) -> None:
        """Nothing was opened."""


def _refuse(host: object) -> NoReturn:
    raise HostTransactionError(f"storage in memory cannot join a transaction of {type(host).__name__}")
