"""Signers that sign nearly what they are given."""

from __future__ import annotations

import json

import pytest
from contract_mutants import refused_by

from evmbilling.adapters.signers import LocalSigner
from evmbilling.testing.conformance import SignerConformance

KEY = "0x" + "5e" * 32


class OverLocal(SignerConformance):
    """A mutant of the signer in this process."""

    capabilities = frozenset({"in_process", "known_key"})
    kind = LocalSigner

    @pytest.fixture
    def signer(self):
        return type(self).kind(KEY)

    @pytest.fixture
    def private_key(self):
        return KEY

    @pytest.fixture
    def secrets(self):
        return (KEY[2:],)


signing = refused_by(OverLocal)


def _doubled(value):
    if isinstance(value, bool) or not isinstance(value, int | dict | list):
        return value
    if isinstance(value, int):
        return int(float(value)) if value < 2**255 else value
    if isinstance(value, list):
        return [_doubled(one) for one in value]
    return {name: _doubled(one) for name, one in value.items()}


@signing(1, "The domain is kept by contract: the chain is dropped.")
class TestKeepsDomain(LocalSigner):
    def sign_typed_data(self, typed_data):
        known = self.__dict__.setdefault("domains", {})
        domain = known.setdefault(typed_data["domain"].get("verifyingContract"), dict(typed_data["domain"]))
        return super().sign_typed_data({**typed_data, "domain": domain})


@signing(2, "``v`` is always 27.")
class TestAlwaysV27(LocalSigner):
    def sign_typed_data(self, typed_data):
        return super().sign_typed_data(typed_data)[:64] + bytes((27,))


@signing(4, "Numbers go through a double on the way to the key.")
class TestDoubles(LocalSigner):
    def sign_typed_data(self, typed_data):
        return super().sign_typed_data(_doubled(typed_data))


@signing(2, "Leading zeros of r and s are lost, as DER has none.")
class TestDropsZeros(LocalSigner):
    def sign_typed_data(self, typed_data):
        made = super().sign_typed_data(typed_data)
        r, s = (int.from_bytes(part, "big") for part in (made[:32], made[32:64]))
        short = [n.to_bytes((n.bit_length() + 7) // 8, "big") for n in (r, s)]
        return b"".join(part.ljust(32, b"\0") for part in short) + made[64:]


@signing(8, "What is being signed is kept on the signer.")
class TestSharesData(LocalSigner):
    def sign_typed_data(self, typed_data):
        self.current = json.loads(json.dumps(typed_data, default=lambda raw: "0x" + raw.hex()))
        self.current["types"] = dict(self.current["types"])
        return super().sign_typed_data(self.current)


@signing(1, "Knows four members of a domain and leaves the others out.")
class TestFourMembers(LocalSigner):
    def sign_typed_data(self, typed_data):
        members = ("name", "version", "chainId", "verifyingContract")
        types = {
            **typed_data["types"],
            "EIP712Domain": [m for m in typed_data["types"].get("EIP712Domain", []) if m["name"] in members],
        }
        domain = {name: value for name, value in typed_data["domain"].items() if name in members}
        return super().sign_typed_data({**typed_data, "types": types, "domain": domain})
