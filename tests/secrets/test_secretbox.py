"""References and sealed values."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from evmbilling.adapters.secretbox import SecretBox, decode_key, read_secret_file
from evmbilling.domain.secrets import SecretRef, parse_secret_ref
from evmbilling.errors import ConfigurationError, InputError
from evmbilling.plugins.conformance import problems
from evmbilling.ports.secrets import Secrets

KEY = SecretStr(base64.b64encode(bytes(range(32))).decode())
OTHER_KEY = SecretStr(base64.b64encode(bytes(range(1, 33))).decode())


def box(key=KEY, **environ):
    return SecretBox(key, lookup=environ.get)


def refusal(call, *args) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        call(*args)
    return caught.value


def everything_shown_of(error: BaseException) -> str:
    """What logs and error reports can print of an error: the chain, every frame's local variables, its attributes."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format()) + str(error) + repr(error) + repr(vars(error)) + repr(error.args)


def test_it_conforms():
    assert problems(SecretBox, Secrets) == ()


@given(value=st.text())
def test_sealed_values_come_back(value):
    sealed = box().seal(value)
    assert sealed.kind == "enc"
    assert box().reveal(sealed) == value
    assert box().reveal(parse_secret_ref(sealed.stored, field="x")) == value


def test_sealing_twice_gives_two_ciphertexts():
    assert box().seal("value").stored != box().seal("value").stored


def test_the_sealed_form_is_aes_256_gcm_as_documented():
    sealed = SecretBox(KEY, random_bytes=lambda n: b"n" * n).seal("value").stored
    version, key_id, body = sealed.removeprefix("enc:").split(".")
    raw = base64.urlsafe_b64decode(body)
    cipher = AES.new(bytes(range(32)), AES.MODE_GCM, nonce=b"n" * 12)
    cipher.update(f"evmbilling secret v1 {key_id}".encode())
    assert version == "v1"
    assert raw[:12] == b"n" * 12
    assert cipher.decrypt_and_verify(raw[12:-16], raw[-16:]) == b"value"


def test_a_nonce_never_repeats():
    nonces = [base64.urlsafe_b64decode(box().seal("value").stored.split(".")[2])[:12] for _ in range(500)]
    assert len(set(nonces)) == 500


def test_another_key_is_told_from_damage():
    sealed = box().seal("value")
    assert "made with another key" in refusal(box(OTHER_KEY).reveal, sealed).message
    assert refusal(box(None).reveal, sealed).field == "BILLING_SECRET_KEY"


@given(position=st.integers(0), replacement=st.sampled_from("ABCxyz019-_=.!"))
def test_any_changed_character_of_a_sealed_value_is_noticed(position, replacement):
    sealed = SecretBox(KEY, random_bytes=lambda n: b"n" * n).seal("value").locator
    position %= len(sealed)
    changed = sealed[:position] + replacement + sealed[position + 1 :]
    if changed != sealed:
        assert isinstance(refusal(box().reveal, SecretRef("enc", changed)), ConfigurationError)


@pytest.mark.parametrize("locator", ["", "v1", "v1.", "v1..", "v2.x.y", "not base64 ü", "v1.0.AAAA"])
def test_what_was_never_sealed_is_refused(locator):
    assert isinstance(refusal(box().reveal, SecretRef("enc", locator)), ConfigurationError)


@pytest.mark.parametrize(
    "text",
    ["", "short", base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"x" * 33).decode(), "=" * 44, "ü" * 44],
)
def test_a_key_that_is_not_base64_of_32_bytes_is_refused(text):
    error = refusal(SecretBox, SecretStr(text))
    assert error.field == "BILLING_SECRET_KEY"
    assert "base64 of 32 bytes" in error.message
    assert "os.urandom(32)" in error.message


@pytest.mark.parametrize("text", [f"{KEY.get_secret_value()} short", f"short {KEY.get_secret_value()}", " "])
def test_every_key_of_several_has_to_be_one(text):
    error = refusal(SecretBox, SecretStr(text))
    assert error.field == "BILLING_SECRET_KEY"
    assert KEY.get_secret_value() not in everything_shown_of(error)


def test_a_key_is_exchanged_with_the_former_beside_it():
    former = box(OTHER_KEY)
    both = box(SecretStr(f"{KEY.get_secret_value()}\n {OTHER_KEY.get_secret_value()}"))
    old, plain = former.seal("value"), SecretRef("env", "SOMETHING")
    assert both.reveal(old) == "value"
    assert (both.former(old), former.former(old), both.former(plain)) == (True, False, False)
    again = both.seal(both.reveal(old))
    assert not both.former(again)
    assert box().reveal(again) == "value"
    refusal(former.reveal, again)
    assert both.fingerprint(old) == both.fingerprint(again) == box().fingerprint(again)


def test_both_base64_alphabets_are_read():
    raw = bytes([255, 254] * 16)
    assert decode_key(base64.b64encode(raw).decode()) == decode_key(base64.urlsafe_b64encode(raw).decode()) == raw


def test_environment_variables_are_read_when_asked():
    environ = {}
    held = SecretBox(lookup=environ.get)
    error = refusal(held.reveal, SecretRef("env", "SIGNING_KEY"))
    assert (error.field, error.message) == ("env:SIGNING_KEY", "the environment variable SIGNING_KEY is not set")
    environ["SIGNING_KEY"] = "value "
    assert held.reveal(SecretRef("env", "SIGNING_KEY")) == "value "


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("EVMBILLING_TEST_SECRET", "value")
    assert SecretBox().reveal(SecretRef("env", "EVMBILLING_TEST_SECRET")) == "value"


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"v", "v"), (b"v\n", "v"), (b"v\r\n", "v"), (b"v\n\n", "v\n"), (b" v ", " v "), ("ü\n".encode(), "ü")],
)
def test_files_lose_one_newline_and_nothing_else(tmp_path, content, value):
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert box().reveal(SecretRef("file", str(path))) == value


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "not UTF-8"), (b"x" * 70_000, "larger")],
)
def test_unusable_files_are_named(tmp_path, content, said):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    error = refusal(box().reveal, SecretRef("file", str(path)))
    assert error.field == f"file:{path}"
    assert said in error.message


@pytest.mark.parametrize("path", ["/", "\0", "/nowhere/" + "x" * 5000])
def test_paths_that_cannot_be_files_are_refused(path):
    assert "cannot be read" in refusal(box().reveal, SecretRef("file", path)).message


def test_plugin_references_have_no_value_here():
    error = refusal(box().reveal, SecretRef("plugin", "kms:main"))
    assert error.field == "plugin:kms:main"
    assert "signer" in error.message


def test_fingerprints_tell_secrets_apart():
    held = box(A="one", B="two", C="one")
    a, b, c = (held.fingerprint(SecretRef("env", name)) for name in "ABC")
    assert a == c != b
    assert held.fingerprint(held.seal("one")) == a
    assert a.startswith("value:")
    assert len(a) == len("value:") + 12


def test_fingerprints_depend_on_the_key():
    ref = SecretRef("env", "A")
    assert box(A="one").fingerprint(ref) != box(OTHER_KEY, A="one").fingerprint(ref)


@pytest.mark.parametrize("ref", [SecretRef("env", "ABSENT"), SecretRef("plugin", "kms:main"), SecretRef("enc", "v1.x")])
def test_what_cannot_be_read_is_told_apart_by_its_reference(ref):
    assert box().fingerprint(ref) == box().fingerprint(ref)
    assert box().fingerprint(ref).startswith("ref:")
    assert box().fingerprint(ref) != box().fingerprint(SecretRef(ref.kind, ref.locator + "2"))


def test_without_a_key_the_value_takes_no_part_in_a_fingerprint():
    ref = SecretRef("env", "A")
    assert box(None, A="one").fingerprint(ref) == box(None, A="two").fingerprint(ref)


def failures(canary, tmp_path):
    """Every way to fail while a secret is at hand."""
    not_text, canary_key = tmp_path / "bytes", SecretStr(canary)
    not_text.write_bytes(canary.encode() + b"\xff")
    sealed = box().seal(canary)
    yield lambda: SecretBox(canary_key)
    yield lambda: box(None).reveal(sealed)
    yield lambda: box(OTHER_KEY).reveal(sealed)
    yield lambda: box().reveal(SecretRef("enc", sealed.locator[:-8]))
    yield lambda: box().reveal(SecretRef("file", str(not_text)))
    yield lambda: SecretBox(KEY, lookup={"OTHER": canary}.get).reveal(SecretRef("env", "ABSENT"))


@pytest.mark.fault("G02")
@pytest.mark.parametrize("index", range(6))
def test_g02_no_failure_shows_a_secret_or_the_key(canary, tmp_path, index):
    act = list(failures(canary, tmp_path))[index]
    try:
        act()
    except ConfigurationError as error:
        # The test's own frame holds the canary; what follows it is ours.
        error.__traceback__ = error.__traceback__.tb_next.tb_next
        shown = everything_shown_of(error)
    assert canary not in shown
    assert repr(bytes(range(32)))[2:40] not in shown
    assert KEY.get_secret_value() not in shown


@pytest.mark.fault("G02")
def test_g02_sealing_without_a_key_does_not_show_the_value(canary):
    try:
        SecretBox().seal(canary)
    except ConfigurationError as error:
        error.__traceback__ = error.__traceback__.tb_next
        shown = everything_shown_of(error)
    assert "os.urandom(32)" in shown
    assert canary not in shown


@pytest.mark.fault("G02")
def test_g02_a_box_and_a_reference_show_neither_key_nor_value(canary, caplog):
    held = box(A=canary)
    sealed = held.seal(canary)
    held.fingerprint(SecretRef("env", "A"))
    logging.getLogger("x").warning("%s %r %s", held, sealed, sealed)
    shown = [repr(held), str(held), f"{held}", repr(sealed), str(sealed), sealed.stored, caplog.text]
    for text in shown:
        assert canary not in text
        assert KEY.get_secret_value() not in text
    assert sealed.locator not in repr(sealed) + str(sealed)


@pytest.mark.fault("G02")
@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars])
def test_g02_a_box_cannot_be_carried_away(take):
    with pytest.raises(TypeError):
        take(box())


@pytest.mark.parametrize("value", ["plain", "", "ENV:X", "env:", "http://node/key", None, 3, b"env:X"])
def test_a_plain_value_is_no_reference(value):
    with pytest.raises(InputError) as caught:
        parse_secret_ref(value, field="rpc")
    assert caught.value.field == "rpc"
    assert not value or str(value) not in caught.value.message.replace("env:NAME", "")


def test_files_are_read_for_settings_too(tmp_path):
    (tmp_path / "key").write_text("abc\n")
    assert read_secret_file(tmp_path / "key", field="BILLING_SECRET_KEY_FILE") == "abc"
