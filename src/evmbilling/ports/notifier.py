"""Telling people and systems.

Clauses of the contract; ``evmbilling.testing.conformance.NotifierConformance`` holds a notifier to each of them:

1. A call that returns has delivered the event, once, before it returned.
2. A delivery that failed raises; nothing is swallowed, nothing is delivered later instead, and the next event passes.
3. The same event delivered twice is recognisably the same one to its receiver, and two events never are.
4. What no later attempt can deliver is a PermanentFailure; what one might is any other Exception.
5. The event is read, never changed.
6. Any text, amount and type of the catalogue passes, and data that a later version adds: no line or header is broken,
   no number rounded.
7. Any number of threads may call at once; no message is lost and none is mixed with another.
8. No secret of the notifier is in its ``repr`` or in what it raises.
9. A ``profile``, where there is one, is a SinkProfile.
"""

from __future__ import annotations

from typing import Protocol

from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.domain.messages.events import Event


class PermanentFailure(Exception):
    """A delivery that no later attempt can make; it is dead at once and listed for a person.

    The text is kept with the delivery: a short word, no secret and no address.
    """


class Notifier(Protocol):
    """One way to tell; each has a lane of its own, so one that raises or hangs harms no other.

    A notifier may have an attribute ``profile`` (:class:`evmbilling.domain.messages.delivery.SinkProfile`): which
    events it takes, whether it keeps order, whether people read it, its time limit.
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
