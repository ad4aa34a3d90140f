"""Telling people and systems."""

from __future__ import annotations

from typing import Protocol

from evmbilling.domain.events import Event


class Notifier(Protocol):
    """One way to tell; each has a lane of its own, so one that raises or hangs harms no other."""

    def notify(self, event: Event) -> None:
        """Deliver one event, at least once; it carries its id and ``seq``.

        Raises:
            Exception: the delivery failed and is tried again on its schedule.

        """
        ...


class Contacts(Protocol):
    """Where the host keeps how people are reached; billing stores none of it."""

    def email(self, user_id: str) -> str | None:
        """Return the user's e-mail address, or None."""
        ...
