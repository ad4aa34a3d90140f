"""A merchant whose subscriptions live through years: plans, a payer with a mandate, and what was asked and owed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from evmbilling.domain.mandates.charges import Cover
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant, plan_fields, simulated_merchant, wallet_of

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LADDER = [
    {"name": "gone", "after_days": 60, "actions": ["cancel"]},
    {"name": "suspended", "after_days": 14, "actions": ["notify", "suspend"]},
    {"name": "blocked", "after_days": 7, "actions": ["block"]},
    {"name": "late", "after_days": 2, "actions": ["notify"]},
]


class Wallets:
    """Mandates that a test gives and takes, and the one who charges them (port ``Mandates``)."""

    def __init__(self) -> None:
        self.given: dict[str, Cover] = {}
        self.answer: Callable[[Order], str | None] = lambda _: None

    def covers(self, unit: Any, subscriptions: Sequence[Subscription]) -> Mapping[str, Cover]:
        names = [s.subscription_id for s in subscriptions]
        return {name: self.given[name] for name in names if name in self.given}

    def charge(self, life: Life) -> list[tuple[str, int]]:
        """Carry out what is requested: paid on chain, or failed with the reason that a test gave."""
        with life.engine._ports.storage.unit(write=False) as unit:
            found = [
                (charge, unit.order(charge.ledger_id)) for charge in unit.open_charges(life.chain.chain_id, "requested")
            ]
        for charge, order in found:
            reason = self.answer(order)
            outcome = "submitted" if reason is None else "failed"
            life.engine.report_charge(order.ledger_id, attempt=charge.attempt, outcome=outcome, reason=reason)
            if reason is None:
                life.chain.pay(order)
        return [(charge.ledger_id, charge.attempt) for charge, _ in found]


class Life:
    """One merchant, driven day by day or by leaps."""

    def __init__(self, storage: Any = None, *, seed: int = 1, clock: FrozenClock | None = None) -> None:
        self.wallets = Wallets()
        chain = FakeChain(31337, start=START, seed=seed, safe_lag=8, finalized_lag=16)
        self.shop: SimulatedMerchant = simulated_merchant(
            seed=seed, storage=storage, chain=chain, mandates=self.wallets
        )
        self.engine, self.chain = self.shop.engine, self.shop.chain
        self.clock = clock or self.shop.clock

    def plan(self, slug: str = "life", **fields: Any) -> str:
        """Create a plan of a product of its own."""
        dunning = fields.pop("dunning", {})
        given = {"product": slug, "dunning": dunning} | fields
        self.engine.admin(ADMIN).create_plan(**plan_fields(self.shop, slug, **given))
        return slug

    def start(self, user_id: str = "u1", plan: str | None = None, **over: Any) -> Subscription:
        """Check out and pay the first period; return the subscription."""
        self.shop.buy(user_id, plan=plan or self.plan(), **over)
        return self.held(user_id)

    def checkout(self, user_id: str = "u1", plan: str = "life", **over: Any) -> Checkout:
        """Check out, without paying."""
        return self.shop.checkout(user_id, plan=plan, **over)

    def held(self, user_id: str = "u1") -> Subscription:
        return self.engine.subscriptions(user_id)[-1]

    def go(self, days: float = 0, **how: Any) -> None:
        """Let time pass and everything follow."""
        self.shop.advance(timedelta(days=days), **how)

    def until(self, instant: datetime, **how: Any) -> None:
        self.shop.advance(instant - self.clock.now(), **how)

    def pay(self, order: Order) -> None:
        """Pay an order and let it count."""
        self.chain.pay(order)
        self.shop.settle()

    def renewals(self, user_id: str = "u1") -> list[Order]:
        """The renewals of a user by period."""
        found = [o for o in self.engine.orders(user_id, limit=10_000) if o.origin == "renewal"]
        return sorted(found, key=lambda o: o.period)

    def charged(self, user_id: str = "u1") -> list[tuple[Any, ...]]:
        """What was asked for: period, due date, amount, and what became of it."""
        return [(o.period, o.due_at, o.amount, o.claim) for o in self.renewals(user_id)]

    def owed(self, user_id: str = "u1") -> list[int]:
        return [d.period for d in self.engine.subscription(self.held(user_id).subscription_id).debts]

    def types(self, user_id: str = "u1") -> list[str]:
        """The short names of a user's events, in order."""
        events = self.engine.admin(ADMIN).events(aggregate=f"customer:{user_id}", limit=10_000)
        ordered = sorted(events, key=lambda e: e.seq)
        return [e.type.removeprefix("billing.").removesuffix(".v1") for e in ordered]

    def told(self, name: str, user_id: str = "u1") -> list[dict[str, Any]]:
        """What events of a type said."""
        events = self.engine.admin(ADMIN).events(aggregate=f"customer:{user_id}", limit=10_000)
        return [e.data for e in sorted(events, key=lambda e: e.seq) if e.type == f"billing.{name}.v1"]

    def mandate(self, user_id: str = "u1", **over: Any) -> Cover:
        """Let a user's subscription be charged."""
        values = {
            "mandate_id": f"mandate of {user_id}",
            "chain_id": self.chain.chain_id,
            "token": self.shop.token.token,
            "payer": wallet_of(user_id),
            "amount": 10**12,
        }
        cover = Cover(**(values | over))
        self.wallets.given[self.held(user_id).subscription_id] = cover
        return cover

    def pull(self) -> list[tuple[str, int]]:
        """Carry out the charges that are requested, and let them count."""
        done = self.wallets.charge(self)
        self.shop.settle()
        return done

    def differences(self) -> list[tuple[str, str, str]]:
        """What does not add up; only what a chain without state cannot prove is left out."""
        report = self.engine.verify(full=True)
        return [(d.code, d.subject, d.reason) for d in report.differences if d.code != "unproved"]
