"""Sending webhooks by Standard Webhooks 1.0: signed with every live secret, one exchange, bounded, nothing followed."""

from __future__ import annotations

import http.client
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Final

from evmbilling.adapters.notifiers.webhook_connection import Refused, Resolver, open_connection, resolve
from evmbilling.domain.messages.envelope import CONTENT_TYPE
from evmbilling.domain.messages.standard_webhooks import sign
from evmbilling.domain.messages.targets import Target, parse_target
from evmbilling.errors import InputError
from evmbilling.ports.network_guard import assert_network_allowed
from evmbilling.ports.outgoing import WebhookAnswer, WebhookCall

TIMEOUT: Final = 10.0
"""Seconds for one exchange: name, connection, TLS, request, status and headers."""
_LONGEST_HEADER: Final = 100


class HttpWebhookSender:
    """Implements :class:`evmbilling.ports.outgoing.WebhookSender` over sockets of its own.

    A name is resolved once; every address that it has must be public, and the connection goes to one of those
    addresses, with the name in TLS (SNI, certificate) and in the Host header. So a name that resolves otherwise a
    moment later leads nowhere else. Only status and headers are read; proxies of the environment are not used.

    Args:
        timeout: seconds for a whole exchange.
        tls: how certificates are verified; the system's authorities when left out.
        resolver: ``(host, port) -> addresses``; the system's when left out.

    """

    def __init__(
        self, *, timeout: float = TIMEOUT, tls: ssl.SSLContext | None = None, resolver: Resolver = resolve
    ) -> None:
        self._timeout = timeout
        self._given_tls = tls
        self._resolver = resolver

    def send(self, call: WebhookCall) -> WebhookAnswer:
        """Send once and return the answer; what fails on the way is an answer without a status."""
        assert_network_allowed()
        try:
            return self._exchange(parse_target(call.url, excepted=call.excepted), call)
        except (InputError, Refused, OSError, http.client.HTTPException, ValueError) as fault:
            return WebhookAnswer(status=None, error=_word(fault))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """How certificates are verified; made when it is first needed, because reading all authorities is slow."""
        return self._given_tls or ssl.create_default_context()

    def _exchange(self, target: Target, call: WebhookCall) -> WebhookAnswer:
        headers = _headers(target, call)
        addresses = self._resolver(target.host, target.port)
        connection = open_connection(
            target,
            addresses,
            excepted=target.authority in call.excepted,
            deadline=time.monotonic() + self._timeout,
            tls=self._tls,
        )
        try:
            connection.request("POST", target.path, body=call.body, headers=headers)
            response = connection.getresponse()
            return WebhookAnswer(status=response.status, retry_after=_retry_after(response.getheader("retry-after")))
        finally:
            connection.close()


def _word(fault: Exception) -> str:
    """Return what is kept of a fault: it names no address, path or secret."""
    if isinstance(fault, Refused):
        return str(fault)
    words: tuple[tuple[type[Exception], str], ...] = (
        (InputError, "this url may not be called"),
        (ssl.SSLCertVerificationError, "the certificate is not valid"),
        (TimeoutError, "no answer in time"),
        (http.client.RemoteDisconnected, "no connection"),
        (http.client.HTTPException, "the answer is no HTTP"),
        (OSError, "no connection"),
    )
    return next((word for kind, word in words if isinstance(fault, kind)), "the answer is no HTTP")


def _headers(target: Target, call: WebhookCall) -> dict[str, str]:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = target.port == (443 if target.secure else 80)
    return {
        "host": host if usual else f"{host}:{target.port}",
        "content-type": CONTENT_TYPE,
        "user-agent": "evmbilling",
        "accept-encoding": "identity",
        "connection": "close",
        "webhook-id": call.message_id,
        "webhook-timestamp": str(call.timestamp),
        "webhook-signature": sign(call.secrets, message_id=call.message_id, timestamp=call.timestamp, body=call.body),
    }


def _retry_after(value: str | None, *, now: datetime | None = None) -> timedelta | None:
    """Read the header (RFC 9110, 10.2.3): seconds or a date; None when it is neither."""
    if value is None or len(value) > _LONGEST_HEADER:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text), 10**8))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(aware - (now or datetime.now(UTC)), timedelta())
