"""The notifier: one POST an event."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.domain.messages.events import Event
from evmbilling.errors import ConfigurationError
from evmbilling.ports.notifier import PermanentFailure

FOR_GOOD = {400, 401, 403, 404, 410, 413}
"""Answers that say that the request or the room is wrong: asking again changes nothing."""


class ChatFailure(Exception):
    """The room did not take a message; it is tried again."""


class ChatNotifier:
    """Posts events as JSON (port :class:`evmbilling.ports.notifier.Notifier`). Safe for threads: it keeps nothing.

    A message carries the event's id, by which the room can drop what comes twice.

    Args:
        url: of the room's incoming webhook.
        token: sent as a bearer token; in no ``repr`` and no error.
        timeout: seconds that the room may take.

    """

    def __init__(self, url: str, token: str, *, timeout: float = 10.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError("a room is an http(s) url", field="url")
        self._url = url
        self._token = token
        self._timeout = timeout
        self.profile = SinkProfile(limit=timedelta(seconds=timeout + 5))

    def __repr__(self) -> str:
        return f"<ChatNotifier {self._url}>"

    def notify(self, event: Event) -> None:
        """Post one event.

        Raises:
            PermanentFailure: the room refuses it for good.
            ChatFailure: it was not taken this time.

        """
        message = {
            "id": event.event_id,
            "seq": event.seq,
            "type": str(event.type),
            "subject": event.aggregate,
            "text": f"{event.type}: {event.aggregate}",
            "data": event.data,
        }
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        request = Request(self._url, data=json.dumps(message).encode(), headers=headers, method="POST")  # noqa: S310  - checked when it was made
        try:
            with urlopen(request, timeout=self._timeout):  # noqa: S310
                return
        except HTTPError as refused:
            status = refused.code
            refused.close()
        except OSError as error:
            raise ChatFailure(f"the room was not reached ({type(error).__name__})") from None
        if status in FOR_GOOD:
            raise PermanentFailure(f"HTTP {status}")
        raise ChatFailure(f"the room answered {status}")
