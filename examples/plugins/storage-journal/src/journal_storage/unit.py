"""One transaction: reads and decisions of the model in memory, and what is to be written down of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from evmbilling.domain.decisions import Decision
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.people.usage import WalletChallenge, Window
from evmbilling.errors import StorageError
from evmbilling.ports.storage import Unit
from journal_storage.codec import dumps

Step = tuple[str, Any]
"""What was done, and with what: as it is done again when the journal is read."""


class JournalUnit:
    """A unit of the model that notes what changes it (port :class:`evmbilling.ports.storage.Unit`).

    Four operations change something; all others are the model's own.
    """

    def __init__(self, model: Unit) -> None:
        self._model = model
        self._steps: list[str] = []
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def apply(self, decisions: Sequence[Decision]) -> None:
        """Write the decisions, all or none."""
        try:
            self._model.apply(decisions)
        except BaseException:
            self._failed = True
            raise
        if decisions:
            self._note("apply", list(decisions))

    def lock_customer(self, fresh: Customer) -> Customer:
        """Return the customer's row, which nobody else can change before the unit ends; ``fresh`` on first sight."""
        known = self._model.customer(fresh.user_id)
        stored = self._model.lock_customer(fresh)
        if known is None:
            self._note("meet", fresh)
        return stored

    def consume(self, window: Window, amount: int) -> int | None:
        """Add to a window if the sum stays within what is allowed."""
        total = self._model.consume(window, amount)
        if total is not None:
            self._note("consume", [window, amount])
        return total

    def use_challenge(self, nonce: str, now: datetime) -> WalletChallenge | None:
        """Mark an unused challenge as used."""
        challenge = self._model.use_challenge(nonce, now)
        if challenge is not None:
            self._note("challenge", [nonce, now])
        return challenge

    def written(self) -> list[str]:
        """Return the lines to write down.

        Raises:
            StorageError: a list of decisions failed in this unit, so nothing of it may be kept.

        """
        if self._failed:
            raise StorageError("a write failed in this unit; nothing of it is kept")
        return self._steps

    def _note(self, kind: str, what: Any) -> None:
        # Written out at once: what the caller changes afterwards is not what was decided.
        self._steps.append(dumps([kind, what]))


def do_again(unit: Unit, steps: Iterable[Step]) -> None:
    """Do in the model what a journal says was done."""
    for kind, what in steps:
        if kind == "apply":
            unit.apply(what)
        elif kind == "meet":
            unit.lock_customer(what)
        elif kind == "consume":
            unit.consume(*what)
        elif kind == "challenge":
            unit.use_challenge(*what)
