"""A merchant that pulls, on the fake chain and on a real one: the same moves on both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Any

from evmbilling.adapters.evm.abi.calldata import approve_call
from evmbilling.domain.addresses import checksum
from evmbilling.domain.mandates.charges import Charge
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.people.siwe import personal_digest
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.factory import BillingEngine
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import deploy_mandates, transact
from evmbilling.testing.drain import drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.keys import _accounts, sign_typed_data
from evmbilling.testing.merchant import (
    ADMIN,
    CREDIT_DEPTH,
    Merchant,
    anvil_merchant,
    plan_fields,
    repeatable_secrets,
    simulated_merchant,
)
from evmbilling.testing.time_machine import TimeMachine
from evmbilling.testing.wallet import Wallet

PAYER, OPERATOR = DEV_ACCOUNTS[1], DEV_ACCOUNTS[2]
USER = "alice"
PRICE = 19_990_000
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LEASE_OVER = timedelta(seconds=70)
CONTRACT = checksum(b"mandates".rjust(20, b"\1"))
LADDER = {
    "steps": [
        {"name": "suspended", "after_days": 14, "actions": ["notify", "suspend"]},
        {"name": "late", "after_days": 2, "actions": ["notify"]},
    ]
}


class ChargeBench(ABC):
    """What both chains have in common.

    Attributes:
        contract: address of the Mandates contract.

    """

    engine: BillingEngine
    merchant: Merchant
    clock: FrozenClock
    contract: str

    def open(self, chain: FakeChain | AnvilNode, start_block: int) -> None:
        """Bind the contract, give the gateway its relayer, and sell a plan with dunning."""
        self.machine = TimeMachine(self.engine, self.clock, [chain])
        admin = self.engine.admin(ADMIN)
        network = self.merchant.network
        admin.create_contract(
            slug="pulls", network=network, address=self.contract, kind="mandates", start_block=start_block
        )
        admin.update_gateway("main", version=1, relayer=OPERATOR.key)
        self.plan()

    def plan(self, slug: str = "life", **fields: Any) -> str:
        given = {"product": slug, "dunning": LADDER} | fields
        self.engine.admin(ADMIN).create_plan(**plan_fields(self.merchant, slug, **given))
        return slug

    # -- the chain

    @abstractmethod
    def mine(self, blocks: int = 1) -> None:
        """Mine, and let the clock follow."""

    @abstractmethod
    def send(self, payload: WalletPayload) -> None:
        """Let the payer's wallet send a transaction, and mine it."""

    @abstractmethod
    def fund(self, address: str, amount: int) -> None:
        """Let a wallet have base units of the token."""

    @abstractmethod
    def balance(self, address: str) -> int:
        """Return base units of the token."""

    @abstractmethod
    def pay(self, order: Order) -> None:
        """Let the payer's wallet pay an order through the Checkout contract, and mine it."""

    def settle(self) -> None:
        """Mine until what was sent counts."""
        self.mine(CREDIT_DEPTH)
        drain(self.engine)

    def until(self, instant: datetime, **how: Any) -> None:
        self.machine.advance(max(instant - self.clock.now(), timedelta()), **how)

    def go(self, days: float, **how: Any) -> None:
        self.machine.advance(timedelta(days=days), **how)

    # -- the customer

    def subscribe(self, plan: str = "life", user: str = USER, wallet: str = PAYER.address) -> Subscription:
        offer = self.engine.checkout(plan=plan, user_id=user, wallet=wallet, idempotency_key="first")
        self.pay(offer.order)
        self.settle()
        return self.held(user)

    def confirm_wallet(self, user: str = USER) -> None:
        """Prove that the payer's wallet is the user's."""
        where = {"network": self.merchant.network, "domain": "shop.example", "uri": "https://shop.example/"}
        challenge = self.engine.wallet_challenge(user_id=user, wallet=PAYER.address, **where)
        signature = bytes(_accounts().unsafe_sign_hash(personal_digest(challenge.message), PAYER.key).signature)
        self.engine.confirm_wallet(user_id=user, nonce=challenge.nonce, signature=signature)

    def held(self, user: str = USER) -> Subscription:
        return self.engine.subscriptions(user)[-1]

    def prepare(self, user: str = USER, wallet: str = PAYER.address, **terms: Any) -> Any:
        return self.engine.mandates.prepare(user, self.held(user).subscription_id, wallet, **terms)

    def give(self, user: str = USER, **terms: Any) -> Mandate:
        """Give a mandate with the payer's own key, and allow what it needs."""
        prepared = self.prepare(user, **terms)
        for payload in prepared.approvals:
            self.send(payload)
        signature = sign_typed_data(PAYER.key, prepared.typed_data)
        return self.engine.mandates.give(user, prepared.mandate.mandate_id, signature=signature)

    def allow(self, amount: int) -> None:
        """Let the Mandates contract take so much from now on; 0 revokes the allowance."""
        token = self.merchant.token
        data = approve_call(self.contract, amount)
        self.send(WalletPayload(chain_id=token.chain_id, to=token.token, value=0, data=data, gas=100_000))

    def revoke(self, mandate: Mandate) -> None:
        """End a mandate on chain, as the payer."""
        provider: Any = self.engine._ports.provider("evm")
        self.send(provider.revoke_payload(mandate))

    def requested(self, user: str = USER) -> Charge:
        """Let the biller, and nobody else, come to the next charge; return it."""
        at = self.held(user).next_charge_at
        assert at is not None
        self.machine.move_to(max(at, self.clock.now()))
        self.read()
        self.engine.run_renewals()
        return self.charges(user)[-1]

    def read(self) -> None:
        while self.engine.read_chain(self.merchant.network).blocks:
            pass
        while self.engine.run_intake().taken:
            pass

    # -- what became of it

    def due(self, user: str = USER) -> None:
        """Let time come to the next charge."""
        at = self.held(user).next_charge_at
        assert at is not None
        self.until(at)

    def renewals(self, user: str = USER) -> list[Order]:
        found = [o for o in self.engine.orders(user, limit=1000) if o.origin == "renewal"]
        return sorted(found, key=lambda o: o.period or 0)

    def charges(self, user: str = USER) -> list[Charge]:
        with self.engine._ports.storage.unit(write=False) as unit:
            return list(unit.charges_of([o.ledger_id for o in self.renewals(user)]))

    def sent(self) -> list[Transmission]:
        return list(self.engine.sending(ADMIN).transmissions(limit=1000))

    def told(self, name: str, user: str = USER) -> list[dict[str, Any]]:
        events = self.engine.admin(ADMIN).events(aggregate=f"customer:{user}", limit=10_000)
        return [e.data for e in sorted(events, key=lambda e: e.seq) if e.type == f"billing.{name}.v1"]

    def differences(self) -> list[tuple[str, str, str]]:
        report = self.engine.verify(full=True)
        return [(d.code, d.subject, d.reason) for d in report.differences if d.code != "unproved"]


class OnFake(ChargeBench):
    """In memory."""

    def __init__(self, storage: Any = None, *, seed: int = 1, chain: FakeChain | None = None) -> None:
        self.chain = chain or FakeChain(31337, start=START, seed=seed, safe_lag=8, finalized_lag=16)
        shop = simulated_merchant(seed=seed, storage=storage, chain=self.chain)
        self.engine, self.merchant, self.clock, self.contract = shop.engine, shop, shop.clock, CONTRACT
        self.chain.mine()
        self.open(self.chain, start_block=1)
        self.chain.rules.operators[CONTRACT] = frozenset({OPERATOR.address})
        self.fund(PAYER.address, 1000 * PRICE)

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)
        self.clock.set(max(self.clock.now(), self.chain.head.timestamp))

    def send(self, payload: WalletPayload) -> None:
        self.chain.call(payload, sender=PAYER.address)
        self.mine()

    def fund(self, address: str, amount: int) -> None:
        self.chain.give(self.merchant.token.token, address, amount)

    def balance(self, address: str) -> int:
        return self.chain.balance(self.merchant.token.token, address, self.chain.head.number)

    def pay(self, order: Order) -> None:
        self.chain.pay(order)
        self.mine()


class OnAnvil(ChargeBench):
    """On a node."""

    def __init__(self, node: AnvilNode, storage: Any) -> None:
        self.node = node
        self.wallet = Wallet(PAYER.key, node.url)
        self.clock = FrozenClock(self.time())
        self.engine = BillingEngine(
            storage=storage(self.clock), clock=self.clock, secrets=repeatable_secrets(), clock_tolerance=None
        )
        self.merchant = anvil_merchant(self.engine, node)
        deployed = deploy_mandates(node, operators=(OPERATOR.address,))
        self.contract = deployed.address
        self.open(node, start_block=deployed.block)
        self.fund(PAYER.address, 1000 * PRICE)

    def time(self) -> datetime:
        block = self.node.block("latest")
        assert block is not None
        return datetime.fromtimestamp(int(block["timestamp"], 16), UTC)

    def mine(self, blocks: int = 1) -> None:
        self.node.mine(blocks)
        self.clock.set(max(self.clock.now(), self.time()))

    def send(self, payload: WalletPayload) -> None:
        sent = self.wallet.send(payload)
        self.mine()
        self.wallet.wait(sent)

    def fund(self, address: str, amount: int) -> None:
        self.act("mint", address, amount)

    def act(self, function: str, *arguments: Any, sender: str = DEV_ACCOUNTS[0].address) -> None:
        from evmbilling.testing.deploy import Deployed

        token = Deployed(name="TestToken", address=self.merchant.token.token, block=0)
        transact(self.node, token, function, *arguments, sender=sender)

    def balance(self, address: str) -> int:
        from evmbilling.testing.deploy import calldata

        call = {"to": self.merchant.token.token, "data": "0x" + calldata("TestToken", "balanceOf", address).hex()}
        return int(self.node.rpc("eth_call", call, "latest"), 16)

    def pay(self, order: Order) -> None:
        instructions = self.engine.pay_instructions(order.ledger_id)
        sent = self.wallet.pay(instructions)
        self.mine()
        self.wallet.wait(sent)
