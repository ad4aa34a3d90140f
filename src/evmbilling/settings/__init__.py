"""Configuration by environment (``BILLING_…``).

Nothing is read when this package is imported; :class:`BillingSettings` reads when it is made. A wrong value is one
ConfigurationError that names its variable and never repeats a secret. A secret may stand in a file instead, named by
the same variable with ``_FILE``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from evmbilling.domain.actors import Role
from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway
from evmbilling.domain.messages.hints import parse_secrets
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import ConfigurationError
from evmbilling.settings.catalogue import PREFIX, TEST_CHAINS, read_gateways, read_networks
from evmbilling.settings.model import BillingSettings, variable_of
from evmbilling.settings.naming import said_of
from evmbilling.settings.strange import (
    Strange,
    stored_references,
    strange_options,
    strange_variables,
    tell_of_strange_variables,
)
from evmbilling.settings.values import keys_of

__all__ = [
    "PREFIX",
    "TEST_CHAINS",
    "BillingSettings",
    "Strange",
    "database_url",
    "gateways_from",
    "networks_from",
    "options_of",
    "relay_keys_of",
    "roles_of",
    "said_of",
    "seal_keys_of",
    "stored_references",
    "strange_options",
    "strange_variables",
    "tell_of_strange_variables",
    "variable_of",
]

T = TypeVar("T")
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
}
"""What may stand before ``://`` in the url of the database; our own connections have one driver each."""


def database_url(settings: BillingSettings) -> str:
    """Return the database's url.

    Raises:
        ConfigurationError: it is not set, or no url of SQLite or PostgreSQL; it is not repeated.

    """
    if settings.database_url is None:
        raise ConfigurationError("is not set; for example sqlite:///billing.sqlite3", field=f"{PREFIX}DATABASE_URL")
    url = settings.database_url.get_secret_value()
    driver = url.partition("://")[0]
    if driver in _DRIVERS and driver != url:
        return url
    del url, driver  # a traceback that shows local variables must not show it
    text = "sqlite:///file or postgresql://user:password@host/name is expected"
    raise ConfigurationError(text, field=f"{PREFIX}DATABASE_URL")


def networks_from(settings: BillingSettings, seal: Callable[[str], SecretRef]) -> tuple[Network, ...]:
    """Return the networks of ``BILLING_RPC_CONFIG``, by name.

    Args:
        settings: what was read.
        seal: encrypts a plain url (:meth:`evmbilling.ports.secrets.Secrets.seal`); references are kept.

    Raises:
        ConfigurationError: a plain url that ``seal`` cannot encrypt; the message says what to do instead.

    """
    return _anew(lambda: read_networks(settings.rpc_config.get_secret_value(), seal))


def gateways_from(settings: BillingSettings) -> tuple[PaymentGateway, ...]:
    """Return the gateways of ``BILLING_EVM_GATEWAYS``, by slug."""
    return _anew(lambda: read_gateways(settings.evm_gateways.get_secret_value()))


def roles_of(settings: BillingSettings, user_id: str) -> frozenset[Role]:
    """Return the roles that the environment gives a user of the host."""
    members = {Role.FINANCE_OPS: settings.finance_ops_user_ids, Role.BILLING_ADMIN: settings.admin_user_ids}
    return frozenset(role for role, users in members.items() if user_id in users)


def options_of(settings: BillingSettings, role: str, name: str) -> dict[str, Any]:
    """Return the options that the environment has for something registered, for example ``("notifier", "log")``."""
    return dict(settings.plugin_options.get_secret_value().get(f"{role}.{name}", {}))


def seal_keys_of(settings: BillingSettings) -> tuple[bytes, ...]:
    """Return the keys of ``BILLING_SEAL_KEY``, the newest first; none when sealing is off."""
    return keys_of(settings.seal_key)


def relay_keys_of(settings: BillingSettings) -> tuple[bytes, ...]:
    """Return the keys of ``BILLING_WEBHOOK_SECRET``, the newest first; none when it is not set."""
    return () if settings.webhook_secret is None else parse_secrets(settings.webhook_secret.get_secret_value())


def _anew(read: Callable[[], T]) -> T:
    """Call, and raise a ConfigurationError again from here: the frames that held secrets are left behind."""
    try:
        return read()
    except ConfigurationError as error:
        message, field = error.message, error.field
    raise ConfigurationError(message, field=field)
