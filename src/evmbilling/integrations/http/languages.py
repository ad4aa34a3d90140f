"""Which language somebody is answered in: as the address says, else as the browser asks, else as the host chose."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evmbilling.domain.books.paper_words import DEFAULT_LANGUAGE
from evmbilling.integrations.http.messages import Request

LANGUAGES: Mapping[str, str] = {"en": "English", "ru": "Русский"}
"""Languages, as they call themselves."""
_MOST_LANGUAGES = 20
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)


def chosen_language(request: Request) -> str | None:
    """Return the language that the address asks for; None where it says nothing that we speak."""
    return next((value for name, value in request.query if name == "lang" and value in LANGUAGES), None)


def language_of(request: Request, otherwise: str = DEFAULT_LANGUAGE) -> str:
    """Return the language of the address, or the one that a browser asks for first (RFC 9110, 12.5.4).

    Args:
        request: who asks.
        otherwise: spoken to those who ask for none that we speak.

    """
    chosen = chosen_language(request)
    if chosen is not None:
        return chosen
    wanted = (request.header("accept-language") or "").split(",")[:_MOST_LANGUAGES]
    weighed = [(_weight(item), -place, item.partition(";")[0].strip()) for place, item in enumerate(wanted)]
    for weight, _, name in sorted(weighed, reverse=True):
        language = name.partition("-")[0].lower()
        if language in LANGUAGES and weight > 0:
            return language
    return otherwise


def _weight(item: str) -> int:
    """Return a preference in thousandths (RFC 9110, 12.4.2); what cannot be read counts nothing."""
    asked = [value for name, _, value in (part.partition("=") for part in item.split(";")[1:]) if _is_weight(name)]
    if not asked:
        return 1000
    whole, _, fraction = asked[0].strip().partition(".")
    return int(whole + fraction.ljust(3, "0")) if _WEIGHT.fullmatch(asked[0].strip()) else 0


def _is_weight(name: str) -> bool:
    return name.strip().lower() == "q"
