"""A small merchant, ready to sell: on any engine, through its public administration.

A simulated one needs no network and no clock but its own::

    shop = simulated_merchant(seed=1)
    offer = shop.checkout("user-1")
    shop.chain.pay(offer.order)
    shop.settle()                       # mined deep enough, read, taken in
    assert shop.engine.access("user-1").allowed
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from pydantic import SecretStr

from evmbilling.adapters.memory.storage import MemoryStorage
from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.factory import BillingEngine
from evmbilling.ports.charges import Mandates
from evmbilling.ports.storage import Storage
from evmbilling.ports.telemetry import Telemetry
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, deploy_checkout, deploy_token
from evmbilling.testing.drain import Drained, drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.keys import address_of
from evmbilling.testing.time_machine import TimeMachine

if TYPE_CHECKING:
    from evmbilling.testing.anvil import AnvilNode

#: Who configures the merchants of tests.
ADMIN = Actor("merchant-admin", frozenset({Role.BILLING_ADMIN, Role.FINANCE_OPS}))
#: Signs orders of simulated merchants; public knowledge, like every key of this package.
SIGNER_KEY = "0x" + hashlib.sha256(b"evmbilling test signer").hexdigest()
#: The block depths of :func:`open_merchant`.
CREDIT_DEPTH = 3
IRREVERSIBLE_DEPTH = 20

_NO_SECRET = b"evmbilling tests only, no secret"
_START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@frozen(kw_only=True)
class Merchant:
    """A network, a gateway, a contract and two plans, on an engine.

    Attributes:
        engine: where they are.
        network: the network's name; the gateway is ``main``, the contract ``checkout``.
        token: the six-decimal token of the prices. native: the chain's coin, the plans' second asset.
        contract, treasury: addresses.
        plan: slug of a monthly plan of the product ``api``; ``pack`` sells a thing once.

    """

    engine: BillingEngine
    network: str
    token: Asset
    native: Asset
    contract: str
    treasury: str
    plan: str = "pro"
    pack: str = "pack"

    def checkout(self, user_id: str = "user-1", **changes: Any) -> Checkout:
        """Check out the monthly plan for a user, from a wallet of the user's own, under one key per user."""
        wanted = {"plan": self.plan, "wallet": wallet_of(user_id), "idempotency_key": f"{user_id}-first"}
        return self.engine.checkout(user_id=user_id, **(wanted | changes))

    def drain(self, *, rounds: int = 100) -> Drained:
        """Work until nothing changes any more."""
        return drain(self.engine, rounds=rounds)


@frozen(kw_only=True)
class SimulatedMerchant(Merchant):
    """A merchant whose chain, clock and ids are in this process: a seed decides all of it."""

    chain: FakeChain
    clock: FrozenClock
    _keys: count[int] = field(factory=lambda: count(1), init=False, repr=False, eq=False)

    def settle(self, blocks: int = CREDIT_DEPTH, *, seconds: int | None = None) -> Drained:
        """Mine blocks, let the clock follow the chain, and work until nothing changes any more."""
        self.chain.mine(blocks, seconds=seconds)
        self.clock.set(max(self.clock.now(), self.chain.head.timestamp))
        return self.drain()

    def advance(self, by: timedelta | None = None, **how: Any) -> Drained:
        """Move clock and chain forward, and work until nothing changes any more; see :class:`TimeMachine`."""
        return TimeMachine(self.engine, self.clock, [self.chain]).advance(by, **how)

    def buy(self, user_id: str = "user-1", **changes: Any) -> Checkout:
        """Check out under a fresh key, pay exactly, settle, and return the order as it then stands."""
        offer = self.checkout(user_id, **({"idempotency_key": f"{user_id}-{next(self._keys)}"} | changes))
        self.chain.pay(offer.order)
        self.settle()
        return self.engine.order(offer.ledger_id)


def wallet_of(user_id: str) -> str:
    """Return an address for a user; the same one every time."""
    return checksum(hashlib.sha256(user_id.encode()).digest()[:20])


def open_merchant(
    engine: BillingEngine,
    *,
    chain_id: int,
    rpc_url: str,
    signer: str,
    contract: str,
    token: str,
    treasury: str,
    start_block: int = 0,
    network: str = "local",
    order_ttl: int = 1800,
    credit_after: str = f"depth {CREDIT_DEPTH}",
    irreversible_after: str = f"depth {IRREVERSIBLE_DEPTH}",
) -> Merchant:
    """Create a test network, a gateway, a contract and two plans through the administration of an engine.

    Args:
        engine: where.
        chain_id, rpc_url: the chain; the url is a reference (``env:…``) or, with a secret key, the url itself.
        signer: the order-signing key: a reference or, with a secret key, the key itself.
        contract, token, treasury: addresses; the token has six decimals.
        start_block: the block of the contract's deployment.
        network: the network's name.
        order_ttl: seconds that offers stay payable.
        credit_after, irreversible_after: the depths.

    """
    admin = engine.admin(ADMIN)
    admin.create_network(
        name=network,
        chain_id=chain_id,
        rpc_urls=[rpc_url],
        testnet=True,
        credit_after=credit_after,
        irreversible_after=irreversible_after,
    )
    admin.create_gateway(
        slug="main", networks=[network], signer=signer, treasuries={network: treasury}, order_ttl=order_ttl
    )
    admin.create_contract(slug="checkout", network=network, address=contract, start_block=start_block)
    asset = Asset(chain_id=chain_id, token=token, decimals=6, symbol="tUSD")
    native = Asset(chain_id=chain_id, token=NATIVE_COIN, decimals=18, symbol="ETH")
    made = Merchant(engine=engine, network=network, token=asset, native=native, contract=contract, treasury=treasury)
    admin.create_plan(**plan_fields(made, made.plan, name="Pro", interval="month", features=["export"]))
    admin.create_plan(**plan_fields(made, made.pack, name="Call pack", interval="none", product="pack"))
    return made


def plan_fields(merchant: Merchant, slug: str, **changes: Any) -> dict[str, Any]:
    """Return the fields of a plan of this merchant, for ``admin.create_plan``; 19.99 tUSD, or 0.01 of the coin."""
    prices = [(merchant.token, "19.99"), (merchant.native, "0.01")]
    return {
        "slug": slug,
        "name": slug,
        "product": "api",
        "interval": "month",
        "prices": [_price(merchant.network, asset, display) for asset, display in prices],
        "gateway_slug": "main",
        "contract_slug": "checkout",
        "limits": {"calls": 1000},
    } | changes


def anvil_merchant(
    engine: BillingEngine,
    node: AnvilNode,
    *,
    signer_key: str = SIGNER_KEY,
    deployed: tuple[Deployed, Deployed] | None = None,
    **changes: Any,
) -> Merchant:
    """Deploy a six-decimal token and the Checkout contract on a node, and open a merchant on them.

    The last of the node's accounts is the treasury. The engine needs a secret key: node url and signing key are
    given as they are and stored encrypted. ``deployed`` are a token and a contract that are there already, as
    :func:`deploy_shop` returns them. ``changes`` go to :func:`open_merchant`.
    """
    token, contract = deployed or deploy_shop(node, signer_key)
    values: dict[str, Any] = {
        "chain_id": node.chain_id,
        "rpc_url": node.url,
        "signer": signer_key,
        "contract": contract.address,
        "token": token.address,
        "treasury": node.accounts[-1].address,
        "start_block": contract.block,
    }
    return open_merchant(engine, **(values | changes))


def deploy_shop(node: AnvilNode, signer_key: str = SIGNER_KEY) -> tuple[Deployed, Deployed]:
    """Deploy a six-decimal token, and a Checkout contract that takes this key's orders."""
    token = deploy_token(node, decimals=6)
    return token, deploy_checkout(node, signers=(address_of(signer_key),))


def simulated_merchant(
    *,
    seed: int = 0,
    storage: Storage | None = None,
    chain: FakeChain | None = None,
    mandates: Mandates | None = None,
    dunning: DunningPolicy | Mapping[str, Any] | None = None,
    telemetry: Telemetry | None = None,
) -> SimulatedMerchant:
    """Open a merchant that runs without network and without waiting: same seed, same bytes.

    Args:
        seed: of ids and chain.
        storage: in memory by default; give one whose clock is the chain's start or the database's own.
        chain: a chain of your own.
        mandates, dunning, telemetry: of the engine.

    """
    clock = FrozenClock(_START if chain is None else chain.head.timestamp)
    source = chain or FakeChain(31337, start=clock.now(), seed=seed, safe_lag=8, finalized_lag=16)
    instance = hashlib.sha256(f"instance {seed}".encode()).digest()[:8]
    engine = BillingEngine(
        storage=storage or MemoryStorage(clock, instance_id=instance),
        clock=clock,
        ids=SeededIds(seed, clock),
        secrets=repeatable_secrets(),
        sources=lambda _: source,
        mandates=mandates,
        dunning=dunning,
        telemetry=telemetry,
        clock_tolerance=None,
    )
    made = open_merchant(
        engine,
        chain_id=source.chain_id,
        rpc_url="http://127.0.0.1:9",
        signer=SIGNER_KEY,
        contract=checksum(b"checkout".rjust(20, b"\1")),
        token=checksum(b"token".rjust(20, b"\1")),
        treasury=checksum(b"treasury".rjust(20, b"\1")),
    )
    return SimulatedMerchant(
        engine=made.engine,
        network=made.network,
        token=made.token,
        native=made.native,
        contract=made.contract,
        treasury=made.treasury,
        chain=source,
        clock=clock,
    )


def repeatable_secrets() -> SecretBox:
    """Return a box that seals under a key of public knowledge, the same way every time; for tests only."""
    return SecretBox(SecretStr(base64.b64encode(_NO_SECRET).decode()), random_bytes=bytes)


def _price(network: str, asset: Asset, display: str) -> dict[str, Any]:
    return {
        "network": network,
        "chain_id": asset.chain_id,
        "token": asset.token,
        "decimals": asset.decimals,
        "symbol": asset.symbol,
        "display": display,
    }
