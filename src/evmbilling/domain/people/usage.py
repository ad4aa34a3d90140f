"""What was used of a plan's limits, and proofs of wallets: small rows that belong to one user."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen


@frozen(kw_only=True)
class Window:
    """The stretch of time in which a limit counts: the paid period of the entitlement that grants it.

    Attributes:
        starts_at: names it among those of one source: as far from when that was made as the period is from the first.

    """

    user_id: str
    limit: str
    source_id: str
    starts_at: datetime
    allowed: int


@frozen(kw_only=True)
class WalletChallenge:
    """A sign-in message (EIP-4361) that a wallet may answer once.

    Attributes:
        nonce: at least 128 random bits; the key.
        message: the exact text to be signed.
        used_at: set by the one call that consumed it.

    """

    nonce: str
    user_id: str
    address: str
    chain_id: int
    message: str = field(repr=False)
    purpose: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
