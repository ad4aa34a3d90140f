"""The bodies of requests: strict, and without fields that nobody reads. What values mean is checked by the engine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=255)]
Address = Annotated[str, Field(min_length=42, max_length=42, examples=["0x70997970C51812dc3A010C7d01b50e0d17dc79C8"])]
Signature = Annotated[
    str, Field(pattern=r"^0x([0-9a-fA-F]{2}){1,16384}$", description="Hex bytes; lengths vary with the signer.")
]
Instant = Annotated[str, Field(max_length=64, examples=["2030-01-31T12:00:00Z"], description="RFC 3339, with a zone.")]
Units = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$", description="Base units, as plain digits.")]


class Body(BaseModel):
    """A JSON object; anything else than its fields is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CheckoutBody(Body):
    """What is bought, and by which wallet; without one where it is paid at an address of its own."""

    plan: Text
    wallet: Address | None = None
    network: Text | None = None
    asset: Text | None = None
    product_type: Text | None = None
    product_id: Text | None = None
    quantity: Annotated[int, Field(ge=1)] = 1
    beneficiary: Address | None = None
    zone: Text | None = None
    start_at: Instant | None = None


class CancelBody(Body):
    """How a subscription ends."""

    when: Literal["now", "period_end"] = "period_end"
    reason: Text | None = None


class ChangeBody(Body):
    """What a subscription shall be; what is left out stays as it is."""

    timing: Literal["now", "next_period"] = "next_period"
    plan: Text | None = None
    quantity: Annotated[int, Field(ge=1)] | None = None
    network: Text | None = None
    asset: Text | None = None
    wallet: Address | None = None


class PauseBody(Body):
    """When a subscription pauses: now, keeping the paid time, or once that is used up."""

    when: Literal["now", "period_end"] = "now"
    reason: Text | None = None


class ZoneBody(Body):
    """In which zone a calendar is counted."""

    zone: Text


class SignatureBody(Body):
    """What a wallet signed."""

    signature: Signature


class EmptyBody(Body):
    """Nothing has to be said."""


class WalletChallengeBody(Body):
    """Which wallet is to be confirmed, and on which network it would be asked when it is a contract."""

    wallet: Address
    network: Text


class WalletProofBody(Body):
    """The wallet's answer to its challenge."""

    nonce: Text
    signature: Signature


class PrepareMandateBody(Body):
    """What a mandate shall allow; what is left out is taken from the subscription."""

    subscription_id: Text
    wallet: Address
    via: Literal["allowance", "permit2"] = "allowance"
    network: Text | None = None
    asset: Text | None = None
    charge_cap: Units | None = None
    cap: Units | None = None
    allowance: Units | None = None
    expires_at: Instant | None = None


class GiveMandateBody(Body):
    """The payer's signatures for a prepared mandate."""

    mandate_id: Text
    signature: Signature
    permit_signature: Signature | None = None


class RefundAddressBody(Body):
    """Where a refund goes: a wallet confirmed before, or the answer to the refund's own challenge."""

    wallet: Address | None = None
    nonce: Text | None = None
    signature: Signature | None = None
