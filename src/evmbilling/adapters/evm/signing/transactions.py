"""Transactions of ours as bytes: EIP-1559 (type 2) where there is a base fee, EIP-155 where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import rlp  # type: ignore[import-untyped]  # it ships no types
from attrs import frozen

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.sending.transmissions import Fees
from evmbilling.errors import ProviderError

_TYPE_2: Final = b"\x02"
_SIGNATURE_BYTES: Final = 65
_V_EVEN: Final = 27


@frozen(kw_only=True)
class Unsigned:
    """What is signed: the fields of a transaction that creates no contract and has no access list."""

    chain_id: int
    nonce: int
    to: str
    value: int
    data: bytes
    gas: int
    fees: Fees


def sign_transaction(unsigned: Unsigned, sign_digest: Callable[[bytes], bytes]) -> tuple[bytes, bytes]:
    """Return a transaction as it is sent, and its hash.

    Args:
        sign_digest: signs 32 bytes; 65 bytes ``r ‖ s ‖ v`` with v 27 or 28 come back.

    Raises:
        ProviderError: the signer answered something else.

    """
    return _legacy(unsigned, sign_digest) if unsigned.fees.legacy else _type_2(unsigned, sign_digest)


def _type_2(tx: Unsigned, sign_digest: Callable[[bytes], bytes]) -> tuple[bytes, bytes]:
    fields: list[object] = [
        *(tx.chain_id, tx.nonce, tx.fees.priority_fee, tx.fees.max_fee, tx.gas),
        *(address_bytes(tx.to), tx.value, tx.data, []),
    ]
    r, s, parity = _signature(sign_digest(keccak(_TYPE_2 + rlp.encode(fields))))
    raw = _TYPE_2 + rlp.encode([*fields, parity, r, s])
    return raw, keccak(raw)


def _legacy(tx: Unsigned, sign_digest: Callable[[bytes], bytes]) -> tuple[bytes, bytes]:
    fields: list[object] = [tx.nonce, tx.fees.max_fee, tx.gas, address_bytes(tx.to), tx.value, tx.data]
    r, s, parity = _signature(sign_digest(keccak(rlp.encode([*fields, tx.chain_id, 0, 0]))))
    raw = rlp.encode([*fields, 35 + 2 * tx.chain_id + parity, r, s])
    return raw, keccak(raw)


def _signature(signature: bytes) -> tuple[int, int, int]:
    if len(signature) != _SIGNATURE_BYTES or signature[64] not in (_V_EVEN, _V_EVEN + 1):
        raise ProviderError("the signer gave no 65-byte signature", field="signer")
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64] - _V_EVEN
