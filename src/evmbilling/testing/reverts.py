"""What the data of a reverted call says, in the names of the packaged contracts."""

from __future__ import annotations

from functools import cache

from attrs import frozen
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from evmbilling._keccak import keccak
from evmbilling.contracts import artifact, artifact_names


@frozen
class RevertReason:
    """The error's name and its arguments; ``unknown`` when no packaged contract has such an error."""

    name: str
    arguments: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


def read_revert(data: object) -> RevertReason:
    """Read the bytes (``0x…``) that a node gives for a reverted call."""
    text = data if isinstance(data, str) else "0x"
    raw = bytes.fromhex(text.removeprefix("0x"))
    name, types = _known().get(raw[:4], ("unknown", ()))
    try:
        return RevertReason(name, tuple(_shown(value) for value in decode(types, raw[4:])))
    except DecodingError:
        return RevertReason(name)


def _shown(value: object) -> object:
    return "0x" + value.hex() if isinstance(value, bytes) else value


@cache
def _known() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    errors = {("Error", ("string",)), ("Panic", ("uint256",))}
    for name in artifact_names():
        for entry in artifact(name).abi:
            if entry["type"] == "error":
                errors.add((entry["name"], tuple(part["type"] for part in entry["inputs"])))
    return {keccak(f"{name}({','.join(types)})".encode())[:4]: (name, types) for name, types in errors}
