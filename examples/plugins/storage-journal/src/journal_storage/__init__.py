"""A storage on the standard library's sqlite3, without SQLAlchemy: a journal of decisions in one file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from evmbilling.plugins import Registry, hookimpl
from evmbilling.ports.clock import Clock
from evmbilling.ports.storage import Storage
from journal_storage.storage import JournalStorage

__all__ = ["JournalOptions", "JournalStorage", "evmbilling_register_storages"]


class JournalOptions(BaseModel):
    """The file, made when it is not there; ``lock_timeout``: seconds to wait for whoever else writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    lock_timeout: float = 5.0


@hookimpl
def evmbilling_register_storages(registry: Registry[Storage]) -> None:
    """Register the storage: ``BILLING_STORAGE=journal``."""
    registry.add("journal", make, implements=JournalStorage, options=JournalOptions)


def make(options: JournalOptions, clock: Clock) -> JournalStorage:
    """Build a storage; the engine lends its clock, because SQLite has none that a test could set."""
    return JournalStorage(options.path, clock, lock_timeout=options.lock_timeout)
