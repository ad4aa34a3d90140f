"""The one EIP-712 definition of an order, shared by signing, wallets and calldata.

Everything here must equal ``Checkout.sol``: the domain of its constructor, its ``ORDER_TYPEHASH`` and the order of
the struct's members. All members are static, so the encoded struct is ten words, both as EIP-712 data and as calldata.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.selling.orders import Order

Fields = tuple[tuple[str, str], ...]
DOMAIN_NAME: Final = "evmbilling Checkout"
DOMAIN_VERSION: Final = "1"
PRIMARY_TYPE: Final = "Order"
ORDER_FIELDS: Final = (
    ("reference", "bytes32"),
    ("subscription", "uint256"),
    ("payer", "address"),
    ("beneficiary", "address"),
    ("plan", "bytes32"),
    ("token", "address"),
    ("amount", "uint256"),
    ("treasury", "address"),
    ("memberUntil", "uint64"),
    ("deadline", "uint64"),
)
DOMAIN_FIELDS: Final = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
ORDER_STRUCT: Final = "(" + ",".join(kind for _, kind in ORDER_FIELDS) + ")"
ORDER_WORDS: Final = len(ORDER_FIELDS)


def type_string(name: str, fields: Fields) -> bytes:
    """Return the encoded type of a struct without nested ones (EIP-712)."""
    return (name + "(" + ",".join(f"{kind} {field}" for field, kind in fields) + ")").encode()


ORDER_TYPEHASH: Final = keccak(type_string(PRIMARY_TYPE, ORDER_FIELDS))
_DOMAIN_TYPEHASH: Final = keccak(type_string("EIP712Domain", DOMAIN_FIELDS))
_VERSION_HASH: Final = keccak(DOMAIN_VERSION.encode())


def unix_seconds(instant: datetime | None) -> int:
    """Return whole Unix seconds, 0 for None: how the contract writes times."""
    return int(instant.timestamp()) if instant else 0


def order_typed_data(order: Order) -> dict[str, Any]:
    """Return the order as EIP-712 typed data in JSON values, ready for ``eth_signTypedData_v4``.

    256-bit numbers are decimal strings, because JavaScript numbers end at 2**53.
    """
    return typed_message(
        DOMAIN_NAME,
        order.chain_id,
        order.contract,
        {PRIMARY_TYPE: ORDER_FIELDS},
        {
            "reference": "0x" + order.reference.hex(),
            "subscription": str(subscription_token(order.subscription_id)),
            "payer": order.wallet,
            "beneficiary": order.beneficiary,
            "plan": "0x" + plan_digest(order.plan_slug, order.plan_version).hex(),
            "token": order.asset.token,
            "amount": str(order.amount),
            "treasury": order.treasury,
            "memberUntil": unix_seconds(order.member_until),
            "deadline": unix_seconds(order.deadline),
        },
    )


def typed_message(
    name: str, chain_id: int, contract: str, types: Mapping[str, Fields], message: dict[str, Any]
) -> dict[str, Any]:
    """Return typed data of one of our contracts; the first type is the primary one."""
    return {
        "types": {kind: listed(fields) for kind, fields in {"EIP712Domain": DOMAIN_FIELDS, **types}.items()},
        "primaryType": next(iter(types)),
        "domain": {"name": name, "version": DOMAIN_VERSION, "chainId": chain_id, "verifyingContract": contract},
        "message": message,
    }


def listed(fields: Fields) -> list[dict[str, str]]:
    """Return a struct's members as typed data lists them."""
    return [{"name": name, "type": kind} for name, kind in fields]


def encode_order(order: Order) -> bytes:
    """Return the struct as ten 32-byte words in the order of its members."""
    return b"".join(
        (
            order.reference,
            subscription_token(order.subscription_id).to_bytes(32, "big"),
            address_word(order.wallet),
            address_word(order.beneficiary),
            plan_digest(order.plan_slug, order.plan_version),
            address_word(order.asset.token),
            order.amount.to_bytes(32, "big"),
            address_word(order.treasury),
            unix_seconds(order.member_until).to_bytes(32, "big"),
            unix_seconds(order.deadline).to_bytes(32, "big"),
        )
    )


def order_digest(order: Order) -> bytes:
    """Return the 32 bytes that are signed; what ``Checkout.orderHash`` computes."""
    return message_digest(order.chain_id, order.contract, ORDER_TYPEHASH + encode_order(order))


def message_digest(chain_id: int, contract: str, struct: bytes, *, name: str = DOMAIN_NAME) -> bytes:
    """Return the 32 bytes that are signed for an encoded struct (its type hash, then its members)."""
    return keccak(b"\x19\x01" + domain_separator(chain_id, contract, name) + keccak(struct))


@lru_cache(maxsize=1024)
def domain_separator(chain_id: int, contract: str, name: str = DOMAIN_NAME) -> bytes:
    """Return the EIP-712 domain separator of one of our contracts, a Checkout by default."""
    prefix = _DOMAIN_TYPEHASH + keccak(name.encode()) + _VERSION_HASH
    return keccak(prefix + chain_id.to_bytes(32, "big") + address_word(contract))


def address_word(address: str) -> bytes:
    """Return an address as an ABI word."""
    return bytes(12) + address_bytes(address)
