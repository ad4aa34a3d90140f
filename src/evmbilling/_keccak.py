"""Keccak-256, the hash of Ethereum: for addresses, topics, signatures, blooms.

pycryptodome, which eth-hash uses too, computes it in C, in half a microsecond. Its Python around that makes a new state
for each hash and takes ten times as long; so its C functions are called here, and the states are used again.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from eth_hash.auto import keccak as _of_eth_hash

_KNOWN: Final = [(3, minor) for minor in range(20, 25)]
"""Versions of pycryptodome whose C functions are those that are called here."""
_CAPACITY: Final = 64
_ROUNDS: Final = 24
_PADDING: Final = 1  # of Keccak as Ethereum took it up; SHA-3 has another
_LENGTH: Final = 32
_EMPTY: Final = bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")

Hash = Callable[[bytes], bytes]


def keccak_of_pycryptodome() -> Hash | None:
    """Return Keccak-256 by the C functions of pycryptodome; None where it is another version, or is not there."""
    try:
        installed = tuple(map(int, version("pycryptodome").split(".")[:2]))
        spec = find_spec("Crypto.Hash._keccak")
        if installed not in _KNOWN or spec is None or spec.origin is None:
            return None
        # Keeps the interpreter's lock: letting go of it costs more than the hash.
        made = _made_of(ctypes.PyDLL(spec.origin))
    except (PackageNotFoundError, ValueError, ImportError, OSError, AttributeError):
        return None
    return made if made(b"") == _EMPTY else None


def _made_of(library: ctypes.PyDLL) -> Hash:
    init, reset, absorb, digest = (getattr(library, f"keccak_{name}") for name in ("init", "reset", "absorb", "digest"))
    init.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_uint8]
    reset.argtypes = [ctypes.c_void_p]
    absorb.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    digest.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint8]

    def new_state() -> ctypes.c_void_p:
        state = ctypes.c_void_p()
        if init(ctypes.byref(state), _CAPACITY, _ROUNDS):
            raise MemoryError
        return state

    # Whoever hashes takes one away and puts it back: another thread, or a signal in between, takes another one.
    free = [(new_state(), ctypes.create_string_buffer(_LENGTH))]

    def keccak(data: bytes) -> bytes:
        try:
            own = free.pop()
        except IndexError:
            own = (new_state(), ctypes.create_string_buffer(_LENGTH))
        try:
            state, found = own
            reset(state)
            absorb(state, data, len(data))
            digest(state, found, _LENGTH, _PADDING)
            return found.raw
        finally:
            free.append(own)

    return keccak


def _chosen() -> Hash:
    # Who names a library in the environment has chosen.
    found = None if os.environ.get("ETH_HASH_BACKEND") else keccak_of_pycryptodome()
    return found or (lambda data: bytes(_of_eth_hash(data)))


keccak: Final = _chosen()
"""Return the 32 bytes of the Keccak-256 hash of some bytes."""
