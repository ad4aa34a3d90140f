"""Refunds against what came in: per order, per receipt, per customer, and per asset in total.

What left is counted: refunds whose transaction is in the chain. What came in is what stands on the chain now, and what
a reorganisation took back after a person has acknowledged that loss in the finance queue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from evmbilling.domain.money import Asset
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.payments.finance import receipt_subject
from evmbilling.domain.payments.receipts import Receipt, Refund
from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS
from evmbilling.engine.intake.purses import load_purse
from evmbilling.engine.verify.books import PAGE
from evmbilling.engine.verify.queue import check_refunds_asked
from evmbilling.engine.verify.refund_rows import RefundRows
from evmbilling.engine.verify.report import Findings
from evmbilling.ports.storage import Unit

AssetKey = tuple[int, str]


class RefundCheck:
    """Proves that nothing was given back that had not come in.

    Args:
        received: what stands on the chain, by (chain id, token), over all receipts.
        reversed_: the receipts that the chain took back; they are few.
        rows: compares each refund with its log and with the audit.

    """

    def __init__(
        self,
        unit: Unit,
        findings: Findings,
        *,
        received: Mapping[AssetKey, int],
        reversed_: Sequence[Receipt],
        rows: RefundRows,
    ) -> None:
        self._rows = rows
        self._unit = unit
        self._findings = findings
        self._received: dict[AssetKey, int] = defaultdict(int, received)
        self._forgiven = _acknowledged(unit, reversed_)
        for receipt in self._forgiven.values():
            self._received[_key(receipt.asset)] += receipt.amount
        self._left: dict[AssetKey, int] = defaultdict(int)

    def run(self) -> None:
        """Find every order, receipt, customer and asset of which more left than came in."""
        after = ""
        while page := self._unit.refunds(after=after, limit=PAGE):
            self._findings.looked_at("refunds", len(page))
            self._rows.check(page)
            check_refunds_asked(self._unit, self._findings, page)
            gone = [refund for refund in page if has_left(refund)]
            for refund in gone:
                self._left[_key(refund.asset)] += refund.amount
            self._check_receipts(gone)
            self._check_customers(gone)
            after = page[-1].refund_id
        for (chain_id, token), left in sorted(self._left.items()):
            came = self._received.get((chain_id, token), 0)
            if left > came:
                self._findings.add("refunds_exceed_receipts", f"asset:{chain_id}:{token}", expected=came, found=left)

    def _check_receipts(self, gone: Sequence[Refund]) -> None:
        """Money that no order took goes back once, and counts for nothing else."""
        known = self._unit.receipts({r.receipt_id for r in gone if r.receipt_id})
        for refund in gone:
            if refund.receipt_id is None:
                continue
            receipt = known.get(refund.receipt_id)
            came = self._counts(receipt) if receipt is not None and receipt.allocation == "refunded" else 0
            left = sum(r.amount for r in self._of_receipt(refund))
            if left > came:
                subject = f"receipt:{refund.receipt_id}"
                self._findings.add("refund_exceeds_receipt", subject, expected=came, found=left)

    def _of_receipt(self, refund: Refund) -> Iterable[Refund]:
        """Give every refund of a receipt that left: those of its customer, or those to the same address."""
        if refund.user_id is not None:
            beside = self._unit.refunds_by(users=[refund.user_id])
        else:
            beside = self._unit.refunds_by(addresses=[refund.address or ""])
        return (r for r in beside if r.receipt_id == refund.receipt_id and has_left(r))

    def _check_customers(self, gone: Sequence[Refund]) -> None:
        """Check each customer on the page of their first refund."""
        users = {refund.user_id for refund in gone if refund.user_id is not None}
        by_user: dict[str, list[Refund]] = defaultdict(list)
        for refund in self._unit.refunds_by(users=users) if users else ():
            if has_left(refund):
                by_user[refund.user_id or ""].append(refund)
        for user_id in sorted(users):
            own = by_user[user_id]
            if own[0] in gone:
                for asset in {_key(r.asset): r.asset for r in own}.values():
                    self._check_purse(user_id, asset)

    def _check_purse(self, user_id: str, asset: Asset) -> None:
        """Count anew, not by the rule that bounds a request: a rule that is wrong must not prove itself."""
        purse = load_purse(self._unit, user_id, asset)
        back: dict[str, int] = defaultdict(int)
        for refund in purse.refunds:
            if refund.ledger_id is not None and has_left(refund):
                back[refund.ledger_id] += refund.amount
        # Refunds of orders leave the customer's account alone; what an order did not take they take from there.
        owed = 0
        for order in purse.orders:
            own = [r for r in purse.receipts if r.ledger_id == order.ledger_id]
            left, took = back[order.ledger_id], self._sum(own, "order")
            # What the chain has moved to another order of the period is the customer's, and covers it as well.
            came = min(order.amount, took + self._sum(own, "credit"))
            if left > came:
                self._findings.add("refund_exceeds_order", f"order:{order.ledger_id}", expected=came, found=left)
            owed += max(0, left - (min(took, order.amount) if order.status in PAID_ORDERS else 0))
        promised = sum(r.amount for r in purse.refunds if _is_promise(r))
        lost = [r for r in self._forgiven.values() if (r.user_id, _key(r.asset)) == (user_id, _key(asset))]
        free = purse.held + promised + sum(r.amount for r in lost) - owed
        if free < 0:
            place = f"{asset.chain_id}:{asset.token}"
            self._findings.add("refund_exceeds_credit", f"customer:{user_id}", expected=0, found=free, reason=place)

    def _sum(self, receipts: Sequence[Receipt], allocation: str) -> int:
        return sum(self._counts(r) for r in receipts if r.allocation == allocation)

    def _counts(self, receipt: Receipt) -> int:
        stands = receipt.status in SUPPORTING_RECEIPTS or receipt.receipt_id in self._forgiven
        return receipt.amount if stands else 0


def has_left(refund: Refund) -> bool:
    """Whether a refund's transaction is in the chain."""
    return refund.evidence is not None


def _is_promise(refund: Refund) -> bool:
    """Whether a refund is out of the customer's account though it has not left."""
    return refund.ledger_id is None and refund.status not in OVER and not has_left(refund)


def _acknowledged(unit: Unit, reversed_: Collection[Receipt]) -> dict[str, Receipt]:
    """Return the receipts whose loss a person has acknowledged, by id."""
    subjects = {receipt_subject(receipt.receipt_id): receipt for receipt in reversed_}
    items = unit.queue_items_of(subjects) if subjects else ()
    seen = [subjects[i.subject] for i in items if i.kind == "reversed" and i.state == "decided"]
    return {receipt.receipt_id: receipt for receipt in seen}


def _key(asset: Asset) -> AssetKey:
    return asset.chain_id, asset.token
