"""What the demo works with: the node, the files, the engine, and what it was given on the way."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from evmbilling.adapters.system import SystemClock
from evmbilling.cli.demo.eyes import ChainEyes, DatabaseEyes
from evmbilling.errors import NotFound
from evmbilling.factory import BillingEngine
from evmbilling.settings import BillingSettings
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.drain import drain
from evmbilling.testing.keys import new_key
from evmbilling.testing.wallet import Wallet

if TYPE_CHECKING:
    from evmbilling.domain.selling.offers import Checkout
    from evmbilling.domain.selling.orders import Order
    from evmbilling.engine.verify.report import Report
    from evmbilling.testing.deploy import Deployed
    from evmbilling.testing.merchant import Merchant
    from evmbilling.testing.wallet import SentTransaction

CHAIN_ID = 31337
DEPTH = 3
"""Confirmations until a payment gives access."""
USER, SECOND_USER = "user-1", "user-2"


class AheadClock(SystemClock):
    """The machine's clock, so far ahead as it was told to be: never behind it."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return super().now() + self._ahead

    def reach(self, instant: datetime) -> None:
        """Be at an instant, unless it is over."""
        self._ahead += max(instant - self.now(), timedelta())


@define(kw_only=True, slots=False)
class World:
    """State of one run; later steps find here what earlier ones made.

    Attributes:
        folder: holds the database file; removed by whoever made it.
        signer_key: signs orders. wallet_key pays; second_key belongs to the second user.
        offers: the answers to the first user's checkouts, in order. second: the second user's.
        sent: the payment. refused: hash of the transaction of the last refusal.
        lost_block: hash of the block that held the payment before the reorganisation.
        senders: who sends plain transfers, by name. asked: their checkouts, by user.
        transfers: what they sent, in order: hash and base units.
        renewer_key: of the wallet that is pulled from; operator_key sends the charges. mandates: the contract.
        dates: the anchor and the periods of the subscription that is pulled, before the first pull.
        report: what ``verify`` said at the end.
        clock: the machine's, ahead by as much as time was let pass.

    """

    folder: Path
    node: AnvilNode = field(factory=lambda: AnvilNode(chain_id=CHAIN_ID))
    signer_key: str = field(factory=new_key, repr=False)
    wallet_key: str = field(factory=new_key, repr=False)
    second_key: str = field(factory=new_key, repr=False)
    token: Deployed = field(init=False)
    checkout: Deployed = field(init=False)
    fake: Deployed = field(init=False)
    merchant: Merchant = field(init=False)
    offers: list[Checkout] = field(factory=list)
    second: Checkout = field(init=False)
    sent: SentTransaction = field(init=False)
    refused: str = ""
    lost_block: str = ""
    senders: dict[str, Wallet] = field(factory=dict)
    asked: dict[str, Checkout] = field(factory=dict)
    transfers: list[tuple[str, int]] = field(factory=list)
    renewer_key: str = field(factory=new_key, repr=False)
    operator_key: str = field(factory=new_key, repr=False)
    mandates: Deployed = field(init=False)
    dates: tuple[object, ...] = ()
    report: Report = field(init=False)
    clock: AheadClock = field(factory=AheadClock)

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.folder / "billing.sqlite3"

    @property
    def database_url(self) -> str:
        """Its url."""
        return f"sqlite:///{self.database_path}"

    @cached_property
    def chain(self) -> ChainEyes:
        """Raw reads of the node."""
        return ChainEyes(self.node.url)

    @cached_property
    def database(self) -> DatabaseEyes:
        """Plain SQL reads of the file."""
        return DatabaseEyes(self.database_path, DEFAULT_PREFIX)

    @cached_property
    def engine(self) -> BillingEngine:
        """The engine, built as a host builds it: from settings; the environment of this process is left out."""
        fields = BillingSettings.model_fields.items()
        nothing = {name: f.get_default(call_default_factory=True, validated_data={}) for name, f in fields}
        keys = {name: base64.b64encode(os.urandom(32)).decode() for name in ("secret_key", "seal_key")}
        settings = BillingSettings(**(nothing | keys | {"database_url": self.database_url}))
        # Time is let pass here, and the database's own clock does not know.
        return BillingEngine.from_settings(settings, clock=self.clock, clock_tolerance=None)

    @cached_property
    def wallet(self) -> Wallet:
        """The first user's wallet."""
        return Wallet(self.wallet_key, self.node.url)

    @cached_property
    def second_wallet(self) -> Wallet:
        """The second user's wallet."""
        return Wallet(self.second_key, self.node.url)

    @cached_property
    def renewer(self) -> Wallet:
        """The wallet that is pulled from."""
        return Wallet(self.renewer_key, self.node.url)

    @property
    def treasury(self) -> str:
        """Where the money goes."""
        return self.node.accounts[-1].address

    @property
    def deployer(self) -> str:
        """Who deploys and mints."""
        return self.node.accounts[0].address

    @property
    def order(self) -> Order:
        """The first user's order, as the checkout gave it."""
        return self.offers[0].order

    def mine_and_settle(self, blocks: int) -> None:
        """Mine, and let the workers' steps run until nothing changes."""
        self.node.mine(blocks)
        drain(self.engine)

    def follow_chain(self) -> None:
        """Let the clock come to where the chain is."""
        self.clock.reach(datetime.fromtimestamp(self.chain.block_time("latest"), UTC))

    def travel(self, instant: datetime | None) -> None:
        """Let time pass, on the chain and on the clock, and let everything follow."""
        if instant is None:
            raise NotFound("there is no such moment", field="instant")
        self.node.mine(timestamp=int(instant.timestamp()) + 1)
        self.follow_chain()
        drain(self.engine)
        # What was decided just now falls due by the chain's time, and the chain comes to it with this block.
        self.node.mine(timestamp=max(self.chain.block_time("latest"), int(self.clock.now().timestamp())) + 1)
        self.follow_chain()
        drain(self.engine)

    def close(self) -> None:
        """Let go of engine and node."""
        if "engine" in vars(self):
            self.engine.close()
        self.node.stop()
