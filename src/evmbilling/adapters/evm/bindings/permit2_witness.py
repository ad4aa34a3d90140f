"""Witnesses of Permit2: a struct of the contract's own that a payer signs with a transfer (EIP-712)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from attrs import field, frozen
from eth_abi.abi import encode

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.types import abi_type
from evmbilling.adapters.evm.bindings.call_encoding import fill_of
from evmbilling.adapters.evm.bindings.call_values import Fill, Values
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.signing.typed_data import Fields, type_string
from evmbilling.domain.catalogue.call_templates import REFUND, SIGNED, Placeholder, Witness
from evmbilling.errors import ConfigurationError, InputError

_STRUCT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\(([A-Za-z0-9_ ,]*)\)", re.ASCII)
_MEMBER: Final = re.compile(r"([a-z]+[0-9]*) ([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_TAKEN: Final = frozenset({"EIP712Domain", "PermitWitnessTransferFrom", "TokenPermissions"})
_UNKNOWN: Final = REFUND | SIGNED | {"token_id"}


@frozen
class CompiledWitness:
    """A witness that is ready to be filled in.

    Attributes:
        name: of the struct. fields: its members, as typed data lists them.

    """

    name: str
    fields: Fields
    _fills: tuple[Fill, ...] = field(repr=False)

    def filled(self, values: Values) -> tuple[dict[str, Any], bytes]:
        """Return the struct as a wallet is shown it, and its hash.

        Raises:
            InputError: a value of the order does not fit; names the place.

        """
        made = [fill(values) for fill in self._fills]
        words = (_word(value, kind) for value, (_, kind) in zip(made, self.fields, strict=True))
        shown = {name: _shown(value) for value, (name, _) in zip(made, self.fields, strict=True)}
        return shown, keccak(keccak(type_string(self.name, self.fields)) + b"".join(words))


@lru_cache(maxsize=256)
def compile_witness(witness: Witness, path: str) -> CompiledWitness:
    """Check a witness: its type is a flat struct, and each value fits its member.

    Args:
        witness: the type and the values.
        path: what it is called in errors: ``mint_method.sign.witness``.

    Raises:
        InputError: something does not fit; names the place.

    """
    struct = _STRUCT.fullmatch(witness.type)
    members = [_MEMBER.fullmatch(text) for text in struct[2].split(",")] if struct else []
    if struct is None or not all(members) or struct[1] in _TAKEN:
        raise InputError("a struct is expected as EIP-712 writes it: Order(bytes32 reference)", field=f"{path}.type")
    fields = tuple((member[2], member[1]) for member in members if member is not None)
    if len({name for name, _ in fields}) != len(fields) or len(fields) != len(witness.values):
        raise InputError(f"{len(fields)} values are expected, for members of different names", field=f"{path}.values")
    fills = []
    for at, ((_, kind), value) in enumerate(zip(fields, witness.values, strict=True)):
        place = f"{path}.values[{at}]"
        if isinstance(value, Placeholder) and value.name in _UNKNOWN:
            raise InputError(f"{{{value.name}}} is not known when the payer signs", field=place)
        try:
            typed = abi_type({"name": "", "type": kind})
        except ConfigurationError:
            typed = None
        if typed is None or typed.name != kind:
            raise InputError(f"there is no type {kind}", field=f"{path}.type")
        fills.append(fill_of(value, typed, place))
    return CompiledWitness(name=struct[1], fields=fields, fills=tuple(fills))


def _word(value: Any, kind: str) -> bytes:
    """Return a member's word: what does not fit in one is there as its hash."""
    if kind in ("string", "bytes"):
        return keccak(value.encode() if isinstance(value, str) else value)
    return bytes(encode([kind], [value]))


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return to_hex(value)
    return str(value) if type(value) is int else value
