"""A node and a provider over it, without an engine: for the kits of what a provider can do beside selling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import pytest

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.money import Asset
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ConfigurationError
from evmbilling.plugins.conformance import problems
from evmbilling.ports.provider import Provider
from evmbilling.ports.signer import Signer
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.base import Kit, not_given
from evmbilling.testing.conformance.storage import records
from evmbilling.testing.deploy import Deployed, calldata, deploy_token, transact

PRICE = 19_990_000
NOBODY = "http://127.0.0.1:9"
"""Where no node answers."""
MakeProvider = Callable[..., Provider]
Where = TypeVar("Where", bound="Ground")


def no_signer(ref: SecretRef) -> Signer:
    """Stand in for what finds signers, where nothing of ours is signed."""
    raise ConfigurationError("nothing is signed here", field=str(ref))


def made(make: MakeProvider, port: type, url: str) -> Any:
    """Make a provider that reads one node, and see that it has the operations of a port."""
    provider = make(signer_for=no_signer, reveal=lambda _: url)
    missing = problems(provider, port)
    assert not missing, f"{type(provider).__name__} is not a {port.__name__}: {'; '.join(missing)}"
    return provider


class Ground:
    """A token, a payer (account 1) who has some of it, and a treasury (the last account), on a node.

    Attributes:
        provider: the one under test. blind: the same where no node answers.

    """

    def __init__(self, node: AnvilNode, make: MakeProvider, port: type) -> None:
        self.node = node
        self.provider, self.blind = (made(make, port, url) for url in (node.url, NOBODY))
        url = SecretRef("env", "KIT_RPC_URL")
        self.network = Network(name="local", chain_id=node.chain_id, rpc_urls=(url,), rpc_retries=1, rpc_timeout=5)
        self.payer, self.stranger = node.accounts[1], node.accounts[3]
        self.treasury = node.accounts[-1].address
        self.token = deploy_token(node, decimals=6)
        self.asset = Asset(chain_id=node.chain_id, token=self.token.address, decimals=6, symbol="tUSD")
        self.act(self.token, "mint", self.payer.address, 20 * PRICE)

    def order(self, number: int = 1, **changes: Any) -> Order:
        """Return an order of the payer's, on this chain, that nobody has signed."""
        where = {"network": self.network.name, "asset": self.asset, "treasury": self.treasury}
        who = {"user_id": records.ALICE, "wallet": self.payer.address, "beneficiary": self.payer.address}
        full = {"amount": PRICE, "subscription_id": records.ident(1), "period": 0, "deadline": self.at(3600)}
        until = {"member_until": self.at(30 * 86_400), "signature": b"", "signer": "", "gas": 600_000}
        return records.order(number, **(where | who | full | until | changes))

    def at(self, seconds: int) -> datetime:
        """Return an instant so many seconds after the newest block."""
        block = self.node.block()
        assert block is not None
        return datetime.fromtimestamp(int(block["timestamp"], 16) + seconds, UTC)

    def act(self, deployed: Deployed, function: str, *arguments: Any, sender: str | None = None) -> None:
        """Call a contract from an account, the first by default, and mine it."""
        transact(self.node, deployed, function, *arguments, sender=sender or self.node.accounts[0].address)

    def send(self, payload: WalletPayload, sender: str) -> bool:
        """Send what a provider made, exactly as it is, and mine it; say whether it went through."""
        assert payload.chain_id == self.node.chain_id, "the payload is for another chain"
        tx_hash = self.node.send(payload.as_rpc(sender))
        self.node.mine()
        receipt = self.node.receipt(tx_hash)
        assert receipt is not None
        return bool(receipt["status"] == "0x1")

    def ask(self, deployed: Deployed, function: str, *arguments: Any) -> int:
        """Read a number of a contract."""
        call = {"to": deployed.address, "data": "0x" + calldata(deployed.name, function, *arguments).hex()}
        return int(self.node.rpc("eth_call", call, "latest"), 16)

    def holds(self, address: str) -> int:
        """Return base units of the token."""
        return self.ask(self.token, "balanceOf", address)

    def logs(self, watch: Any) -> list[Any]:
        """Return the watched logs of the newest block, as the provider reads them."""
        source = self.provider.chain(self.network)
        return list(source.logs([source.header("latest")], watch))


class GroundKit(Kit):
    """A kit on a :class:`Ground`. Give ``make_provider``; the chain under it is Anvil."""

    ground: ClassVar[type[Ground]] = Ground

    @pytest.fixture
    def make_provider(self) -> MakeProvider:
        """Make the provider under test; called with ``signer_for`` and ``reveal``, as a factory of a plugin is."""
        not_given("the fixture make_provider: a callable that returns a Provider")

    @pytest.fixture
    def field(self, make_provider: MakeProvider, anvil: AnvilNode) -> Iterator[Ground]:
        """The provider over a node where what it works with is deployed; what the test does is undone afterwards."""
        with closing_all(self.ground, anvil, make_provider, self.port) as made_ready:
            yield made_ready


@contextmanager
def closing_all(kind: type[Where], node: AnvilNode, make: MakeProvider, port: type) -> Iterator[Where]:
    """Put a ground on a node, and let go of everything but the node."""
    ground = kind(node, make, port)
    try:
        yield ground
    finally:
        ground.provider.close()
        ground.blind.close()
