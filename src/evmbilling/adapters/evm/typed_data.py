"""The one EIP-712 definition of an order, shared by signing, wallets and calldata.

Everything here must equal ``Checkout.sol``: the domain of its constructor, its ``ORDER_TYPEHASH`` and the order of
the struct's members. All members are static, so the encoded struct is ten words, both as EIP-712 data and as calldata.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from eth_hash.auto import keccak

from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.orders import Order

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


def _type_string(name: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    return (name + "(" + ",".join(f"{kind} {field}" for field, kind in fields) + ")").encode()


ORDER_TYPEHASH: Final = keccak(_type_string(PRIMARY_TYPE, ORDER_FIELDS))
_DOMAIN_PREFIX: Final = (
    keccak(_type_string("EIP712Domain", DOMAIN_FIELDS)) + keccak(DOMAIN_NAME.encode()) + keccak(DOMAIN_VERSION.encode())
)


def unix_seconds(instant: datetime | None) -> int:
    """Return whole Unix seconds, 0 for None: how the contract writes times."""
    return int(instant.timestamp()) if instant else 0


def order_typed_data(order: Order) -> dict[str, Any]:
    """Return the order as EIP-712 typed data in JSON values, ready for ``eth_signTypedData_v4``.

    256-bit numbers are decimal strings, because JavaScript numbers end at 2**53.
    """
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in DOMAIN_FIELDS],
            PRIMARY_TYPE: [{"name": name, "type": kind} for name, kind in ORDER_FIELDS],
        },
        "primaryType": PRIMARY_TYPE,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": order.chain_id,
            "verifyingContract": order.contract,
        },
        "message": {
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
    }


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
    struct = keccak(ORDER_TYPEHASH + encode_order(order))
    return bytes(keccak(b"\x19\x01" + domain_separator(order.chain_id, order.contract) + struct))


@lru_cache(maxsize=1024)
def domain_separator(chain_id: int, contract: str) -> bytes:
    """Return the EIP-712 domain separator of a Checkout contract."""
    return bytes(keccak(_DOMAIN_PREFIX + chain_id.to_bytes(32, "big") + address_word(contract)))


def address_word(address: str) -> bytes:
    """Return an address as an ABI word."""
    return bytes(12) + address_bytes(address)
