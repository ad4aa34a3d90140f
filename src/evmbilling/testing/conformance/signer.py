"""The kit for signers."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from evmbilling.domain.addresses import checksum
from evmbilling.errors import ProviderError
from evmbilling.ports.signer import Signer
from evmbilling.testing.conformance.base import Kit, needs, not_given, of_clause
from evmbilling.testing.conformance.crowds import hurried

_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_MOST = 2**256 - 1
_DOMAIN = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
_ORDER = (
    ("reference", "bytes32"),
    ("payer", "address"),
    ("amount", "uint256"),
    ("memo", "bytes"),
    ("lines", "Line[]"),
)
_LINE = (("text", "string"), ("amount", "int256"))


def typed_data(*, chain_id: int = 31337, contract: int = 0xC0, **message: Any) -> dict[str, Any]:
    """Return typed data with every kind of field that orders and mandates have."""
    full = {
        "reference": (1).to_bytes(32),
        "payer": checksum((7).to_bytes(20)),
        "amount": 19_990_000,
        "memo": b"\x00\xff",
        "lines": [{"text": "Pro, größer", "amount": -5}, {"text": "", "amount": 2**255 - 1}],
    }
    types = {"EIP712Domain": _DOMAIN, "Order": _ORDER, "Line": _LINE}
    return {
        "types": {name: [{"name": field, "type": kind} for field, kind in of] for name, of in types.items()},
        "primaryType": "Order",
        "domain": {
            "name": "evmbilling",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": checksum(contract.to_bytes(20)),
        },
        "message": full | message,
    }


_EDGES: Mapping[str, Mapping[str, Any]] = {
    "zero": {"amount": 0, "reference": bytes(32), "payer": checksum(bytes(20))},
    "most": {"amount": _MOST, "reference": b"\xff" * 32},
    "long": {"memo": bytes(range(256)) * 8},
    "empty": {"memo": b"", "lines": []},
    "many": {"lines": [{"text": str(n), "amount": -(2**255)} for n in range(50)]},
}
_OTHERS: Mapping[str, Mapping[str, Any]] = {
    "chain": {"chain_id": 1},
    "contract": {"contract": 0xC1},
    "amount": {"amount": 19_990_001},
    "reference": {"reference": (2).to_bytes(32)},
    "payer": {"payer": checksum((8).to_bytes(20))},
    "line": {"lines": [{"text": "Pro, größer", "amount": -5}, {"text": "", "amount": 2**255 - 2}]},
}


def signed_by(data: Mapping[str, Any], signature: bytes) -> str:
    """Return the address that a signature over typed data recovers to."""
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    return str(Account.recover_message(encode_typed_data(full_message=dict(data)), signature=signature))


class SignerConformance(Kit):
    """Standard tests of :class:`evmbilling.ports.signer.Signer`.

    Give ``signer``, and ``secrets`` where the key is in this process.
    """

    port = Signer
    known: ClassVar[Mapping[str, str]] = {
        "known_key": "the key is known to the test (fixture `private_key`), so RFC 6979 can be compared",
        "breakable": "a test can make the key unusable and usable again (fixture `lost_key`)",
        "in_process": "the key is in the memory of this process, so nothing may copy it",
    }

    @pytest.fixture
    def signer(self) -> Signer:
        """The signer under test."""
        not_given("the fixture signer")

    @pytest.fixture
    def secrets(self) -> Collection[str]:
        """Texts that must never be seen: the key, a token of the key service, a password."""
        return ()

    @pytest.fixture
    def private_key(self) -> str:
        """The key, ``0x`` and 64 hex digits."""
        not_given("the fixture private_key")

    @pytest.fixture
    def lost_key(self) -> Any:
        """A context manager within which the key cannot be used: the service is down, the card is out."""
        not_given("the fixture lost_key: a context manager")

    @of_clause(1)
    def test_a_signature_recovers_to_the_address(self, signer: Signer) -> None:
        data = typed_data()
        assert signer.address == checksum(bytes.fromhex(signer.address[2:])), "not an EIP-55 address"
        assert signed_by(data, signer.sign_typed_data(data)) == signer.address

    @of_clause(1)
    @pytest.mark.parametrize("other", _OTHERS.values(), ids=_OTHERS.keys())
    def test_other_data_has_another_signature(self, signer: Signer, other: Any) -> None:
        signature = signer.sign_typed_data(typed_data())
        assert signer.sign_typed_data(typed_data(**other)) != signature
        assert signed_by(typed_data(**other), signer.sign_typed_data(typed_data(**other))) == signer.address

    @of_clause(1)
    @pytest.mark.parametrize("members", [("name", "chainId", "salt"), ("verifyingContract", "salt"), ("name",)])
    def test_every_member_of_a_domain_is_signed_and_no_other(self, signer: Signer, members: Collection[str]) -> None:
        """EIP-712 has five members, of which a domain may have any: some tokens have a salt in place of a chain id."""
        found = []
        for salt in (b"\1" * 32, b"\2" * 32):
            data = typed_data()
            kinds = [*data["types"]["EIP712Domain"], {"name": "salt", "type": "bytes32"}]
            data["types"]["EIP712Domain"] = [kind for kind in kinds if kind["name"] in members]
            said = data["domain"] | {"salt": salt}
            data["domain"] = {name: value for name, value in said.items() if name in members}
            found.append(signer.sign_typed_data(data))
            assert signed_by(data, found[-1]) == signer.address
        assert (found[0] != found[1]) == ("salt" in members)

    @of_clause(2)
    def test_a_signature_is_65_bytes_with_low_s(self, signer: Signer) -> None:
        found = [signer.sign_typed_data(typed_data(amount=amount)) for amount in range(24)]
        assert {(type(one), len(one)) for one in found} == {(bytes, 65)}
        assert {one[64] for one in found} == {27, 28}
        assert all(0 < int.from_bytes(one[32:64]) <= _CURVE_ORDER // 2 for one in found), "s is not low"

    @of_clause(2)
    def test_numbers_with_leading_zeros_keep_their_places(self, signer: Signer) -> None:
        """DER writes no leading zeros: whoever converts it has one signature in eighty-five that is nobody's."""
        for amount in range(self.examples(400)):
            data = typed_data(amount=amount)
            assert signed_by(data, signer.sign_typed_data(data)) == signer.address, f"amount {amount}"

    @of_clause(3)
    def test_the_same_data_has_the_same_signature(self, signer: Signer) -> None:
        assert isinstance(signer.remote, bool)
        found = {signer.sign_typed_data(typed_data()) for _ in range(3)}
        assert signer.remote or len(found) == 1

    @needs("known_key")
    @of_clause(3)
    def test_signatures_are_those_of_rfc_6979(self, signer: Signer, private_key: str) -> None:
        from eth_account import Account

        for amount in (0, 1, _MOST):
            data = typed_data(amount=amount)
            wanted = Account.from_key(private_key).sign_typed_data(full_message=data).signature
            assert signer.sign_typed_data(data) == bytes(wanted)

    @of_clause(4)
    @pytest.mark.parametrize("edge", _EDGES.values(), ids=_EDGES.keys())
    def test_values_at_their_edge_are_signed_exactly(self, signer: Signer, edge: Any) -> None:
        data = typed_data(**edge)
        assert signed_by(data, signer.sign_typed_data(data)) == signer.address

    @of_clause(5)
    def test_typed_data_is_not_changed(self, signer: Signer) -> None:
        data = typed_data()
        before = copy.deepcopy(data)
        signer.sign_typed_data(data)
        assert data == before

    @needs("breakable")
    @of_clause(6)
    def test_a_key_that_cannot_be_used_is_a_provider_error(
        self, signer: Signer, lost_key: Any, secrets: Collection[str]
    ) -> None:
        signer.sign_typed_data(typed_data())
        for _ in range(2):
            with lost_key(), pytest.raises(ProviderError) as caught:
                signer.sign_typed_data(typed_data())
            told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
            assert not [secret for secret in secrets if secret in told], "the error holds a secret"
            assert signed_by(typed_data(), signer.sign_typed_data(typed_data())) == signer.address

    @of_clause(7)
    def test_no_secret_is_seen(self, signer: Signer, secrets: Collection[str]) -> None:
        signer.sign_typed_data(typed_data())
        seen = [repr(signer), str(signer), f"{signer}", repr([signer]), repr(vars(type(signer)))]
        with pytest.raises(Exception) as caught:  # noqa: PT011  - whatever it is, it holds no secret
            signer.sign_typed_data({"nonsense": "yes"})
        seen.append("".join(traceback.format_exception(caught.value)))
        assert not [secret for secret in secrets if any(secret in text for text in seen)]

    @needs("in_process")
    @of_clause(7)
    def test_the_key_is_not_copied(self, signer: Signer) -> None:
        for leak in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                leak(signer)

    @of_clause(8)
    def test_many_threads_sign_at_once(self, signer: Signer) -> None:
        wanted = [typed_data(amount=amount) for amount in range(40)]
        with hurried(signer), ThreadPoolExecutor(8) as pool:
            found = list(pool.map(signer.sign_typed_data, wanted))
        assert {signed_by(*pair) for pair in zip(wanted, found, strict=True)} == {signer.address}
