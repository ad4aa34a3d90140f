"""Where a refund goes: an address that its owner has proved."""

from __future__ import annotations

import attrs

from evmbilling.domain.addresses import parse_address
from evmbilling.domain.decisions import RecordAudit, StoreRefund
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.people.usage import WalletChallenge
from evmbilling.domain.states import SUPPORTING_RECEIPTS, RefundStatus
from evmbilling.engine.admin.address_marks import address_marks, key_marks
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.purses import all_orders_of
from evmbilling.engine.refunds.limits import ask_second
from evmbilling.errors import ChallengeRefused, Conflict, NotFound
from evmbilling.ports.storage import Unit

_ADDRESSED = frozenset({RefundStatus.REQUESTED, RefundStatus.APPROVED})
"""Until it is prepared the owner may choose again."""

PROVED = "address"
"""What somebody does who proves where a refund goes."""


def confirm_address(ports: Ports, unit: Unit, refund_id: str, *, user_id: str, challenge: WalletChallenge) -> Refund:
    """Take the address of a challenge, which its owner has just answered, as a refund's.

    Raises:
        ChallengeRefused: the proof was made for another chain: a contract's address is its owner's on its own only.

    """
    refund = known_refund(unit, refund_id)
    if challenge.chain_id != refund.asset.chain_id:
        raise ChallengeRefused("this address was proved on another chain than the refund's", field="network")
    return _take(ports, unit, refund_id, user_id=user_id, address=challenge.address)


def use_wallet(ports: Ports, unit: Unit, refund_id: str, *, user_id: str, wallet: str) -> Refund:
    """Take a wallet that the customer has confirmed, and has paid from on the refund's chain, as its address.

    A contract that vouched for it elsewhere says nothing here: at the same address it may be somebody else's.
    """
    address = parse_address(wallet, field="wallet")
    chain_id = known_refund(unit, refund_id).asset.chain_id
    if address not in {w.address for w in unit.wallets(user_id) if w.is_on(chain_id)}:
        raise ChallengeRefused("this wallet is not confirmed as the user's on the refund's chain", field="wallet")
    orders = [order.ledger_id for order in all_orders_of(unit, user_id) if order.chain_id == chain_id]
    receipts = unit.receipts_of_orders(orders) if orders else ()
    if not any(r.user_id == user_id and r.payer == address and r.status in SUPPORTING_RECEIPTS for r in receipts):
        raise ChallengeRefused("this wallet has paid nothing on the refund's chain: prove it there", field="network")
    return _take(ports, unit, refund_id, user_id=user_id, address=address)


def known_refund(unit: Unit, refund_id: str) -> Refund:
    """Return a refund.

    Raises:
        NotFound: there is none.

    """
    refund = unit.refund(refund_id)
    if refund is None:
        raise NotFound("there is no such refund", field="refund_id")
    return refund


def audit_refund(ports: Ports, actor: str, refund: Refund, verb: str) -> RecordAudit:
    """Return the audit entry of what somebody did about a refund; of its address a fingerprint.

    An address to which nothing was sent yet is known from its owner alone, and an audit is never erased.
    """
    facts: dict[str, str | None] = {
        "status": str(refund.status),
        "amount": str(refund.amount),
        "address": None if refund.address is None else address_marks(ports, refund.address)[0],
    }
    if verb == PROVED:
        facts["key"] = key_marks(ports)[0]
    if verb == "request":
        facts |= source_facts(refund)
    if refund.burn is not None:
        facts["membership"] = refund.burn.status
    elif refund.shortens:
        facts["membership"] = "shortened"
    return RecordAudit(
        AuditEntry(
            audit_id=ports.ids.new_id(),
            actor=actor,
            action=f"refund.{verb}",
            object=f"refund:{refund.refund_id}",
            changes=facts,
            recorded_at=ports.clock.now(),
        )
    )


def source_facts(refund: Refund) -> dict[str, str | None]:
    """Return what a refund gives back, and how: it is decided when it is asked for, and nothing changes it."""
    return {
        "network": refund.network,
        "chain_id": str(refund.asset.chain_id),
        "token": refund.asset.token,
        "treasury": refund.treasury,
        "via": refund.via,
        "ledger_id": refund.ledger_id,
        "receipt_id": refund.receipt_id,
    }


def _take(ports: Ports, unit: Unit, refund_id: str, *, user_id: str, address: str) -> Refund:
    unit.lock_customers([user_id])
    refund = known_refund(unit, refund_id)
    if refund.user_id not in (None, user_id):
        raise NotFound("there is no such refund", field="refund_id")
    if refund.status not in _ADDRESSED:
        raise Conflict("the address of this refund is settled", field="refund_id")
    if refund.user_id is None:
        receipt = unit.receipts([refund.receipt_id or ""]).get(refund.receipt_id or "")
        if receipt is None or receipt.payer != address:
            raise ChallengeRefused("money that is nobody's goes back to the wallet that sent it", field="wallet")
    after = attrs.evolve(refund, address=address, address_confirmed_at=ports.clock.now(), version=refund.version + 1)
    unit.apply([StoreRefund(after), audit_refund(ports, user_id, after, PROVED)])
    unit.apply(ask_second(ports, unit, after))
    return after
