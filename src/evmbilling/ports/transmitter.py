"""Sending our own transactions: what a chain is asked, and what it is told, by the relayer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import FeeMarket, Fees, MinedIn, SendOutcome, Transmission


@frozen(kw_only=True)
class Rehearsal:
    """What a transaction would do now: the gas that it needs, or why it would fail (a stable code)."""

    gas: int = 0
    problem: str | None = None


@frozen(kw_only=True)
class RawTransaction:
    """A signed transaction as it is sent, and its hash."""

    raw: bytes
    tx_hash: bytes


class Transmitter(Protocol):
    """One chain, for transactions of ours. Every question raises ProviderError when no node gives a usable answer."""

    def address(self, signer: SecretRef) -> str:
        """Return the address of a key that can move money.

        Raises:
            ConfigurationError: this process does not hold it.

        """
        ...

    def sign(self, transmission: Transmission, nonce: int, fees: Fees, *, cancel: bool = False) -> RawTransaction:
        """Sign one version (EIP-1559 type 2, or EIP-155 without a base fee); ``cancel`` sends nothing to ourselves.

        Raises:
            ConfigurationError: this process does not hold the key, or it is another address's.

        """
        ...

    def send(self, raw: bytes) -> SendOutcome:
        """Send a signed transaction to a node. Never raises for what a node says; ``no_answer`` when none answered."""
        ...

    def rehearse(self, transmission: Transmission) -> Rehearsal:
        """Let a node run the transaction without sending it."""
        ...

    def market(self) -> FeeMarket:
        """Return what gas costs now."""
        ...

    def balance(self, address: str) -> int:
        """Return how much native coin an address holds, in wei."""
        ...

    def heights(self) -> Heights:
        """Return how far the chain has come."""
        ...

    def nonce(self, address: str, block: int | None = None) -> int:
        """Return how many transactions of an address are mined, up to a block, or the latest."""
        ...

    def pooled(self, address: str) -> int | None:
        """Return how many transactions of an address are mined or wait for it, without a gap: the most any node tells.

        Pools differ, so all nodes are asked. One that does not count what waits, or counts less than it has mined,
        tells nothing; None when none tells.
        """
        ...

    def mined(self, hashes: Collection[bytes]) -> Mapping[bytes, MinedIn]:
        """Return where these transactions are mined; those that are not are left out."""
        ...

    def pending(self, tx_hash: bytes) -> bool:
        """Say whether the node holds a transaction that is not mined."""
        ...
