"""Which code a binding trusts: of the contract, of what stands behind a proxy, and of the tokens.

Proxies keep the address that they lead to in slots of agreed names: ERC-1967, ERC-1822, and what was usual before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import selector
from evmbilling.adapters.evm.paying.instructions import is_revert, read_answer, view
from evmbilling.adapters.evm.rpc.pinned import ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.addresses import ZERO_ADDRESS, checksum

Pins = tuple[tuple[str, str], ...]


def _slot(name: str) -> str:
    """Return where ERC-1967 keeps an address: keccak of its name, less one."""
    return "0x" + (int.from_bytes(keccak(name.encode()), "big") - 1).to_bytes(32, "big").hex()


IMPLEMENTATION_SLOT: Final = _slot("eip1967.proxy.implementation")
BEACON_SLOT: Final = _slot("eip1967.proxy.beacon")
PROXIABLE_SLOT: Final = "0x" + keccak(b"PROXIABLE").hex()
"""Of ERC-1822."""
ZEPPELIN_SLOT: Final = "0x" + keccak(b"org.zeppelinos.proxy.implementation").hex()
"""Of proxies from before ERC-1967; large tokens still are such ones."""
_SLOTS: Final = (IMPLEMENTATION_SLOT, PROXIABLE_SLOT, ZEPPELIN_SLOT, BEACON_SLOT)
_IMPLEMENTATION: Final = selector("implementation()")
_WORD: Final = 32
_MOST_STEPS: Final = 4
"""A proxy before a proxy before a beacon; nobody has more."""
_DELEGATED: Final = bytes.fromhex("ef0100")
"""How the code of a wallet begins that lets a contract's code run for it (EIP-7702): its key can change that at any
time, and can do without it, so a wallet it is."""


def read_pins(rpc: JsonRpc, addresses: Sequence[str]) -> Pins:
    """Return the code hash at these addresses and at whatever stands behind them; empty text where there is no code.

    Raises:
        ProviderError: no node answered, or not understandably.

    """
    found: dict[str, str] = {}
    beacons: set[str] = set()
    ahead = set(addresses)
    for _ in range(_MOST_STEPS):
        fresh = sorted(ahead - found.keys())
        if not fresh:
            break
        ahead = set()
        for address, code, implementation, beacon, told in _look(rpc, fresh):
            found[address] = "0x" + keccak(code).hex() if code and not code.startswith(_DELEGATED) else ""
            beacons |= beacon
            ahead |= implementation | beacon | (told if address in beacons else set())
    return tuple(sorted(found.items()))


def pin_differences(rpc: JsonRpc, pins: Pins) -> Sequence[str]:
    """Compare pinned code with the chain's; return differences in words, each with the hash of what is there.

    Raises:
        ProviderError: no node answered, or not understandably.

    """
    return tuple(_differences(dict(pins), dict(read_pins(rpc, [address for address, _ in pins])))) if pins else ()


def _differences(pinned: dict[str, str], found: dict[str, str]) -> Iterator[str]:
    for address, mark in sorted(found.items()):
        if not mark:
            yield f"there is no contract at {address}"
        elif address not in pinned:
            yield f"code at {address} ({mark[:18]}) is behind a proxy that led elsewhere when it was bound"
        elif pinned[address] != mark:
            yield f"the code at {address} ({mark[:18]}) is not the one that was bound ({pinned[address][:18]})"


def _look(rpc: JsonRpc, addresses: Sequence[str]) -> Iterator[tuple[str, bytes, set[str], set[str], set[str]]]:
    """Give each address with its code, and the addresses it leads to: as a proxy, by its beacon, as a beacon."""
    calls = [
        call
        for address in addresses
        for call in (
            Call("eth_getCode", (address, "latest")),
            *(Call("eth_getStorageAt", (address, slot, "latest")) for slot in _SLOTS),
            view(address, _IMPLEMENTATION),
        )
    ]
    answers = iter(ask_now(rpc, calls))
    for address in addresses:
        code = read_answer(next(answers))
        *implementations, beacon = [_address(read_answer(next(answers))) for _ in _SLOTS]
        told = next(answers)
        said = b"" if is_revert(told) else read_answer(told)
        yield address, code, set().union(*implementations), beacon, _address(said)


def _address(word: bytes) -> set[str]:
    """Return the one address that a word holds; nothing where it holds none."""
    found = checksum(word[12:]) if len(word) == _WORD and not word[:12].strip(b"\0") else ZERO_ADDRESS
    return set() if found == ZERO_ADDRESS else {found}
