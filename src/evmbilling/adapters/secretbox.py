"""Secrets: references resolved, values sealed with AES-256-GCM under ``BILLING_SECRET_KEY``.

Sealed form: ``enc:v1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`` with a random 12-byte nonce and a 16-byte tag
(NIST SP 800-38D). Version and key id are authenticated with it, and the key id lets a message say that another key
was used. Errors name where a secret was looked for, never what was there, and lead to no other exception.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from Crypto.Cipher import AES
from Crypto.Cipher._mode_gcm import GcmMode
from pydantic import SecretStr

from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import ConfigurationError

KEY_VARIABLE = "BILLING_SECRET_KEY"
KEY_HINT = 'make one with: python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
_VERSION = "v1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_MOST_BYTES = 64 * 1024


class SecretBox:
    """Implements :class:`evmbilling.ports.secrets.Secrets`.

    Args:
        key: base64 of 32 bytes; without it nothing can be sealed or unsealed. Several, the newest first and
            separated by white space, while a key is exchanged: the newest seals, all of them unseal.
        lookup: reads an environment variable.
        random_bytes: where nonces come from.

    Raises:
        ConfigurationError: a key is not base64 of 32 bytes.

    """

    __slots__ = ("_fingerprint_key", "_keys", "_lookup", "_newest", "_random_bytes")

    def __init__(
        self,
        key: SecretStr | None = None,
        *,
        lookup: Callable[[str], str | None] | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._keys: dict[str, bytes] = {}  # by id; a half-made box can be shown too, by what reports the error
        self._newest = ""
        if key is not None:
            self._keys = {_derive(one, "key id")[:4].hex(): one for one in _read_keys(key)}
            self._newest = next(iter(self._keys))
        self._fingerprint_key = (
            _derive(self._keys[self._newest], "fingerprint") if self._keys else b"evmbilling reference"
        )
        self._lookup = lookup or _from_environment
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"<SecretBox {'with key ' + ', '.join(self._keys) if self._keys else 'without a key'}>"

    def __reduce__(self) -> str:
        raise TypeError("a secret box is not pickled or copied: its key stays where it is")

    def reveal(self, ref: SecretRef) -> str:
        """Return the secret.

        Raises:
            ConfigurationError: it is not where the reference points, or the ciphertext was made with none of our keys.

        """
        if ref.kind == "env":
            return self._from_variable(ref.locator)
        if ref.kind == "file":
            return read_secret_file(Path(ref.locator), field=str(ref))
        if ref.kind == "enc":
            return self._unseal(ref.locator)
        raise ConfigurationError(
            "a plugin: reference names a registered signer, which keeps its own secret; it has no value to read here",
            field=str(ref),
        )

    def seal(self, value: str) -> SecretRef:
        """Encrypt a value under the newest key; the same value gives another ciphertext every time.

        Raises:
            ConfigurationError: there is no such key.

        """
        if not self._keys:
            del value  # a traceback that shows local variables must not show it
            raise ConfigurationError(f"is not set, but a secret is to be stored; {KEY_HINT}", field=KEY_VARIABLE)
        nonce = self._random_bytes(_NONCE_BYTES)
        ciphertext, tag = _cipher(self._keys[self._newest], self._newest, nonce).encrypt_and_digest(value.encode())
        body = base64.urlsafe_b64encode(nonce + ciphertext + tag).decode()
        return SecretRef("enc", f"{_VERSION}.{self._newest}.{body}")

    def former(self, ref: SecretRef) -> bool:
        """Whether this is ciphertext of a former key: sealed again under the newest, that one can be taken away."""
        return ref.kind == "enc" and ref.locator.split(".")[1:2] != [self._newest]

    def fingerprint(self, ref: SecretRef) -> str:
        """Return 12 hex digits that tell two secrets apart and reveal neither.

        ``value:…`` is keyed and over the secret itself; ``ref:…`` is over the reference, when there is no key or the
        secret is not here to be read.
        """
        kind, content = "ref", ref.stored
        if self._keys:
            try:
                kind, content = "value", self.reveal(ref)
            except ConfigurationError:
                kind = "ref"
        digest = hmac.digest(self._fingerprint_key, f"{kind}:{content}".encode(), hashlib.sha256)
        return f"{kind}:{digest.hex()[:12]}"

    def _from_variable(self, name: str) -> str:
        value = self._lookup(name)
        if not value:
            raise ConfigurationError(f"the environment variable {name} is not set", field=f"env:{name}")
        return value

    def _unseal(self, sealed: str) -> str:
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        if not self._keys:
            raise ConfigurationError("is not set, but is needed to read a sealed secret", field=KEY_VARIABLE)
        if version != _VERSION:
            raise ConfigurationError("a sealed secret has an unknown version", field="enc")
        if key_id not in self._keys:
            raise ConfigurationError("a sealed secret was made with another key", field=KEY_VARIABLE)
        value = _decrypt(self._keys[key_id], key_id, body)
        if value is None:
            raise ConfigurationError("a sealed secret is damaged, or was not made with this key", field=KEY_VARIABLE)
        return value


def read_secret_file(path: Path, *, field: str) -> str:
    """Return a file's text without a byte-order mark before it and one newline at its end.

    Raises:
        ConfigurationError: absent, unreadable, a folder, empty, larger than 64 KiB, or not UTF-8.

    """
    text, problem = _read_text(path)
    if text:
        return text
    raise ConfigurationError(f"the file {str(path)!r} {problem}", field=field)


def _read_text(path: Path) -> tuple[str, str]:
    """Return (text, problem): errors are raised elsewhere, by a frame that never held the content."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)  # no size is asked for: a device has none, and no end either
        if len(content) > _MOST_BYTES:
            return "", "is larger than a secret can be"
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "", "is not UTF-8 text"
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
    except ValueError:  # a NUL in the path
        return "", "cannot be read (no such path)"
    return (text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text), "is empty"


def decode_key(text: str) -> bytes | None:
    """Return the 32 bytes of a secret key, or None when it is not base64 of that many."""
    try:
        key = base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _read_keys(keys: SecretStr) -> list[bytes]:
    read = [decode_key(word) for word in keys.get_secret_value().split()]
    found = [key for key in read if key is not None]
    if not read or len(found) < len(read):
        del read, found  # a traceback that shows local variables must not show them
        raise ConfigurationError(f"is not base64 of {_KEY_BYTES} bytes; {KEY_HINT}", field=KEY_VARIABLE)
    return found


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, f"evmbilling {purpose}".encode(), hashlib.sha256)


def _cipher(cipher_key: bytes, key_id: str, nonce: bytes) -> GcmMode:
    cipher: GcmMode = AES.new(cipher_key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
    cipher.update(f"evmbilling secret {_VERSION} {key_id}".encode())
    return cipher


def _decrypt(cipher_key: bytes, key_id: str, body: str) -> str | None:
    try:
        sealed = base64.b64decode(body, altchars=b"-_", validate=True)
        nonce, ciphertext, tag = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        return _cipher(cipher_key, key_id, nonce).decrypt_and_verify(ciphertext, tag).decode()
    except ValueError:  # bad base64, a short body, a wrong tag
        return None


def _from_environment(name: str) -> str | None:
    return os.environ.get(name)
