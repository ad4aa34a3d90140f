"""Whatever people and the chain do while clocks disagree: each transfer on chain is one receipt, and all is proved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random

import pytest
from till import OPS, OTHER_TOKEN, PRICE, ROOT, TOKEN, TREASURY, Till, address

from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus
from evmbilling.errors import BillingError
from sampling import EVERYTHING

SKEWS = [-20, -5, 0, 0, 1, 5, 14, 16, 60]
LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}


class Walk:
    """Random steps of two customers, a person of finance, a chain, and a clock that is set wrong."""

    def __init__(self, till: Till, seed: int) -> None:
        self.till, self.random = till, Random(seed)
        self.skew = timedelta()
        self.sent: list[bytes] = []
        for user in ("u1", "u2"):
            till.wallet(user)

    def step(self, number: int) -> None:
        often = [self.pay, self.pay, self.pay, self.mine, self.mine, self.take_in, self.take_in]
        seldom = [self.buy, self.fork, self.change, self.leave, self.rule, self.give_back, self.set_clock]
        act: Callable[[str, int], None] = self.random.choice([*often, *seldom])
        # What is refused is part of the story.
        with suppress(BillingError):
            act(self.random.choice(["u1", "u1", "u2"]), number)

    def follow(self) -> None:
        self.till.clock.set(self.till.chain.head.timestamp + self.skew)

    def set_clock(self, _user: str, _number: int) -> None:
        self.skew = timedelta(seconds=self.random.choice(SKEWS))
        self.follow()

    def buy(self, user: str, number: int) -> None:
        self.till.checkout(user, plan=self.random.choice(["pro", "once", "once", "other"]), key=f"k{number}")

    def pay(self, user: str, _number: int) -> None:
        amount = self.random.choice([1, PRICE, PRICE, 5_000_000, 5_000_000, 2 * PRICE])
        token = self.random.choice([TOKEN, TOKEN, TOKEN, OTHER_TOKEN])
        self.sent.append(self.till.chain.transfer(token, address(user), TREASURY, amount))

    def mine(self, _user: str, _number: int) -> None:
        self.till.chain.mine(self.random.choice([1, 1, 3, 5]), seconds=self.random.choice([0, 1, 5, 12, 30]))
        self.follow()

    def take_in(self, _user: str, _number: int) -> None:
        engine, limit = self.till.engine, self.random.choice([1, 2, 50])
        engine.read_chain("fake")
        while (report := engine.run_intake(limit=limit)).taken + report.parked:
            pass
        engine.expire_orders()
        engine.run_renewals()

    def fork(self, _user: str, _number: int) -> None:
        chain = self.till.chain
        depth = self.random.randrange(1, 15)
        if depth > chain.head.number:
            return
        chain.reorganise(
            depth,
            mode=self.random.choice(["drop", "reinclude", "reorder"]),
            delay=self.random.choice([-10, -2, -1, 0, 1, 30]),
        )
        for sent in self.sent:
            if chain.receipt(sent) is None and sent not in chain.pending and self.random.random() < 0.8:
                chain.resend(sent)
        self.follow()

    def change(self, user: str, _number: int) -> None:
        for held in self.till.engine.subscriptions(user):
            timing = self.random.choice(["now", "next_period"])
            wanted = {"quantity": self.random.choice([1, 2, 3]), "timing": timing, "wallet": address(user)}
            self.till.engine.change_subscription(held.subscription_id, **wanted)

    def leave(self, user: str, _number: int) -> None:
        for held in self.till.engine.subscriptions(user)[:1]:
            when = self.random.choice(["now", "period_end"])
            self.till.engine.cancel_subscription(held.subscription_id, when=when)

    def rule(self, user: str, _number: int) -> None:
        if orders := self.till.engine.orders(user):
            self.till.engine.finance(ROOT).mark_paid(self.random.choice(orders).ledger_id, reason="in cash")

    def give_back(self, user: str, _number: int) -> None:
        if orders := self.till.engine.orders(user):
            ledger_id = self.random.choice(orders).ledger_id
            self.till.engine.refunds(OPS).request(ledger_id=ledger_id, reason="asked")


def policies(seed: int) -> dict[str, str | int]:
    random = Random(seed)
    late, duplicate = random.choice(["credit", "order", "suspense"]), random.choice(["credit", "suspense"])
    return {"order_ttl": random.choice([60, 1800]), "late": late, "duplicate": duplicate}


def walk(till: Till, seed: int, steps: int) -> None:
    walking = Walk(till, seed)
    for number in range(steps):
        walking.step(number)
    till.chain.mine(30)
    walking.follow()
    for _ in range(2):
        walking.take_in("", 0)
    mined = sorted(sent for sent in walking.sent if till.chain.receipt(sent) is not None)
    assert sorted(r.identity.tx_hash for r in till.receipts() if r.status in LIVE) == mined
    assert till.read(lambda unit: unit.parked_items()) == []
    assert till.differences() == []


@pytest.mark.fault("Z01", "Z03", "C17")
@pytest.mark.parametrize("seed", range(40 if EVERYTHING else 10))
def test_z01_z03_c17_every_transfer_of_a_story_is_one_receipt(memory_till, seed):
    walk(memory_till(**policies(seed)), seed, 80)


@pytest.mark.fault("Z03")
@pytest.mark.parametrize("seed", range(2))
def test_z03_every_transfer_of_a_story_is_one_receipt_on_each_storage(make_till, seed):
    walk(make_till(**policies(seed)), seed, 60 if EVERYTHING else 30)
