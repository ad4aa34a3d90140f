"""One message to one mail server."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from typing import Literal

from attrs import field, frozen

from evmbilling.ports.network_guard import assert_network_allowed
from evmbilling.ports.notifier import PermanentFailure

Security = Literal["starttls", "tls", "none"]
_PERMANENT = range(500, 600)


@frozen(kw_only=True)
class SmtpTransport:
    """A mail server, a connection for each message.

    Attributes:
        security: ``starttls`` (port 587), ``tls`` (port 465), or ``none`` for a server on the same machine.
        timeout: seconds for each step.

    """

    host: str
    port: int
    security: Security = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 10.0

    def send(self, message: EmailMessage) -> None:
        """Hand a message over.

        Raises:
            PermanentFailure: the server refuses every recipient for good (5xx).
            OSError, smtplib.SMTPException: anything else; tried again.

        """
        assert_network_allowed()
        with self._open() as server:
            if self.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if self.username is not None:
                server.login(self.username, self.password or "")
            try:
                server.send_message(message)
            except smtplib.SMTPRecipientsRefused as error:
                if all(code in _PERMANENT for code, _ in error.recipients.values()):
                    raise PermanentFailure("the mail server refuses the recipient") from None
                raise

    def _open(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=ssl.create_default_context())
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout)
