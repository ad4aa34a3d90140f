"""Customers: the host's opaque users, and the wallets that they have confirmed (row E7)."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen


@frozen(kw_only=True)
class Customer:
    """A user of the host, made on first sight. Its row is the lock of everything that belongs to it.

    Attributes:
        user_id: the host's opaque id.
        zone: IANA zone of the calendar; fixed for a subscription at its start.
        locale: BCP 47 tag for texts.
        event_seq: number of the last event published about this customer.
        erased_at: when personal data was erased.

    """

    user_id: str
    zone: str = "UTC"
    locale: str = "en"
    created_at: datetime
    event_seq: int = 0
    version: int = 1
    erased_at: datetime | None = None


@frozen(kw_only=True)
class Wallet:
    """An address that a customer has proved to control."""

    user_id: str
    address: str
    confirmed_at: datetime
