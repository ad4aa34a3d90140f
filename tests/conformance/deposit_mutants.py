"""Providers that sell through deposit addresses and are subtly wrong, one way each: the kit has to refuse each."""

from __future__ import annotations

import itertools

import attrs
from wrapped_providers import OverBuiltIn, Wrapped

from evmbilling.errors import RpcUnavailable
from evmbilling.testing.conformance import DepositConformance


class Mutant(OverBuiltIn, DepositConformance):
    """A mutant of the built-in provider."""


class TestControl(Mutant):
    """Nothing is wrong."""

    of = 0


class TestOneAddress(Mutant):
    """All orders of a treasury are paid at one address."""

    of = 1

    class kind(Wrapped):  # noqa: N801  - an attribute of the kit
        def payload(self, order):
            return self.inner.payload(attrs.evolve(order, reference=bytes(32)))


class TestAnyTreasury(Mutant):
    """The link leaves the treasury out of the address."""

    of = 1

    class kind(Wrapped):  # noqa: N801
        def uri(self, order):
            return self.inner.uri(attrs.evolve(order, treasury="0x" + "0" * 39 + "1"))


class TestOneLess(Mutant):
    """A sweep leaves one base unit behind."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        def sweep_payload(self, order, token, amount):
            return self.inner.sweep_payload(order, token, amount - 1)


class TestOwnToken(Mutant):
    """Whatever token is asked for, the order's own is swept."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        def sweep_payload(self, order, token, amount):
            del token
            return self.inner.sweep_payload(order, order.asset.token, amount)


class TestNewPayload(Mutant):
    """The same sweep is another transaction each time."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        count = itertools.count(400_000)

        def sweep_payload(self, order, token, amount):
            return attrs.evolve(self.inner.sweep_payload(order, token, amount), gas=next(self.count))


class TestAnyContract(Mutant):
    """A sweep is read whichever contract says it."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            return self.inner.decode(attrs.evolve(log, address=contract.address), contract)


class TestAnyChain(Mutant):
    """A sweep is read whichever chain it was on."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            return self.inner.decode(attrs.evolve(log, chain_id=contract.chain_id), contract)


class TestAskedAmount(Mutant):
    """A sweep is read as one of what the order's address was last seen to hold."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            found = self.inner.decode(log, contract)
            return found and attrs.evolve(found, amount=found.amount + 3)


class TestSorted(Mutant):
    """Balances come in the order of their addresses."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def deposit_balances(self, network, places):
            return self.inner.deposit_balances(network, sorted(places))


class TestZeroForNothing(Mutant):
    """A token that gives no number is one of which there is none."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def deposit_balances(self, network, places):
            return [held or 0 for held in self.inner.deposit_balances(network, places)]


class TestSwallowedFault(Mutant):
    """Where no node answers, there is nothing anywhere."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def deposit_balances(self, network, places):
            try:
                return self.inner.deposit_balances(network, places)
            except RpcUnavailable:
                return [0] * len(places)


class TestStaleBalance(Mutant):
    """A balance is kept from the first look."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def __init__(self, inner):
            super().__init__(inner)
            self.known = {}

        def deposit_balances(self, network, places):
            fresh = [place for place in places if place not in self.known]
            self.known |= dict(zip(fresh, self.inner.deposit_balances(network, fresh), strict=True))
            return [self.known[place] for place in places]


class TestAnyChainsLink(Mutant):
    """The link leaves the chain out: the wallet pays on the one that it is on."""

    of = 1

    class kind(Wrapped):  # noqa: N801
        def uri(self, order):
            before, at, after = self.inner.uri(order).partition("@")
            return before + after.lstrip("0123456789") if at else before


class TestLongSweep(Mutant):
    """A sweep is read by the first word of its data, whatever follows."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            return self.inner.decode(attrs.evolve(log, data=log.data[:32]), contract)


class TestAnsweredOnce(Mutant):
    """What is asked twice is answered once."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def deposit_balances(self, network, places):
            return self.inner.deposit_balances(network, list(dict.fromkeys(places)))


class TestFirstHundred(Mutant):
    """Of many places the first hundred are answered."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def deposit_balances(self, network, places):
            return self.inner.deposit_balances(network, list(places)[:100])
