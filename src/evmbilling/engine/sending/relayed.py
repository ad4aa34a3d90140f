"""What a step of one of our own transactions means for what it was sent for.

It says that something is on its way, unknown or failed. That money moved, only the reader says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from evmbilling.domain.actors import SYSTEM
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.decisions import Decision, StoreRefund, StoreTransmission
from evmbilling.domain.mandates.charges import Charge, ChargeState
from evmbilling.domain.mandates.mandates import USABLE_MANDATES, MandateStatus, at
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.refunds.refunds import move
from evmbilling.domain.sending.lane_turns import is_approval, is_reset, refund_subject
from evmbilling.domain.sending.transmissions import Transmission, TransmissionStatus
from evmbilling.domain.states import PAID_ORDERS, REFUND_MOVES, OrderStatus, RefundStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.mandates.charging import PAID_MEANWHILE, Outcome, is_being_paid, is_further, settle_charge
from evmbilling.engine.refunds.coverage import check_covered
from evmbilling.engine.refunds.ends import set_free
from evmbilling.engine.refunds.naming import is_named
from evmbilling.engine.sending.lane_turns import reset_after
from evmbilling.errors import Conflict
from evmbilling.ports.storage import Unit

_T = TransmissionStatus
_COIN_DECIMALS = 18
_WORDS: Mapping[TransmissionStatus, Literal["submitted", "unknown", "failed"]] = {
    _T.SIGNED: "submitted",
    _T.SUBMITTED: "submitted",
    _T.UNKNOWN: "unknown",
    _T.FAILED: "failed",
}
"""The status that a step gives to a charge or a refund; other steps are the reader's to tell."""
_CHARGE_WORDS: Mapping[TransmissionStatus, ChargeState] = {**_WORDS, _T.CANCELLED: "failed"}
_NOT_SENT = "not_sent"
"""Why a charge failed that waited too long for its first sending; ``expired`` is said of mandates."""


def coin_of(network: Network) -> Asset:
    """Return a network's own coin; every EVM chain counts it in units of 10**-18 (Ethereum yellow paper, 2.1)."""
    return Asset(chain_id=network.chain_id, token=NATIVE_COIN, decimals=_COIN_DECIMALS, symbol=network.native_symbol)


def effects_of(ports: Ports, unit: Unit, sent: Transmission) -> Sequence[Decision]:
    """Return what follows for the order or refund that a transmission is for; nothing where a step says nothing new.

    Locks the customer.
    """
    kind, _, name = sent.subject.partition(":")
    if sent.purpose == "charge" and kind == "order":
        return _charge_effects(ports, unit, name, sent)
    word = _WORDS.get(sent.status)
    if sent.purpose != "refund" or kind != "refund":
        return ()
    found: list[Decision] = []
    if word is not None:
        if sent.user_id is not None:
            unit.lock_customers([sent.user_id])
        found += _refund_effects(ports, unit, name, RefundStatus(word), sent)
    reset = reset_after(unit, sent, new_id=ports.ids.new_id(), now=ports.clock.now())
    return [*found, StoreTransmission(reset)] if reset is not None else found


def objection_to(ports: Ports, unit: Unit, sent: Transmission) -> str | None:
    """Return why a transmission that was never signed is not wanted any more; None for one that is.

    Asked in the transaction that gives it a nonce, under the customer's lock: what was cancelled before is not sent.
    """
    kind, _, name = sent.subject.partition(":")
    if is_reset(sent):
        return None  # nobody is to be allowed anything without a refund
    if sent.purpose == "refund":
        return _refund_objection(unit, sent)
    return _charge_objection(ports, unit, name, sent) if sent.purpose == "charge" and kind == "order" else None


def _charge_objection(ports: Ports, unit: Unit, ledger_id: str, sent: Transmission) -> str | None:
    unit.lock_customers([sent.user_id] if sent.user_id is not None else [])
    order, charge = unit.order(ledger_id), _newest(unit, ledger_id)
    if order is None or charge is None:
        return None
    if order.status in PAID_ORDERS | {OrderStatus.CONFIRMING} or is_being_paid(unit, order):
        return PAID_MEANWHILE
    if any(receipt.first_seen_at > sent.created_at for receipt in unit.receipts_of_orders([ledger_id])):
        # It would take more than what is missing now; the next attempt takes the rest.
        return "paid_in_part"
    mandate = unit.mandate(charge.mandate_id)
    if mandate is not None:
        status = at(mandate, ports.clock.now()).status
        if status not in USABLE_MANDATES:
            return "not_given" if status is MandateStatus.PREPARED else str(status)
    return "withdrawn" if order.closed_as is not None else None


def _refund_objection(unit: Unit, sent: Transmission) -> str | None:
    """Return why a refund, or the approval before it, is not sent: given up, paid by hand, or covered no more."""
    unit.lock_customers([sent.user_id] if sent.user_id is not None else [])
    subject = refund_subject(sent.subject)[0] if is_approval(sent) else sent.subject
    refund = unit.refund(subject.partition(":")[2])
    if refund is None or refund.status in OVER:
        return "withdrawn"
    if refund.status is not RefundStatus.PREPARED or is_named(unit, refund):
        return "paid_meanwhile"
    try:
        check_covered(unit, refund)
    except Conflict:
        return "not_covered"
    return None


def _charge_effects(ports: Ports, unit: Unit, ledger_id: str, sent: Transmission) -> Sequence[Decision]:
    """Move the charge that is on its way; a transmission is made for the newest one, and ends before the next."""
    state = _CHARGE_WORDS.get(sent.status)
    if state is None:
        return ()
    unit.lock_customers([sent.user_id] if sent.user_id is not None else [])
    charge = _newest(unit, ledger_id)
    if charge is None or not is_further(charge, state):
        return ()
    reason = None
    if state == "failed":
        reason = sent.failure_reason or "withdrawn"
        if reason == "expired" and ports.clock.now() > sent.not_after:
            reason = _NOT_SENT
    return settle_charge(ports, unit, charge, Outcome(state=state, reason=reason))


def _newest(unit: Unit, ledger_id: str) -> Charge | None:
    return max(unit.charges_of([ledger_id]), key=lambda charge: charge.attempt, default=None)


def _refund_effects(
    ports: Ports, unit: Unit, refund_id: str, status: RefundStatus, sent: Transmission
) -> Sequence[Decision]:
    refund = unit.refund(refund_id)
    if refund is None or status not in REFUND_MOVES[refund.status] or refund.status in _SEEN | OVER:
        return ()
    if status is RefundStatus.FAILED and refund.status is RefundStatus.PREPARED and is_named(unit, refund):
        return ()  # the relayer has signed nothing, and what somebody else sent may be mined yet
    after = move(refund, status, failure_reason=sent.failure_reason)
    return [StoreRefund(after), *set_free(ports, unit, SYSTEM, refund, after)]


_SEEN = frozenset({RefundStatus.CONFIRMING, RefundStatus.DONE})
"""The reader has found it on chain: what the relayer knows is older."""
