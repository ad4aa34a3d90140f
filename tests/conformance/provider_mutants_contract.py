"""Providers that are nearly right: links, watch sets, signatures, look-alike logs."""

from __future__ import annotations

from contextlib import contextmanager

import attrs
import pytest
from contract_mutants import refused_by
from eth_hash.auto import keccak
from wrapped_providers import FACES

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.errors import ProviderError, RpcRefused
from evmbilling.testing.conformance import ProviderConformance
from evmbilling.testing.conformance.provider.fields import FakeField
from example_plugins import FOLDER, load_own_tests

own = load_own_tests(FOLDER / "provider-receipts")
from receipts_provider import ReceiptsProvider  # noqa: E402  - found once its tests are


class OverFake(ProviderConformance):
    """A mutant of the built-in provider on the fake chain."""

    kind = EvmProvider
    faces = FACES

    @pytest.fixture
    def make_provider(self):
        return type(self).kind

    @pytest.fixture
    def field(self):
        made = FakeField(1, 20, strict=True)
        made.mine(20)
        made.shop.engine._ports.providers["evm"].__class__ = type(self).kind
        return made


class OverReceipts(own.TestReceiptsProvider):
    """A mutant of the example provider, on a node."""

    kind = ReceiptsProvider

    @pytest.fixture
    def make_provider(self):
        return type(self).kind


provider, on_a_node = refused_by(OverFake), refused_by(OverReceipts)


class Source:
    """A chain source over another."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)


def reading(source, base):
    """Return a class of providers whose chains are read through this class."""

    def chain(self, network):
        inner = base.chain(self, network)
        known = self.__dict__.setdefault("wrapped", {})
        if inner not in known:
            known[inner] = source(inner)
        return known[inner]

    return type(source.__name__, (base,), {"chain": chain, "__module__": source.__module__})


def source_of(of, words):
    """Return what makes a mutant out of a class of sources."""
    return lambda source: provider(of, words)(reading(source, EvmProvider))


def source_on_a_node(of, words):
    """Do the same on a node, whose faults a test decides."""
    return lambda source: on_a_node(of, words)(reading(source, ReceiptsProvider))


@source_on_a_node(2, "A tag that the node lacks is answered with the head.")
class TestTagsAreHead(Source):
    def tip(self, height):
        tip = self._inner.tip(height)
        return attrs.evolve(tip, safe=tip.safe or tip.head, finalized=tip.finalized or tip.safe or tip.head)

    def header(self, block):
        found = self._inner.header(block)
        return self._inner.header("latest") if found is None and isinstance(block, str) else found


@provider(5, "The chain of a log is not compared with the contract's.")
class TestLogsOfAnyChain(EvmProvider):
    def decode(self, log, contract):
        found = super().decode(attrs.evolve(log, chain_id=contract.chain_id), contract)
        return None if found is None else attrs.evolve(found, log=log)


@source_of(9, "A balance that the node cannot tell is zero.")
class TestBalanceZero(Source):
    def balance(self, token, holder, block):
        try:
            return int(self._inner.balance(token, holder, block))
        except RpcRefused:
            return 0


@source_of(3, "Logs that look alike are taken for one.")
class TestDropsTwins(Source):
    def logs(self, headers, watch):
        found = {}
        for log in self._inner.logs(headers, watch):
            found.setdefault((log.tx_hash, log.address, log.topics, log.data), log)
        return list(found.values())


@source_of(3, "The ordinal counts among the watched logs.")
class TestCountsWatched(Source):
    def logs(self, headers, watch):
        seen = {}
        found = []
        for log in self._inner.logs(headers, watch):
            found.append(attrs.evolve(log, ordinal=seen.get(log.tx_hash, 0)))
            seen[log.tx_hash] = seen.get(log.tx_hash, 0) + 1
        return found


@source_of(8, "A range that cannot be read is passed over.")
class TestPassesOver(Source):
    @contextmanager
    def scan(self, first, last, watch, **how):
        def ranges(given):
            while True:
                try:
                    yield next(given)
                except (StopIteration, ProviderError):
                    return

        with self._inner.scan(first, last, watch, **how) as given:
            yield ranges(iter(given))


@source_of(6, "Only check_chain looks at the chain id.")
class TestTipAnyChain(Source):
    def tip(self, height):
        inner = self._inner
        served = getattr(inner, "_served_id", None)
        if served is None:
            return inner.tip(height)
        inner._served_id = inner._chain_id
        try:
            return inner.tip(height)
        finally:
            inner._served_id = served


@provider(6, "Orders are signed for the first chain that was signed for.")
class TestFirstChain(EvmProvider):
    def sign(self, order, gateway):
        first = self.__dict__.setdefault("first_chain", order.chain_id)
        return super().sign(attrs.evolve(order, asset=attrs.evolve(order.asset, chain_id=first)), gateway)


@provider(1, "A link without the chain.")
class TestLinkWithoutChain(EvmProvider):
    def uri(self, order):
        made = super().uri(order)
        return None if made is None else made.replace(f"@{order.chain_id}", "")


@provider(1, "A link with the amount in scientific notation.")
class TestLinkRounds(EvmProvider):
    def uri(self, order):
        made = super().uri(order)
        return None if made is None else made.replace(f"={order.amount}", f"={order.amount:.6e}".replace("e+", "e"))


@provider(10, "A signature over the prefixed digest is good, too.")
class TestTakesPrefixed(EvmProvider):
    def is_key_signature(self, address, digest, signature):
        prefixed = bytes(keccak(b"\x19Ethereum Signed Message:\n32" + digest))
        return super().is_key_signature(address, digest, signature) or super().is_key_signature(
            address, prefixed, signature
        )

    def verify_signature(self, network, address, digest, signature):
        return self.is_key_signature(address, digest, signature) or super().verify_signature(
            network, address, digest, signature
        )


@provider(5, "Where there are contracts, plain transfers are not watched.")
class TestContractsOnly(EvmProvider):
    def watch(self, contracts, *, tokens=(), treasuries=()):
        found = super().watch(contracts, tokens=tokens, treasuries=treasuries)
        return attrs.evolve(found, tokens=(), parties=()) if contracts else found


@provider(5, "Of several treasuries the first is watched.")
class TestFirstTreasury(EvmProvider):
    def watch(self, contracts, *, tokens=(), treasuries=()):
        return super().watch(contracts, tokens=tokens, treasuries=sorted(treasuries)[:1])


@provider(1, "A refund gives back what the order cost.")
class TestRefundsAll(EvmProvider):
    def refund_payload(self, refund, contract, order=None):
        whole = refund if order is None else attrs.evolve(refund, amount=order.amount)
        return super().refund_payload(whole, contract, order)


@provider(1, "The coin is sent along with a token's order.")
class TestSendsCoin(EvmProvider):
    def payload(self, order):
        made = super().payload(order)
        return None if made is None else attrs.evolve(made, value=order.amount)


@source_of(7, "What is made of the logs of a range is not given out.")
class TestLeavesUnready(Source):
    @contextmanager
    def scan(self, first, last, watch, *, ready=None):
        with self._inner.scan(first, last, watch) as given:
            yield (attrs.evolve(one, logs=ready(one.logs) and one.logs) if ready else one for one in given)


@source_of(7, "The logs of a range are made ready twice.")
class TestReadiesTwice(Source):
    @contextmanager
    def scan(self, first, last, watch, *, ready=None):
        twice = None if ready is None else lambda logs: (ready(logs), ready(logs))[1]
        with self._inner.scan(first, last, watch, ready=twice) as given:
            yield given


@source_of(7, "Logs that cannot be made ready are given out as they are.")
class TestGivesUnready(Source):
    @contextmanager
    def scan(self, first, last, watch, *, ready=None):
        def tried(logs):
            try:
                return ready(logs)
            except Exception:  # noqa: BLE001  - that is what is wrong
                return logs

        with self._inner.scan(first, last, watch, ready=ready and tried) as given:
            yield given


@source_of(7, "All ranges are read and made ready when the scan begins.")
class TestReadiesEarly(Source):
    @contextmanager
    def scan(self, first, last, watch, *, ready=None):
        with self._inner.scan(first, last, watch, ready=ready) as given:
            yield iter(list(given))
