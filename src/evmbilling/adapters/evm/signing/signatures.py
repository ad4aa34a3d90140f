"""Who signed a digest."""

from __future__ import annotations

from typing import Final

from eth_keys.exceptions import BadSignature
from eth_keys.main import KeyAPI
from eth_utils.exceptions import ValidationError

_BYTES: Final = 65
_DIGEST_BYTES: Final = 32
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_FIRST_V: Final = 27


def recover_signer(digest: bytes, signature: bytes) -> str | None:
    """Return the EIP-55 address that signed a 32-byte digest, or None for anything that is no good signature.

    Good is what the contracts take: 65 bytes ``r ‖ s ‖ v``, v 27 or 28, s in the lower half (EIP-2). The 64-byte form
    of EIP-2098, a high s and a recovery to the zero address are no signatures.
    """
    if len(digest) != _DIGEST_BYTES or len(signature) != _BYTES or signature[64] - _FIRST_V not in (0, 1):
        return None
    if not 0 < int.from_bytes(signature[32:64], "big") <= _HALF_ORDER:
        return None
    keys = KeyAPI()
    try:
        parsed = keys.Signature(signature[:64] + bytes((signature[64] - _FIRST_V,)))
        return str(parsed.recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError, ValueError):
        return None
