"""Months that are paid, given back, taken back by the chain and paid again, in any order: what is left is one state."""

from __future__ import annotations

import random
from datetime import datetime

import attrs
import pytest
from refunds_bench import Desk

from evmbilling.domain.states import RefundStatus
from evmbilling.errors import BillingError

PRICE = 19_990_000
MONTHS = 5
REACH = 18
"""How many blocks a reorganisation takes at most: less than what is irreversible for the merchant."""
STEPS = ("pay", "pay", "offer", "ask", "ask", "send", "send", "cancel", "lose", "bring", "settle")


@attrs.define
class Sent:
    """A transaction, and whether it is in the chain now; ``what`` is a period, or the id of a refund."""

    what: int | str
    tx: bytes
    mined: bool = True


class Walk:
    """One customer with a policy that takes months away, and everything that can happen to the months."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.chance = desk, random.Random(seed)
        desk.policy(on_refund="burn")
        self.table = self.held().table
        self.ledgers = {0: desk.paid.ledger_id}
        self.asked: dict[str, int] = {}
        self.sent = [Sent(0, desk.sent)]
        self.open = None

    def held(self):
        return min(self.desk.engine.subscriptions("user-1"), key=lambda s: s.subscription_id)

    @property
    def over(self) -> bool:
        return self.held().status == "ended"

    def gone(self) -> list[Sent]:
        return [sent for sent in self.sent if not sent.mined]

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            try:
                getattr(self, self.chance.choice(STEPS))()
            except BillingError:
                continue  # what is refused changes nothing
        while self.gone():
            self.bring()
        self.settle(6)

    # -- what happens

    def settle(self, blocks: int | None = None) -> None:
        self.desk.settle(blocks or self.chance.choice([1, 3]))

    def offer(self) -> None:
        """Let an offer stand open that may be paid much later."""
        if not self.over and self.open is None and len(self.ledgers) < MONTHS:
            self.open = self.desk.shop.checkout("user-1", idempotency_key=f"{self.chance.random()}")

    def pay(self) -> None:
        lost = any(isinstance(sent.what, int) for sent in self.gone())
        if lost or self.over or len(self.ledgers) >= MONTHS:
            return
        self.offer()
        order, self.open = self.open.order, None
        self.ledgers[order.period] = order.ledger_id
        self.sent.append(Sent(order.period, self.desk.shop.chain.pay(order)))
        self.settle(3)

    def ask(self) -> None:
        period = self.chance.choice(sorted(self.ledgers))
        left = self.desk.ops.of_order(self.ledgers[period]).left
        amount = left // 2 if self.chance.random() < 0.3 else None
        refund = self.desk.ops.request(ledger_id=self.ledgers[period], amount=amount, via="transfer", reason="asked")
        self.asked[refund.refund_id] = period
        self.desk.prove(refund)
        self.desk.ops.prepare(refund.refund_id)

    def waiting(self) -> list[str]:
        sent = {one.what for one in self.sent}
        return [name for name in self.asked if name not in sent and self.status(name) is RefundStatus.PREPARED]

    def status(self, refund_id: str) -> RefundStatus:
        return self.desk.ops.refund(refund_id).status

    def send(self) -> None:
        if waiting := self.waiting():
            name = self.chance.choice(waiting)
            self.sent.append(Sent(name, self.desk.send(self.desk.ops.refund(name))))
            self.settle()

    def cancel(self) -> None:
        if waiting := self.waiting():
            self.desk.ops.cancel(self.chance.choice(waiting), reason="they stay")

    def lose(self) -> None:
        """Let the chain take one transaction back."""
        chain = self.desk.shop.chain
        deep = {one.tx: chain.head.number - block.number for one in self.sent if (block := chain.block_of(one.tx))}
        if near := [one for one in self.sent if one.what != 0 and deep.get(one.tx, REACH) < REACH]:
            one = self.chance.choice(near)
            one.mined = False
            keep = [tx for tx in self.desk.mined() if tx != one.tx]
            chain.reorganise(min(chain.head.number, REACH), keep=keep)
            self.settle(1)

    def bring(self) -> None:
        """Let a transaction that was taken back come again."""
        if gone := self.gone():
            gone[0].mined = True
            self.desk.shop.chain.resend(gone[0].tx)
            self.settle()

    # -- what has to be left

    def end(self) -> datetime | None:
        """When the membership ends, from what was paid and what is done alone; None where it ended at once."""
        paid = 0
        while paid in self.ledgers:
            paid += 1
        back, limits = set(), set()
        for period in range(paid):
            own = [self.desk.ops.refund(name) for name, of in self.asked.items() if of == period]
            done = [refund for refund in own if refund.status is RefundStatus.DONE]
            if sum(refund.amount for refund in done) == PRICE and any(refund.shortens for refund in done):
                back.add(period)
                limits |= {refund.paid_to for refund in done if refund.shortens}
        ends = [_end(back, min(limit, paid)) for limit in limits]
        first = min((end for end in ends if end is not None), default=paid)
        return self.table.start(first) if first else None


def _end(back: set[int], paid: int) -> int | None:
    first = paid
    while first and first - 1 in back:
        first -= 1
    return first if first < paid else None


@pytest.mark.parametrize("seed", [*range(5), 185, 197, 205, 212, 252, 266, 284])
def test_what_is_left_does_not_depend_on_the_order(memory_desk: Desk, seed):
    """Only an end is an end: what is over stays over, whatever is taken back afterwards."""
    walk = Walk(memory_desk, seed)
    walk.walk(22)
    report = memory_desk.engine.verify(full=True)
    assert [d for d in report.differences if d.code != "unproved"] == []
    if not walk.over:
        assert (walk.held().paid_until, memory_desk.engine.access("user-1").until) == (walk.end(), walk.end())
    before = walk.held()
    memory_desk.engine.rescan(memory_desk.shop.network, 0)
    memory_desk.settle(1)
    assert (walk.held().paid_until, walk.held().status) == (before.paid_until, before.status)
    assert memory_desk.balanced()
