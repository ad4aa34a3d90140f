"""The parts that an engine is built of: what settings and plugins name, and what its providers are lent."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from evmbilling import builtins as builtin_plugins
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import ConfigurationError
from evmbilling.plugins import PluginManager
from evmbilling.ports.notifier import Notifier
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.ports.secrets import Secrets
from evmbilling.ports.signer import Signer
from evmbilling.ports.storage import Storage
from evmbilling.ports.telemetry import Telemetry

if TYPE_CHECKING:
    from evmbilling.settings import BillingSettings


def storage_options(settings: BillingSettings) -> dict[str, Any]:
    """Return the options of the selected storage; the built-in one takes its place from the database settings."""
    from evmbilling.settings import database_url, options_of

    options = options_of(settings, "storage", settings.storage)
    if settings.storage != "sqlalchemy":
        return options
    place = {"url": database_url(settings), "prefix": settings.table_prefix, "db_schema": settings.db_schema}
    return place | options


def lent_to_providers(
    manager: PluginManager, storage: Storage, box: Secrets, telemetry: Telemetry
) -> dict[str, object]:
    """Return what the factory of a provider may ask for."""
    signers = SignerCache(manager, box)
    return {"signer_for": signers, "reveal": box.reveal, "telemetry": telemetry, "reserve": ReserveOf(storage)}


def registered_providers(
    manager: PluginManager, settings: BillingSettings, storage: Storage, box: Secrets, telemetry: Telemetry
) -> dict[str, Provider]:
    """Return every provider that is registered, built with its options: gateways select them by name."""
    from evmbilling.settings import options_of, said_of

    lent = lent_to_providers(manager, storage, box, telemetry)
    # The built-in one comes first: it reads a network that no gateway sells on yet.
    names = sorted(manager.providers.names(), key=lambda name: name != "evm")
    with said_of("BILLING_PLUGINS"):
        return {name: manager.providers.build(name, options_of(settings, "provider", name), **lent) for name in names}


def selected_notifiers(
    manager: PluginManager, settings: BillingSettings, ports: Mapping[str, object]
) -> dict[str, Notifier]:
    """Return the notifiers that the settings name, built with their options."""
    from evmbilling.settings import options_of, said_of

    with said_of("BILLING_NOTIFIERS"):
        return {
            name: manager.notifiers.build(name, options_of(settings, "notifier", name), **ports)
            for name in settings.notifiers
        }


def selected_quotas(
    manager: PluginManager, settings: BillingSettings, ports: Mapping[str, object]
) -> dict[str, QuotaBackend]:
    """Return the quota backend that the settings name, which is told of changes of plan."""
    from evmbilling.settings import options_of, said_of

    name = settings.quota
    if name is None:
        return {}
    with said_of("BILLING_QUOTA"):
        return {name: manager.quotas.build(name, options_of(settings, "quota", name), **ports)}


@frozen
class LocaleOf:
    """A user's language, from their row."""

    _storage: Storage

    def __call__(self, user_id: str) -> str:
        """Return a BCP 47 tag; ``en`` for a user whom billing has never seen."""
        with self._storage.unit(write=False) as unit:
            customer = unit.customer(user_id)
        return "en" if customer is None else customer.locale


@frozen
class ReserveOf:
    """The nodes that the contracts of a network name for when its own do not answer (``fallback_rpc``)."""

    _storage: Storage

    def __call__(self, network: Network) -> Sequence[SecretRef]:
        """Return their urls as secret references, each once, by the contract's slug."""
        with self._storage.unit(write=False) as unit:
            contracts = sorted(unit.contracts(network.chain_id), key=lambda contract: contract.slug)
        live = [ref for contract in contracts if contract.archived_at is None for ref in contract.fallback_rpc]
        return tuple(dict.fromkeys(live))


class SignerCache:
    """Finds the signer behind a gateway's key reference, and keeps it: opening a key can be slow."""

    def __init__(self, plugins: PluginManager, secrets: Secrets) -> None:
        self._plugins = plugins
        self._secrets = secrets
        self._known: dict[str, Signer] = {}
        self._lock = threading.Lock()

    def __call__(self, ref: SecretRef) -> Signer:
        """Return the signer of a reference.

        Raises:
            ConfigurationError: the key is not where the reference points.

        """
        with self._lock:
            if ref.stored not in self._known:
                self._known[ref.stored] = self._open(ref)
            return self._known[ref.stored]

    def _open(self, ref: SecretRef) -> Signer:
        if ref.kind != "plugin":
            return self._plugins.signers.build("local", {"key": self._secrets.reveal(ref)})
        name, colon, key = ref.locator.partition(":")
        if not colon:
            raise ConfigurationError("a plugin key is written plugin:name:key", field="signer")
        return self._plugins.signers.build(name, {"key": key}, secrets=self._secrets)


def make_plugin_manager(
    plugins: Sequence[object] = (), *, names: Sequence[str] = (), autoload: bool = False
) -> PluginManager:
    """Return a manager with the built-in plugin, the given ones and those of installed distributions.

    Raises:
        PluginError: one of them is unknown, duplicated or does not conform.

    """
    manager = PluginManager()
    manager.register(builtin_plugins, "builtins")
    for plugin in plugins:
        manager.register(plugin)
    manager.load(names, autoload=autoload)
    return manager
