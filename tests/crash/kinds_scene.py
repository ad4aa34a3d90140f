"""A shop in which every step of a worker has something to do: scenes, each a change and three looks at it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from crash_script import SECRET
from crash_world import CHAIN_ID, START, Node, Receiver, World

from databases import open_sql
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.domain.addresses import checksum
from evmbilling.domain.messages.hints import parse_secrets, sign_webhook
from evmbilling.domain.selling.offers import Checkout
from evmbilling.factory import BillingEngine
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.fake_blocks import FakeTransaction
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, Merchant, open_merchant, plan_fields, repeatable_secrets

ALICE, OPERATOR, BOB = DEV_ACCOUNTS[1:4]
MANDATES, SWEEPER = (checksum(name.rjust(20, b"\2")) for name in (b"mandates", b"deposits"))
EXCHANGE = checksum(b"exchange".rjust(20, b"\3"))
PLENTY = 10**12
LOOKS = 3
TEN_MINUTES = 600
MONTH = timedelta(days=31)
LADDER = {"steps": [{"name": "late", "after_days": 2, "actions": ["notify"]}]}


class SharedChain(FakeChain):
    """A chain to which processes send signed bytes: they are remembered as what wallets did is."""

    world: SharedWorld

    def submit(self, made: FakeTransaction) -> Any:
        name = f"sent {len(self.world.done)}"
        self.world.once(name, ("arrive", (made,), {}))
        return self.world.done[name][0]

    def arrive(self, made: FakeTransaction) -> Any:
        return super().submit(made)


class SharedWorld(World):
    """The world outside, with a relayer in it."""

    def make_chain(self) -> FakeChain:
        chain = SharedChain(CHAIN_ID, start=START, safe_lag=8, finalized_lag=16)
        chain.world = self
        chain.rules.operators[MANDATES] = frozenset({OPERATOR.address})
        return chain


def open_engine(url: str, folder: Path, world: SharedWorld, *, fine: bool = False) -> BillingEngine:
    """Open what a fresh process opens."""
    source: Any = Node(world.chain) if fine else world.chain
    return BillingEngine(
        storage=open_sql(url, world, waits=Waits(lock=10)),
        clock=world,
        secrets=repeatable_secrets(),
        sources=lambda _: source,
        seal_key=b"s" * 32,
        notifiers={"file": Receiver(folder)},
    )


class Scenes:
    """What the host and the world do. All of it may be done again: only the first time changes anything."""

    def __init__(self, engine: BillingEngine, world: SharedWorld) -> None:
        self.engine, self.world = engine, world
        self._token = checksum(b"token".rjust(20, b"\1"))

    # -- before the first scene

    def stock(self) -> None:
        """Open a shop, whose first customer has given a mandate."""
        admin = self.engine.admin(ADMIN)
        names = {name: checksum(name.encode().rjust(20, b"\1")) for name in ("contract", "token", "treasury")}
        merchant = open_merchant(
            self.engine, chain_id=CHAIN_ID, rpc_url="http://127.0.0.1:9", signer=SIGNER_KEY, **names
        )
        admin.update_network("local", version=1, testnet=False)  # play money gets no numbered receipts
        admin.update_contract("checkout", "local", version=1, webhook_secret=SECRET)
        admin.update_gateway("main", version=1, relayer=OPERATOR.key)
        admin.create_contract(slug="pulls", network="local", address=MANDATES, kind="mandates", start_block=1)
        admin.create_contract(slug="sweeper", network="local", address=SWEEPER, kind="deposit", start_block=1)
        self._sell(merchant)
        self.world.once("born", ("give", (self._token, ALICE.address, PLENTY), {}), ("mine", (1,), {}))
        offer = self._offer("alice", "life", wallet=ALICE.address)
        self.world.once("alice pays", ("pay", (offer.order,), {}), ("mine", (4,), {}))
        while self.engine.read_chain("local").blocks or self.engine.run_intake().taken:
            continue
        self._give()

    def _sell(self, merchant: Merchant) -> None:
        admin = self.engine.admin(ADMIN)
        admin.create_plan(**plan_fields(merchant, "life", product="life", dunning=LADDER))
        fields = plan_fields(merchant, "sent", contract_slug="sweeper", product="book", interval="none")
        admin.create_plan(**fields | {"prices": fields["prices"][:1]})

    def _give(self) -> None:
        (held,) = self.engine.subscriptions("alice")
        prepared = self.engine.mandates.prepare("alice", held.subscription_id, ALICE.address)
        calls = [("call", (payload,), {"sender": ALICE.address}) for payload in prepared.approvals]
        self.world.once("alice allows", *calls, ("mine", (1,), {}))
        signature = sign_typed_data(ALICE.key, prepared.typed_data)
        self.engine.mandates.give("alice", prepared.mandate.mandate_id, signature=signature)

    # -- scenes

    def sold(self) -> None:
        """Ann pays at a deposit address, Bob from a wallet, of which a relay tells; Carl does not pay."""
        ann, bob = self._offer("ann", "sent"), self._offer("bob", "pro", wallet=BOB.address)
        self._offer("carl", "pack", wallet=EXCHANGE)
        self.world.once(
            "paid",
            ("pay", (bob.order,), {}),
            ("transfer", (self._token, EXCHANGE, ann.address, ann.amount), {}),
            ("mine", (1,), {"seconds": 900}),
        )
        self._hint(self.world.done["paid"][0])

    def counted(self) -> None:
        """What was paid is deep enough, the sweep is mined, Carl's time runs out."""
        self.world.once("deep enough", ("mine", (3,), {"seconds": 3600}))

    def bought(self) -> None:
        """Dan buys something."""
        dan = self._offer("dan", "pack", wallet=BOB.address)
        self.world.once("dan pays", ("pay", (dan.order,), {}), ("mine", (3,), {"seconds": 900}))

    def taken_back(self) -> None:
        """The chain takes Dan's payment back."""
        gone = 3 + LOOKS - 1
        self.world.once("taken back", ("reorganise", (gone,), {}), ("mine", (1,), {"seconds": 900}))

    def brought_again(self) -> None:
        """It is mined again."""
        paid = self.world.done["dan pays"][0]
        self.world.once("again", ("resend", (paid,), {}), ("mine", (3,), {"seconds": 900}))

    def a_month_later(self) -> None:
        """Alice's wallet can be charged, Bob is asked."""
        self.world.once("a month later", ("mine", (1,), {"seconds": int(MONTH.total_seconds())}))

    def overdue(self) -> None:
        """What was charged counts; Bob has paid nothing for days, and is reminded; everything else is final."""
        self.world.once("overdue", ("mine", (1,), {"seconds": 3 * 86_400}), ("mine", (20,), {}))

    def another_chain(self) -> None:
        """The node serves another chain: what is bound to it stands still."""
        self.world.once("another chain", ("mine", (1,), {"seconds": 900}), ("wrong_chain", (9,), {}))

    def _offer(self, user: str, plan: str, wallet: str | None = None) -> Checkout:
        return self.engine.checkout(plan=plan, user_id=user, wallet=wallet, idempotency_key=f"{user}-first")

    def _hint(self, tx_hash: bytes) -> None:
        body = json.dumps({"chain_id": CHAIN_ID, "tx_hash": "0x" + tx_hash.hex()}).encode()
        timestamp = str(int(self.world.now().timestamp()))
        signature = sign_webhook(parse_secrets(SECRET)[0], "msg_1", timestamp, body)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": timestamp, "webhook-signature": signature}
        self.engine.handle_webhook("checkout", body, headers)


SCENES = (
    "sold",
    "counted",
    "bought",
    "taken_back",
    "brought_again",
    "a_month_later",
    "overdue",
    "another_chain",
)


def begin_scene(scene: str, look: int, engine: BillingEngine, world: SharedWorld) -> None:
    """Bring a scene to its first look, or let ten minutes pass before a later one."""
    if not look:
        getattr(Scenes(engine, world), scene)()
        return
    world.once(f"{scene}, look {look}", ("mine", (1,), {"seconds": TEN_MINUTES}))


def stock(url: str, folder: Path) -> None:
    """Migrate a database and open the shop in it."""
    upgrade(url)
    world = SharedWorld(folder)
    engine = open_engine(url, folder, world)
    Scenes(engine, world).stock()
    engine.close()
