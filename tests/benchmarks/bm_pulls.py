"""What a pull costs from due to paid: biller, pre-flight, relayer, reader and intake, over a chain in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.addresses import checksum
from evmbilling.domain.sending.transmissions import LOOK_LONGEST
from evmbilling.factory import BillingEngine
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.drain import drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.fake_state import APPROVAL_TOPIC, word
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, IRREVERSIBLE_DEPTH, repeatable_secrets
from evmbilling.testing.paid_logs import FakeLog

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
PAYER, OPERATOR = DEV_ACCOUNTS[1:3]
CONTRACT = checksum(b"mandates".rjust(20, b"\1"))
BATCH = 200


class Pulling:
    """A merchant whose customers all pay from one wallet, each under a mandate of their own."""

    def __init__(self, url: str, customers: int) -> None:
        self.chain = FakeChain(31337, start=START)
        self.clock = FrozenClock(START)
        self.engine = BillingEngine(
            storage=SqlAlchemyStorage.open(url, clock=self.clock, waits=Waits(lock=60, pool=60, pool_size=2)),
            clock=self.clock,
            ids=SeededIds("pulls", self.clock),
            secrets=repeatable_secrets(),
            sources=lambda _: self.chain,
            clock_tolerance=None,
        )
        self.users = [f"user-{n}" for n in range(customers)]
        self._open()

    def _open(self) -> None:
        admin = self.engine.admin(ADMIN)
        admin.create_contract(slug="pulls", network="local", address=CONTRACT, kind="mandates", start_block=0)
        admin.update_gateway("main", version=1, relayer=OPERATOR.key)
        offers = [
            self.engine.checkout(plan="pro", user_id=user, wallet=PAYER.address, idempotency_key="first")
            for user in self.users
        ]
        self.token = offers[0].order.asset.token
        for offer in offers:
            self.chain.pay(offer.order)
        self.chain.give(self.token, PAYER.address, 10**30)
        allowed = FakeLog(self.token, (APPROVAL_TOPIC, word(PAYER.address), word(CONTRACT)), (10**30).to_bytes(32))
        self.chain.send(allowed)
        self._settle()
        for user, offer in zip(self.users, offers, strict=True):
            prepared = self.engine.mandates.prepare(user, str(offer.order.subscription_id), PAYER.address)
            signature = sign_typed_data(PAYER.key, prepared.typed_data)
            self.engine.mandates.give(user, prepared.mandate.mandate_id, signature=signature)

    def _settle(self) -> None:
        self.chain.mine(CREDIT_DEPTH)
        self.clock.set(max(self.clock.now(), self.chain.head.timestamp))
        drain(self.engine, rounds=10_000)

    def pull(self) -> dict[str, float]:
        """Pull the next period of everybody; return the seconds of each step."""
        due = max(self.engine.subscriptions(user)[0].next_charge_at for user in self.users)
        assert due is not None
        self.chain.mine(timestamp=due)
        self.clock.set(due)
        took = {"read": self._until(self._read)}
        took["decide"] = self._until(lambda: self.engine.run_renewals(limit=BATCH).looked)
        took["ask the chain and queue"] = self._until(lambda: self.engine.run_charges(limit=BATCH).changed)
        took["sign, send and follow"] = self._until(self._send)
        took["read and take in"] = self._until(self._read)
        return took

    def paid(self) -> int:
        """Return how many have paid a second period."""
        return sum(self.engine.subscriptions(user)[0].paid_periods > 1 for user in self.users)

    def _read(self) -> int:
        return self.engine.read_chain("local").blocks + self.engine.run_intake(limit=BATCH).taken

    def _send(self) -> int:
        """Send what the lane has room for, and let it be mined deep enough to make room."""
        report = self.engine.relay(limit=BATCH)
        self.chain.mine(IRREVERSIBLE_DEPTH)
        self.clock.set(max(self.chain.head.timestamp, self.clock.now() + LOOK_LONGEST))
        return report.signed + report.moved

    def _until(self, step: Callable[[], Any]) -> float:
        """Return the seconds that a step takes until it finds nothing."""
        begun = time.perf_counter()
        while step():
            pass
        return time.perf_counter() - begun
