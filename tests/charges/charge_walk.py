"""A customer who is pulled, and everything that can happen beside a charge, in any order; with an oracle of its own.

The oracle knows what stands in the chain, when memberships ended and when charges were signed. It asks of the engine
only how orders and receipts stand, and adds up for itself.
"""

from __future__ import annotations

import calendar
import random
from collections import defaultdict
from datetime import datetime, timedelta

import attrs
from charge_bench import DAY, LADDER, OPERATOR, PAYER, USER, OnFake

from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.siwe import personal_digest
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.testing.keys import _accounts
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.paid_logs import transfer_log
from walking import take_step

REACH = 16
"""How many blocks a reorganisation takes at most: less than what is irreversible for the merchant."""
STEPS = (
    *("due", "due", "due", "pull", "pull", "pull", "work", "charge", "relay", "mine", "settle", "settle"),
    *("hand", "hand", "old", "mark", "leave", "stay", "stay", "change", "pause", "resume", "ask", "send"),
    *("forbid", "allow", "allow", "revoke", "give", "give", "lose", "lose", "bring", "dear", "begin", "begin"),
)
COUNTS = ("credited", "final", "disputed")


def month(anchor: datetime, n: int) -> datetime:
    """The n-th month after an anchor, the day kept where there is one."""
    year, index = divmod(anchor.month - 1 + n, 12)
    last = calendar.monthrange(anchor.year + year, index + 1)[1]
    return anchor.replace(year=anchor.year + year, month=index + 1, day=min(anchor.day, last))


@attrs.define
class Over:
    """What counted when a membership ended."""

    counted: set[str]


class Walk:
    """One customer with a mandate, and everything that can happen to what they pay."""

    def __init__(self, bench: OnFake, seed: int) -> None:
        self.bench, self.engine, self.chain = bench, bench.engine, bench.chain
        self.chance = random.Random(seed)
        self.trail: list[str] = []
        late, on_refund = self.chance.choice(["credit", "order"]), self.chance.choice(["keep", "burn"])
        policy = MisfitPolicy(late=late, on_refund=on_refund)
        self.engine.admin(ADMIN).update_gateway("main", version=2, misfits=policy)
        price = bench.merchant.token
        place = {"network": bench.merchant.network, "chain_id": price.chain_id, "token": price.token}
        more = [place | {"decimals": 6, "symbol": price.symbol, "display": "29.99"}]
        bench.plan("large", product="life", prices=more)
        self.keys = 0
        self.lost: list[bytes] = []
        self.ever_lost: list[bytes] = []
        self.refunds: list[str] = []
        self.asked: list[str] = []
        self.over: dict[str, Over] = {}
        self.paused: set[str] = set()
        bench.subscribe()
        self.first = next(iter(self.paying()))
        bench.give(charge_cap=10**9, allowance=10**10)

    # -- walking

    def walk(self, steps: int) -> None:
        for _ in range(steps):
            take_step(self, STEPS)
            self.look()
        self.trail.append("| end")
        while self.lost:
            self.bring()
        for _ in range(3):
            self.settle()

    def tick(self, by: timedelta = timedelta(minutes=1)) -> None:
        self.bench.machine.move_to(self.bench.clock.now() + by)

    def pull(self) -> None:
        """Come to the next charge, and let it come so far or so far."""
        self.due()
        for step in ("charge", "relay", "mine", "settle")[: self.chance.choice([1, 2, 3, 3, 4])]:
            getattr(self, step)()

    def begin(self) -> None:
        """Begin anew once it is over."""
        if self.held().status in {"ended", "incomplete_expired"}:
            self.keys += 1
            offer = self.engine.checkout(
                plan="life", user_id=USER, wallet=PAYER.address, idempotency_key=f"hand-{self.keys}"
            )
            self.bench.pay(offer.order)
            self.bench.settle()
            self.allow()
            self.give()

    def work(self) -> None:
        self.bench.read()
        self.engine.expire_orders()
        self.engine.run_renewals()

    def due(self) -> None:
        at, now = self.held().next_charge_at, self.bench.clock.now()
        ahead = self.chance.choice([timedelta(), DAY, timedelta(hours=1)])
        self.bench.machine.move_to(max(at - ahead, now) if at is not None else now + 3 * DAY)
        self.work()

    def charge(self) -> None:
        self.engine.run_charges()

    def relay(self) -> None:
        """Send; nothing is signed for what is known to be paid or over."""
        before = {s.transmission_id for s in self.bench.sent() if s.nonce is not None}
        known = self.known()
        self.engine.relay()
        for sent in self.bench.sent():
            if sent.purpose == "charge" and sent.nonce is not None and sent.transmission_id not in before:
                order = self.engine.order(sent.subject.removeprefix("order:")).order
                assert (order.subscription_id, order.period) not in known, ("pulled for what is paid", order)
                held = self.engine.subscription(order.subscription_id or "").subscription
                assert held.status not in {"ended", "paused"}, ("pulled for what is over", order)
        if self.chance.random() < 0.5:
            self.tick()

    def known(self) -> set[tuple[str | None, int | None]]:
        """Periods for which money is seen, or that a person marked as paid."""
        found = set()
        for order in self.orders():
            there = sum(r.amount for r in self.of(order.ledger_id) if r.allocation == "order")
            if order.manual is not None or there >= order.amount:
                found.add((order.subscription_id, order.period))
        return found

    def mine(self) -> None:
        self.bench.mine(self.chance.choice([1, 2, 3]))
        self.bench.read()

    def settle(self) -> None:
        self.tick()
        self.relay_all()
        self.bench.settle()

    def relay_all(self) -> None:
        self.work()
        self.charge()
        self.relay()

    # -- the customer

    def hand(self) -> None:
        """Check out what is next, and pay it or not."""
        self.keys += 1
        wallet = self.chance.choice([PAYER, OPERATOR]).address
        plan = self.held().plan_slug
        if self.held().status in {"ended", "incomplete_expired"}:
            return
        offer = self.engine.checkout(plan=plan, user_id=USER, wallet=wallet, idempotency_key=f"hand-{self.keys}")
        if self.chance.random() < 0.6:
            self.pay(offer.order)

    def old(self) -> None:
        """Pay any offer there ever was that asks for money and got none."""
        if offers := [o for o in self.orders() if not self.of(o.ledger_id) and not self.pending(o)]:
            self.pay(self.chance.choice(offers))

    def pay(self, order) -> None:
        self.chain.pay(order, enforce=True)
        if self.chance.random() < 0.7:
            self.mine()

    def pending(self, order) -> bool:
        return order.manual is not None

    def mark(self) -> None:
        if self.chance.random() < 0.4:
            offers = [o for o in self.orders() if o.manual is None]
            self.engine.finance(ADMIN).mark_paid(self.chance.choice(offers).ledger_id, reason="cash")

    def leave(self) -> None:
        when = self.chance.choice(["period_end", "period_end", "now"])
        self.engine.cancel_subscription(self.held().subscription_id, when=when)

    def stay(self) -> None:
        self.engine.undo_cancel(self.held().subscription_id)

    def change(self) -> None:
        timing, plan = self.chance.choice(["now", "next_period"]), self.chance.choice(["life", "large"])
        made = self.engine.change_subscription(self.held().subscription_id, timing=timing, plan=plan)
        if made.order is not None and self.chance.random() < 0.7:
            self.pay(made.order.order)

    def dear(self) -> None:
        """Let what is sold cost more from now on."""
        plan = next(p for p in self.engine.admin(ADMIN).plans() if p.slug == "life")
        self.engine.admin(ADMIN).revise_plan("life", version=plan.version, dunning=LADDER | {"grace_days": 1})

    def pause(self) -> None:
        held = self.held().subscription_id
        self.engine.pause_subscription(held, when=self.chance.choice(["now", "period_end"]))
        self.paused.add(held)

    def resume(self) -> None:
        self.engine.resume_subscription(self.held().subscription_id)

    def forbid(self) -> None:
        self.bench.allow(0)

    def allow(self) -> None:
        self.bench.allow(10**12)

    def revoke(self) -> None:
        if mandates := [m for m in self.engine.mandates.list(USER) if m.status == "active"]:
            if self.chance.random() < 0.5:
                self.bench.revoke(mandates[0])
            else:
                self.engine.mandates.cancel(USER, mandates[0].mandate_id)

    def give(self) -> None:
        self.bench.give(charge_cap=10**9, allowance=10**10)

    # -- money back

    def ask(self) -> None:
        paid = [o for o in self.orders() if o.status in {"confirmed", "final"} and o.manual is None]
        desk = self.engine.refunds(ADMIN)
        order = self.chance.choice(paid)
        end = self.chance.choice([None, None, True, False])
        refund = desk.request(ledger_id=order.ledger_id, via="transfer", reason="asked", end_membership=end)
        where = {"network": self.bench.merchant.network, "domain": "shop.example", "uri": "https://shop.example/"}
        key = next(k for k in (PAYER, OPERATOR) if k.address == order.wallet)
        asked = self.engine.refund_challenge(refund.refund_id, user_id=USER, wallet=key.address, **where)
        signature = bytes(_accounts().unsafe_sign_hash(personal_digest(asked.message), key.key).signature)
        self.engine.confirm_refund_address(refund.refund_id, user_id=USER, nonce=asked.nonce, signature=signature)
        desk.prepare(refund.refund_id)
        self.refunds.append(refund.refund_id)
        self.asked.append(refund.refund_id)

    def send(self) -> None:
        """Send a refund that is prepared, as the treasury does."""
        if self.refunds:
            refund = self.engine.refunds(ADMIN).refund(self.refunds.pop(0))
            log = transfer_log(refund.asset.token, refund.treasury, refund.address, refund.amount)
            self.chain.send(log)
            self.mine()

    # -- the chain

    def paying(self) -> list[bytes]:
        """Transactions in the chain that moved money from or to the treasury."""
        token, treasury = self.bench.merchant.token.token, address_bytes(self.bench.merchant.treasury).rjust(32, b"\0")
        return [
            tx
            for tx, (done, _) in self.chain._ledger.receipts.items()
            if any(log.address == token and treasury in log.topics for log in done.logs)
        ]

    def lose(self) -> None:
        """Let the chain take one transaction back."""
        near = [tx for tx in self.paying() if tx != self.first and self.depth(tx) < REACH]
        if near:
            gone = self.chance.choice(near)
            keep = [tx for tx in self.chain._ledger.receipts if tx != gone]
            self.chain.reorganise(min(self.depth(gone) + 1 + self.chance.choice([0, 2]), REACH), keep=keep)
            self.lost.append(gone)
            self.ever_lost.append(gone)
            self.bench.mine()
            self.bench.read()
            if self.chance.random() < 0.5:
                self.work()

    def depth(self, tx: bytes) -> int:
        block = self.chain.block_of(tx)
        return self.chain.head.number - block.number if block is not None else REACH

    def bring(self) -> None:
        """Let a transaction that was taken back come again."""
        if self.lost:
            gone = self.lost.pop(0)
            if self.chain.block_of(gone) is None and gone not in self.chain.pending:
                self.chain.resend(gone)
            self.mine()

    # -- what there is

    def held(self) -> Subscription:
        return self.engine.subscriptions(USER)[-1]

    def orders(self):
        return list(self.engine.orders(USER, limit=1000))

    def of(self, ledger_id: str) -> list[Receipt]:
        return [r for r in self.engine.receipts(ledger_id) if r.status in {*COUNTS, "seen"}]

    def look(self) -> None:
        """Write down what counted when a membership ended."""
        counted = {
            r.receipt_id
            for o in self.orders()
            for r in self.of(o.ledger_id)
            if r.status in COUNTS and r.allocation == "order"
        }
        for held in self.engine.subscriptions(USER):
            if held.status in {"ended", "incomplete_expired"}:
                self.over.setdefault(held.subscription_id, Over(counted))

    # -- what has to hold

    def check(self) -> None:
        """Everything that was taken is somewhere, once; what is left follows from it."""
        self.check_books()
        self.check_money()
        for held in self.engine.subscriptions(USER):
            self.check_periods(held)
        self.check_time()

    def check_books(self) -> None:
        """Nothing differs, but for what was given back of a payment that the contract did not take again."""
        refused = any((done := self.chain.receipt(tx)) is None or not done.status for tx in self.ever_lost)
        found = [d for d in self.bench.differences() if not (refused and d[0].startswith("refund"))]
        assert found == []

    def check_money(self) -> None:
        found = sum(r.amount for o in self.orders() for r in self.of(o.ledger_id))
        refunds = [self.engine.refunds(ADMIN).refund(name) for name in self.asked]
        back = sum(r.amount for r in refunds if r.status in {"done", "confirming"})
        assert found - back == self.bench.balance(self.bench.merchant.treasury)

    def check_periods(self, held: Subscription) -> None:
        """A period takes one order's money, what is over takes none that came afterwards, and dates are arithmetic."""
        own = [o for o in self.orders() if o.subscription_id == held.subscription_id]
        takers: dict[int, set[str]] = defaultdict(set)
        for order in own:
            for receipt in self.of(order.ledger_id):
                if receipt.allocation == "order" and order.period is not None:
                    takers[order.period].add(order.ledger_id)
                over = self.over.get(held.subscription_id)
                if over is not None and receipt.allocation == "order":
                    assert receipt.receipt_id in over.counted, ("swallowed", order, receipt)
        assert all(len(orders) == 1 for orders in takers.values()), takers
        paid = {o.period for o in own if o.status in {"confirmed", "final"}}
        given_up = {o.period for o in own if o.claim == "forgiven"}
        count = had = 0
        while count in paid | given_up:
            count += 1
            had = count if count - 1 in paid else had
        assert held.paid_periods == count
        refunds = [self.engine.refunds(ADMIN).refund(name) for name in self.asked]
        back = {r.ledger_id for r in refunds if r.status == "done"} & {o.ledger_id for o in own}
        if held.anchor is not None and held.subscription_id not in self.paused and not back:
            assert held.paid_until == month(held.anchor, had)

    def check_time(self) -> None:
        """Nothing waits for ever: a month on, what is not paid is owed, and who left is gone."""
        held = self.held()
        if held.status == "paused" and not held.cancel_at_period_end:
            self.engine.resume_subscription(held.subscription_id)
        for _ in range(2):
            held = self.held()
            now = self.bench.clock.now()
            until = held.paid_until
            if until is not None:
                self.bench.machine.move_to(max(until, now) + timedelta(hours=1))
            for _ in range(4):
                self.settle()
            held, now = self.held(), self.bench.clock.now()
            alive = held.paid_until is not None and held.paid_until > now
            assert held.status != "active" or alive, ("nobody is told that it is not paid", held)
            over = held.status in {"ended", "incomplete_expired"}
            assert not held.cancel_at_period_end or over or alive, ("never ends", held)
        self.check_books()
