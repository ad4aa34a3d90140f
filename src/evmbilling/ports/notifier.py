"""Telling people and systems."""

from __future__ import annotations

from typing import Protocol

from evmbilling.domain.delivery import SinkProfile
from evmbilling.domain.events import Event


class PermanentFailure(Exception):
    """A delivery that no later attempt can make; it is dead at once and listed for a person.

    The text is kept with the delivery: a short word, no secret and no address.
    """


class Notifier(Protocol):
    """One way to tell; each has a lane of its own, so one that raises or hangs harms no other.

    A notifier may have an attribute ``profile`` (:class:`evmbilling.domain.delivery.SinkProfile`): which events it
    takes, whether it keeps order, whether people read it, its time limit.
    """

    def notify(self, event: Event) -> None:
        """Deliver one event, at least once; it carries its id and ``seq``.

        It may call the engine: no transaction is open and no lock is held. It has to return within the time limit of
        its profile; a call that takes longer counts as failed and its lane goes on without it.

        Raises:
            PermanentFailure: no later attempt can succeed.
            Exception: the delivery failed and is tried again on its schedule.

        """
        ...


class Contacts(Protocol):
    """Where the host keeps how people are reached; billing stores none of it."""

    def email(self, user_id: str) -> str | None:
        """Return the user's e-mail address, or None."""
        ...


def profile_of(notifier: object) -> SinkProfile:
    """Return how a notifier or quota backend wants its deliveries; the usual way when it does not say."""
    said = getattr(notifier, "profile", None)
    return said if isinstance(said, SinkProfile) else SinkProfile()
