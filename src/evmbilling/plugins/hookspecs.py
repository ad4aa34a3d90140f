"""The hooks: one per role, each called once with the registry of that role.

A hook only registers. What the engine works with are the objects that it builds from the registries later, so no
hook runs while money moves.
"""

from __future__ import annotations

import pluggy

from evmbilling.plugins.registry import Registry
from evmbilling.ports.notifier import Notifier
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.ports.signer import Signer
from evmbilling.ports.storage import Storage

PROJECT = "evmbilling"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's hook; a name that begins with ``evmbilling_`` is taken for one without the mark too."""


@hookspec
def evmbilling_register_storages(registry: Registry[Storage]) -> None:
    """Add databases."""


@hookspec
def evmbilling_register_providers(registry: Registry[Provider]) -> None:
    """Add ways to be paid."""


@hookspec
def evmbilling_register_notifiers(registry: Registry[Notifier]) -> None:
    """Add ways to tell people and systems."""


@hookspec
def evmbilling_register_quotas(registry: Registry[QuotaBackend]) -> None:
    """Add backends that count what a plan allows."""


@hookspec
def evmbilling_register_signers(registry: Registry[Signer]) -> None:
    """Add holders of order-signing keys."""
