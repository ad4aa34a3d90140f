"""Errors of what is built from settings name the variable that a person has to correct."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from evmbilling.errors import ConfigurationError, MissingExtra, PluginError
from evmbilling.settings.catalogue import PREFIX

_OPTIONS: Final = f"{PREFIX}PLUGIN_OPTIONS"
_PLACES: Final = {
    "url": f"{PREFIX}DATABASE_URL",
    "database_url": f"{PREFIX}DATABASE_URL",
    "db_schema": f"{PREFIX}SCHEMA",
    "schema": f"{PREFIX}SCHEMA",
    "prefix": f"{PREFIX}TABLE_PREFIX",
    "networks": f"{PREFIX}RPC_CONFIG",
    "gateways": f"{PREFIX}EVM_GATEWAYS",
}
"""What the built-in storage calls the settings that say where its tables are, and seeding those of its rows."""


@contextmanager
def said_of(variable: str) -> Iterator[None]:
    """Let what fails in a block be said of a variable: a name that is not registered, options that are refused.

    Args:
        variable: where the name stands; options stand in ``BILLING_PLUGIN_OPTIONS``.

    Raises:
        PluginError: as in the block, with the variable as its field.
        ConfigurationError: the same, with the variable that holds what was refused.

    """
    try:
        yield
    except MissingExtra:
        raise
    except PluginError as error:
        raise PluginError(error.message, field=variable, **error.details) from error
    except ConfigurationError as error:
        if (error.field or "").startswith((PREFIX, "env:")):
            raise
        holds = _PLACES.get(error.field or "", _OPTIONS)
        raise ConfigurationError(error.message, field=holds, **error.details) from error
