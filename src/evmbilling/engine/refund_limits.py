"""How much one person alone may give back to whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from evmbilling.domain.misfits import MisfitPolicy
from evmbilling.domain.money import Asset
from evmbilling.domain.receipts import Refund
from evmbilling.domain.refunds import given_alone
from evmbilling.domain.states import RefundStatus
from evmbilling.errors import Conflict
from evmbilling.ports.storage import Unit

_PAGE: Final = 1000


def check_alone(unit: Unit, refund: Refund) -> None:
    """Refuse what one person asked for at once in parts that are too much together.

    Money of nobody has no customer whose row two requests could wait for, so they may not have seen each other.

    Raises:
        Conflict: it is; ``reason`` is ``above_limit``.

    """
    receipt = unit.receipts([refund.receipt_id]).get(refund.receipt_id) if refund.receipt_id else None
    decided = refund.approved_by is not None or refund.status is not RefundStatus.APPROVED
    if receipt is None or refund.user_id is not None or decided:
        return
    others = [r for r in sent_back(unit, receipt.payer) if r.refund_id != refund.refund_id]
    if is_above([gateway.misfits for gateway in unit.gateways()], refund.asset, refund.amount, others):
        raise Conflict(
            "what goes back to this wallet is more than one person decides: cancel it and ask again",
            field="refund_id",
            reason="above_limit",
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
