"""What was used of a plan's limits, and proofs of wallets, in memory."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import attrs

from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables, UsedWindow
from evmbilling.adapters.memory.values import checked
from evmbilling.domain import decisions as d
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.people.usage import WalletChallenge, Window
from evmbilling.errors import AlreadyExists, InputError, NotFound

UsageDecision = d.OpenChallenge | d.EraseCustomer


class MemoryUsage(Reads):
    """Implements :class:`evmbilling.ports.messages.UsageOperations`."""

    def used(self, window: Window) -> int:
        """Return what was used in a window."""
        stored = self._tables.usage.get(_key(window))
        return stored.used if stored else 0

    def consume(self, window: Window, amount: int) -> int | None:
        """Add to a window if the sum stays at or below ``window.allowed``; return the sum, or None.

        Raises:
            InputError: the amount is negative.

        """
        self._must_write()
        if type(amount) is not int or amount < 0:
            raise InputError("an amount that is used is a whole number from 0", field="amount")
        total = self.used(window) + amount
        if total > window.allowed:
            return None
        refer(self._tables.customers, window.user_id, field="user_id")
        user_id, limit, source_id, starts_at = _key(window)
        used = UsedWindow(user_id=user_id, limit=limit, source_id=source_id, starts_at=starts_at, used=total)
        self._tables.usage.put(_key(window), checked(used))
        return total

    def use_challenge(self, nonce: str, now: datetime) -> WalletChallenge | None:
        """Mark an unused, unexpired challenge as used and return it; None when there is none."""
        self._must_write()
        stored = self._tables.challenges.get(nonce)
        if stored is None or stored.used_at is not None or stored.expires_at <= now:
            return None
        used = checked(attrs.evolve(stored, used_at=now))
        self._tables.challenges.put(nonce, used)
        return used


def _key(window: Window | UsedWindow) -> tuple[str, str, str, datetime]:
    return (window.user_id, window.limit, window.source_id, window.starts_at)


def _open_challenge(tables: Tables, challenge: WalletChallenge) -> None:
    """Insert a wallet challenge."""
    if tables.challenges.get(challenge.nonce) is not None:
        raise AlreadyExists("this nonce is taken", field="nonce")
    refer(tables.customers, challenge.user_id, field="user_id")
    tables.challenges.put(challenge.nonce, challenge)


def _erase(tables: Tables, customer: Customer) -> None:
    """Replace a customer's row, and remove what says who they are."""
    user_id = customer.user_id
    if tables.customers.get(user_id) is None:
        raise NotFound("there is no such customer", field="user_id")
    tables.customers.put(user_id, customer)
    for wallet in tables.wallets.find("user", user_id):
        tables.wallets.drop((user_id, wallet.address))
    for challenge in tables.challenges.find("user", user_id):
        tables.challenges.drop(challenge.nonce)
    for note in tables.buyer_notes.find("user", user_id):
        tables.buyer_notes.drop((note.series, note.serial))


def write(tables: Tables, decision: UsageDecision) -> None:
    """Write one decision about what belongs to one user."""
    match decision:
        case d.OpenChallenge(challenge):
            _open_challenge(tables, challenge)
        case d.EraseCustomer(customer):
            _erase(tables, customer)
        case _:
            assert_never(decision)
