"""Providers on a node that are subtly wrong: in what they tell people, in what goes back, and in what they send."""

from __future__ import annotations

import attrs
from wrapped_providers import FACES, Binds, Collects, OverBuiltIn, Pulls, Wrapped

from evmbilling.errors import ProviderError, RpcUnavailable
from evmbilling.testing.conformance import MandateConformance, ProviderConformance


class Mutant(OverBuiltIn, ProviderConformance):
    """A mutant of the built-in provider."""

    capabilities = frozenset({"asks", "json_rpc", "sends"})
    faces = FACES


class TestAnyKey(Mutant):
    """Any 65 bytes are a key's own signature."""

    of = 10

    class kind(Wrapped):  # noqa: N801  - an attribute of the kit
        def is_key_signature(self, address, digest, signature):
            del address, digest
            return len(signature) == 65


class TestRaises(Mutant):
    """Instructions without a node are an error."""

    of = 11

    class kind(Wrapped):  # noqa: N801
        def pay_instructions(self, order, network):
            told = self.inner.pay_instructions(order, network)
            if any(problem.code == "rpc_unknown" for problem in told.problems):
                raise RpcUnavailable("no node answered")
            return told


class TestNoProblem(Mutant):
    """Nothing ever stands in the way of paying."""

    of = 11

    class kind(Wrapped):  # noqa: N801
        def pay_instructions(self, order, network):
            told = self.inner.pay_instructions(order, network)
            kept = tuple(problem for problem in told.problems if problem.code == "rpc_unknown")
            return attrs.evolve(told, problems=kept)


class TestPaidAgain(Mutant):
    """What was paid on chain can be paid again."""

    of = 11

    class kind(Wrapped):  # noqa: N801
        def pay_instructions(self, order, network):
            told = self.inner.pay_instructions(order, network)
            return attrs.evolve(told, payload=self.inner.payload(order))


class TestAnyCode(Mutant):
    """Whatever code there is at an address, it is the contract."""

    of = 12

    class kind(Wrapped):  # noqa: N801
        def inspect_contract(self, contract, network, gateway=None):
            found = self.inner.inspect_contract(contract, network, gateway)
            return [text for text in found if "there is no contract" in text]


class TestAnyDecimals(Mutant):
    """The decimals of a token are taken from the price."""

    of = 12

    class kind(Wrapped):  # noqa: N801
        def inspect_plan(self, plan, networks):
            return [text for text in self.inner.inspect_plan(plan, networks) if "decimals" not in text]


class TestOneTooMany(Mutant):
    """A refund gives back one base unit more."""

    of = 13

    class kind(Wrapped):  # noqa: N801
        def refund_payload(self, refund, contract, order=None):
            return self.inner.refund_payload(attrs.evolve(refund, amount=refund.amount + 1), contract, order)


class TestToThePayer(Mutant):
    """A refund without an address goes to the treasury."""

    of = 13

    class kind(Wrapped):  # noqa: N801
        def refund_payload(self, refund, contract, order=None):
            kept = attrs.evolve(refund, address=refund.address or refund.treasury)
            return self.inner.refund_payload(kept, contract, order)


class TestNamelessRefund(Mutant):
    """All refunds through the contract have one name."""

    of = 13

    class kind(Wrapped):  # noqa: N801
        def refund_payload(self, refund, contract, order=None):
            return self.inner.refund_payload(attrs.evolve(refund, on_chain_id=bytes(31) + b"\x01"), contract, order)


class Sends(Wrapped):
    """A provider whose transmitter is wrapped."""

    def transmitter(self, network):
        return self.over(self.inner.transmitter(network))


class TestRelayedForTheFirstChain(Mutant):
    """Our own transactions are signed for the chain that the relayer knew first."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def sign(self, transmission, nonce, fees, *, cancel=False):
                return self.inner.sign(attrs.evolve(transmission, chain_id=31337), nonce, fees, cancel=cancel)


class TestCancelsNothing(Mutant):
    """What cancels a transaction is the transaction itself."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def sign(self, transmission, nonce, fees, *, cancel=False):
                del cancel
                return self.inner.sign(transmission, nonce, fees)


class TestRaisesOnSending(Mutant):
    """A node that refuses a transaction is an error."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def send(self, raw):
                outcome = self.inner.send(raw)
                if outcome != "accepted":
                    raise ProviderError(outcome)
                return outcome


class TestSwallowedSilence(Mutant):
    """A transaction that no node answered for is taken for accepted."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def send(self, raw):
                outcome = self.inner.send(raw)
                return "accepted" if outcome == "no_answer" else outcome


class TestAlwaysSucceeds(Mutant):
    """What is mined has succeeded."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def mined(self, hashes):
                found = self.inner.mined(hashes)
                return {tx_hash: attrs.evolve(one, succeeded=True) for tx_hash, one in found.items()}


class TestMinedForEver(Mutant):
    """What was mined once is mined, whatever the chain does."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def __init__(self, inner):
                super().__init__(inner)
                self.known = {}

            def mined(self, hashes):
                self.known.update(self.inner.mined(hashes))
                return {tx_hash: self.known[tx_hash] for tx_hash in hashes if tx_hash in self.known}


class Unasked(Wrapped):
    """Pulls, and never knows anything of a charge."""

    def charge_state(self, mandate, charge, network, *, operator=None):
        """Return nothing."""


class TestUnheldFace(Mutant):
    """It pulls, sells through any contract and collects deposits, and no kit has looked at how."""

    of = 15
    kind = Unasked
    faces = ()


class TestOneFaceLeftOut(Mutant):
    """It collects deposits, too, which only the kits of its other faces were asked about."""

    of = 15
    faces = (Pulls, Binds)


class TestKitItself(Mutant):
    """It names the kit of mandates for what holds it to that, and no class of its own."""

    of = 15
    faces = (MandateConformance, Binds, Collects)
