"""An engine over a database and a node, with a wallet that sends for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databases import open_sql
from evmbilling import BillingEngine
from evmbilling.domain import decisions as d
from evmbilling.domain.sending.transmissions import SignedTransaction, Transmission
from evmbilling.engine.sending.relayer import RelayReport
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, deploy_shop, open_merchant, repeatable_secrets

RELAYER, BOB = DEV_ACCOUNTS[5:7]
both = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
HOUR = timedelta(hours=1)


class Relay:
    """One process of a merchant whose treasury is the relayer's wallet."""

    def __init__(self, node: AnvilNode, url: str, clock: FrozenClock, *, fresh: bool = True) -> None:
        self.node, self.clock = node, clock
        self.engine = BillingEngine(storage=open_sql(url, clock), clock=clock, secrets=repeatable_secrets())
        if fresh:
            self._open(node, *(c.address for c in deploy_shop(node)))

    def _open(self, node: AnvilNode, token: str, contract: str) -> None:
        self.shop = open_merchant(
            self.engine,
            chain_id=node.chain_id,
            rpc_url=node.url,
            signer=SIGNER_KEY,
            contract=contract,
            token=token,
            treasury=RELAYER.address,
        )
        self.engine.admin(ADMIN).update_gateway("main", version=1, relayer=RELAYER.key)

    def errand(self, number: int = 1, **changes: Any) -> Transmission:
        """Queue a transaction that sends a few wei to Bob."""
        with self.engine._ports.storage.unit() as unit:
            signer = unit.gateway("main").relayer
        now = self.clock.now()
        values: dict[str, Any] = {
            "transmission_id": f"{number:04d}",
            "purpose": "burn",
            "subject": f"subscription:{number}",
            "network": "local",
            "chain_id": self.node.chain_id,
            "signer": signer,
            "sender": RELAYER.address,
            "to": BOB.address,
            "value": number,
            "gas": 21_000,
            "gas_ceiling": 10**16,
            "not_after": now + HOUR,
            "next_at": now,
            "waiting_since": now,
            "created_at": now,
        }
        made = Transmission(**(values | changes))
        with self.engine._ports.storage.unit() as unit:
            unit.apply([d.StoreTransmission(made)])
        return made

    def pass_time(self, seconds: int = 11) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def relay(self, seconds: int = 11) -> RelayReport:
        self.pass_time(seconds)
        return self.engine.relay()

    def now(self, number: int = 1) -> Transmission:
        return self.engine.sending(ADMIN).transmission(f"{number:04d}")

    def versions(self, number: int = 1) -> list[SignedTransaction]:
        return list(self.engine.sending(ADMIN).versions(f"{number:04d}"))

    def held(self) -> int:
        """What Bob has got, in wei."""
        return int(self.node.rpc("eth_getBalance", BOB.address, "latest"), 16)

    def chain_nonce(self) -> int:
        return int(self.node.rpc("eth_getTransactionCount", RELAYER.address, "latest"), 16)

    def close(self) -> None:
        self.engine.close()
