"""How much one person alone may give back to whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from evmbilling.domain.decisions import Decision, StoreQueueItem
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.refunds.refunds import given_alone, move
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.context import Ports
from evmbilling.errors import Conflict
from evmbilling.ports.storage import Unit

_PAGE: Final = 1000


def check_alone(unit: Unit, refund: Refund) -> None:
    """Refuse what one person asked for in parts that are too much together, once it is known where they go.

    Raises:
        Conflict: it is; ``reason`` is ``above_limit``, and a second person may agree to it as it is.

    """
    if is_too_much_alone(unit, refund):
        raise Conflict(
            "what goes back to this wallet is more than one person decides: a second person has to agree",
            field="refund_id",
            reason="above_limit",
        )


def is_too_much_alone(unit: Unit, refund: Refund) -> bool:
    """Whether a refund that one person let go needs a second one, with what else goes to its wallet.

    Where a customer's refund goes is not known when it is asked for: money that the wallet sent and that is nobody's,
    and what other customers get there, are compared with it once its address is proved. Money of nobody has no customer
    whose row two requests could wait for, so they may not have seen each other.
    """
    if refund.approved_by is not None or refund.status is not RefundStatus.APPROVED:
        return False
    receipt = unit.receipts([refund.receipt_id]).get(refund.receipt_id) if refund.receipt_id else None
    wallet = refund.address if refund.user_id is not None else receipt.payer if receipt is not None else None
    if wallet is None:
        return False
    there = {r.refund_id: r for r in sent_back(unit, wallet) if r.refund_id != refund.refund_id}
    policies = [gateway.misfits for gateway in unit.gateways()]
    if refund.user_id is not None:
        if not given_alone(r for r in there.values() if r.user_id != refund.user_id):
            return False  # what else the customer alone gets was seen when this was asked for
        own = (r for r in unit.refunds_by(users=[refund.user_id]) if r.refund_id != refund.refund_id)
        there |= {r.refund_id: r for r in own}
        order = unit.order(refund.ledger_id) if refund.ledger_id is not None else None
        gateway = unit.gateway(order.gateway_slug) if order is not None else None
        policies = [gateway.misfits] if gateway is not None else policies
    return is_above(policies, refund.asset, refund.amount, there.values())


def agreed(unit: Unit, refund: Refund, by: str) -> Refund:
    """Return a refund to which a second person agrees: one that waits for it, or that was let go and is too much now.

    Raises:
        IllegalTransition: it is not waiting for anybody.

    """
    if is_too_much_alone(unit, refund):
        return attrs.evolve(refund, approved_by=by, version=refund.version + 1)
    return move(refund, RefundStatus.APPROVED, approved_by=by)


def ask_second(ports: Ports, unit: Unit, refund: Refund) -> Sequence[Decision]:
    """Return the question to a second person where a refund's address makes it too much; else what takes it back."""
    subject = f"refund:{refund.refund_id}"
    items = [i for i in unit.queue_items_of([subject]) if i.state == "open" and i.kind == "refund_approval"]
    if refund.status is not RefundStatus.APPROVED:
        return ()
    now = ports.clock.now()
    if not is_too_much_alone(unit, refund):
        return [
            StoreQueueItem(attrs.evolve(i, state="withdrawn", decided_at=now, version=i.version + 1)) for i in items
        ]
    return () if items else [StoreQueueItem(approval_question(ports, refund))]


def approval_question(ports: Ports, refund: Refund) -> QueueItem:
    """Return the item that asks a second person to agree to a refund."""
    return QueueItem(
        item_id=ports.ids.new_id(),
        kind="refund_approval",
        subject=f"refund:{refund.refund_id}",
        reason=refund.reason,
        user_id=refund.user_id,
        ledger_id=refund.ledger_id,
        receipt_id=refund.receipt_id,
        refund_id=refund.refund_id,
        asset=refund.asset,
        amount=refund.amount,
        opened_at=ports.clock.now(),
    )


def is_above(policies: Iterable[MisfitPolicy], asset: Asset, amount: int, others: Iterable[Refund]) -> bool:
    """Whether an amount, together with what else one person alone gave back in its asset, needs a second person."""
    same = (r for r in others if (r.asset.chain_id, r.asset.token) == (asset.chain_id, asset.token))
    together = amount + given_alone(same)
    return any(policy.needs_approval(asset, together) for policy in policies)


def sent_back(unit: Unit, payer: str) -> Sequence[Refund]:
    """Return what goes back to a wallet: of money that is nobody's and that it sent, or that a customer had proved.

    What was only agreed to need not have an address yet; money of nobody is found among all that wait.
    """
    there = {r.refund_id: r for r in unit.refunds_by(addresses=[payer])}
    after = ""
    while page := unit.refunds(states=[RefundStatus.APPROVED], after=after, limit=_PAGE):
        there |= {r.refund_id: r for r in page}
        after = page[-1].refund_id
    nobodys = [r for r in there.values() if r.user_id is None and r.receipt_id is not None]
    senders = unit.receipts({r.receipt_id for r in nobodys if r.receipt_id})
    own = {r.refund_id for r in nobodys if (sent := senders.get(r.receipt_id or "")) and sent.payer == payer}
    return [r for r in there.values() if r.refund_id in own or r.address == payer]
