"""A quota backend that counts in an SQLite file of its own."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from evmbilling.plugins import Registry, hookimpl
from evmbilling.ports.quota import QuotaBackend
from file_quota.backend import FileQuota

__all__ = ["FileQuota", "FileQuotaOptions", "evmbilling_register_quotas"]


class FileQuotaOptions(BaseModel):
    """The file; it is made when it is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    timeout: float = 5.0


@hookimpl
def evmbilling_register_quotas(registry: Registry[QuotaBackend]) -> None:
    """Register the backend."""
    registry.add("file", make, implements=FileQuota, options=FileQuotaOptions)


def make(options: FileQuotaOptions) -> FileQuota:
    """Build a backend from its options."""
    return FileQuota(options.path, timeout=options.timeout)
