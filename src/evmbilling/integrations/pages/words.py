"""The catalogue of what pages say, in the languages that there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from attrs import field, frozen

from evmbilling.domain.books.paper_words import DEFAULT_LANGUAGE
from evmbilling.errors import BillingError


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
