"""Providers that answer what is nearly asked: a block further, another ``s``, a cost that nobody paid."""

from __future__ import annotations

import attrs
from provider_mutants import OverFake
from provider_mutants_contract import ReceiptsProvider, on_a_node
from provider_mutants_deep import Mutant, Sends
from wrapped_providers import Wrapped

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.errors import ProviderError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Reads(Wrapped):
    """A provider whose sources are wrapped."""

    def chain(self, network):
        return self.over(self.inner.chain(network))


@on_a_node(1, "A payload is made as a node that was asked before answers.")
class TestAsksForPayloads(ReceiptsProvider):
    asked = None

    def chain(self, network):
        self.asked = super().chain(network)
        return self.asked

    def payload(self, order):
        if self.asked is not None:
            self.asked.header("latest")
        return super().payload(order)


class TestOneHeaderMore(OverFake):
    """Headers are those up to one block more than is asked."""

    of = 2

    class kind(Reads):  # noqa: N801  - an attribute of the kit
        class over(Wrapped):  # noqa: N801
            def headers(self, first, last):
                return self.inner.headers(first, last + 1)


class TestScansBeyond(OverFake):
    """Ranges end where the chain does, whatever was asked."""

    of = 7

    class kind(Reads):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def scan(self, first, last, watch, **how):
                return self.inner.scan(first, max(last, self.inner.header("latest").number), watch, **how)


class TestCoinsOfNow(OverFake):
    """A balance of the coin is that of the head, whichever block is asked."""

    of = 9

    class kind(Reads):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def balance(self, token, holder, block):
                head = self.inner.header("latest").number
                return self.inner.balance(token, holder, max(block, head) if token == NATIVE_COIN else block)


def lowered(signature):
    """Return a signature with the lower of the two ``s`` that are good by the curve."""
    s = int.from_bytes(signature[32:64])
    if len(signature) != 65 or s <= ORDER // 2:
        return signature
    return signature[:32] + (ORDER - s).to_bytes(32) + bytes([55 - signature[64]])


class TestAnyS(OverFake):
    """A signature with the high s is good, too."""

    of = 10

    class kind(Wrapped):  # noqa: N801
        def is_key_signature(self, address, digest, signature):
            return self.inner.is_key_signature(address, digest, lowered(signature))


class TestAnyEnd(OverFake):
    """What follows a key's signature is not looked at."""

    of = 10

    class kind(Wrapped):  # noqa: N801
        def is_key_signature(self, address, digest, signature):
            return self.inner.is_key_signature(address, digest, signature[:65])


class TestProvesAnything(OverFake):
    """Whatever has a signature of its signer was asked for just so."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def is_signed(self, order):
            return order.signer.startswith("0x") and any(order.signature)


class TestOneTermLeftOut(OverFake):
    """Who gets the membership is left out where an order is proved."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def is_signed(self, order):
            known = self.__dict__.setdefault("known", {})
            first = known.setdefault(order.ledger_id, order.beneficiary)
            return self.inner.is_signed(attrs.evolve(order, beneficiary=first))


class TestLongTransfer(OverFake):
    """A transfer is read by the first word of its data, whatever follows."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def decode_transfer(self, log):
            return self.inner.decode_transfer(attrs.evolve(log, data=log.data[:32]))


class TestAllowsNobody(Mutant):
    """What has to be allowed is allowed to the token."""

    of = 11

    class kind(Wrapped):  # noqa: N801
        def pay_instructions(self, order, network):
            told = self.inner.pay_instructions(order, network)
            if told.approval is None:
                return told
            data = told.approval.data[:16] + bytes.fromhex(order.asset.token[2:]) + told.approval.data[36:]
            return attrs.evolve(told, approval=attrs.evolve(told.approval, data=data))


class TestUntrustedSigner(Mutant):
    """Whether the contract takes the gateway's signer is not asked."""

    of = 12

    class kind(Wrapped):  # noqa: N801
        def inspect_contract(self, contract, network, gateway=None):
            return self.inner.inspect_contract(contract, network)


class Mined(Sends):
    """A provider that tells something else of what is mined."""

    def told(self, one):
        return attrs.evolve(one, **self.instead(one))

    def over(self, inner):
        told = self.told

        class Over(Wrapped):
            def mined(self, hashes):
                return {tx_hash: told(one) for tx_hash, one in self.inner.mined(hashes).items()}

        return Over(inner)


class TestFreeGas(Mutant):
    """What was mined has cost a unit of gas more."""

    of = 14

    class kind(Mined):  # noqa: N801
        def instead(self, one):
            return {"gas_paid": one.gas_paid + 1}


class TestOtherTime(Mutant):
    """What was mined was mined a moment later."""

    of = 14

    class kind(Mined):  # noqa: N801
        def instead(self, one):
            return {"block_time": one.block_time.replace(microsecond=1)}


class TestAllFinal(Mutant):
    """The head is safe, and final."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def heights(self):
                found = self.inner.heights()
                return attrs.evolve(found, safe=found.head, finalized=found.head)


class TestSignerRelays(Mutant):
    """The relayer is the signer of orders."""

    of = 14

    class kind(Wrapped):  # noqa: N801
        def relayer_address(self, gateway):
            return self.inner.relayer_address(attrs.evolve(gateway, relayer=gateway.signer))


class TestSignsNoData(Mutant):
    """What a transaction says to whom it is sent is left out where it is signed."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def sign(self, transmission, nonce, fees, *, cancel=False):
                return self.inner.sign(attrs.evolve(transmission, data=b""), nonce, fees, cancel=cancel)


class TestNoPool(Mutant):
    """What waits to be mined is not counted."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def pooled(self, address):
                return self.inner.nonce(address)


class TestNobodyKnowsThePool(Mutant):
    """A pool that nobody can be asked about is a pool that no node tells of."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def pooled(self, address):
                try:
                    return self.inner.pooled(address)
                except ProviderError:
                    return None


class TestBelievedPool(Mutant):
    """A node that holds less than it has mined is believed."""

    of = 14

    class kind(Sends):  # noqa: N801
        class over(Wrapped):  # noqa: N801
            def pooled(self, address):
                found = self.inner.pooled(address)
                return self.inner.nonce(address) if found is None else found
