"""Limits of gateways by a token's symbol: one that names no token limits nothing, and nobody would notice."""

from __future__ import annotations

from evmbilling.domain.catalogue.catalogue import PaymentGateway
from evmbilling.errors import InputError
from evmbilling.ports.storage import Unit


def check_limits(unit: Unit, before: PaymentGateway, after: PaymentGateway) -> None:
    """Refuse to add a limit for a symbol that nothing is priced in where the gateway sells.

    A gateway is there before its plans: until something is priced on its networks any symbol may come to be meant.

    Raises:
        InputError: there is no such token; the field is ``misfits``.

    """
    unknown = sorted({*idle_limits(unit, after)} - _limited(before))
    if unknown:
        raise InputError(
            f"nothing is priced in {', '.join(unknown)} there: a limit for it would hold nothing up", field="misfits"
        )


def idle_limits(unit: Unit, gateway: PaymentGateway) -> list[str]:
    """Return the symbols of a gateway's limits that nothing is priced in where it sells; none before anything is."""
    networks = [n for n in unit.networks() if n.name in gateway.networks]
    priced = {asset.symbol for n in networks for asset in unit.priced_assets(n.chain_id)}
    return sorted(_limited(gateway) - priced - {n.native_symbol for n in networks}) if priced else []


def _limited(gateway: PaymentGateway) -> set[str]:
    return {symbol for symbol, _ in (*gateway.misfits.approval_above, *gateway.misfits.dust_below)}
