"""A database that is put back to a backup in the middle of sending, and a chain that goes on meanwhile."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from evmbilling import BillingEngine
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain import decisions as d
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import address_bytes, checksum
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, Transmission
from evmbilling.errors import BillingError
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, SimulatedMerchant, open_merchant, repeatable_secrets
from evmbilling.testing.paid_logs import TRANSFER_TOPIC
from refund_wallets import prove

ALICE, RELAYER, BOB = DEV_ACCOUNTS[1], DEV_ACCOUNTS[5], DEV_ACCOUNTS[6]
OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOKEN = checksum(b"token".rjust(20, b"\1"))
LEAST = 1_000_000
REFUNDS = 4
IRREVERSIBLE = 20


class Forgetful:
    """A merchant with refunds to send, and errands beside them; ``payouts`` is what the chain says left.

    Args:
        hidden: whether, at the restore, the node forgets what it holds and others keep it.

    """

    def __init__(self, seed: int, *, hidden: bool) -> None:
        self.chance, self.seed, self.is_hidden = random.Random(seed), seed, hidden
        self.chain = FakeChain(31337, start=START, seed=seed)
        self.clock = FrozenClock(START)
        self.storage = MemoryStorage(self.clock, instance_id=bytes(8))
        self.engine = self.open()
        made = open_merchant(
            self.engine,
            chain_id=31337,
            rpc_url="http://127.0.0.1:9",
            signer=SIGNER_KEY,
            contract=checksum(b"checkout".rjust(20, b"\1")),
            token=TOKEN,
            treasury=RELAYER.address,
            irreversible_after=f"depth {IRREVERSIBLE}",
        )
        self.engine.admin(ADMIN).update_gateway("main", version=1, relayer=RELAYER.key)
        fields = {f.name: getattr(made, f.name) for f in attrs.fields(type(made)) if f.init}
        self.shop = SimulatedMerchant(chain=self.chain, clock=self.clock, **fields)
        self.chain.give(TOKEN, RELAYER.address, 10**12)
        self.refunds = [self.agreed(number) for number in range(REFUNDS)]
        self.errands = 0
        self.hidden: list[bytes] = []
        self.mine(2)

    def open(self) -> BillingEngine:
        """Another process over the database as it is."""
        return BillingEngine(
            storage=self.storage,
            clock=self.clock,
            ids=SeededIds(self.chance.randrange(2**32), self.clock),
            secrets=repeatable_secrets(),
            sources=lambda _: self.chain,
            clock_tolerance=None,
        )

    def agreed(self, number: int) -> str:
        paid = self.shop.buy(f"user-{number}", wallet=ALICE.address)
        amount = LEAST + number
        refund = self.engine.refunds(OPS).request(
            ledger_id=paid.ledger_id, amount=amount, reason="asked", via="transfer"
        )
        prove(self.engine, refund.refund_id, ALICE, user_id=f"user-{number}")
        self.engine.refunds(OPS).prepare(refund.refund_id)
        return refund.refund_id

    # -- what happens

    def queue(self, refund_id: str | None = None) -> None:
        try:
            self.engine.sending(OPS).send_refund(refund_id or self.chance.choice(self.refunds))
        except BillingError:
            return  # it is on its way, or over

    def errand(self) -> None:
        """Something else is to be sent, as a charge is."""
        self.errands += 1
        now = self.clock.now()
        with self.storage.unit() as unit:
            signer = unit.gateway("main").relayer
            made: dict[str, Any] = {"transmission_id": self.engine._ports.ids.new_id(), "signer": signer}
            made |= {"purpose": "burn", "subject": f"subscription:{self.errands}", "network": "local"}
            made |= {"chain_id": 31337, "sender": RELAYER.address, "to": BOB.address, "gas": 21_000}
            made |= {"gas_ceiling": 10**16, "not_after": now + timedelta(days=9), "next_at": now}
            unit.apply([d.StoreTransmission(Transmission(**made, waiting_since=now, created_at=now))])

    def relay(self, seconds: int | None = None) -> None:
        self.clock.advance(timedelta(seconds=seconds or self.chance.choice([11, 40, 700])))
        self.engine.relay()

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine(blocks)
        self.clock.set(max(self.clock.now(), self.chain.head.timestamp))

    def read(self) -> None:
        self.engine.read_chain("local")
        self.engine.run_intake()

    def reorganise(self) -> None:
        """The chain takes what the wallet sent back; who knows it brings it again, in the same order."""
        depth = self.chance.randrange(1, 4)
        if self.chain.head.number - depth <= self.safe:
            return
        own = [tx for tx in list(self.chain._ledger.receipts) if self.of(tx).sender == RELAYER.address]
        gone = [tx for tx in own if self.chain.block_of(tx).number > self.chain.head.number - depth]
        keep = [tx for tx in list(self.chain._ledger.receipts) if tx not in gone]
        self.chain.reorganise(depth, keep=keep)
        for tx in gone:
            if self.is_hidden:
                self.hidden.append(tx)
            else:
                self.chain.resend(tx)

    def bring(self) -> None:
        """Another node still has one that was forgotten here, and hands it on."""
        mined = self.chain.mined_count(RELAYER.address)
        self.hidden = [tx for tx in self.hidden if self.of(tx).nonce >= mined]
        if self.hidden:
            self.chain.resend(self.hidden.pop(self.chance.randrange(len(self.hidden))))

    def of(self, tx: bytes) -> Any:
        return self.chain._known[tx]

    # -- the restore

    def back_up(self) -> None:
        self.backup = copy.deepcopy(self.storage._committed)

    def restore(self, *, fence: int) -> None:
        self.safe = self.chain.head.number
        self.storage = MemoryStorage(self.clock, instance_id=bytes(8))
        self.storage._committed = self.backup
        self.engine = self.open()
        if self.is_hidden:
            self.hidden = [tx for tx in self.chain.pending if self.of(tx).sender == RELAYER.address]
            for tx in self.hidden:
                self.chain.drop(tx)
        if fence:
            self.engine.sending(OPS).fence("main", "local", count=fence)

    def walk(self, *, fence: int = 0) -> None:
        """Send, back up, send on, restore, and let the chain and the restored database go on as it happens."""
        before = ("queue", "queue", "errand", "relay")
        for step in self.chance.choices(before, k=self.chance.randrange(6)):
            getattr(self, step)()
        self.back_up()
        for step in self.chance.choices((*before, "queue", "relay", "mine"), k=self.chance.randrange(2, 12)):
            getattr(self, step)()
        self.restore(fence=fence)
        after = ("queue", "queue", "errand", "relay", "relay", "mine", "read", "reorganise", "bring")
        for step in self.chance.choices(after, k=30):
            getattr(self, step)()
        for _ in range(12):
            self.bring()
            for refund_id in self.refunds:
                self.queue(refund_id)
            self.relay(700)
            self.mine(IRREVERSIBLE)
            self.read()

    # -- what has to be so

    @property
    def payouts(self) -> list[int]:
        """How often each refund has left, as the chain's blocks have it."""
        found = [0] * REFUNDS
        to = address_bytes(ALICE.address).rjust(32, b"\0")
        for executed, _ in self.chain._ledger.receipts.values():
            for log in executed.logs:
                if log.topics[0] == TRANSFER_TOPIC and log.topics[2] == to:
                    amount = int.from_bytes(log.data)
                    found[amount - LEAST] += LEAST <= amount < LEAST + REFUNDS
        return found

    @property
    def open_ones(self) -> list[Transmission]:
        return list(self.engine.sending(OPS).transmissions(states=sorted(OPEN_TRANSMISSIONS)))
