"""Random histories: whatever happens in whatever order, the books say what the chain says."""

from __future__ import annotations

import random
from collections import Counter

import attrs
import pytest
from engine_shop import START, TREASURY, Watched, address, build_shop, stock

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.decisions import Rewind
from evmbilling.domain.identity import is_ours
from evmbilling.domain.reading.evidence import Heights
from evmbilling.domain.subscriptions.access import entitled_plan
from evmbilling.errors import ChainMismatch, ChangeNeeded, InputError, RpcUnavailable
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.paid_logs import PAID_TOPIC
from sampling import EVERYTHING

INSTANCE_ID = b"moneylog"
USERS = ("ann", "ben")
PLANS = ("pro", "team", "once", "trial", "site")
LIVE = {"seen", "credited", "final", "disputed"}
PAID = {"confirmed", "final"}


class History:
    """One merchant, driven by a seed."""

    def __init__(self, seed, storage=None):
        self.random = random.Random(seed)
        clock = storage._clock if storage else FrozenClock(START)
        chains = [FakeChain(31337, start=START), FakeChain(10, start=START)][: 1 + seed % 2]
        storage = storage or MemoryStorage(clock, instance_id=INSTANCE_ID)
        self.instance_id = storage.instance_id()
        shop = build_shop(Watched(storage), clock, seed=seed, chains=chains)
        depth = f"depth {self.random.randint(1, 4)}"
        self.shop = stock(shop, order_ttl=300, credit_after=depth, irreversible_after="depth 40")
        self.orders, self.sent = [], []
        self.names = {"fake": chains[0]} | ({"fake2": chains[1]} if len(chains) > 1 else {})
        self.log = []

    def run(self, steps):
        acts = [
            *[self.checkout] * 4,
            *[self.pay] * 7,
            *[self.mine] * 6,
            *[self.settle] * 6,
            *[self.reorganise] * 4,
            *[self.resend] * 3,
            *[self.read, self.intake, self.expire] * 2,
            *[self.requote, self.fail, self.wait, self.again],
        ]
        for _ in range(steps):
            act = self.random.choice(acts)
            self.log.append(act.__name__)
            act()
        self.finish()

    def checkout(self):
        plan, user = self.random.choice(PLANS), self.random.choice(USERS)
        try:
            asked = self.shop.checkout(
                f"k{len(self.log)}",
                user_id=user,
                plan=plan,
                wallet=address(user),
                quantity=self.random.choice((1, 1, 1, 2)),
                product="site/1" if plan == "site" else None,
                network=self.name,
            )
        except ChangeNeeded:
            return
        self.orders.append(asked.order)

    @property
    def name(self):
        return self.random.choice(list(self.names))

    def again(self):
        if self.orders:
            order = self.random.choice(self.orders)
            answer = self.shop.engine.order(order.ledger_id)
            assert answer.reference == order.reference

    def requote(self):
        if self.orders:
            try:
                self.orders.append(self.shop.engine.requote(self.random.choice(self.orders).ledger_id).order)
            except (ChangeNeeded, InputError):
                return

    def pay(self):
        if not self.orders:
            return
        order = self.random.choice(self.orders[-4:])
        changes = self.random.choice([{}] * 12 + [{"amount": order.amount // 2 + 1}, {"treasury": address("x")}])
        chain = self.names[order.network]
        self.sent.append((chain, chain.pay(order, enforce=self.random.random() < 0.3, **changes)))

    def mine(self):
        chain = self.names[self.name]
        chain.mine(self.random.choice((1, 1, 1, 2, 3)), seconds=self.random.choice((12, 12, 12, 120)))
        if self.random.random() < 0.8:
            self.shop.catch_up()

    def reorganise(self):
        chain = self.names[self.name]
        head = chain.head.number
        if head > 1:
            depth = self.random.randint(1, min(head, 8))
            mode = self.random.choice(("drop", "drop", "reinclude", "reorder", "double_spend"))
            keep = [tx for _, tx in self.sent if self.random.random() < 0.5]
            length = self.random.choice((None, None, 1, depth + 2))
            chain.reorganise(depth, mode=mode, keep=keep, length=length, delay=self.random.choice((0, 0, 60)))

    def resend(self):
        if self.sent:
            chain, paid = self.random.choice(self.sent)
            chain.resend(paid)

    def read(self):
        try:
            self.shop.engine.read_chain(self.name, max_blocks=self.random.choice((1, 3, 1000)))
        except (RpcUnavailable, ChainMismatch):
            return

    def intake(self):
        self.shop.engine.run_intake(limit=self.random.choice((1, 2, 50)))

    def expire(self):
        self.shop.engine.expire_orders(limit=self.random.choice((1, 100)))

    def settle(self):
        self.heal()
        self.shop.catch_up()
        self.shop.settle()

    def heal(self):
        for chain in self.names.values():
            chain.heal()

    def fail(self):
        self.names[self.name].fail(self.random.randint(1, 4))

    def wait(self):
        self.shop.clock.advance(seconds=self.random.choice((1, 60, 600)))

    def finish(self):
        self.heal()
        for chain in self.names.values():
            chain.mine(45)
        self.shop.catch_up()
        for _ in range(3):
            self.shop.settle()

    def paid_logs(self):
        """Return what the chains hold now: (transaction, ordinal) to the log."""
        chains = self.names.values()
        logs = [log for c in chains for block in c._ledger.blocks for log in block.chain_logs(c.chain_id)]
        return {(log.tx_hash, log.ordinal): log for log in logs if log.topics[0] == PAID_TOPIC}


def check(history):
    """Assert what must hold at the end of every history."""
    shop, dump = history.shop, history.shop.dump()
    assert dump["parked"] == []
    assert [cursor["halt"] for cursor in dump["cursors"]] == [None] * len(history.names)
    orders = {o["ledger_id"]: o for o in dump["orders"]}
    references = {o["reference"]: o for o in dump["orders"]}
    logs = history.paid_logs()
    assert all(is_ours(log.topics[1], history.instance_id) for log in logs.values())
    live = {(r["identity"]["tx_hash"], r["identity"]["ordinal"]): r for r in dump["receipts"] if r["status"] in LIVE}
    # Every movement on chain has exactly one live receipt, at its place, and nothing else is live.
    assert live.keys() == logs.keys()
    for identity, receipt in live.items():
        log = logs[identity]
        assert receipt["evidence"]["block_hash"] == log.block_hash
        assert receipt["evidence"]["block_number"] == log.block_number
        assert receipt["ledger_id"] == references[log.topics[1]]["ledger_id"]
        late = log.block_time > references[log.topics[1]]["deadline"]
        assert (receipt["allocation"] == "order") <= (not late)
        assert (receipt["allocation"] == "suspense") is (receipt["treasury"] != TREASURY)
    # An order is paid exactly when the money that counts for it is enough; a period is paid once.
    counted = Counter()
    for receipt in live.values():
        if receipt["allocation"] == "order":
            counted[receipt["ledger_id"]] += receipt["amount"]
    for ledger_id, order in orders.items():
        assert (order["status"] in PAID) is (counted[ledger_id] >= order["amount"]), order["status"]
        assert (order["completion"] is not None) is (order["status"] in PAID)
    periods = Counter(
        (o["subscription_id"], o["period"]) for o in orders.values() if o["status"] in PAID and o["subscription_id"]
    )
    assert set(periods.values()) <= {1}
    for subscription in dump["subscriptions"]:
        paid = {p for s, p in periods if s == subscription["subscription_id"]}
        contiguous = next(n for n in range(len(paid) + 1) if n not in paid)
        assert subscription["paid_periods"] == contiguous
    # The journal of a receipt is complete; events count without gaps; the last change of plan is what holds now.
    for receipt in dump["receipts"]:
        assert sum(e["receipt_id"] == receipt["receipt_id"] for e in dump["entries"]) == receipt["entries"]
    for user in USERS:
        shop.types(f"customer:{user}")
    check_plan_changes(shop)
    open_offers = Counter(
        (o["subscription_id"], o["period"])
        for o in orders.values()
        if o["subscription_id"] and o["status"] in {"pending", "partially_paid"}
    )
    assert set(open_offers.values()) <= {1}


def check_plan_changes(shop):
    """Assert that each change of plan begins where the last one ended, and that the last one is what holds."""
    told = {}
    changes = [e for e in shop.events() if e.type == "billing.plan.changed.v1" and e.data["subscription_id"]]
    for event in sorted(changes, key=lambda e: (e.aggregate, e.seq)):
        assert event.data["old_plan"] == told.get(event.data["subscription_id"])
        told[event.data["subscription_id"]] = event.data["new_plan"]
    with shop.storage.unit(write=False) as unit:
        held = [e for e in unit.entitlements(USERS) if e.subscription_id]
    plans = {e.subscription_id: entitled_plan(e, shop.clock.now()) for e in held}
    assert {s: told.get(s) for s in plans} == plans


def rescan(shop):
    """Read the whole of every chain again, as after a restore."""
    for cursor in shop.admin.cursors():
        lease = shop.storage.acquire_lease(f"reader:{cursor.chain_id}", "rescan", 30)
        first = shop.chains[cursor.chain_id].header(0)
        back = attrs.evolve(cursor, block=first, heights=Heights(head=0), irreversible=None, fence=lease.fence)
        with shop.storage.unit() as unit:
            unit.apply([Rewind(cursor=back)])
        shop.storage.release_lease(lease)
    shop.settle()


SEEDS = range(40 if EVERYTHING else 12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_books_say_what_the_chain_says(seed):
    history = History(seed)
    history.run(80)
    check(history)
    before = history.shop.standing()
    rescan(history.shop)
    check(history)
    assert history.shop.standing() == before


@pytest.mark.parametrize("seed", [3, 8])
def test_the_books_of_a_database_say_so_too(open_storage, seed):
    history = History(seed, open_storage("sqlite", FrozenClock(START)))
    history.run(50)
    check(history)


def test_histories_are_not_all_alike():
    seen = Counter()
    kinds = {"final", "expired", "superseded", "duplicate", "wrong_treasury", "gone", "late"}
    kinds |= {"billing.payment.reversed.v1", "billing.payment.unmatched.v1"}
    for seed in SEEDS[:12]:
        if kinds <= seen.keys():
            break
        history = History(seed)
        history.run(80)
        dump = history.shop.dump()
        seen.update(o["status"] for o in dump["orders"])
        seen.update(r["reason"] or r["status"] for r in dump["receipts"])
        seen.update(e["type"] for e in dump["events"])
    assert kinds <= seen.keys()
