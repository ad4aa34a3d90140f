"""Local keys: what they accept, what they never show."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keys.backends import native
from evm_bench import SIGNER_KEY
from hypothesis import given, settings
from hypothesis import strategies as st

from evmbilling.adapters.signers import KeyfileSigner, LocalSigner, backend, signing_backend
from evmbilling.errors import ConfigurationError
from evmbilling.ports.signer import Signer
from sampling import examples

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNED = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}],
        "Mail": [{"name": "text", "type": "string"}],
    },
    "primaryType": "Mail",
    "domain": {"name": "Test"},
    "message": {"text": "hello"},
}


def test_signer_signs_as_eth_account_does_and_every_time_the_same() -> None:
    signer: Signer = LocalSigner(SIGNER_KEY)
    account = Account.from_key(SIGNER_KEY)
    assert (signer.address, signer.remote) == (account.address, False)
    signature = signer.sign_typed_data(SIGNED)
    assert signature == signer.sign_typed_data(SIGNED)
    assert signature == bytes(account.sign_typed_data(full_message=SIGNED).signature)
    assert signature[64] in (27, 28)
    assert int.from_bytes(signature[32:64], "big") <= CURVE_ORDER // 2


@given(key=st.integers(1, CURVE_ORDER - 1), digest=st.binary(min_size=32, max_size=32))
@settings(max_examples=examples(50))
def test_signatures_over_digests_equal_eth_accounts(key: int, digest: bytes) -> None:
    text = f"0x{key:064x}"
    expected = Account.unsafe_sign_hash(digest, text).signature
    assert LocalSigner(text).sign_digest(digest) == bytes(expected)


@pytest.mark.parametrize("digest", [b"", b"\x01" * 31, b"\x01" * 33])
def test_what_is_no_digest_is_not_signed(digest: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        LocalSigner(SIGNER_KEY).sign_digest(digest)


SECRET = "5ec3e7" * 10 + "abcd"


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        "0x" + SECRET[:-1],
        "0x" + SECRET + "0",
        "0X" + SECRET,
        " 0x" + SECRET,
        "0x" + SECRET + "\n",
        "0x" + SECRET[:-1] + "g",
        "0x" + SECRET[:-1] + "１",  # noqa: RUF001  - a full-width digit on purpose
        "0x" + "0" * 64,
        f"0x{CURVE_ORDER:x}",
        "0x" + "f" * 64,
        "",
        None,
        7,
        b"\x11" * 32,
        "test test test test test test test test test test test junk",
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LocalSigner(key)
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
    assert caught.value.field == "signer"
    assert SECRET[:12] not in text
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_signer_shows_its_address_only() -> None:
    signer = LocalSigner("0x" + SECRET)
    assert repr(signer) == f"<LocalSigner {signer.address}>"
    assert SECRET not in str(signer) + f"{signer}" + repr([signer])
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="stays in this process"):
            leak(signer)


@pytest.fixture
def keyfile(tmp_path: Path) -> Path:
    path = tmp_path / "keyfile.json"
    path.write_text(json.dumps(Account.encrypt("0x" + SECRET, "open sesame", kdf="pbkdf2", iterations=1000)))
    return path


def test_a_keyfile_is_opened_with_its_password(keyfile: Path) -> None:
    signer = KeyfileSigner(keyfile, "open sesame")
    assert signer.address == LocalSigner("0x" + SECRET).address
    assert signer.sign_typed_data(SIGNED) == LocalSigner("0x" + SECRET).sign_typed_data(SIGNED)
    assert repr(signer) == f"<KeyfileSigner {signer.address}>"


def test_a_keyfile_that_does_not_open_tells_neither_content_nor_password(keyfile: Path, tmp_path: Path) -> None:
    damaged = {
        "empty": b"",
        "no json": b"open sesame",
        "a list": b"[]",
        "half": keyfile.read_bytes()[:100],
        "no text": b"\xff\xfe",
        "large": b" " * 70_000,
        "other mac": keyfile.read_bytes().replace(b'"mac": "', b'"mac": "00'),
    }
    attempts = [(keyfile, "open sesam"), (tmp_path / "absent.json", "open sesame"), (tmp_path, "open sesame")]
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        attempts.append((tmp_path / name, "open sesame"))
    for path, password in attempts:
        with pytest.raises(ConfigurationError, match="keyfile") as caught:
            KeyfileSigner(path, password)
        assert "sesam" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__cause__ is None


def test_the_backend_is_named_and_a_slow_one_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert signing_backend() == "coincurve"
    slow = backend.KeyAPI(native.NativeECCBackend())
    monkeypatch.setattr(backend, "key_api", lambda: slow)
    assert signing_backend() == "python"
    backend.name_slow_backend.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "evmbilling.signers"):
            for _ in range(3):
                LocalSigner(SIGNER_KEY)
        assert [record.message for record in caplog.records] == [
            "coincurve is missing: orders are signed about ten times slower; pip install coincurve"
        ]
    finally:
        backend.name_slow_backend.cache_clear()
