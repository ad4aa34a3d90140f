"""Keeping urls out of texts: a node's url is a secret, because its path, query or host name often is a key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

_SHORTEST = 4
_LONGEST_TEXT = 200
_PARTS = re.compile(r"[/?&=;,+#]")
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
        # Cut after redacting: a key that straddles the cut would otherwise leave its first half behind.
        printable = _UNPRINTABLE.sub(" ", text[: 100 * _LONGEST_TEXT])
        return (self._pattern.sub("…", printable) if self._pattern else printable)[:_LONGEST_TEXT]


def _secret_parts(url: str) -> Iterable[str]:
    yield url
    try:
        split = urlsplit(url)
        pieces = [split.netloc, split.hostname or "", split.username or "", split.password or ""]
    except ValueError:
        return
    pieces += [split.path, split.query, split.path + "?" + split.query]
    pieces += _PARTS.split(split.path) + _PARTS.split(split.query)
    for piece in pieces:
        yield piece
        yield piece.strip("/")
        yield unquote(piece)
