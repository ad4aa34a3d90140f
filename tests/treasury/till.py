"""A merchant whose plans are paid by plain transfers: a token, a treasury, customers with confirmed wallets."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
from eth_hash.auto import keccak
from pydantic import SecretStr

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import checksum
from evmbilling.domain.decisions import ConfirmWallet
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.payments.treasury import Movement
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SIGNING_KEY = "0x" + keccak(b"the key of the till").hex()
ROOT = Actor("root", frozenset({Role.BILLING_ADMIN}))
OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))
SECOND = Actor("second", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
PRICE = 19_990_000


def address(name: str) -> str:
    """Return an address that belongs to a name."""
    return checksum(keccak(name.encode())[12:])


TOKEN, OTHER_TOKEN = address("token"), address("other token")
CONTRACT, TREASURY, SECOND_TREASURY = address("contract"), address("treasury"), address("second treasury")
STRANGER = address("stranger")


@attrs.frozen(kw_only=True)
class Till:
    """An engine and its chain. ``pro`` (monthly) and ``once`` are paid by transfer, ``signed`` through the contract."""

    engine: BillingEngine
    storage: Any
    chain: FakeChain
    clock: FrozenClock
    chains: dict[str, FakeChain]

    @property
    def admin(self) -> Any:
        return self.engine.admin(ROOT)

    @property
    def finance(self) -> Any:
        return self.engine.finance(OPS)

    # -- customers

    def wallet(self, user_id: str = "u1", name: str | None = None) -> str:
        """Confirm a wallet of a user, named like the user unless told otherwise."""
        found = address(name or user_id)
        with self.storage.unit() as unit:
            unit.lock_customer(Customer(user_id=user_id, created_at=self.clock.now()))
            unit.apply([ConfirmWallet(Wallet(user_id=user_id, address=found, confirmed_at=self.clock.now()))])
        return found

    def checkout(self, user_id: str = "u1", plan: str = "pro", key: str = "k1", **over: Any) -> Checkout:
        """Check out from the user's confirmed wallet."""
        given = {"plan": plan, "user_id": user_id, "wallet": self.wallet(user_id), "idempotency_key": key} | over
        return self.engine.checkout(**given)

    # -- the chain

    def send(self, sender: str, amount: int, *, token: str = TOKEN, to: str = TREASURY, depth: int = 3) -> bytes:
        """Transfer base units from a user's wallet (or from an address), and mine until it counts."""
        source = sender if sender.startswith("0x") else address(sender)
        sent = self.chain.transfer(token, source, to, amount)
        if depth:
            self.mine(depth)
        return sent

    def mine(self, n: int = 1, **how: Any) -> None:
        """Mine, let the clock follow, read and take in."""
        self.chain.mine(n, **how)
        self.settle()

    def settle(self, *, limit: int = 50) -> None:
        """Let the clock follow the chains, read them, take everything in, close what is over."""
        self.clock.set(max([self.clock.now(), *(c.head.timestamp for c in self.chains.values())]))
        for name in self.chains:
            self.engine.read_chain(name)
        while True:
            report = self.engine.run_intake(limit=limit)
            if not report.taken + report.parked:
                break
        self.engine.expire_orders()

    def reorganise(self, depth: int, **how: Any) -> None:
        """Reorganise, read and take in."""
        self.chain.reorganise(depth, **how)
        self.settle()

    # -- what came of it

    def read(self, work: Callable[[Any], Any]) -> Any:
        with self.storage.unit(write=False) as unit:
            return work(unit)

    def status(self, order: Checkout | Order) -> str:
        return str(self.engine.order(order.ledger_id).status)

    def allowed(self, user_id: str = "u1") -> bool:
        return self.engine.access(user_id).allowed

    def receipts(self) -> list[Receipt]:
        """Every receipt, in the order in which they were written."""
        return list(self.read(lambda unit: unit.all_receipts()))

    def placed(self) -> list[tuple[str, str | None, str | None, int]]:
        """What each receipt counts for: allocation, reason, customer, amount."""
        return [(r.allocation, r.reason, r.user_id, r.amount) for r in self.receipts()]

    def movements(self) -> list[Movement]:
        return list(self.read(lambda unit: unit.all_movements()))

    def kinds(self) -> list[tuple[str, str, int, bool]]:
        """Each movement: direction, kind, amount, whether it is live; by amount."""
        found = [(m.direction, m.kind, m.amount, m.live) for m in self.movements()]
        return sorted(found, key=lambda row: (row[2], row[0]))

    def queue(self, state: str | None = "open") -> list[tuple[str, str, str]]:
        """Items of the finance queue: kind, reason, state."""
        return sorted((i.kind, i.reason, i.state) for i in self.finance.queue(state=state))

    def item(self, kind: str = "suspense") -> Any:
        """The one open item of a kind."""
        (found,) = (i for i in self.finance.queue() if i.kind == kind)
        return found

    def accounts(self) -> dict[str, int]:
        """Every account of the books that is not 0, credit positive; and the sums by owner where owners have rows."""
        totals: dict[str, int] = {}
        for entry in self.read(lambda unit: unit.ledger_entries(limit=100_000)):
            for line in entry.lines:
                amount = line.amount if line.side == "credit" else -line.amount
                totals[str(line.account)] = totals.get(str(line.account), 0) + amount
        return {account: amount for account, amount in sorted(totals.items()) if amount}

    def told(self, user_id: str = "u1") -> list[str]:
        """The types of a customer's events in order, without prefix and version."""
        found = self.admin.events(aggregate=f"customer:{user_id}", limit=10_000)
        return [e.type.removeprefix("billing.").rpartition(".")[0] for e in found]

    def differences(self) -> list[str]:
        """What ``verify`` finds."""
        report = self.engine.verify(full=True)
        return [f"{d.code} {d.subject} {d.reason}" for d in report.differences]

    def log_id(self, tx_hash: bytes, ordinal: int = 0) -> CreditIdentity:
        return CreditIdentity(self.chain.chain_id, tx_hash, ordinal)


def open_till(
    storage: Any,
    clock: FrozenClock,
    *,
    networks: int = 1,
    order_ttl: int = 1800,
    screen: Any = None,
    credit_after: str = "depth 3",
    **misfits: Any,
) -> Till:
    """Configure networks ``fake`` (and ``fake2`` …), a gateway with a policy for misfits, and three plans."""
    chains = {
        "fake" if not i else f"fake{i + 1}": FakeChain(31337 + i, start=clock.now(), seed=i) for i in range(networks)
    }
    by_id = {chain.chain_id: chain for chain in chains.values()}
    engine = BillingEngine(
        storage=storage,
        clock=clock,
        ids=SeededIds(1, clock),
        secrets=SecretBox(SecretStr(base64.b64encode(b"k" * 32).decode())),
        sources=lambda network: by_id[network.chain_id],
        screen=screen,
    )
    admin = engine.admin(ROOT)
    for name, chain in chains.items():
        admin.create_network(
            name=name,
            chain_id=chain.chain_id,
            rpc_urls=["http://127.0.0.1:1"],
            testnet=True,
            start_block=1,
            credit_after=credit_after,
            irreversible_after="depth 20",
        )
    treasuries = dict.fromkeys(chains, TREASURY)
    admin.create_gateway(
        slug="gw",
        networks=list(chains),
        signer=SIGNING_KEY,
        treasuries=treasuries,
        order_ttl=order_ttl,
        misfits=misfits,
    )
    second = dict.fromkeys(chains, SECOND_TREASURY)
    admin.create_gateway(slug="second", networks=list(chains), signer=SIGNING_KEY, treasuries=second)
    for name in chains:
        admin.create_contract(slug="usdc", network=name, address=TOKEN, kind="erc20")
        admin.create_contract(slug="dai", network=name, address=OTHER_TOKEN, kind="erc20")
        admin.create_contract(slug="co", network=name, address=CONTRACT, start_block=1)
    _plan(admin, chains, "pro", interval="month", product="saas", contract_slug="usdc")
    _plan(admin, chains, "once", interval="none", product="book", contract_slug="usdc", display="5")
    _plan(admin, chains, "other", interval="none", product="pen", contract_slug="dai", token=OTHER_TOKEN)
    _plan(admin, chains, "signed", interval="month", product="api", contract_slug="co")
    return Till(engine=engine, storage=storage, chain=chains["fake"], clock=clock, chains=chains)


def _plan(admin: Any, chains: dict[str, FakeChain], slug: str, *, display: str = "19.99", **fields: Any) -> None:
    token = fields.pop("token", TOKEN)
    prices = [
        {
            "network": name,
            "chain_id": chain.chain_id,
            "token": token,
            "decimals": 6,
            "symbol": "USDC" if token == TOKEN else "DAI",
            "display": display,
        }
        for name, chain in chains.items()
    ]
    admin.create_plan(slug=slug, name=slug.title(), gateway_slug="gw", prices=prices, features=["export"], **fields)
