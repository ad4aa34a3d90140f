"""Seeding: rows of the configuration are added when they are absent, and never overwrite what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway
from evmbilling.engine.admin.admin import Admin
from evmbilling.errors import AlreadyExists

_OURS = frozenset({"version", "archived_at"})


def seed_catalogue(admin: Admin, networks: Sequence[Network], gateways: Sequence[PaymentGateway]) -> None:
    """Add the networks and gateways that are absent; safe when several processes start at once."""
    names = {n.name for n in admin.networks()} if networks else set()
    slugs = {g.slug for g in admin.gateways()} if gateways else set()
    for network in networks:
        if network.name not in names:
            _unless_there(admin.create_network, network)
    for gateway in gateways:
        if gateway.slug not in slugs:
            _unless_there(admin.create_gateway, gateway)


def _unless_there(create: Callable[..., object], row: Network | PaymentGateway) -> None:
    fields = {a.name: getattr(row, a.name) for a in attrs.fields(type(row)) if a.name not in _OURS}
    try:
        create(**fields)
    except AlreadyExists:
        return
