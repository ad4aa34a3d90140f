"""Limits of gateways by a token's symbol: one that names no token limits nothing, and nobody would notice."""

from __future__ import annotations

from evmbilling.domain.catalogue import PaymentGateway
from evmbilling.errors import InputError
from evmbilling.ports.storage import Unit


def check_limits(unit: Unit, before: PaymentGateway, after: PaymentGateway) -> None:
    """Refuse to add a limit for a symbol that nothing is priced in where the gateway sells.

    A gateway is there before its plans: until something is priced on its networks any symbol may come to be meant.

    Raises:
        InputError: there is no such token; the field is ``misfits``.

    """
    networks = [n for n in unit.networks() if n.name in after.networks]
    priced = {asset.symbol for n in networks for asset in unit.priced_assets(n.chain_id)}
    if not priced:
        return
    known = priced | {n.native_symbol for n in networks} | _limited(before)
    unknown = sorted(_limited(after) - known)
    if unknown:
        raise InputError(
            f"nothing is priced in {', '.join(unknown)} there: a limit for it would hold nothing up", field="misfits"
        )


def _limited(gateway: PaymentGateway) -> set[str]:
    return {symbol for symbol, _ in (*gateway.misfits.approval_above, *gateway.misfits.dust_below)}
