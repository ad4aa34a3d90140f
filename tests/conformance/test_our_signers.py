"""Our own signers pass the kit that authors of signers use."""

from __future__ import annotations

import json

import pytest
from eth_account import Account

from evmbilling.adapters.signers import KeyfileSigner, LocalSigner
from evmbilling.testing.conformance import SignerConformance
from evmbilling.testing.merchant import SIGNER_KEY
from sampling import examples

PASSWORD = "open sesame, please"


class OurSigner(SignerConformance):
    capabilities = frozenset({"in_process", "known_key"})

    def examples(self, number):
        return examples(number)  # a number with a leading zero is in the twenty-fourth already

    @pytest.fixture
    def private_key(self):
        return SIGNER_KEY

    @pytest.fixture
    def secrets(self):
        return (SIGNER_KEY[2:], SIGNER_KEY[2:].upper(), str(int(SIGNER_KEY, 16)), PASSWORD)


class TestLocalSigner(OurSigner):
    @pytest.fixture
    def signer(self):
        return LocalSigner(SIGNER_KEY)


class TestKeyfileSigner(OurSigner):
    @pytest.fixture
    def signer(self, tmp_path):
        path = tmp_path / "key.json"
        path.write_text(json.dumps(Account.encrypt(SIGNER_KEY, PASSWORD, kdf="pbkdf2", iterations=1)))
        return KeyfileSigner(path, PASSWORD)
