"""Keeping urls out of texts: a node's url is a secret, because its path, query or host name often is a key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

_SHORTEST = 4
_LONGEST_TEXT = 200
_PARTS = re.compile(r"[^0-9A-Za-z_-]+")
_MARK = "\0"
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class Redactor:
    """Removes every part of some urls from a text, the longest first; its repr shows none of them."""

    def __init__(self, urls: Iterable[str]) -> None:
        parts = {part for url in urls for part in _secret_parts(url) if len(part) >= _SHORTEST}
        ordered = sorted(parts, key=lambda part: (-len(part), part))
        self._pattern = re.compile("|".join(map(re.escape, ordered)), re.IGNORECASE) if ordered else None

    def __repr__(self) -> str:
        return "<Redactor>"

    def clean(self, text: str) -> str:
        """Return at most 200 printable ASCII characters of a node's text, without any part of a url."""
        # Redacted first: a key that is cut, or stripped of a letter, would no longer be recognised.
        redacted = self._pattern.sub(_MARK, text) if self._pattern else text
        return _UNPRINTABLE.sub(" ", redacted.replace(_MARK, "..."))[:_LONGEST_TEXT]


def _secret_parts(url: str) -> Iterable[str]:
    yield url
    try:
        split = urlsplit(url)
        pieces = [split.netloc, split.hostname or "", split.username or "", split.password or ""]
    except ValueError:
        pieces, split = [], urlsplit("")
    pieces += [split.path, split.query, split.path + "?" + split.query, url.partition("://")[2]]
    for piece in pieces:
        for part in (piece, piece.strip("/"), *re.split(r"[/?&=]", piece)):
            # A node may have decoded the url, or taken it apart: every word of it counts.
            for form in (part, unquote(part)):
                yield form
                yield from _PARTS.split(form)
