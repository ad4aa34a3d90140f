"""The logs that the Mandates contract leaves on chain, encoded as it encodes them; for ``FakeChain.send``."""

from __future__ import annotations

from typing import Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

from evmbilling.domain.addresses import ZERO_ADDRESS, address_bytes
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.mandate_charges import Charge
from evmbilling.domain.mandates import Mandate
from evmbilling.testing.paid_logs import FakeLog, transfer_log

_STRUCT: Final = "(address,address,address,uint256,bytes32,uint160,uint160,uint64,uint64,uint64,address,bool,uint256)"
CHARGED_TOPIC: Final = keccak(b"Charged(bytes32,bytes32,address,uint256,address,uint256,address,uint256)")
GIVEN_TOPIC: Final = keccak(f"MandateGiven(bytes32,address,uint256,{_STRUCT})".encode())
REVOKED_TOPIC: Final = keccak(b"MandateRevoked(bytes32,address)")


def charge_logs(mandate: Mandate, charge: Charge, *, first: bool = False) -> tuple[FakeLog, ...]:
    """Return what a charge emits: the consent when it is the first, the token's ``Transfer``, then ``Charged``."""
    token, treasury = mandate.asset.token, mandate.treasury
    topics = (CHARGED_TOPIC, charge.reference, mandate.digest, _word(mandate.payer))
    data = encode(
        ["uint256", "address", "uint256", "address", "uint256"],
        [subscription_token(mandate.subscription_id), token, charge.amount, treasury, charge.amount],
    )
    given = (given_log(mandate),) if first else ()
    moved = transfer_log(token, mandate.payer, treasury, charge.amount)
    return (*given, moved, FakeLog(mandate.contract, topics, data))


def given_log(mandate: Mandate) -> FakeLog:
    """Return ``MandateGiven``."""
    subscription = subscription_token(mandate.subscription_id)
    terms = (
        mandate.payer,
        mandate.asset.token,
        mandate.treasury,
        subscription,
        plan_digest(mandate.plan_slug, mandate.plan_version),
        mandate.charge_cap,
        mandate.cap,
        mandate.spacing,
        int(mandate.start.timestamp()),
        int(mandate.expires_at.timestamp()),
        mandate.operator or ZERO_ADDRESS,
        mandate.via == "permit2",
        mandate.salt,
    )
    topics = (GIVEN_TOPIC, mandate.digest, _word(mandate.payer), subscription.to_bytes(32))
    return FakeLog(mandate.contract, topics, encode([_STRUCT], [terms]))


def revoked_log(mandate: Mandate, *, payer: str | None = None) -> FakeLog:
    """Return ``MandateRevoked``; by another than the payer, who can revoke nothing but has the event emitted."""
    return FakeLog(mandate.contract, (REVOKED_TOPIC, mandate.digest, _word(payer or mandate.payer)))


def _word(address: str) -> bytes:
    return address_bytes(address).rjust(32, b"\0")
