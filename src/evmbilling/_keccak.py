"""Keccak-256, the hash of Ethereum: for addresses, topics, signatures, blooms."""

from __future__ import annotations

from sha3 import keccak_256


def keccak(data: bytes) -> bytes:
    """Return the 32 bytes of the Keccak-256 hash of some bytes (as in the Yellow Paper; SHA-3 pads otherwise).

    By safe-pysha3, whose states are made in C: the library that eth-hash takes by default makes them in Python, which
    costs ten times the hash itself, and an address that is seen for the first time needs one hash for its checksum.
    """
    digest: bytes = keccak_256(data).digest()
    return digest
