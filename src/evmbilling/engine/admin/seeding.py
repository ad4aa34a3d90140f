"""Seeding: rows of the configuration are added when they are absent, and never overwrite what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs

from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway
from evmbilling.engine.admin.admin import Admin
from evmbilling.errors import AlreadyExists, ConfigurationError, InputError, VersionConflict

_OURS = frozenset({"version", "archived_at"})


def seed_catalogue(admin: Admin, networks: Sequence[Network], gateways: Sequence[PaymentGateway]) -> None:
    """Add the networks and gateways that are absent; safe when several processes start at once.

    Raises:
        ConfigurationError: a row does not fit what is stored; its field is ``networks`` or ``gateways``.

    """
    names = {n.name for n in admin.networks()} if networks else set()
    slugs = {g.slug for g in admin.gateways()} if gateways else set()
    for network in networks:
        if network.name not in names:
            _unless_there(admin.create_network, network, f"{network.name}.", "networks")
    for gateway in gateways:
        if gateway.slug not in slugs:
            _unless_there(admin.create_gateway, gateway, f"{gateway.slug}.", "gateways")


def _unless_there(create: Callable[..., object], row: Network | PaymentGateway, where: str, rows: str) -> None:
    fields = {a.name: getattr(row, a.name) for a in attrs.fields(type(row)) if a.name not in _OURS}
    try:
        with suppress(AlreadyExists):
            try:
                create(**fields)
            except VersionConflict:
                # Somebody else wrote at the same moment; what they wrote is seen now: this row, or one beside it.
                create(**fields)
    except InputError as error:
        raise ConfigurationError(f"{where}{error.field}: {error.message}", field=rows) from error
