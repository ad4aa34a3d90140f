"""Requests and responses, as no framework in particular sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from attrs import field, frozen

Pairs = tuple[tuple[str, str], ...]

JSON = "application/json"
PROBLEM = "application/problem+json"
"""The media type of problem documents (RFC 9457)."""


def lower(headers: Iterable[tuple[str, str]]) -> Pairs:
    """Return header pairs with their names in lower case (RFC 9110, 5.1: names are case-insensitive)."""
    return tuple((name.lower(), value) for name, value in headers)


@frozen(kw_only=True)
class Request:
    """What came over the wire.

    Attributes:
        method: upper case. path: as sent, without the query.
        params: what the route's template matched.
        query: decoded pairs, doubled ones too.
        headers: pairs, doubled ones too; names in lower case.
        body: raw bytes, at most as many as the host lets in.

    """

    method: str
    path: str
    params: Mapping[str, str] = field(factory=dict)
    query: Pairs = ()
    headers: Pairs = field(default=(), converter=lower)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return a header's first value; None when it was not sent."""
        return next((value for key, value in self.headers if key == name), None)

    def headers_named(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for key, value in self.headers if key == name]


@frozen(kw_only=True)
class Response:
    """What goes back: the same from every framework."""

    status: int
    headers: Pairs = ()
    body: bytes = field(default=b"", repr=False)

    def with_headers(self, more: Pairs) -> Response:
        """Return the same with more headers; those that it has already stay."""
        known = {name.lower() for name, _ in self.headers}
        return Response(
            status=self.status,
            headers=self.headers + tuple(pair for pair in more if pair[0].lower() not in known),
            body=self.body,
        )


@frozen(kw_only=True)
class Answer:
    """What a handler says: a value of the shape that its route promises.

    Attributes:
        status: the route's own when left out.

    """

    value: object = None
    status: HTTPStatus | None = None
    headers: Pairs = ()


def dumps(value: Any) -> bytes:
    """Write JSON; keys in the order of the shape, so that equal values are equal bytes."""
    return msgspec.json.encode(value)
