"""What the contracts of a fake chain know: balances, allowances and mandates, folded out of the logs of its blocks.

Nothing else is remembered, so a fork is undone by folding the blocks that are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes
from evmbilling.testing.fake_balances import Gift
from evmbilling.testing.mandate_logs import CHARGED_TOPIC, GIVEN_TOPIC, REVOKED_TOPIC, address_in, word_in
from evmbilling.testing.paid_logs import PAID_TOPIC, TRANSFER_TOPIC, FakeLog

APPROVAL_TOPIC: Final = keccak(b"Approval(address,address,uint256)")
FOR_EVER: Final = 2**256 - 1
"""An allowance that does not shrink, as most tokens have it."""
_CHARGED_TOKEN, _CHARGED_AMOUNT = 1, 2

_TOPICS: Final = {
    TRANSFER_TOPIC: 3,
    APPROVAL_TOPIC: 3,
    PAID_TOPIC: 4,
    GIVEN_TOPIC: 4,
    REVOKED_TOPIC: 3,
    CHARGED_TOPIC: 4,
}
"""How many topics each has; an ERC-721 ``Transfer`` has one more than an ERC-20's."""

Stage = Literal["unknown", "given", "revoked"]


class FakeState:
    """The state after the newest block. Parties are words of 32 bytes; not safe among threads by itself."""

    def __init__(self) -> None:
        self._balances: Counter[tuple[str, bytes]] = Counter()
        self._allowances: dict[tuple[str, bytes, bytes], int] = {}
        self._stages: dict[tuple[str, bytes, bytes], Stage] = {}
        self._charged: Counter[tuple[str, bytes, bytes]] = Counter()
        self._used: set[tuple[str, bytes]] = set()

    def balance(self, token: str, holder: str) -> int:
        """Return base units of a token."""
        return self._balances[token, word(holder)]

    def allowance(self, token: str, owner: str, spender: str) -> int:
        """Return base units that a spender may take of an owner's."""
        return self._allowances.get((token, word(owner), word(spender)), 0)

    def stage(self, contract: str, payer: str, digest: bytes) -> Stage:
        """Return what a Mandates contract knows of a mandate."""
        return self._stages.get((contract, word(payer), digest), "unknown")

    def charged(self, contract: str, payer: str, digest: bytes) -> int:
        """Return base units charged under a mandate so far."""
        return self._charged[contract, word(payer), digest]

    def is_used(self, contract: str, reference: bytes) -> bool:
        """Say whether a contract has taken a reference."""
        return (contract, reference) in self._used

    def receive(self, gifts: Iterable[Gift]) -> None:
        """Take balances that change without a log."""
        for gift in gifts:
            self._balances[gift.token, word(gift.holder)] += gift.amount

    def apply(self, logs: Iterable[FakeLog]) -> None:
        """Take what logs say."""
        for log in logs:
            kind = log.topics[0] if log.topics else b""
            # Anybody may emit anything: what has another shape says nothing.
            if len(log.topics) != _TOPICS.get(kind):
                continue
            if kind == TRANSFER_TOPIC:
                self._balances[log.address, log.topics[1]] -= int.from_bytes(log.data)
                self._balances[log.address, log.topics[2]] += int.from_bytes(log.data)
            elif kind == APPROVAL_TOPIC:
                self._allowances[log.address, log.topics[1], log.topics[2]] = int.from_bytes(log.data)
            elif kind == PAID_TOPIC:
                self._used.add((log.address, log.topics[1]))
            elif kind == GIVEN_TOPIC:
                self._stages.setdefault((log.address, log.topics[2], log.topics[1]), "given")
            elif kind == REVOKED_TOPIC:
                self._stages[log.address, log.topics[2], log.topics[1]] = "revoked"
            elif kind == CHARGED_TOPIC:
                self._charge(log)

    def _charge(self, log: FakeLog) -> None:
        _, reference, digest, payer = log.topics
        amount = int.from_bytes(word_in(log.data, _CHARGED_AMOUNT))
        self._used.add((log.address, reference))
        self._stages.setdefault((log.address, payer, digest), "given")
        self._charged[log.address, payer, digest] += amount
        # OpenZeppelin's ERC-20 tells no smaller allowance by a log, so it is not in one.
        key = (address_in(log.data, _CHARGED_TOKEN), payer, word(log.address))
        if self._allowances.get(key, FOR_EVER) != FOR_EVER:
            self._allowances[key] -= amount


def word(address: str) -> bytes:
    """Return an address as the 32 bytes of a topic."""
    return address_bytes(address).rjust(32, b"\0")
