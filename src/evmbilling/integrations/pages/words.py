"""The catalogue of what pages say, in the languages that there are, and the choice among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from attrs import field, frozen

from evmbilling.errors import BillingError
from evmbilling.integrations.http.messages import Request
from evmbilling.integrations.http.routes import Parameter

LANGUAGES: Mapping[str, str] = {"en": "English", "ru": "Русский"}
"""Languages, as they call themselves; the first is spoken to those who ask for another one."""
DEFAULT_LANGUAGE = "en"
LANG = (Parameter(name="lang", text="`en` or `ru`; otherwise as the browser asks.", example="ru"),)
_MOST_LANGUAGES = 20


@frozen
class Words:
    """What pages say in one language."""

    language: str
    said: Mapping[str, str] = field(repr=False)
    sentences: Mapping[str, str] = field(repr=False)
    """Our sentences about errors, which are English, in this language."""

    def __call__(self, key: str, **values: object) -> str:
        """Return a text, with values in its ``{places}``.

        Raises:
            KeyError: there is no such text: a mistake of ours.

        """
        return self.said[key].format(**values) if values else self.said[key]

    def term(self, group: str, word: object) -> str:
        """Return what a code is called (``status``, ``confirmed``); the code itself where it has no other name."""
        return self.said.get(f"{group}_{word}", str(word))

    def problem(self, error: BillingError) -> str:
        """Return what is wrong in a sentence, with the name of the field where it is about one."""
        sentence = self._sentence(error)
        label = None if error.field is None else self.said.get(f"field_{error.field}")
        return sentence if label is None else f"{label}: {sentence}"

    def _sentence(self, error: BillingError) -> str:
        if error.details.get("refundable", "0") != "0":
            return self("too_much")  # the sentence counts base units, which nobody at the desk does
        known = self.sentences.get(error.message) or self.said.get(f"code_{error.code}") or error.message
        told = known if self.language != DEFAULT_LANGUAGE else error.message
        return told[:1].upper() + told[1:].rstrip(".") + "."


@cache
def texts(language: str) -> dict[str, str]:
    """Return the texts of the checkout page in a language that there is."""
    return _catalogue("texts.json")[language]


@cache
def desk_words(language: str) -> Words:
    """Return what the finance desk says in a language that there is."""
    catalogue = _catalogue("desk_texts.json")
    return Words(language, catalogue[language], catalogue.get(f"{language} sentences", {}))


def _catalogue(name: str) -> dict[str, dict[str, str]]:
    read: dict[str, Any] = json.loads(files("evmbilling.integrations.pages").joinpath(name).read_text("utf-8"))
    return read


def chosen_language(request: Request) -> str | None:
    """Return the language that the address asks for; None where it says nothing that we speak."""
    return next((value for name, value in request.query if name == "lang" and value in LANGUAGES), None)


def language_of(request: Request) -> str:
    """Return the language of the address, or the one that a browser asks for first (RFC 9110, 12.5.4)."""
    chosen = chosen_language(request)
    if chosen is not None:
        return chosen
    wanted = (request.header("accept-language") or "").split(",")[:_MOST_LANGUAGES]
    weighed = [(_weight(item), -place, item.partition(";")[0].strip()) for place, item in enumerate(wanted)]
    for weight, _, name in sorted(weighed, reverse=True):
        language = name.partition("-")[0].lower()
        if language in LANGUAGES and weight > 0:
            return language
    return DEFAULT_LANGUAGE


def _weight(item: str) -> int:
    """Return a preference in thousandths; what cannot be read counts nothing."""
    _, found, value = item.partition("q=")
    if not found:
        return 1000
    whole, _, fraction = value.strip().partition(".")
    digits = fraction[:3].ljust(3, "0")
    return int(whole) * 1000 + int(digits) if (whole + digits).isascii() and (whole + digits).isdigit() else 0
