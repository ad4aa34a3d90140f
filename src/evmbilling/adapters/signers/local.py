"""An order-signing key in this process."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from eth_utils.exceptions import ValidationError

from evmbilling._imports import recursion_limit_kept
from evmbilling._keccak import keccak
from evmbilling.adapters.signers.backend import key_api, name_slow_backend, signing_backend
from evmbilling.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eth_keys.datatypes import PrivateKey

_KEY = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_DIGEST_BYTES = 32


class LocalSigner:
    """Signs with a key that it holds in memory (port :class:`evmbilling.ports.signer.Signer`).

    Signatures are deterministic (RFC 6979) with low s. The key is in no repr, no error and no pickle.

    Args:
        private_key: ``0x`` and 64 hex digits.

    Raises:
        ConfigurationError: anything else, or a number that is no secp256k1 key; the value is not repeated.

    """

    def __init__(self, private_key: str) -> None:
        self._key = _read_key(private_key)
        self._address = str(self._key.public_key.to_checksum_address())
        self._sign = _recoverable(self._key)
        name_slow_backend()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address}>"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled: its key stays in this process")

    @property
    def address(self) -> str:
        """The EIP-55 address that signatures recover to."""
        return self._address

    @property
    def remote(self) -> bool:
        """Whether signing needs the network: it does not."""
        return False

    def sign_typed_data(self, typed_data: dict[str, Any]) -> bytes:
        """Sign full EIP-712 typed data; return 65 bytes ``r ‖ s ‖ v`` with v 27 or 28 and low s."""
        # eth_account takes half a second to import, and the digest of an order is mostly known already.
        with recursion_limit_kept():
            from eth_account.messages import encode_typed_data

        message = encode_typed_data(full_message=typed_data)
        return self.sign_digest(keccak(b"\x19" + message.version + message.header + message.body))

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a 32-byte EIP-712 digest that our own code computed; the same bytes as ``sign_typed_data``."""
        if len(digest) != _DIGEST_BYTES:
            raise ValueError("a digest is 32 bytes")
        signature = self._sign(digest)
        return signature[:64] + bytes((signature[64] + 27,))


def _recoverable(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return what signs a digest as ``r ‖ s ‖ recovery id``.

    eth-keys derives the public key again for every signature, which costs twice as much as the signature itself.
    """
    if signing_backend() == "coincurve":
        import coincurve

        return partial(coincurve.PrivateKey(key.to_bytes()).sign_recoverable, hasher=None)
    return lambda digest: bytes(key.sign_msg_hash(digest).to_bytes())


def _read_key(private_key: object) -> PrivateKey:
    if isinstance(private_key, str) and _KEY.fullmatch(private_key):
        key = None
        try:
            key = key_api().PrivateKey(bytes.fromhex(private_key[2:]))
            key.public_key.to_bytes()  # zero and numbers above the curve's order fail here
        except (ValueError, ValidationError):
            key = None
        if key is not None:
            return key
    raise ConfigurationError("a signing key is 0x and 64 hex digits of a secp256k1 private key", field="signer")
