"""Variables that look like settings and are none: a slip in a name must not pass for a setting that was left out."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from evmbilling.engine.admin.secrets import keepers, secrets_of
from evmbilling.settings.catalogue import PREFIX
from evmbilling.settings.model import BillingSettings, variable_of

if TYPE_CHECKING:
    from evmbilling.domain.secrets import SecretRef
    from evmbilling.ports.storage import Storage

_log = logging.getLogger("evmbilling.settings")
_NEAR: Final = 0.8
"""How alike two names are that one may stand for the other; 1 is the same."""
_REFERENCE: Final = re.compile(r"\benv:([A-Za-z_][A-Za-z0-9_]*)")


@frozen
class Strange:
    """A variable that no setting has.

    Attributes:
        name: as it stands in the environment.
        near: the setting that was meant, perhaps; None when none is like it.

    """

    name: str
    near: str | None

    def __str__(self) -> str:
        meant = "" if self.near is None else f"; did you mean {self.near}?"
        return f"{self.name}: there is no such setting, it is ignored{meant}"


def strange_variables(
    environment: Mapping[str, str], settings: BillingSettings, stored: Iterable[SecretRef] = ()
) -> Sequence[Strange]:
    """Return the variables ``BILLING_…`` that are no setting, and that no secret is kept in, by name.

    Args:
        environment: all variables of a process; those without a value count as unset.
        settings: what was read, with its references ``env:NAME``.
        stored: references of stored rows.

    """
    known = {str(variable_of(name)) for name in BillingSettings.model_fields}
    referred = environment_references(settings) | {ref.locator for ref in stored if ref.kind == "env"}
    return [
        Strange(name, _near(name.upper(), known))
        for name, value in sorted(environment.items())
        if value and name.upper().startswith(PREFIX) and name.upper() not in known and name not in referred
    ]


def stored_references(storage: Storage) -> list[SecretRef]:
    """Return the secret references of all that is stored."""
    with storage.unit(write=False) as unit:
        return [ref for _, keeper in keepers(unit) for ref in secrets_of(keeper)]


def tell_of_strange_variables(settings: BillingSettings, storage: Storage) -> None:
    """Log every variable of this process that looks like a setting and is none."""
    if strange_variables(os.environ, settings):  # mostly there is none, and then no row is read
        for strange in strange_variables(os.environ, settings, stored_references(storage)):
            _log.warning("%s", strange)


def environment_references(settings: BillingSettings) -> frozenset[str]:
    """Return the names of the variables that settings refer to with ``env:NAME``."""
    values = (settings.rpc_config, settings.evm_gateways, settings.plugin_options)
    text = json.dumps([value.get_secret_value() for value in values], default=str)
    return frozenset(_REFERENCE.findall(text))


def strange_options(settings: BillingSettings, built: Mapping[str, Collection[str]]) -> Sequence[str]:
    """Return the keys ``role.name`` of ``BILLING_PLUGIN_OPTIONS`` whose options nobody reads.

    Args:
        settings: what was read.
        built: what is selected, by role.

    """
    keys = settings.plugin_options.get_secret_value()
    return [key for key in sorted(keys) if (split := key.partition("."))[2] not in built.get(split[0], ())]


def _near(name: str, known: Collection[str]) -> str | None:
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_NEAR)
    return found[0] if found else None
