"""The one EIP-712 definition of a mandate, and the calls that use it; everything must equal ``Mandates.sol``.

All members are static, so the encoded struct is thirteen words, both as EIP-712 data and as calldata.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import WORD, selector
from evmbilling.adapters.evm.signing.permit2 import PERMIT_STRUCT, encode_permit
from evmbilling.adapters.evm.signing.typed_data import (
    Fields,
    address_word,
    message_digest,
    type_string,
    typed_message,
    unix_seconds,
)
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.mandates.mandate_charges import Charge
from evmbilling.domain.mandates.mandates import Mandate, MandateStatus, Permit
from evmbilling.domain.selling.offers import WalletPayload

KIND: Final = "mandates"
DOMAIN_NAME: Final = "evmbilling Mandates"
MANDATE_FIELDS: Final = (
    ("payer", "address"),
    ("token", "address"),
    ("treasury", "address"),
    ("subscription", "uint256"),
    ("plan", "bytes32"),
    ("chargeCap", "uint160"),
    ("cap", "uint160"),
    ("spacing", "uint64"),
    ("start", "uint64"),
    ("expiry", "uint64"),
    ("operator", "address"),
    ("permit2", "bool"),
    ("salt", "uint256"),
)
CHARGE_FIELDS: Final = (
    ("reference", "bytes32"),
    ("amount", "uint160"),
    ("deadline", "uint64"),
    ("checkout", "address"),
)
CHARGE_GAS: Final = 250_000
PERMIT_GAS: Final = 100_000
REVOKE_GAS: Final = 100_000
"""Units, with room: a contract wallet's signature check and a token's own code vary."""
UNDEPLOYED_SUFFIX: Final = bytes.fromhex("6492" * 16)
"""Ends a signature of a contract wallet that may not be deployed yet (ERC-6492)."""


def _struct(fields: Fields) -> str:
    return "(" + ",".join(kind for _, kind in fields) + ")"


MANDATE_STRUCT: Final = _struct(MANDATE_FIELDS)
CHARGE_STRUCT: Final = _struct(CHARGE_FIELDS)
_MANDATE_TYPEHASH: Final = keccak(type_string("Mandate", MANDATE_FIELDS))
CHARGE_SELECTOR: Final = selector(f"charge({MANDATE_STRUCT},bytes,{CHARGE_STRUCT})")
CHARGE_WITH_PERMIT_SELECTOR: Final = selector(
    f"chargeWithPermit({MANDATE_STRUCT},bytes,{CHARGE_STRUCT},{PERMIT_STRUCT},bytes)"
)
_CAN_CHARGE: Final = selector(f"canCharge({MANDATE_STRUCT},bytes,{CHARGE_STRUCT},address)")
GIVE_SELECTOR: Final = selector(f"give({MANDATE_STRUCT},bytes)")
REVOKE_SELECTOR: Final = selector("revoke(bytes32)")
_STATE_OF: Final = selector("stateOf(address,bytes32)")


def mandate_typed_data(mandate: Mandate) -> dict[str, Any]:
    """Return the mandate as EIP-712 typed data in JSON values, ready for ``eth_signTypedData_v4``.

    Numbers above 64 bits are decimal strings, because JavaScript numbers end at 2**53.
    """
    message = {
        "payer": mandate.payer,
        "token": mandate.asset.token,
        "treasury": mandate.treasury,
        "subscription": str(subscription_token(mandate.subscription_id)),
        "plan": "0x" + plan_digest(mandate.plan_slug, mandate.plan_version).hex(),
        "chargeCap": str(mandate.charge_cap),
        "cap": str(mandate.cap),
        "spacing": mandate.spacing,
        "start": unix_seconds(mandate.start),
        "expiry": unix_seconds(mandate.expires_at),
        "operator": mandate.operator or ZERO_ADDRESS,
        "permit2": mandate.via == "permit2",
        "salt": str(mandate.salt),
    }
    return typed_message(DOMAIN_NAME, mandate.chain_id, mandate.contract, {"Mandate": MANDATE_FIELDS}, message)


def encode_mandate(mandate: Mandate) -> bytes:
    """Return the struct as thirteen 32-byte words in the order of its members."""
    return b"".join(
        (
            address_word(mandate.payer),
            address_word(mandate.asset.token),
            address_word(mandate.treasury),
            _word(subscription_token(mandate.subscription_id)),
            plan_digest(mandate.plan_slug, mandate.plan_version),
            _word(mandate.charge_cap),
            _word(mandate.cap),
            _word(mandate.spacing),
            _time(mandate.start),
            _time(mandate.expires_at),
            address_word(mandate.operator or ZERO_ADDRESS),
            _word(mandate.via == "permit2"),
            _word(mandate.salt),
        )
    )


def mandate_digest(mandate: Mandate) -> bytes:
    """Return the 32 bytes that the payer signs and the contract knows the mandate by (``mandateId``)."""
    return mandate_id(mandate.chain_id, mandate.contract, encode_mandate(mandate))


def mandate_id(chain_id: int, contract: str, struct: bytes) -> bytes:
    """Return the id under which a contract knows an encoded mandate."""
    return message_digest(chain_id, contract, _MANDATE_TYPEHASH + struct, name=DOMAIN_NAME)


def charge_call(mandate: Mandate, charge: Charge) -> bytes:
    """Return the calldata that pulls the money; with the payer's signed permit until the contract knows the mandate."""
    head = [encode_mandate(mandate), mandate.signature, _encode_charge(charge)]
    permit = carried_permit(mandate)
    if permit is None:
        return _encode(CHARGE_SELECTOR, head, dynamic={1})
    single = encode_permit(mandate.asset.token, mandate.contract, permit)
    return _encode(CHARGE_WITH_PERMIT_SELECTOR, [*head, single, permit.signature], dynamic={1, 4})


def can_charge_call(mandate: Mandate, charge: Charge, operator: str) -> bytes:
    """Return the calldata of ``canCharge``: the reason for which a charge by ``operator`` would be refused."""
    parts = [encode_mandate(mandate), mandate.signature, _encode_charge(charge), address_word(operator)]
    return _encode(_CAN_CHARGE, parts, dynamic={1})


def give_call(mandate: Mandate) -> bytes:
    """Return the calldata of ``give``, for the payer to send (then no signature is needed) or for anybody."""
    return _encode(GIVE_SELECTOR, [encode_mandate(mandate), mandate.signature], dynamic={1})


def revoke_call(mandate: Mandate) -> bytes:
    """Return the calldata of ``revoke``, for the payer to send."""
    return REVOKE_SELECTOR + mandate.digest


def state_call(mandate: Mandate) -> bytes:
    """Return the calldata of ``stateOf``: stage, and base units charged so far."""
    return _STATE_OF + address_word(mandate.payer) + mandate.digest


def charge_payload(mandate: Mandate, charge: Charge) -> WalletPayload:
    """Return the operator's transaction."""
    gas = CHARGE_GAS + (PERMIT_GAS if carried_permit(mandate) else 0)
    return _payload(mandate, charge_call(mandate, charge), gas)


def give_payload(mandate: Mandate) -> WalletPayload:
    """Return the transaction by which the payer gives the mandate on chain, without a signature."""
    return _payload(mandate, give_call(mandate), CHARGE_GAS)


def revoke_payload(mandate: Mandate) -> WalletPayload:
    """Return the transaction by which the payer ends the mandate on chain."""
    return _payload(mandate, revoke_call(mandate), REVOKE_GAS)


def carried_permit(mandate: Mandate) -> Permit | None:
    """Return the permit that a charge brings along: a signed one, until the mandate was seen on chain."""
    known = mandate.status is MandateStatus.ACTIVE
    return mandate.permit if mandate.permit is not None and mandate.permit.signature and not known else None


def unwrapped(signature: bytes) -> bytes | None:
    """Return the signature that a contract wallet itself takes: without the ERC-6492 wrapping; None for a broken one.

    The contract asks deployed wallets only, so the factory that the wrapping names has nothing to do there.
    """
    if not signature.endswith(UNDEPLOYED_SUFFIX):
        return signature
    try:
        _, _, inner = decode(["address", "bytes", "bytes"], signature[:-WORD])
    except (DecodingError, OverflowError):
        return None
    return bytes(inner)


def _payload(mandate: Mandate, data: bytes, gas: int) -> WalletPayload:
    return WalletPayload(chain_id=mandate.chain_id, to=mandate.contract, value=0, data=data, gas=gas)


def _encode_charge(charge: Charge) -> bytes:
    words = (charge.reference, _word(charge.amount), _time(charge.deadline), address_word(charge.checkout))
    return b"".join(words)


def _encode(called: bytes, parts: list[bytes], *, dynamic: set[int]) -> bytes:
    """Join ABI arguments: static ones as they are, ``bytes`` (those at ``dynamic`` places) as an offset and a tail."""
    head_size = sum(WORD if place in dynamic else len(part) for place, part in enumerate(parts))
    head, tail = called, b""
    for place, part in enumerate(parts):
        if place in dynamic:
            head += _word(head_size + len(tail))
            tail += _word(len(part)) + part + bytes(-len(part) % WORD)
        else:
            head += part
    return head + tail


def _word(value: int) -> bytes:
    return int(value).to_bytes(WORD, "big")


def _time(instant: datetime) -> bytes:
    return _word(unix_seconds(instant))
