"""Customers: the host's opaque users, and the wallets that they have confirmed (row E7)."""

from __future__ import annotations

from datetime import datetime

import attrs
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
    """An address that a customer has proved to control.

    Attributes:
        confirmed_at: when it was proved first.
        chains: EIP-155 ids of the chains on which a contract at the address vouched for them (ERC-1271): elsewhere a
            contract at the same address may be somebody else's. None when its key signed, which holds everywhere.

    """

    user_id: str
    address: str
    confirmed_at: datetime
    chains: tuple[int, ...] | None = None

    def is_on(self, chain_id: int) -> bool:
        """Whether the address is the customer's on a chain."""
        return self.chains is None or chain_id in self.chains


def with_proof(stored: Wallet | None, proof: Wallet) -> Wallet:
    """Return the wallet with what is proved of it by now; a key's signature holds for every chain."""
    if stored is None:
        return proof
    if stored.chains is None or proof.chains is None:
        return attrs.evolve(stored, chains=None)
    return attrs.evolve(stored, chains=tuple(sorted({*stored.chains, *proof.chains})))
