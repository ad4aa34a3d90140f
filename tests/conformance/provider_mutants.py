"""Providers that are subtly wrong, one way each: the kit has to refuse every one of them."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import attrs
import pytest
from wrapped_providers import FACES, OverBuiltIn

from evmbilling.errors import ChainMismatch, ProviderError
from evmbilling.testing.conformance import ProviderConformance
from evmbilling.testing.conformance.provider.fields import FakeField
from example_plugins import FOLDER, load_own_tests

own = load_own_tests(FOLDER / "provider-receipts")
from receipts_provider import ReceiptsProvider  # noqa: E402  - found once its tests are
from receipts_provider.source import ReceiptsSource  # noqa: E402


class Source:
    """A chain source that is like the inner one but for what its subclass does."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Provider:
    """A provider whose sources are wrapped."""

    source = Source

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def chain(self, network):
        return self.source(self.inner.chain(network))


class OverFake(OverBuiltIn, ProviderConformance):
    """A mutant of the built-in provider on the fake chain."""

    kind = Provider
    faces = FACES

    @pytest.fixture
    def field(self):
        made = FakeField(1, 20, strict=True)
        made.mine(20)
        providers = made.shop.engine._ports.providers
        providers["evm"] = type(self).kind(providers["evm"])
        return made


class TestControl(OverFake):
    """Nothing is wrong."""

    of = 0


class TestNewPayload(OverFake):
    """The same order is another transaction each time."""

    of = 1

    class kind(Provider):  # noqa: N801  - an attribute of the kit
        count = itertools.count(1)

        def payload(self, order):
            return attrs.evolve(self.inner.payload(order), gas=next(self.count))


class TestAnyBlock(OverFake):
    """Above the head there is the head."""

    of = 2

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def header(self, block):
                return self.inner.header(block) or self.inner.header("latest")


class TestTagIsHead(OverFake):
    """The safe block is the head."""

    of = 2

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def header(self, block):
                return self.inner.header("latest" if block == "safe" else block)


class TestLosesALog(OverFake):
    """The last log of a block with several is lost."""

    of = 3

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def logs(self, headers, watch):
                found = self.inner.logs(headers, watch)
                return found[:-1] if len(found) > 1 else found


class TestOrdinalOfABlock(OverFake):
    """The ordinal of a log counts within its block."""

    of = 3

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def logs(self, headers, watch):
                return [attrs.evolve(log, ordinal=log.log_index) for log in self.inner.logs(headers, watch)]


class TestOutOfOrder(OverFake):
    """Logs come in the order of their transactions' hashes."""

    of = 3

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def logs(self, headers, watch):
                return sorted(self.inner.logs(headers, watch), key=lambda log: log.tx_hash)


class TestEmptyAnswer(OverFake):
    """A block that is no longer there has no logs."""

    of = 4

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def logs(self, headers, watch):
                try:
                    return self.inner.logs(headers, watch)
                except ChainMismatch:
                    return []


class TestStaleLogs(OverFake):
    """The logs of a height are kept, whatever the chain does."""

    of = 4

    class kind(Provider):  # noqa: N801
        def chain(self, network):
            return Keeping(self.inner.chain(network), self.__dict__.setdefault("known", {}))


class Keeping(Source):
    def __init__(self, inner, known):
        super().__init__(inner)
        self.known = known

    def logs(self, headers, watch):
        found = []
        for header in headers:
            if header.number not in self.known:
                self.known[header.number] = self.inner.logs([header], watch)
            found += self.known[header.number]
        return found


class TestAnyContract(OverFake):
    """An event is read whichever contract sent it."""

    of = 5

    class kind(Provider):  # noqa: N801
        def decode(self, log, contract):
            return self.inner.decode(attrs.evolve(log, address=contract.address), contract)


class TestUnwatchedTreasury(OverFake):
    """Transfers to the treasury are not looked for."""

    of = 5

    class kind(Provider):  # noqa: N801
        def watch(self, contracts, *, tokens=(), treasuries=()):
            return self.inner.watch(contracts, tokens=tokens, treasuries=treasuries and [contracts[0].address])


class TestCollectibles(OverFake):
    """A transfer with four topics is taken for money."""

    of = 5

    class kind(Provider):  # noqa: N801
        def decode_transfer(self, log):
            return self.inner.decode_transfer(attrs.evolve(log, topics=log.topics[:3], data=log.data or bytes(32)))


class TestDroppedChainId(OverFake):
    """An order is signed for the main network, whatever its chain is."""

    of = 6

    class kind(Provider):  # noqa: N801
        def typed_data(self, order):
            data = self.inner.typed_data(order)
            return data | {"domain": data["domain"] | {"chainId": 1}}


class TestAnyChain(OverFake):
    """Another chain behind the url is not noticed."""

    of = 6

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def check_chain(self):
                return


class TestShortRange(OverFake):
    """The last block of a range is left out."""

    of = 7

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            @contextmanager
            def scan(self, first, last, watch, **how):
                with self.inner.scan(first, max(first, last - 1), watch, **how) as ranges:
                    yield ranges


class TestAncestorTooHigh(OverFake):
    """The common ancestor is one block too high."""

    of = 7

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def common_ancestor(self, headers, head):
                found = self.inner.common_ancestor(headers, head)
                return next((one for one in headers if found and one.number == found.number + 1), found)


class TestBalanceNow(OverFake):
    """A balance is that of the head, whichever block is asked."""

    of = 9

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def balance(self, token, holder, block):
                return self.inner.balance(token, holder, min(block + 10**6, self.inner.header("latest").number))


class TestNeverFails(OverFake):
    """A transaction that is in a block has succeeded."""

    of = 16

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def transactions(self, hashes):
                found = self.inner.transactions(hashes)
                return {name: attrs.evolve(one, succeeded=one.block is not None) for name, one in found.items()}


class TestPendingIsMined(OverFake):
    """A transaction that is on its way is in the newest block."""

    of = 16

    class kind(Provider):  # noqa: N801
        class source(Source):  # noqa: N801
            def transactions(self, hashes):
                head = self.inner.header("latest")
                found = self.inner.transactions(hashes)
                return {name: attrs.evolve(one, block=one.block or head) for name, one in found.items()}


class TestAnySigner(OverFake):
    """A signature that recovers to somebody is good."""

    of = 10

    class kind(Provider):  # noqa: N801
        def verify_signature(self, network, address, digest, signature):
            del network, address, digest
            return len(signature) == 65


class Quiet(ReceiptsSource):
    def _logs_of(self, header):
        try:
            yield from super()._logs_of(header)
        except ChainMismatch:
            raise
        except ProviderError:
            return


class TestSwallowedFault(own.TestReceiptsProvider):
    """A node that fails at the receipts of a block has none."""

    of = 8

    @pytest.fixture
    def make_provider(self):
        def make(**lent):
            made = ReceiptsProvider(**lent)
            reveal = lent["reveal"]
            made._make_source = lambda network: Quiet(
                network.chain_id, [reveal(ref) for ref in network.rpc_urls], timeout=5
            )
            return made

        return make
