"""Shops that sell through contracts that were written by somebody else, bound by configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.offers import Checkout, WalletPayload
from evmbilling.factory import BillingEngine
from evmbilling.ports.storage import Storage
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.provider.club import JOIN
from evmbilling.testing.deploy import Deployed, calldata, deploy, deploy_token, transact
from evmbilling.testing.drain import drain
from evmbilling.testing.keys import sign_text
from evmbilling.testing.merchant import (
    ADMIN,
    CREDIT_DEPTH,
    IRREVERSIBLE_DEPTH,
    SIGNER_KEY,
    Merchant,
    plan_fields,
    repeatable_secrets,
)

ALICE, BOB, MALLORY = DEV_ACCOUNTS[3], DEV_ACCOUNTS[4], DEV_ACCOUNTS[5]
PRICE = 19_990_000
JOINED = {"event": "Joined", "means": "paid", "payer": "buyer", "match": "payer", "money": "transfer"}
MINTED = {
    "event": "Transfer",
    "means": "paid",
    "match": "payer",
    "money": "transfer",
    "beneficiary": "to",
    "token_id": "tokenId",
    "when": {"from": ZERO_ADDRESS},
}
"""A number is made for whoever paid: the event of every ERC-721, from the zero address."""


__all__ = ["ALICE", "BOB", "JOIN", "JOINED", "MALLORY", "MINTED", "PRICE", "Club", "MappedShop"]


class MappedShop:
    """One merchant on a node; accounts 3 and 4 buy, the last one is the treasury.

    ``url`` is that of the database, where it is one.
    """

    url: str = ""

    def __init__(
        self,
        node: AnvilNode,
        *,
        storage: Storage | None = None,
        clock: FrozenClock | None = None,
        token: str = "TestToken",
    ) -> None:
        self.node = node
        self.clock = clock or FrozenClock(self.time())
        self.engine = BillingEngine(
            storage=storage or MemoryStorage(self.clock, instance_id=b"on-anvil"),
            clock=self.clock,
            secrets=repeatable_secrets(),
        )
        self.admin = self.engine.admin(ADMIN)
        self.token = deploy_token(node, decimals=6, artefact=token)
        if token == "FeeToken":
            self.act(self.token, "setFee", 0)  # nothing is sold in it otherwise
        self.treasury = node.accounts[-1].address
        self._keys = count(1)

    def open(self, *, treasury: str | None = None, **network: Any) -> None:
        """Create the network and the gateway."""
        self.treasury = treasury or self.treasury
        fields: dict[str, Any] = {
            "name": "local",
            "chain_id": self.node.chain_id,
            "rpc_urls": [self.node.url],
            "testnet": True,
            "credit_after": f"depth {CREDIT_DEPTH}",
            "irreversible_after": f"depth {IRREVERSIBLE_DEPTH}",
        }
        self.admin.create_network(**(fields | network))
        self.admin.create_gateway(
            slug="main", networks=["local"], signer=SIGNER_KEY, treasuries={"local": self.treasury}
        )

    def close(self) -> None:
        self.engine.close()

    def bind(self, deployed: Deployed, **fields: Any) -> PaymentContract:
        """Bind a contract by configuration."""
        values: dict[str, Any] = {
            "slug": "theirs",
            "network": "local",
            "address": deployed.address,
            "kind": "mapped",
            "abi": list(artifact(deployed.name).abi),
            "start_block": deployed.block,
        }
        return self.admin.create_contract(**(values | fields))

    def sell(self, slug: str = "pro", *, native: bool = False, **changes: Any) -> None:
        """Sell a monthly plan through the bound contract."""
        token = Asset(chain_id=self.node.chain_id, token=self.token.address, decimals=6, symbol="tUSD")
        coin = Asset(chain_id=self.node.chain_id, token=NATIVE_COIN, decimals=18, symbol="ETH")
        shop = Merchant(
            engine=self.engine, network="local", token=token, native=coin, contract="", treasury=self.treasury
        )
        fields = plan_fields(shop, slug, **({"contract_slug": "theirs"} | changes))
        fields["prices"] = [price for price in fields["prices"] if (price["symbol"] == "ETH") is native]
        self.admin.create_plan(**fields)

    def confirm(self, user: str, account: Any) -> None:
        """Let a user prove a wallet."""
        asked = self.engine.wallet_challenge(
            user_id=user, wallet=account.address, network="local", domain="shop.example", uri="https://shop.example/"
        )
        self.engine.confirm_wallet(user_id=user, nonce=asked.nonce, signature=sign_text(account.key, asked.message))

    def checkout(self, user: str = "alice", account: Any = ALICE, **changes: Any) -> Checkout:
        wanted: Mapping[str, Any] = {
            "plan": "pro",
            "wallet": account.address,
            "idempotency_key": f"key-{next(self._keys)}",
        }
        return self.engine.checkout(user_id=user, **(dict(wanted) | changes))

    def pay(self, offer: Checkout, account: Any = ALICE, *, blocks: int = CREDIT_DEPTH) -> dict[str, Any]:
        """Do what the instructions say, as a wallet would, and settle."""
        told = self.engine.pay_instructions(offer.ledger_id)
        if told.approval is not None:
            self.send(told.approval, account, blocks=1)
            told = self.engine.pay_instructions(offer.ledger_id)
        assert told.problems == ()
        assert told.payload is not None
        return self.send(told.payload, account, blocks=blocks)

    def send(self, payload: WalletPayload, account: Any = ALICE, *, blocks: int = CREDIT_DEPTH) -> dict[str, Any]:
        tx_hash = self.node.send(payload.as_rpc(account.address))
        self.node.mine(blocks)
        self.settle(0)
        receipt = self.node.receipt(tx_hash)
        assert receipt is not None
        assert receipt["status"] == "0x1"
        return receipt

    def act(self, deployed: Deployed, function: str, *arguments: Any, sender: str | None = None) -> dict[str, Any]:
        return transact(self.node, deployed, function, *arguments, sender=sender or self.node.accounts[0].address)

    def fund(self, account: Any, amount: int = 20 * PRICE) -> None:
        self.act(self.token, "mint", account.address, amount)

    def time(self) -> datetime:
        block = self.node.block()
        assert block is not None
        return self.when(block)

    @staticmethod
    def when(block: Mapping[str, Any]) -> datetime:
        return datetime.fromtimestamp(int(block["timestamp"], 16), UTC)

    def settle(self, blocks: int = CREDIT_DEPTH) -> None:
        if blocks:
            self.node.mine(blocks)
        self.clock.set(max(self.clock.now(), self.time()))
        drain(self.engine)

    def ask(self, deployed: Deployed, function: str, *arguments: Any) -> int:
        call = {"to": deployed.address, "data": "0x" + calldata(deployed.name, function, *arguments).hex()}
        return int(self.node.rpc("eth_call", call, "latest"), 16)

    def balance(self, address: str) -> int:
        return self.ask(self.token, "balanceOf", address)

    def differences(self) -> list[Any]:
        """What verification finds, but for what one node cannot prove."""
        return [d for d in self.engine.verify(full=True).differences if d.code != "unproved"]

    def receipts(self) -> list[Any]:
        with self.engine._ports.storage.unit(write=False) as unit:
            return list(unit.all_receipts())

    def movements(self) -> list[str]:
        with self.engine._ports.storage.unit(write=False) as unit:
            return sorted(m.kind for m in unit.all_movements() if m.live)


class Club(MappedShop):
    """A shop whose passes are sold by ``ClubPass``: overloads, arrays of tuples, an event without a reference."""

    def __init__(
        self,
        node: AnvilNode,
        *,
        fee_bps: int = 0,
        storage: Storage | None = None,
        clock: FrozenClock | None = None,
        token: str = "TestToken",
        **network: Any,
    ) -> None:
        super().__init__(node, storage=storage, clock=clock, token=token)
        self.passes = deploy(node, "ClubPass", self.token.address, fee_bps)
        self.open(**network)

    def start(self) -> None:
        """Bind the contract and sell a plan to two users with wallets of their own."""
        self.bind(self.passes, mint_method=JOIN, events=[JOINED])
        self.sell()
        for user, account in (("alice", ALICE), ("bob", BOB)):
            self.confirm(user, account)
            self.fund(account)
