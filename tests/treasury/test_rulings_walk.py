"""What finance decides, and the chain that takes money back and brings it again elsewhere: a ruling is kept, once."""

from __future__ import annotations

import os
import random

import pytest
from till import OPS, PRICE, STRANGER, Till

from evmbilling.domain.payments.receipts import Receipt
from walking import take_step

LONG = int(os.environ.get("EVMBILLING_WALKS") or 0)
"""How many further walks there are: `EVMBILLING_WALKS=300`."""
STEPS = (
    *("order", "pay", "pay", "stranger", "stranger", "mine", "mine"),
    *("rule", "rule", "rule", "mark", "lose", "lose", "bring", "shuffle"),
)
LIVE = {"seen", "credited", "final", "disputed"}
REACH = 16


class Walk:
    """Two customers, a stranger, and somebody of finance who decides at random."""

    def __init__(self, till: Till, seed: int) -> None:
        self.till, self.chance = till, random.Random(seed)
        self.trail: list[str] = []
        self.orders: list[str] = []
        self.sent: dict[bytes, int] = {}
        self.lost: list[bytes] = []
        self.ruled: dict[str, tuple[str, str]] = {}
        for user in ("u1", "u2"):
            till.wallet(user)

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            take_step(self, STEPS)
        while self.lost:
            self.bring()
        self.till.mine(4)

    def order(self) -> None:
        plan, key = self.chance.choice(["pro", "once", "other"]), f"k{len(self.trail)}"
        self.orders.append(self.till.checkout(self.chance.choice(["u1", "u2"]), plan, key).ledger_id)

    def pay(self) -> None:
        order = self.till.engine.order(self.chance.choice(self.orders)).order
        amount = self.chance.choice([order.amount, order.amount, order.amount // 2, order.amount + 3])
        self.send(order.wallet, amount, token=order.asset.token)

    def stranger(self) -> None:
        self.send(STRANGER, self.chance.choice([PRICE, 5_000_000, 7]))

    def send(self, sender: str, amount: int, **how: str) -> None:
        sent = self.till.send(sender, amount, depth=0, **how)
        self.sent[sent] = amount
        if self.chance.random() < 0.7:
            self.till.mine(self.chance.choice([1, 4]))

    def mine(self) -> None:
        self.till.mine(self.chance.choice([1, 3]))

    def mark(self) -> None:
        if self.chance.random() < 0.3:
            self.till.finance.mark_paid(self.chance.choice(self.orders), reason="cash")

    def rule(self) -> None:
        """Decide about something, whether the money is there or not."""
        item = self.chance.choice([i for i in self.till.finance.queue(state=None) if i.state != "decided"])
        desk = self.till.engine.finance(OPS)
        ruling = self.chance.choice(["assign", "assign", "credit", "write_off", "acknowledge"])
        if ruling == "assign":
            wanted = self.chance.choice(self.orders)
            desk.assign(item.item_id, wanted)
            self.ruled[item.receipt_id or ""] = ("assign", wanted)
        elif ruling == "credit":
            wanted = self.chance.choice(["u1", "u2"])
            desk.credit(item.item_id, wanted)
            self.ruled[item.receipt_id or ""] = ("credit", wanted)
        elif ruling == "write_off":
            desk.write_off(item.item_id)
            self.ruled[item.receipt_id or ""] = ("write_off", "")
        else:
            desk.acknowledge(item.item_id)

    # -- the chain

    def lose(self) -> None:
        near = [tx for tx in self.sent if 0 <= self.depth(tx) < REACH]
        gone = self.chance.choice(near)
        keep = [tx for tx in self.sent if tx != gone]
        self.lost.append(gone)
        self.till.reorganise(min(self.depth(gone) + 1, REACH), keep=keep)
        self.till.mine()

    def shuffle(self) -> None:
        """Let the chain mine the last blocks' transactions in another order."""
        deep = self.chance.choice([1, 3, 6])
        if self.till.chain.head.number > deep + 1:
            self.till.reorganise(deep, mode="reorder")
            self.till.mine()

    def depth(self, tx: bytes) -> int:
        block = self.till.chain.block_of(tx)
        return self.till.chain.head.number - block.number if block is not None else -1

    def bring(self) -> None:
        if self.lost:
            self.till.chain.resend(self.lost.pop(0))
            self.till.mine(self.chance.choice([1, 4]))

    # -- what has to hold

    def check(self) -> None:
        assert self.till.differences() == []
        receipts = [r for r in self.till.receipts() if r.status in LIVE]
        assert sorted((r.identity.tx_hash, r.amount) for r in receipts) == sorted(self.sent.items())
        assert -self.till.accounts().get("treasury", 0) == sum(self.sent.values())
        for receipt in receipts:
            self.check_ruling(receipt)
        waiting = sorted(r.receipt_id for r in receipts if r.allocation == "suspense")
        asked = sorted(i.receipt_id or "" for i in self.till.finance.queue() if i.kind == "suspense")
        assert waiting == asked
        for user in ("u1", "u2"):
            self.check_user(user, receipts)

    def check_ruling(self, receipt: Receipt) -> None:
        """What a person decided holds, however often the chain took the money back."""
        ruling, about = self.ruled.get(receipt.receipt_id, ("", ""))
        if ruling == "assign":
            assert receipt.ledger_id == about
            assert receipt.reason in {"assigned", "assigned_replaced"}
        elif ruling == "credit":
            assert (receipt.allocation, receipt.user_id) == ("credit", about)
        elif ruling == "write_off":
            assert receipt.allocation == "written_off"

    def check_user(self, user: str, receipts: list[Receipt]) -> None:
        """What a customer holds is what came for them less what their orders cost."""
        orders = [self.till.engine.order(name).order for name in dict.fromkeys(self.orders)]
        for asset in {r.asset for r in receipts}:
            own = [r for r in receipts if (r.user_id, r.asset) == (user, asset)]
            came = sum(r.amount for r in own if r.allocation in {"order", "credit"})
            cost = 0
            for order in orders:
                if (order.user_id, order.asset) == (user, asset) and order.status in {"confirmed", "final"}:
                    there = sum(
                        r.amount for r in receipts if r.ledger_id == order.ledger_id and r.allocation == "order"
                    )
                    cost += min(there, order.amount)
            held = sum(c.held for c in self.till.engine.refunds(OPS).credit(user) if c.asset == asset)
            assert held == came - cost >= 0


@pytest.mark.parametrize("seed", [*range(4), *range(1000, 1000 + LONG)])
def test_a_ruling_holds_whatever_the_chain_does_with_its_money(memory_till, seed: int) -> None:
    walk = Walk(memory_till(), seed)
    try:
        walk.walk(35)
        walk.check()
    except AssertionError as error:
        error.add_note(" ".join(walk.trail))
        raise
