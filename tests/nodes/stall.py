"""A merchant on Anvil whose nodes are proxies that a test breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import attrs

from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.selling.offers import Checkout
from evmbilling.errors import ProviderError
from evmbilling.factory import BillingEngine
from evmbilling.ports.telemetry import NoTracing
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import calldata
from evmbilling.testing.merchant import (
    ADMIN,
    CREDIT_DEPTH,
    SIGNER_KEY,
    Merchant,
    anvil_merchant,
    deploy_shop,
    open_merchant,
    repeatable_secrets,
)
from evmbilling.testing.rpc_proxy import RpcProxy

PRICE = 19_990_000


class Asked:
    """What tells otherwise what a node says: the node itself is asked first."""

    def instead(self, method: str, params: Sequence[Any]) -> None:
        """Ask the node."""


class Counts(NoTracing):
    """Telemetry that adds up."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.labels: list[str] = []

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        self.total[name] += value
        self.labels += [name, *labels.values()]

    def span(self, name: str, **attributes: Any) -> Any:
        self.labels += [name, *(value for value in attributes.values() if isinstance(value, str))]
        return nullcontext()


@attrs.frozen(kw_only=True)
class Stall:
    anvil: AnvilNode
    engine: BillingEngine
    clock: FrozenClock
    merchant: Merchant
    nodes: Sequence[RpcProxy]
    counts: Counts
    storage: Any

    @property
    def name(self) -> str:
        return self.merchant.network

    @property
    def network(self) -> Network:
        return next(n for n in self.engine.admin(ADMIN).networks() if n.name == self.name)

    @property
    def rpc(self) -> JsonRpc:
        source: Any = self.engine._ports.providers["evm"].chain(self.network)
        return source.rpc

    def change(self, **changes: Any) -> None:
        self.engine.admin(ADMIN).update_network(self.name, version=self.network.version, **changes)

    def payer(self, user: str) -> str:
        return self.anvil.accounts[1 + int(user.partition("-")[2] or 0) % 7].address

    def checkout(self, user: str = "user-1", **changes: Any) -> Checkout:
        return self.merchant.checkout(user, **({"wallet": self.payer(user)} | changes))

    def pay(self, offer: Checkout, *, mine: int = 1) -> str:
        """Mint, approve and pay from the unlocked wallet; return the hash."""
        wallet, token = offer.order.wallet, self.merchant.token.token
        if not offer.order.asset.is_native:
            self._send(wallet, token, calldata("TestToken", "mint", wallet, offer.order.amount))
            self._send(wallet, token, calldata("TestToken", "approve", self.merchant.contract, offer.order.amount))
        assert offer.payload is not None
        tx_hash = self.anvil.send(offer.payload.as_rpc(wallet))
        if mine:
            self.anvil.mine(mine)
            receipt = self.anvil.receipt(tx_hash)
            assert receipt is not None
            assert receipt["status"] == "0x1"
        return tx_hash

    def _send(self, wallet: str, to: str, data: bytes) -> None:
        self.anvil.send({"from": wallet, "to": to, "data": "0x" + data.hex(), "gas": "0x30d40"})
        self.anvil.mine()

    def follow(self) -> None:
        """Let the clock follow the chain."""
        head = self.anvil.block() if self.anvil.running else None
        if head is None:
            return
        self.clock.set(max(self.clock.now(), datetime.fromtimestamp(int(head["timestamp"], 16), UTC)))

    def read(self) -> str:
        """Read once; return what came of it: an outcome, or the code of the error."""
        self.follow()
        try:
            outcome: str = self.engine.read_chain(self.name).outcome
        except ProviderError as error:
            outcome = error.code
        return outcome

    def settle(self, blocks: int = CREDIT_DEPTH, *, passes: int = 12) -> list[str]:
        """Mine, then read and take in until nothing is new; return what the reads came to."""
        if blocks:
            self.anvil.mine(blocks)
        outcomes = []
        for _ in range(passes):
            outcomes.append(self.read())
            while self.engine.run_intake().taken:
                pass
            self.engine.expire_orders()
            if outcomes[-2:] == ["idle", "idle"]:
                break  # nothing is new, and clock and chain stand still
        return outcomes

    def status(self, offer: Checkout) -> str:
        return str(self.engine.order(offer.ledger_id).order.status)

    @property
    def cursor(self) -> int:
        (health,) = self.engine.networks_health()
        return health.read or 0

    def receipts(self) -> list[Any]:
        with self.storage.unit(write=False) as unit:
            return list(unit.all_receipts())

    def events(self) -> list[str]:
        with self.storage.unit(write=False) as unit:
            return [row.content.decode() for row in unit.unsealed_rows(100_000) if row.table == "outbox"]


_opened: dict[tuple[Any, ...], tuple[Merchant, Any]] = {}
"""Merchants, and the tables in memory in which they were opened, by where and what was deployed."""


def _open(engine: BillingEngine, anvil: AnvilNode, storage: Any) -> Merchant:
    """Deploy a shop and open a merchant on it; in memory, what was written of an equal one is taken over.

    The chain of a test begins where that of the last one did: the same is deployed at the same addresses, and looking
    at it for each plan costs as much as most tests do.
    """
    if not isinstance(storage, MemoryStorage):
        return anvil_merchant(engine, anvil)
    token, contract = deploy_shop(anvil)
    key = (anvil.url, token.address, contract.address, contract.block)
    if key not in _opened:
        merchant = open_merchant(
            engine,
            chain_id=anvil.chain_id,
            rpc_url=anvil.url,
            signer=SIGNER_KEY,
            contract=contract.address,
            token=token.address,
            treasury=anvil.accounts[-1].address,
            start_block=contract.block,
        )
        _opened[key] = (merchant, storage._committed)
    merchant, tables = _opened[key]
    storage._committed = tables.over()
    return attrs.evolve(merchant, engine=engine)


@contextmanager
def open_stall(
    anvil: AnvilNode,
    nodes: Sequence[RpcProxy],
    *,
    open_storage: Callable[[FrozenClock], Any] = MemoryStorage,
    **network: Any,
) -> Iterator[Stall]:
    """Open a merchant on a chain that is read through these nodes."""
    clock, counts = FrozenClock(datetime.now(UTC)), Counts()
    storage = open_storage(clock)
    engine = BillingEngine(storage=storage, clock=clock, secrets=repeatable_secrets(), telemetry=counts)
    with closing(engine):
        merchant = _open(engine, anvil, storage)
        stall = Stall(
            anvil=anvil, engine=engine, clock=clock, merchant=merchant, nodes=nodes, counts=counts, storage=storage
        )
        stall.change(**({"rpc_urls": [node.url for node in nodes], "rpc_retries": 1, "rpc_timeout": 5} | network))
        yield stall
