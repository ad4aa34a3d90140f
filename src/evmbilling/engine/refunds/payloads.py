"""The transactions by which a treasury gives money back: what it allows first, and the refund itself."""

from __future__ import annotations

from evmbilling.domain.catalogue.catalogue import MAPPED
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import PreparedRefund
from evmbilling.engine.admin.bindings import binding
from evmbilling.engine.context import Ports
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.ports.storage import Unit


def refund_payload(ports: Ports, unit: Unit, refund: Refund) -> PreparedRefund:
    """Return what a treasury sends for a refund whose address is proved; the same one every time. Asks no node."""
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    contract = unit.contract(order.contract_slug, order.network) if order else None
    _, provider = network_and_provider(ports, unit, refund.network)
    payload = provider.refund_payload(refund, contract, order)
    approval = None
    if refund.via == "contract" and order is not None and contract is not None and contract.kind == MAPPED:
        approval = binding(provider).refund_approval(refund, contract, order)
    return PreparedRefund(
        chain_id=payload.chain_id,
        to=payload.to,
        value=payload.value,
        data=payload.data,
        gas=payload.gas,
        approval=approval,
    )
