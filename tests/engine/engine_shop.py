"""A whole shop in one process: engine, catalogue, chains that obey, storage that fails when it is told to."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
from eth_hash.auto import keccak
from pydantic import SecretStr

from evmbilling import BillingEngine
from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import checksum
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.ports.storage import Storage, Unit
from evmbilling.ports.telemetry import NoTracing
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SIGNING_KEY = "0x" + keccak(b"the key of the tests' gateway").hex()
SECRET_KEY = base64.b64encode(b"k" * 32).decode()
ROOT = Actor("root", frozenset({Role.BILLING_ADMIN}))
PRICE = 19_990_000


def address(name: str) -> str:
    """Return an address that belongs to a name."""
    return checksum(keccak(name.encode())[12:])


TOKEN, OTHER_TOKEN = address("token"), address("other token")
CONTRACT, TREASURY = address("contract"), address("treasury")
STRANGER = address("stranger")


class Counts(NoTracing):
    """Telemetry that adds up."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.labels: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        self.total[name] += value
        self.labels[(name, *sorted(labels.values()))] += value


class Watched:
    """Storage whose units pass every call by a hook, which may raise or answer instead.

    ``hook(name, args, proceed)`` gets the name of the unit's method and a callable that makes the real call.
    """

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.hook: Callable[[str, tuple[Any, ...], Callable[[], Any]], Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[Unit]:
        with self._inner.unit(write=write, durable=durable) as unit:
            yield _WatchedUnit(self, unit)  # type: ignore[misc]  # it stands in for every method of a unit
            if self.hook is not None:
                self.hook("commit", (), lambda: None)


class _WatchedUnit:
    def __init__(self, owner: Watched, unit: Unit) -> None:
        self._owner, self._unit = owner, unit

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._unit, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            hook = self._owner.hook
            return real(*args, **kwargs) if hook is None else hook(name, args, lambda: real(*args, **kwargs))

        return call


class Rewritten:
    """A chain source whose logs a test may rewrite as they pass."""

    def __init__(self, inner: FakeChain) -> None:
        self._inner = inner
        self.rewrite: Callable[[ChainLog], ChainLog] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def logs(self, headers: Any, watch: Any) -> Sequence[ChainLog]:
        found = self._inner.logs(headers, watch)
        return [self.rewrite(log) for log in found] if self.rewrite else found


@attrs.frozen(kw_only=True)
class Shop:
    """One engine with everything around it. ``chain`` is the first of ``chains``."""

    engine: BillingEngine
    clock: FrozenClock
    storage: Any
    chains: dict[int, FakeChain]
    source: Rewritten
    telemetry: Counts

    @property
    def chain(self) -> FakeChain:
        return next(iter(self.chains.values()))

    @property
    def admin(self) -> Any:
        return self.engine.admin(ROOT)

    def checkout(self, key: str = "k1", **over: Any) -> Checkout:
        """Check out as ``u1`` for the plan ``pro``, unless told otherwise."""
        asked = {"plan": "pro", "user_id": "u1", "wallet": address("wallet"), "idempotency_key": key} | over
        return self.engine.checkout(**asked)

    def mine(self, n: int = 1, *, chain: FakeChain | None = None, **how: Any) -> None:
        """Mine, let the clock follow the chain, read and take in."""
        on = chain or self.chain
        on.mine(n, **how)
        self.catch_up()
        self.settle()

    def catch_up(self) -> None:
        """Put the clock where the newest block is, if that is later."""
        self.clock.set(max([self.clock.now(), *(c.head.timestamp for c in self.chains.values())]))

    def settle(self) -> None:
        """Read every network, take everything in, close what is over."""
        for network in self.admin.networks():
            self.engine.read_chain(network.name)
        self.intake()
        self.engine.expire_orders()

    def intake(self, limit: int = 50) -> tuple[int, int]:
        """Take in until nothing moves; return how many items were taken and parked."""
        taken = parked = 0
        while True:
            report = self.engine.run_intake(limit=limit)
            taken, parked = taken + report.taken, parked + report.parked
            if not report.taken + report.parked:
                return taken, parked

    def pay(self, checkout: Checkout | Order, *, depth: int = 3, **how: Any) -> bytes:
        """Pay, and mine until the payment gives access."""
        order = checkout.order if isinstance(checkout, Checkout) else checkout
        paid = self.chains[order.chain_id].pay(order, **how)
        self.mine(depth, chain=self.chains[order.chain_id])
        return paid

    def reorganise(self, depth: int, **how: Any) -> None:
        """Reorganise, read and take in."""
        self.chain.reorganise(depth, **how)
        self.catch_up()
        self.settle()

    def status(self, checkout: Checkout) -> str:
        return str(self.engine.order(checkout.ledger_id).status)

    def allowed(self, user_id: str = "u1", **query: Any) -> bool:
        return self.engine.access(user_id, **query).allowed

    def subscription(self, user_id: str = "u1") -> Subscription:
        """Return the user's newest subscription."""
        return self.engine.subscriptions(user_id)[-1]

    def receipts(self, checkout: Checkout) -> list[Receipt]:
        return list(self.engine.receipts(checkout.ledger_id))

    def placed(self, checkout: Checkout) -> list[tuple[str, str | None, str]]:
        """Return what the order's receipts count for, with reason and status."""
        return sorted((r.allocation, r.reason, str(r.status)) for r in self.receipts(checkout))

    def events(self, **query: Any) -> list[Any]:
        return list(self.admin.events(limit=10_000, **query))

    def types(self, aggregate: str = "customer:u1") -> list[str]:
        """Return the short names of a customer's events, in order."""
        events = sorted(self.events(aggregate=aggregate), key=lambda e: e.seq)
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        return [e.type.removeprefix("billing.").removesuffix(".v1") for e in events]

    def plan_changes(self, aggregate: str = "customer:u1") -> list[tuple[str | None, str | None, str]]:
        """Return (old plan, new plan, cause) of every change of plan, in order."""
        events = sorted(self.events(aggregate=aggregate, type_="billing.plan.changed.v1"), key=lambda e: e.seq)
        return [(e.data["old_plan"], e.data["new_plan"], e.data["cause"]) for e in events]

    def dump(self) -> dict[str, Any]:
        """Return everything that can be read, as plain values."""

        def read(unit: Unit) -> dict[str, Any]:
            customers = unit.customers(limit=10_000)
            users = [c.user_id for c in customers]
            orders = [o for u in users for o in unit.orders_of_user(u, limit=10_000)]
            named, unnamed = unit.receipts_of_orders([o.ledger_id for o in orders]), unit.unmatched_receipts(10_000)
            receipts = list({r.receipt_id: r for r in (*named, *unnamed)}.values())
            subscriptions = [s for u in users for s in unit.subscriptions_of_user(u)]
            return {
                "networks": unit.networks(),
                "gateways": unit.gateways(),
                "contracts": unit.contracts(),
                "plans": unit.plans(),
                "customers": customers,
                "orders": orders,
                "receipts": sorted(receipts, key=lambda r: r.identity),
                "entries": [e for r in receipts for e in unit.entries(r.receipt_id)],
                "subscriptions": subscriptions,
                "changes": unit.changes([s.subscription_id for s in subscriptions]),
                "entitlements": unit.entitlements(users),
                "cursors": [attrs.evolve(c, fence=0) for c in unit.cursors()],
                "parked": unit.parked_items(10_000),
                "events": unit.events(limit=10_000),
                "audit": unit.audit(limit=10_000),
            }

        with self.storage.unit(write=False) as unit:
            found = read(unit)
        return {name: [_plain(row) for row in rows] for name, rows in found.items()}

    def standing(self) -> dict[str, Any]:
        """Return what the facts come to, without what depends on when and how often we looked."""
        dump = self.dump()
        gone = {"version", "entries", "receipt_id", "first_seen_at", "ledger_version"}
        tables = ("orders", "receipts", "subscriptions", "entitlements")
        return {name: [{k: v for k, v in row.items() if k not in gone} for row in dump[name]] for name in tables}


def _plain(row: Any) -> dict[str, Any]:
    return attrs.asdict(row, value_serializer=lambda _, __, value: value)


def build_shop(
    storage: Any,
    clock: FrozenClock,
    *,
    seed: int | str = 1,
    chains: Sequence[FakeChain] | None = None,
    extra_lines: Any = None,
) -> Shop:
    """Wire an engine over ready storage; nothing is configured yet."""
    made = list(chains or [FakeChain(31337, start=clock.now())])
    by_id = {chain.chain_id: chain for chain in made}
    rewritten = Rewritten(made[0])
    sources: dict[int, Any] = {**by_id, made[0].chain_id: rewritten}
    counts = Counts()
    engine = BillingEngine(
        storage=storage,
        clock=clock,
        ids=SeededIds(seed, clock),
        secrets=SecretBox(SecretStr(SECRET_KEY), random_bytes=random.Random(seed).randbytes),
        telemetry=counts,
        extra_lines=extra_lines,
        sources=lambda network: sources[network.chain_id],
    )
    return Shop(
        engine=engine,
        clock=clock,
        storage=storage,
        chains=by_id,
        source=rewritten,
        telemetry=counts,
    )


def restarted(shop: Shop, *, seed: int | str = 77, **options: Any) -> Shop:
    """Return another engine over the same storage and chains: what a new process would be."""
    return build_shop(shop.storage, shop.clock, chains=list(shop.chains.values()), seed=seed, **options)


class Overslept(list[str]):
    """What a chain is asked; at the first question of a kind the reader sleeps past its lease, and another one reads.

    ``met`` says how that one fared.
    """

    def __init__(self, shop: Shop, other: Shop, question: str, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.met: list[str] = []
        self._shop, self._other, self._question, self._then = shop, other, question, then

    def append(self, question: str) -> None:
        if question == self._question and not self.met:
            self.met.append("")
            self._shop.clock.advance(seconds=60)
            self.met[0] = self._other.engine.read_chain("fake").outcome
            self._then()


def stock(
    shop: Shop,
    *,
    order_ttl: int = 1800,
    credit_after: str = "depth 3",
    irreversible_after: str = "depth 20",
    **network: Any,
) -> Shop:
    """Configure the shop: networks ``fake`` (and ``fake2`` …), a gateway, contracts, and four plans."""
    names = ["fake" if i == 0 else f"fake{i + 1}" for i in range(len(shop.chains))]
    for name, chain_id in zip(names, shop.chains, strict=True):
        fields = {"testnet": True, "start_block": 1} | network
        shop.admin.create_network(
            name=name,
            chain_id=chain_id,
            rpc_urls=["http://127.0.0.1:1"],
            credit_after=credit_after,
            irreversible_after=irreversible_after,
            **fields,
        )
    shop.admin.create_gateway(
        slug="gw", networks=names, signer=SIGNING_KEY, treasuries=dict.fromkeys(names, TREASURY), order_ttl=order_ttl
    )
    for name in names:
        shop.admin.create_contract(slug="co", network=name, address=CONTRACT)
    pro = {"product": "saas", "interval": "month", "limits": {"seats": 5}, "features": ["api"]}
    make_plan(shop, "pro", names=names, **pro)
    make_plan(shop, "team", names=names, display="49", product="saas", interval="month", features=["api", "sso"])
    make_plan(shop, "trial", names=names, product="lab", interval="month", trial_days=7)
    make_plan(shop, "site", names=names, product="site", interval="month", limits={"pages": 10})
    make_plan(shop, "once", names=names, display="5", product="book", interval="none", features=["book"])
    return shop


def make_plan(shop: Shop, slug: str, *, names: Sequence[str] = ("fake",), display: str = "19.99", **fields: Any) -> Any:
    """Create a plan with a price in USDC on each network."""
    chain_ids = dict(zip(names, shop.chains, strict=False))
    prices = [
        {
            "network": name,
            "chain_id": chain_ids[name],
            "token": TOKEN,
            "decimals": 6,
            "symbol": "USDC",
            "display": display,
        }
        for name in names
    ]
    given = {"name": str(slug).title(), "gateway_slug": "gw", "contract_slug": "co", "prices": prices} | fields
    return shop.admin.create_plan(slug=slug, **given)
