"""What the intake tells an operator once its transaction is committed: a log line and counts for each movement."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from evmbilling.domain.decisions import Decision, StoreItem, StoreOrder, StoreReceipt
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.states import ReceiptStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.scene import Scene

_log = logging.getLogger("evmbilling.intake")
_WARNED = frozenset({ReceiptStatus.REVERSED, ReceiptStatus.DISPUTED})


@frozen
class Told:
    """One movement as it stands now.

    Attributes:
        receipt: what was stored of it.
        network: name.
        contract_slug: of the order's contract; None when no order is known.
        depth: blocks from its own to the head, both counted.

    """

    receipt: Receipt
    network: str
    contract_slug: str | None
    depth: int

    def fields(self) -> dict[str, Any]:
        """Return the fields of its log line."""
        receipt = self.receipt
        return {
            "receipt_id": receipt.receipt_id,
            "ledger_id": receipt.ledger_id,
            "user_id": receipt.user_id,
            "tx_hash": "0x" + receipt.identity.tx_hash.hex(),
            "block": receipt.evidence.block_number,
            "network": self.network,
            "contract_slug": self.contract_slug,
            "allocation": str(receipt.allocation),
            "reason": receipt.reason,
        }


@frozen
class PutAside:
    """A log that waits for its next try.

    Attributes:
        reason: stable word. attempts: how often it was tried.

    """

    tx_hash: bytes
    network: str
    reason: str
    attempts: int


@frozen
class Telling:
    """What one batch came to.

    Attributes:
        movements: as they stand now. aside: logs that were put aside.

    """

    movements: Sequence[Told] = ()
    aside: Sequence[PutAside] = ()


def telling_of(decisions: Sequence[Decision], scene: Scene, head: int) -> Telling:
    """Return what an operator is told of decisions, once they are committed."""
    return Telling(told_of(decisions, scene, head), aside_of(decisions, scene.network.name))


def aside_of(decisions: Iterable[Decision], network: str) -> list[PutAside]:
    """Return the logs that decisions put aside."""
    return [
        PutAside(d.item.identity.tx_hash, network, d.item.reason or "", d.item.attempts)
        for d in decisions
        if isinstance(d, StoreItem) and d.item.wait == "time" and d.item.reason is not None
    ]


def told_of(decisions: Iterable[Decision], scene: Scene, head: int) -> list[Told]:
    """Return every movement among decisions as it is stored last."""
    contracts = {order.ledger_id: order.contract_slug for order in scene.orders.values() if order is not None}
    receipts: dict[str, Receipt] = {}
    for decision in decisions:
        if isinstance(decision, StoreOrder):
            contracts[decision.order.ledger_id] = decision.order.contract_slug
        elif isinstance(decision, StoreReceipt):
            receipts[decision.receipt.receipt_id] = decision.receipt
    return [
        Told(
            receipt=receipt,
            network=scene.network.name,
            contract_slug=contracts.get(receipt.ledger_id or ""),
            depth=max(head - receipt.evidence.block_number + 1, 0),
        )
        for receipt in receipts.values()
    ]


def tell(ports: Ports, telling: Telling) -> None:
    """Log and count what is committed."""
    for aside in telling.aside:
        # What waits for long is tried again and again: said the first time, then at every power of two.
        if aside.attempts & (aside.attempts - 1) == 0:
            fields = {"tx_hash": "0x" + aside.tx_hash.hex(), "network": aside.network, "reason": aside.reason}
            _log.warning("a log was put aside", extra=fields | {"attempts": aside.attempts})
    for told in telling.movements:
        receipt = told.receipt
        ports.telemetry.count("payments", network=told.network, status=str(receipt.status))
        if receipt.status is ReceiptStatus.CREDITED:
            ports.telemetry.count("confirmations_waited", told.depth, network=told.network)
        level = logging.WARNING if receipt.status in _WARNED else logging.INFO
        if _log.isEnabledFor(level):
            _log.log(level, "payment %s", receipt.status, extra=told.fields())
