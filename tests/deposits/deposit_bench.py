"""A shop on a real chain that is paid at deposit addresses, by people who have no wallet that we know."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bindings"))

import attrs
from bindings_bench import PRICE, MappedShop

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.decisions import SaveGateway
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.presets import preset
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, deploy
from evmbilling.testing.merchant import CREDIT_DEPTH, IRREVERSIBLE_DEPTH, SIGNER_KEY

RELAYER, EXCHANGE, STRANGER = DEV_ACCOUNTS[1], DEV_ACCOUNTS[2], DEV_ACCOUNTS[6]
OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))
COIN_PRICE = 10**16
__all__ = ["COIN_PRICE", "CREDIT_DEPTH", "EXCHANGE", "IRREVERSIBLE_DEPTH", "OPS", "PRICE", "RELAYER", "STRANGER"]


class DepositShop(MappedShop):
    """Account 1 is the relayer, account 2 an exchange, the last one the treasury."""

    def __init__(self, node: AnvilNode, *, misfits: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(node, **options)
        self.deposits = deploy(node, "Deposits")
        self.admin.create_network(
            name="local",
            chain_id=node.chain_id,
            rpc_urls=[node.url],
            testnet=True,
            credit_after=f"depth {CREDIT_DEPTH}",
            irreversible_after=f"depth {IRREVERSIBLE_DEPTH}",
        )
        self.admin.create_gateway(
            slug="main",
            networks=["local"],
            signer=SIGNER_KEY,
            treasuries={"local": self.treasury},
            relayer=RELAYER.key,
            order_ttl=1800,
            misfits=misfits or {},
        )
        fields = {"slug": "theirs", "network": "local", "start_block": self.deposits.block}
        self.admin.create_contract(**fields, address=self.deposits.address, **preset("deposit"))
        self.sell()
        self.sell("coin", native=True, product="pack", interval="none")
        self.settle(1)

    def offer(self, user: str = "alice", **changes: Any) -> Checkout:
        """Check out without a wallet."""
        return self.checkout(user, wallet=None, **changes)

    def send_token(self, address: str, amount: int = PRICE, sender: str = EXCHANGE.address) -> None:
        """Let an exchange send tokens; the block is mined."""
        self.act(self.token, "mint", sender, amount)
        self.act(self.token, "transfer", address, amount, sender=sender)

    def send_coins(self, address: str, amount: int = COIN_PRICE) -> None:
        """Let an exchange send coins; the block is mined."""
        self.node.send({"from": EXCHANGE.address, "to": address, "value": hex(amount)})
        self.node.mine()

    def work(self, blocks: int = CREDIT_DEPTH, *, seconds: int = 60) -> None:
        """Let time pass, look, sweep, and mine; what was swept is as deep as it must be to count."""
        self.clock.advance(timedelta(seconds=seconds))
        self.settle(0)
        self.settle(blocks)

    def take_relayer(self) -> int:
        """Take the relayer from the gateway, which administration refuses while it is needed; return its version."""
        with self.engine._ports.storage.unit() as unit:
            gateway = unit.gateway("main")
            assert gateway is not None
            unit.apply([SaveGateway(attrs.evolve(gateway, relayer=None, version=gateway.version + 1))])
        return gateway.version + 1

    def status(self, offer: Checkout) -> str:
        return str(self.engine.order(offer.ledger_id).status)

    def place(self, offer: Checkout) -> Deposit:
        with self.engine._ports.storage.unit(write=False) as unit:
            found = unit.deposit(offer.ledger_id)
        assert found is not None
        return found

    def sweeps(self) -> list[Transmission]:
        return [t for t in self.engine.sending(OPS).transmissions() if t.purpose == "sweep"]

    def placed(self) -> list[tuple[str, str | None, int, str]]:
        """How money was placed: (allocation, reason, amount, status)."""
        return [(r.allocation, r.reason, r.amount, str(r.status)) for r in self.receipts()]

    def price(self, token: Deployed, decimals: int, symbol: str) -> dict[str, Any]:
        """A price in another token."""
        asset = {"chain_id": self.node.chain_id, "token": token.address, "decimals": decimals, "symbol": symbol}
        return {"network": "local", "amount": PRICE, **asset}

    def audit(self, offer: Checkout) -> list[AuditEntry]:
        with self.engine._ports.storage.unit(write=False) as unit:
            return [e for e in unit.audit(object_=f"order:{offer.ledger_id}") if e.action.startswith("deposit.")]
