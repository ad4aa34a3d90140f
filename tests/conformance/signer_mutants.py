"""Signers that are subtly wrong, one way each: the kit has to refuse every one of them."""

from __future__ import annotations

import copy
import secrets
import threading
from contextlib import contextmanager

import pytest
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from eth_keys.backends.native.ecdsa import fast_multiply

from evmbilling.adapters.signers import LocalSigner
from evmbilling.errors import ProviderError
from evmbilling.testing.conformance import SignerConformance

KEY = "0x" + "5e" * 32
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GENERATOR = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


class Reference:
    """A signer that can lose its key, as a signer over a network can."""

    remote = False

    def __init__(self):
        self.inner, self.lost = LocalSigner(KEY), False

    def __repr__(self):
        return "<Reference>"

    def __reduce__(self):
        raise TypeError("a signer is not pickled")

    @property
    def address(self):
        return self.inner.address

    def sign_typed_data(self, typed_data):
        if self.lost:
            raise ProviderError("the key is not there")
        return self.inner.sign_typed_data(typed_data)


class OverReference(SignerConformance):
    """A mutant of the reference."""

    capabilities = frozenset({"breakable", "in_process", "known_key"})
    kind = Reference

    @pytest.fixture
    def signer(self):
        return type(self).kind()

    @pytest.fixture
    def private_key(self):
        return KEY

    @pytest.fixture
    def secrets(self):
        return (KEY[2:],)

    @pytest.fixture
    def lost_key(self, signer):
        @contextmanager
        def lost():
            signer.lost = True
            yield
            signer.lost = False

        return lost


class TestControl(OverReference):
    """Nothing is wrong."""

    of = 0


def changing(change):
    """Return a signer that signs changed data."""

    class Changing(Reference):
        def sign_typed_data(self, typed_data):
            changed = copy.deepcopy(typed_data)
            if "domain" in changed:
                change(changed)
            return super().sign_typed_data(changed)

    return Changing


class TestDroppedChainId(OverReference):
    """The chain id is always that of the main network."""

    of = 1
    kind = changing(lambda data: data["domain"].update(chainId=1))


class TestSmallAddress(OverReference):
    """The address is told in small letters."""

    of = 1

    class kind(Reference):  # noqa: N801  - an attribute of the kit
        @property
        def address(self):
            return super().address.lower()


class TestRecoveryId(OverReference):
    """v is the recovery id, 0 or 1."""

    of = 2

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            signature = super().sign_typed_data(typed_data)
            return signature[:64] + bytes([signature[64] - 27])


class TestHighS(OverReference):
    """s is the high one of the two."""

    of = 2

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            signature = super().sign_typed_data(typed_data)
            s = (ORDER - int.from_bytes(signature[32:64])).to_bytes(32)
            return signature[:32] + s + bytes([55 - signature[64]])


class TestRandomNonce(OverReference):
    """The nonce of a signature is drawn by chance."""

    of = 3

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            super().sign_typed_data(typed_data)
            message = encode_typed_data(full_message=typed_data)
            digest = keccak(b"\x19" + message.version + message.header + message.body)
            nonce = secrets.randbelow(ORDER - 1) + 1
            x, y = fast_multiply(GENERATOR, nonce)
            s = pow(nonce, -1, ORDER) * (int.from_bytes(digest) + x * int(KEY, 16)) % ORDER
            odd = y % 2 if s <= ORDER // 2 else 1 - y % 2
            return x.to_bytes(32) + min(s, ORDER - s).to_bytes(32) + bytes([27 + odd])


class TestShortAmounts(OverReference):
    """Amounts are signed as 64 bits."""

    of = 4
    kind = changing(lambda data: data["message"].update(amount=data["message"]["amount"] % 2**64))


class TestEatsTheData(OverReference):
    """The types of the data lose their domain."""

    of = 5

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            signature = super().sign_typed_data(typed_data)
            typed_data["types"].pop("EIP712Domain")
            return signature


class TestEmptySignature(OverReference):
    """A key that is not there signs with zeros."""

    of = 6

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            try:
                return super().sign_typed_data(typed_data)
            except ProviderError:
                return bytes(65)


class TestForeignError(OverReference):
    """A key that is not there is an error of the library beneath."""

    of = 6

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            try:
                return super().sign_typed_data(typed_data)
            except ProviderError as error:
                raise ConnectionError("the agent is gone") from error


class TestStaysLost(OverReference):
    """After one failure every call fails."""

    of = 6

    class kind(Reference):  # noqa: N801
        broken = False

        def sign_typed_data(self, typed_data):
            self.broken = self.broken or self.lost
            if self.broken:
                raise ProviderError("broken")
            return super().sign_typed_data(typed_data)


class TestShowsItsKey(OverReference):
    """The representation has the key."""

    of = 7

    class kind(Reference):  # noqa: N801
        def __repr__(self):
            return f"<Reference {KEY}>"


class TestCopied(OverReference):
    """The key can be copied and pickled."""

    of = 7

    class kind(Reference):  # noqa: N801
        def __init__(self):
            super().__init__()
            self.__dict__["inner"] = Copyable()

        def __reduce__(self):
            return type(self), ()


class Copyable(LocalSigner):
    def __init__(self):
        super().__init__(KEY)


class TestSharedState(OverReference):
    """The data waits in an attribute until it is signed."""

    of = 8

    class kind(Reference):  # noqa: N801
        def sign_typed_data(self, typed_data):
            self.waiting = typed_data
            threading.Event().wait(0.002)
            return super().sign_typed_data(self.waiting)
