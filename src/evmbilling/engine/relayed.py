"""What a step of one of our own transactions means for what it was sent for.

It says that something is on its way, unknown or failed. That money moved, only the reader says.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.catalogue import Network
from evmbilling.domain.decisions import Decision, StoreOrder, StoreRefund
from evmbilling.domain.money import Asset
from evmbilling.domain.refunds import move
from evmbilling.domain.states import ORDER_MOVES, REFUND_MOVES, OrderStatus, RefundStatus
from evmbilling.domain.transmissions import Transmission, TransmissionStatus
from evmbilling.ports.storage import Unit

_T = TransmissionStatus
_COIN_DECIMALS = 18
_WORDS = {_T.SIGNED: "submitted", _T.SUBMITTED: "submitted", _T.UNKNOWN: "unknown", _T.FAILED: "failed"}
"""The status that a step gives to an order or a refund; other steps are the reader's to tell."""


def coin_of(network: Network) -> Asset:
    """Return a network's own coin; every EVM chain counts it in units of 10**-18 (Ethereum yellow paper, 2.1)."""
    return Asset(chain_id=network.chain_id, token=NATIVE_COIN, decimals=_COIN_DECIMALS, symbol=network.native_symbol)


def effects_of(unit: Unit, sent: Transmission) -> Sequence[Decision]:
    """Return what follows for the order or refund that a transmission is for; nothing where a step says nothing new.

    Locks the customer.
    """
    word = _WORDS.get(sent.status)
    if word is None:
        return ()
    if sent.user_id is not None:
        unit.lock_customers([sent.user_id])
    kind, _, name = sent.subject.partition(":")
    if sent.purpose == "charge" and kind == "order":
        return _order_effects(unit, name, OrderStatus(word), sent)
    if sent.purpose == "refund" and kind == "refund":
        return _refund_effects(unit, name, RefundStatus(word), sent)
    return ()


def _order_effects(unit: Unit, ledger_id: str, status: OrderStatus, sent: Transmission) -> Sequence[Decision]:
    order = unit.order(ledger_id)
    if order is None or status not in ORDER_MOVES[order.status]:
        return ()
    reason = sent.failure_reason if status is OrderStatus.FAILED else None
    return [StoreOrder(attrs.evolve(order, status=status, failure_reason=reason, version=order.version + 1))]


def _refund_effects(unit: Unit, refund_id: str, status: RefundStatus, sent: Transmission) -> Sequence[Decision]:
    refund = unit.refund(refund_id)
    if refund is None or status not in REFUND_MOVES[refund.status] or refund.status in _SEEN:
        return ()
    return [StoreRefund(move(refund, status, failure_reason=sent.failure_reason))]


_SEEN = frozenset({RefundStatus.CONFIRMING, RefundStatus.DONE})
"""The reader has found it on chain: what the relayer knows is older."""
