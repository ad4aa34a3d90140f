"""What a provider's author gives, and what every class of provider checks has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from evmbilling.errors import ChainMismatch, RpcUnavailable
from evmbilling.ports.provider import Provider
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.base import Kit, not_given
from evmbilling.testing.conformance.provider.fields import AnvilField, Field, Grounds
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.rpc_proxy import RpcProxy

IRREVERSIBLE = 20


class Reader:
    """A chain source with what the merchant watches."""

    def __init__(self, field: Field) -> None:
        engine, shop = field.shop.engine, field.shop
        (self.network,) = engine.admin(ADMIN).networks()
        (self.contract,) = engine.admin(ADMIN).contracts()
        (self.gateway,) = engine.admin(ADMIN).gateways()
        self.provider: Any = engine._ports.provider("evm")  # noqa: SLF001  - the part under test
        self.source = self.provider.chain(self.network)
        self.watch = self.provider.watch([self.contract], tokens=[shop.token.token], treasuries=[shop.treasury])

    @property
    def head(self) -> Any:
        return self.source.header("latest")

    def headers(self, blocks: int) -> Any:
        """Return the newest headers, oldest first."""
        return self.source.headers(self.head.number - blocks + 1, self.head.number)

    def logs(self, blocks: int) -> list[Any]:
        return list(self.source.logs(self.headers(blocks), self.watch))

    def seen(self, blocks: int) -> list[Any]:
        """Return what the logs of the newest blocks mean."""
        found = []
        for log in self.logs(blocks):
            decoded = self.provider.decode(log, self.contract) if log.address == self.contract.address else None
            found.append(decoded or self.provider.decode_transfer(log))
        return [one for one in found if one is not None]

    def payments(self, blocks: int) -> dict[bytes, Any]:
        return {one.reference: one for one in self.seen(blocks) if one.kind == "payment"}


class ProviderKit(Kit):
    """Fixtures of the provider kit.

    Give ``make_provider``. The chain under it is Anvil, with the project's Checkout contract and a test token.

    Attributes:
        faces: your classes that hold the provider to the kits of what else it can do: pull by mandate, sell through
            contracts that are bound by configuration, sell through deposit addresses.

    """

    port = Provider
    known: ClassVar[Mapping[str, str]] = {
        "asks": "it asks the chain what stands in the way of paying, and whether what is bound is what is there",
        "json_rpc": "it asks the nodes that a network's `rpc_urls` name, over HTTP",
        "sends": "its `transmitter` sends our own transactions",
    }
    faces: ClassVar[tuple[type[Kit], ...]] = ()

    @pytest.fixture
    def make_provider(self) -> Callable[..., Provider]:
        """Make the provider under test; called with ``signer_for`` and ``reveal``, as a factory of a plugin is."""
        not_given("the fixture make_provider: a callable that returns a Provider")

    @pytest.fixture(scope="class")
    @classmethod
    def grounds(cls, anvil_node: AnvilNode) -> Iterator[Grounds]:
        """What the merchant of every test stands on."""
        snapshot = anvil_node.start().snapshot()
        yield Grounds.laid(anvil_node)
        try:
            anvil_node.revert(snapshot)
        except (ChainMismatch, RpcUnavailable):
            anvil_node.stop()  # a test has started it again, or ended it: the next one gets a new chain

    @pytest.fixture
    def field(self, make_provider: Callable[..., Provider], grounds: Grounds, anvil: AnvilNode) -> Iterator[Field]:
        """A merchant on a chain that obeys; what the test does to it is undone afterwards."""
        made = AnvilField(anvil, IRREVERSIBLE, provider=make_provider, grounds=grounds)
        yield made
        made.shop.engine.close()

    @pytest.fixture
    def reader(self, field: Field) -> Reader:
        """The provider's source, with what the merchant watches."""
        return Reader(field)

    @pytest.fixture
    def proxied(
        self, make_provider: Callable[..., Provider], grounds: Grounds, anvil: AnvilNode
    ) -> Iterator[tuple[AnvilField, RpcProxy]]:
        """The same behind a proxy whose faults a test decides."""
        with RpcProxy(anvil.url) as proxy:
            made = AnvilField(anvil, IRREVERSIBLE, provider=make_provider, rpc_url=proxy.url, grounds=grounds)
            yield made, proxy
            made.shop.engine.close()
