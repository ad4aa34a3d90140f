"""What papers say in each language: their words, dates, amounts, and the lines of an order that are ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from attrs import field, frozen

DEFAULT_LANGUAGE = "en"
_OWN_LINES = (
    ("quantity", "line_more", re.compile(r"(?P<n>[0-9]+) more", re.ASCII)),
    ("proration", "line_shorter", re.compile("a shorter period")),
    ("proration", "line_longer", re.compile("a longer period")),
    ("credit", "line_unused", re.compile("Unused time of (?P<plan>.+)")),
    ("tax", "line_unused_tax", re.compile("Tax of unused time")),
)
"""Texts of order lines that are ours, by kind; orders keep them in English. Every other text is the host's."""


@frozen
class PaperWords:
    """One language, as papers are written in it."""

    language: str
    said: Mapping[str, str] = field(repr=False)

    def __call__(self, key: str, **values: object) -> str:
        """Return a text, with values in its ``{places}``.

        Raises:
            KeyError: there is no such text: a mistake of ours.

        """
        return self.said[key].format(**values)

    def reason(self, text: str) -> str:
        """Return why something was corrected; what people wrote stays as it is."""
        return self.said.get(f"reason_{text}", text)

    def line(self, kind: str, text: str) -> str:
        """Return the text of an order's line; the host's and a plan's name stay as they are."""
        for own, key, pattern in _OWN_LINES:
            found = pattern.fullmatch(text) if kind == own else None
            if found is not None:
                return self(key, **found.groupdict())
        return text

    def amount(self, display: str, symbol: str = "") -> str:
        """Write an amount as people of the language do: thousands apart, exactly the digits that it has.

        Args:
            display: as :func:`evmbilling.domain.books.receipt_documents.display` writes it.
            symbol: stands behind it, on the same line.

        """
        whole, _, fraction = display.partition(".")
        sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
        grouped = f"{int(digits):,}".replace(",", self.said["group"])
        written = f"{sign}{grouped}{self.said['point'] if fraction else ''}{fraction}"
        return f"{written}\N{NO-BREAK SPACE}{symbol}" if symbol else written

    def day(self, moment: datetime) -> str:
        """Write the day of an instant in UTC."""
        there = moment.astimezone(UTC)
        month = self.said["months"].split()[there.month - 1]
        return self("day", day=there.day, month=month, year=there.year)

    def moment(self, moment: datetime) -> str:
        """Write an instant to the second, in UTC."""
        return self("moment", date=self.day(moment), time=f"{moment.astimezone(UTC):%H:%M:%S}")


def paper_words(locale: str) -> PaperWords:
    """Return the words for a locale (BCP 47): of its language where it is ours, else of English."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    spoken = language if language in _catalogue() else DEFAULT_LANGUAGE
    return PaperWords(spoken, _catalogue()[spoken])


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    path = files("evmbilling.domain.books").joinpath("paper_texts.json")
    read: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return read
