"""Tokens of memberships that end with refunds: by which number their contract knows them, and how they are burned."""

from __future__ import annotations

import attrs

from evmbilling.domain.catalogue.call_templates import template_of
from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract
from evmbilling.domain.identity import subscription_token, token_mark
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.admin.bindings import given_token
from evmbilling.engine.context import Ports
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.refunds.routes import membership_of
from evmbilling.errors import Conflict
from evmbilling.ports.storage import Unit


def token_id_of(ports: Ports, unit: Unit, minted: Order) -> int | None:
    """Return the number by which a contract knows the membership that an order paid for; None while it told none."""
    contract = unit.contract(minted.contract_slug, minted.network)
    if contract is None or not _is_numbered(contract):
        return subscription_token(minted.subscription_id)
    _, provider = network_and_provider(ports, unit, minted.network)
    return given_token(unit, provider, minted, contract)


def marked(ports: Ports, unit: Unit, refund: Refund) -> Refund:
    """Return a refund with the mark by which the burn of its membership's token is found; the same where it is none.

    The number is the one that the payments say now: a reorganisation may have given another. A burn that is on chain
    keeps the mark by which it was found.
    """
    burn = refund.burn
    order = unit.order(refund.ledger_id) if burn is not None and refund.ledger_id else None
    if burn is None or burn.evidence is not None or order is None:
        return refund
    mark = _mark(ports, unit, order)
    return refund if mark == burn.mark else attrs.evolve(refund, burn=attrs.evolve(burn, mark=mark))


def is_marked(ports: Ports, unit: Unit, refund: Refund, mark: bytes) -> bool:
    """Whether a refund ends the membership whose token has this mark, as the chain tells it now."""
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    return order is not None and _mark(ports, unit, order) == mark


def is_marked_otherwise(ports: Ports, unit: Unit, refund: Refund, mark: bytes) -> bool:
    """Whether the payments say another number now than the one of this mark; False while they tell none."""
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    return order is not None and _mark(ports, unit, order) not in (b"", mark)


def burn_payload(ports: Ports, unit: Unit, refund: Refund) -> WalletPayload:
    """Return the transaction that burns the token of the membership which ended with a refund.

    Raises:
        Conflict: no membership ends with it, it is not done yet, the contract burns nothing, or it goes by numbers of
            its own and has told none for this membership.

    """
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    if refund.burn is None or order is None or refund.burn.status in {"planned", "ended"}:
        raise Conflict("no membership token is to be burned for this refund now", field="refund_id")
    minted = membership_of(unit, order) or order
    contract = unit.contract(minted.contract_slug, minted.network)
    if contract is None or contract.burn_method is None:
        raise Conflict("this contract burns no memberships", field="burn_method")
    token_id = token_id_of(ports, unit, minted)
    if token_id is None:
        raise Conflict("no payment that counts has told the contract's number of this membership", field="token_id")
    _, provider = network_and_provider(ports, unit, minted.network)
    return provider.burn_payload(minted, contract, token_id)


def _mark(ports: Ports, unit: Unit, order: Order) -> bytes:
    """Return the mark of an order's membership where its contract has numbered it itself; empty elsewhere."""
    minted = membership_of(unit, order)
    contract = unit.contract(minted.contract_slug, minted.network) if minted is not None else None
    if minted is None or contract is None or not _is_numbered(contract):
        return b""
    token_id = token_id_of(ports, unit, minted)
    return b"" if token_id is None else token_mark(minted.chain_id, minted.contract, token_id)


def _is_numbered(contract: PaymentContract) -> bool:
    """Whether a contract ends memberships by numbers of its own."""
    ends = contract.burn_method if contract.kind == MAPPED else None
    return ends is not None and "token_id" in template_of(ends).placeholders()
