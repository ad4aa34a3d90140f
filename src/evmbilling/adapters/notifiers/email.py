"""The ``email`` and ``email_ops`` notifiers: what people are told, by SMTP."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import Protocol

from evmbilling.adapters.notifiers.email_texts import (
    FALLBACK,
    KINDS,
    OPS_ONLY,
    PAYABLE,
    Audience,
    Texts,
    fill,
    kind_of,
    text_for,
)
from evmbilling.domain.messages.delivery import QUIET, SinkProfile
from evmbilling.domain.messages.events import Event
from evmbilling.ports.notifier import Contacts, PermanentFailure

_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII
)
_LONGEST_SUBJECT = 200


class Transport(Protocol):
    """Hands one message over to a mail server."""

    def send(self, message: EmailMessage) -> None:
        """Send, or raise."""
        ...


class EmailNotifier:
    """Tells people by e-mail (port :class:`evmbilling.ports.notifier.Notifier`).

    One message an event, with a Message-ID made of the event's id: a delivery that is repeated looks the same. Users
    hear only about themselves: the recipient is whoever the event's own aggregate names.

    Args:
        transport: the mail server.
        sender: the address in From.
        audience: ``user``, or ``ops`` for the people who run billing.
        recipients: of ``ops``.
        contacts: where users are reached; a user without an address is not told.
        locale_of: a user's language (BCP 47).
        ops_locale: of ``ops``.
        texts: the host's own texts.
        kinds: which of paid, due, overdue, suspended, ended, charge_failed, failed, reversed, refunded,
            membership_ended, burned, burn_reversed, conflict, halted, clock are told; all when left out.
        pay_link_of: makes a link by which an order is paid, from its ledger id; None for none.

    """

    def __init__(
        self,
        *,
        transport: Transport,
        sender: str,
        audience: Audience = "user",
        recipients: Sequence[str] = (),
        contacts: Contacts | None = None,
        locale_of: Callable[[str], str] = lambda _: FALLBACK,
        ops_locale: str = FALLBACK,
        texts: Texts | None = None,
        kinds: Collection[str] | None = None,
        pay_link_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._transport = transport
        self._sender = parse_recipient(sender)
        self._audience = audience
        self._recipients = tuple(parse_recipient(address) for address in recipients)
        self._contacts = contacts
        self._locale_of = locale_of
        self._ops_locale = ops_locale
        self._texts = texts
        self._kinds = kinds
        self._pay_link_of = pay_link_of
        told = {
            str(type_) for type_, kind in KINDS.items() if kinds is None or {kind, *_LATER.get(kind, ())} & {*kinds}
        }
        self.profile = SinkProfile(events=frozenset(told), quiet=QUIET, limit=timedelta(seconds=30))

    def notify(self, event: Event) -> None:
        """Write and send the message about one event, if people are told of it.

        Raises:
            PermanentFailure: the event is about nobody or somebody else, or a header would be forged.
            OSError, smtplib.SMTPException: the mail server did not take it; tried again.

        """
        kind = kind_of(event)
        if kind is None or (self._kinds is not None and kind not in self._kinds):
            return
        if self._audience == "ops":
            self._send(event, kind, self._recipients, self._ops_locale)
            return
        if kind in OPS_ONLY:
            return
        user_id = user_of(event)
        if user_id is None or self._contacts is None:
            return
        address = self._contacts.email(user_id)
        if address is not None:
            self._send(event, kind, [parse_recipient(address)], self._locale_of(user_id))

    def _send(self, event: Event, kind: str, recipients: Sequence[str], locale: str) -> None:
        text = text_for(self._audience, kind, locale, self._texts)
        if text is None or not recipients:
            return
        subject = fill(text[0], event)
        if not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
            raise PermanentFailure("the subject cannot be a header")
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = self._sender
        message["To"] = ", ".join(recipients)
        message["Subject"] = subject
        message["Date"] = format_datetime(event.recorded_at)
        message["Message-ID"] = f"<{_message_id(event, self._audience)}@{self._sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers, please
        message["Content-Language"] = locale if locale.isascii() and locale.replace("-", "").isalnum() else FALLBACK
        message.set_content(fill(text[1], event, link=self._link(event, kind)), cte="base64")
        self._transport.send(message)

    def _link(self, event: Event, kind: str) -> str | None:
        """Return a link to what is to be paid, for the one who pays it."""
        ledger_id = event.data.get("ledger_id")
        payable = self._audience == "user" and kind in PAYABLE and isinstance(ledger_id, str)
        return self._pay_link_of(str(ledger_id)) if payable else None


_LATER = {"due": ("overdue",)}
"""What an event may be to people when it comes late."""


def user_of(event: Event) -> str | None:
    """Return whom an event is about; None for a refund of money that was nobody's.

    The aggregate and the data must agree: ``customer:<user_id>``, or ``refund:<refund_id>`` whose row names its user.

    Raises:
        PermanentFailure: they do not agree, or it is about no user.

    """
    kind, _, name = event.aggregate.partition(":")
    user_id = event.data.get("user_id")
    if kind == "refund" and name and event.data.get("refund_id") == name and (user_id is None or _is_text(user_id)):
        return user_id
    if kind != "customer" or not name or user_id != name:
        raise PermanentFailure("the event names no user, or two")
    return name


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def parse_recipient(address: object) -> str:
    """Read one plain address, ``local@domain`` in ASCII: no name, no list, nothing that could end a header.

    Raises:
        PermanentFailure: anything else.

    """
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address) or ".." in address:
        raise PermanentFailure("the address cannot be used")
    return address


def _message_id(event: Event, audience: str) -> str:
    return hashlib.sha256(f"{event.event_id} {audience}".encode()).hexdigest()[:40]
