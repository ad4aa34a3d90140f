"""Names of things: order references, credit identities, products."""

from __future__ import annotations

import re
from functools import lru_cache, total_ordering
from uuid import UUID

from attrs import frozen
from eth_hash.auto import keccak

from evmbilling.errors import InputError

INSTANCE_ID_BYTES = 8
UUID7_RANDOM_BITS = 74
"""The bits of a UUIDv7 that are no milliseconds."""
RENEWED = "instance"
"""The audit's object when a copy of a database became an instance of its own."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?", re.ASCII)
_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_PRINTABLE = re.compile(r"[\x21-\x7e]+", re.ASCII)


def parse_hash(value: object, *, field: str) -> bytes:
    """Read 32 bytes written as ``0x`` and 64 hex digits.

    Raises:
        InputError: anything else.

    """
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise InputError("a hash is 0x and 64 hex digits", field=field)
    return bytes.fromhex(value[2:])


def uuid7_text(stamp: int) -> str:
    """Write 122 bits as a UUIDv7: 48 bits of Unix milliseconds, then 74 bits that make it unique (RFC 9562, 5.7)."""
    millis, rand_a, rand_b = stamp >> UUID7_RANDOM_BITS, (stamp >> 62) & 0xFFF, stamp & (1 << 62) - 1
    digits = f"{millis << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def make_reference(instance_id: bytes, ledger_id: str) -> bytes:
    """Return the 32 bytes by which a payment on chain names its order: instance id, then a hash of the ledger id."""
    return instance_id + keccak(UUID(ledger_id).bytes)[: 32 - INSTANCE_ID_BYTES]


def is_ours(reference: bytes, instance_id: bytes) -> bool:
    """Whether a reference was made by this instance; another prefix belongs to somebody else and is left alone."""
    return reference.startswith(instance_id)


@lru_cache(maxsize=1024)
def plan_digest(slug: str, version: int) -> bytes:
    """Return the 32 bytes that name a plan version inside a signed order."""
    return bytes(keccak(f"{slug}@{version}".encode()))


def subscription_token(subscription_id: str | None) -> int:
    """Return the membership token id of a subscription: its UUID as a number; 0 when there is none."""
    return UUID(subscription_id).int if subscription_id else 0


def mandate_mark(chain_id: int, contract: str, payer: str, name: bytes) -> bytes:
    """Return the 32 bytes by which a mandate is known that a contract keeps under a name of its own.

    Another contract, chain or payer may use the same name: that is another mandate.
    """
    return bytes(keccak(f"mandate:{chain_id}:{contract}:{payer}:".encode() + name))


def token_mark(chain_id: int, contract: str, token_id: int) -> bytes:
    """Return the 32 bytes under which orders of a membership are found that its contract has numbered itself."""
    return bytes(keccak(f"token:{chain_id}:{contract}:{token_id}".encode()))


@total_ordering
@frozen(cache_hash=True)
class CreditIdentity:
    """Which movement on chain a credit stands for; a reorg does not change it.

    Attributes:
        chain_id: EIP-155 chain id.
        tx_hash: 32 bytes.
        ordinal: position of the log among the logs of its own receipt, from 0.

    """

    chain_id: int
    tx_hash: bytes
    ordinal: int

    def __str__(self) -> str:
        return f"{self.chain_id}:0x{self.tx_hash.hex()}:{self.ordinal}"

    def __lt__(self, other: object) -> bool:
        """Order by chain, transaction and ordinal; written out because every batch is sorted by it."""
        if not isinstance(other, CreditIdentity):
            return NotImplemented
        return (self.chain_id, self.tx_hash, self.ordinal) < (other.chain_id, other.tx_hash, other.ordinal)


@frozen(order=True)
class Product:
    """What is sold: a type and, where a user can hold several, the id of one (``site/42``)."""

    type: str
    id: str = ""

    def __str__(self) -> str:
        return f"{self.type}/{self.id}" if self.id else self.type


def parse_slug(value: object, *, field: str) -> str:
    """Read a slug: 1 to 64 of ``a-z 0-9 _ . -``, starting and ending with a letter or digit.

    Raises:
        InputError: anything else.

    """
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise InputError("a slug is 1 to 64 of a-z 0-9 _ . - and starts and ends with a letter or digit", field=field)
    return value


def parse_opaque(value: object, *, field: str, longest: int = 255) -> str:
    """Read an opaque id of the host: printable ASCII without spaces, compared byte by byte on every database.

    Raises:
        InputError: empty, too long, or any other character.

    """
    if not isinstance(value, str) or len(value) > longest or not _PRINTABLE.fullmatch(value):
        raise InputError(f"an id is 1 to {longest} printable ASCII characters without spaces", field=field)
    return value


def parse_product(value: object, *, field: str) -> Product:
    """Read ``"type"`` or ``"type/id"``.

    Raises:
        InputError: the type is no slug or the id is not printable ASCII.

    """
    if isinstance(value, Product):
        value = str(value)
    if not isinstance(value, str):
        raise InputError('a product is written "type" or "type/id"', field=field)
    kind, slash, item = value.partition("/")
    return Product(parse_slug(kind, field=field), parse_opaque(item, field=field) if slash else "")
