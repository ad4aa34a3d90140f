"""The texts of e-mails: one catalogue in English and Russian, and the host's own in place of any of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.money import from_base_units

Audience = Literal["user", "ops"]
Text = tuple[str, str]
"""Subject and body, with ``{names}`` of the event's data in braces."""
Texts = Callable[[Audience, str, str], Text | None] | Mapping[tuple[Audience, str, str], Text]
"""A host's own texts by (audience, kind, locale); None, or nothing there, keeps ours."""

FALLBACK: Final = "en"
ABSENT: Final = "-"

KINDS: Final[Mapping[str, str]] = {
    EventType.PAYMENT_CONFIRMED: "paid",
    EventType.PAYMENT_DUE: "due",
    EventType.PAYMENT_FAILED: "charge_failed",
    EventType.SUBSCRIPTION_PAST_DUE: "overdue",
    EventType.SUBSCRIPTION_SUSPENDED: "suspended",
    EventType.SUBSCRIPTION_ENDED: "ended",
    EventType.PAYMENT_UNMATCHED: "failed",
    EventType.PAYMENT_UNCLAIMED: "unclaimed",
    EventType.PAYMENT_REVERSED: "reversed",
    EventType.REFUND_DONE: "refunded",
    EventType.MEMBERSHIP_ENDED: "membership_ended",
    EventType.MEMBERSHIP_BURNED: "burned",
    EventType.MEMBERSHIP_BURN_REVERSED: "burn_reversed",
    EventType.WEBHOOK_CONFLICTED: "conflict",
    EventType.NETWORK_HALTED: "halted",
    EventType.SCHEDULER_HALTED: "clock",
}
OPS_ONLY: Final = frozenset({"halted", "clock", "conflict", "burn_reversed", "unclaimed"})
"""Kinds that are no user's business."""
PAYABLE: Final = frozenset({"due", "overdue", "suspended", "charge_failed"})
"""What a user is told so that they pay; the text may hold a link."""
LINK: Final = "{pay_link}"
_AMOUNTS: Final = ("amount", "received")
_INSTANTS: Final = ("due_at", "paid_until", "deadline", "ends_at", "clock", "database")


def kind_of(event: Event) -> str | None:
    """Return what an event is to people; None when they are not told. A reminder after the due date is overdue."""
    kind = KINDS.get(event.type)
    days = event.data.get("days")
    return "overdue" if kind == "due" and isinstance(days, int) and days >= 0 else kind


def text_for(audience: Audience, kind: str, locale: str, own: Texts | None = None) -> Text | None:
    """Return the text for a locale (BCP 47): the host's, else ours in the language, else ours in English."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    if own is not None:
        for tag in dict.fromkeys((locale, language)):
            given = own(audience, kind, tag) if callable(own) else own.get((audience, kind, tag))
            if given is not None:
                return given
    texts = catalogue()
    found = texts.get(language, texts[FALLBACK])[audience].get(kind)
    return None if found is None else (found[0], found[1])


def fill(text: str, event: Event, *, link: str | None = None) -> str:
    """Put an event's data into a text; amounts as people write them, what is not there as a dash.

    A line that is about a link is left out when there is none.
    """
    lines = [line for line in text.split("\n") if link is not None or LINK not in line]
    values = readable(event.data) | ({"pay_link": link} if link is not None else {})
    return "\n".join(lines).format_map(_Names(values))


def readable(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the plain values of an event's data as texts; amounts of base units in whole units of their asset."""
    shown = {name: str(value) for name, value in data.items() if isinstance(value, str | int)}
    decimals = data.get("decimals")
    for name in _AMOUNTS:
        if isinstance(decimals, int) and shown.get(name, "").isdigit():
            shown[name] = from_base_units(int(shown[name]), decimals)
    for name in _INSTANTS:
        shown |= {name: _instant(shown[name])} if name in shown else {}
    return shown


def _instant(text: str) -> str:
    """Write an instant as people read it; whatever else it is stays as it is."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M} UTC"


@cache
def catalogue() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return our texts: language, audience, kind, (subject, body)."""
    path = files("evmbilling.adapters.notifiers").joinpath("email_texts.json")
    read: dict[str, dict[str, dict[str, list[str]]]] = json.loads(path.read_text(encoding="utf-8"))
    return read


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ABSENT
