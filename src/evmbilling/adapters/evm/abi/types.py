"""The types of an ABI as a tree, and the functions and events that an ABI names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from evmbilling.adapters.evm.abi.values import value_of
from evmbilling.errors import ConfigurationError, InputError

_ARRAY: Final = re.compile(r"(.*)\[([0-9]*)\]", re.ASCII | re.DOTALL)
_WORD: Final = re.compile(r"\b(uint|int|byte)(?![0-9A-Za-z_])", re.ASCII)
_FULL: Final = {"uint": "uint256", "int": "int256", "byte": "bytes1"}


@frozen
class AbiType:
    """One type.

    Attributes:
        name: canonical, as signatures have it.
        item: of an array. length: of an array that has a fixed one.
        members: names and types of a tuple's members; None for what is no tuple.

    """

    name: str
    item: AbiType | None = None
    length: int | None = None
    members: tuple[tuple[str, AbiType], ...] | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether it is no array and no tuple."""
        return self.item is None and self.members is None

    @property
    def is_hashed(self) -> bool:
        """Whether a topic holds only its hash: text, bytes, arrays and tuples do not fit in a word."""
        return not self.is_leaf or self.name in ("string", "bytes")


@frozen
class AbiEntry:
    """A function or an event.

    Attributes:
        signature: name and canonical types.
        inputs: names and types of the parameters; an unnamed one is called by its place.
        indexed: which of them are topics.
        payable: whether a function takes the native coin.
        raw: the entry as the ABI has it.

    """

    name: str
    signature: str
    inputs: tuple[tuple[str, AbiType], ...]
    indexed: tuple[bool, ...]
    payable: bool
    raw: Mapping[str, Any]


def abi_type(given: Mapping[str, Any]) -> AbiType:
    """Return the type that an input of an ABI describes.

    Raises:
        ConfigurationError: an unknown or unreasonable type.

    """
    canonical = value_of(given).type  # refuses what nobody can encode
    return _tree(str(given["type"]), given.get("components"), canonical)


def _tree(kind: str, components: Any, canonical: str) -> AbiType:
    array = _ARRAY.fullmatch(kind)
    if array:
        inner = _ARRAY.fullmatch(canonical)
        item = _tree(array[1], components, inner[1] if inner else canonical)
        return AbiType(canonical, item=item, length=int(array[2]) if array[2] else None)
    if kind == "tuple":
        members = tuple((str(part.get("name") or at), abi_type(part)) for at, part in enumerate(components))
        return AbiType(canonical, members=members)
    return AbiType(canonical)


@lru_cache(maxsize=256)
def abi_entries(text: str) -> tuple[AbiEntry, ...]:
    """Return the functions and events of an ABI, from its canonical JSON; anonymous events are left out.

    Raises:
        ConfigurationError: an entry is malformed.

    """
    kinds = ("function", "event")
    return tuple(_entry(item) for item in json.loads(text) if item.get("type") in kinds and not item.get("anonymous"))


def _entry(item: Mapping[str, Any]) -> AbiEntry:
    name, inputs = item.get("name"), item.get("inputs", [])
    if not isinstance(name, str) or not name:
        raise ConfigurationError("an entry of the ABI has no name", field="abi")
    if not isinstance(inputs, Sequence) or not all(isinstance(given, Mapping) for given in inputs):
        raise ConfigurationError(f"{name[:40]}: the inputs are a list", field="abi")
    typed = tuple((str(given.get("name") or at), abi_type(given)) for at, given in enumerate(inputs))
    return AbiEntry(
        name=name,
        signature=f"{name}({','.join(kind.name for _, kind in typed)})",
        inputs=typed,
        indexed=tuple(bool(given.get("indexed")) for given in inputs),
        payable=item.get("stateMutability") == "payable" or item.get("payable") is True,
        raw=item,
    )


def find_entry(abi: str, kind: str, wanted: str, *, path: str) -> AbiEntry:
    """Return the one function or event that a name or a signature means.

    Args:
        abi: canonical JSON. kind: ``function`` or ``event``. wanted: the name or signature. path: named in errors.

    Raises:
        InputError: there is none, or the name alone means several.

    """
    entries = [entry for entry in abi_entries(abi) if entry.raw["type"] == kind]
    if "(" in wanted:
        written = _WORD.sub(lambda found: _FULL[found[1]], "".join(wanted.split()))
        found = [entry for entry in entries if entry.signature == written]
    else:
        found = [entry for entry in entries if entry.name == wanted]
    if not found:
        raise InputError(f"the ABI has no {kind} {wanted[:80]}", field=path)
    if len(found) > 1:
        several = ", ".join(sorted(entry.signature for entry in found))
        raise InputError(f"the ABI has several of this name; write one in full: {several}", field=path)
    return found[0]
