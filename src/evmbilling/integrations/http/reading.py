"""Reading requests: bodies, parameters, cursors. Everything wrong has a typed error that names the field."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from evmbilling.domain.strict_json import parse_strict
from evmbilling.domain.subscriptions.calendar import parse_instant
from evmbilling.errors import InputError, NotFound
from evmbilling.integrations.http.messages import JSON, Request
from evmbilling.integrations.http.problems import BodyTooLarge, HttpError, InvalidBody, UnsupportedMedia

if TYPE_CHECKING:
    from evmbilling.integrations.http.routes import Call

MOST_ROWS = 100
"""Of a page."""
DEFAULT_ROWS = 50
_LONGEST_CURSOR = 512
_CURSOR_MARK = "c1:"
_NO_CURSOR = "this is no cursor of an earlier page"
_KEYS = frozenset({"after", "before"})
"""What the engine calls the key of the last row."""
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def read_body(request: Request, shape: type[BaseModel], most: int) -> BaseModel:
    """Read a JSON body of a shape; no body is an empty object.

    Raises:
        BodyTooLarge, UnsupportedMedia: before anything is parsed; that it is compressed, too.
        HttpError: no JSON, or such as parsers disagree about; or two media types.
        InvalidBody: another shape; names the field.

    """
    if len(request.body) > most:
        raise BodyTooLarge(field="body")
    kind = (single_header(request, "content-type") or "").partition(";")[0].strip().lower()
    if request.body and kind != JSON:
        raise UnsupportedMedia(field="content-type")
    check_coding(request)
    try:
        value = parse_strict(request.body.decode() or "{}")
    except (UnicodeDecodeError, ValueError) as error:
        reason = "no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise HttpError(f"the body is no JSON that can be read: {reason}", field="body") from None
    try:
        return shape.model_validate(value)
    except ValidationError as wrong:
        raise _invalid(wrong) from None


def _invalid(wrong: ValidationError) -> InvalidBody:
    """Return the first thing that is wrong, and where; the value itself is never repeated."""
    first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    # The library would name a class of ours.
    return InvalidBody("an object is expected" if first["type"] == "model_type" else first["msg"], field=where)


def check_coding(request: Request) -> None:
    """Refuse a body that says it is compressed: who reads it on the way would see another one (RFC 9110, 8.4).

    Raises:
        HttpError: the coding was said more than once.
        UnsupportedMedia: it has a coding.

    """
    coding = single_header(request, "content-encoding")
    if request.body and coding is not None and coding.strip().lower() != "identity":
        raise UnsupportedMedia("a body is sent as it is, without a Content-Encoding", field="content-encoding")


def single_header(request: Request, name: str) -> str | None:
    """Return a header that may be sent once at most.

    Raises:
        HttpError: it came more than once: nobody knows which one was meant.

    """
    values = request.headers_named(name)
    if len(values) > 1:
        raise HttpError("this header was sent more than once", field=name)
    return values[0] if values else None


def check_query(request: Request, known: tuple[str, ...]) -> None:
    """Refuse parameters that are unknown or doubled.

    Raises:
        HttpError: names the parameter.

    """
    seen = set()
    for name, _ in request.query:
        if name not in known:
            raise HttpError("there is no such parameter", field=name[:64])
        if name in seen:
            raise HttpError("this parameter was sent more than once", field=name)
        seen.add(name)


def query_of(call: Call, name: str) -> str | None:
    """Return a parameter of the query; None when it was not sent."""
    return next((value for key, value in call.request.query if key == name), None)


def limit_of(call: Call) -> int:
    """Return how many rows a page shall have.

    Raises:
        InputError: not from 1 to 100.

    """
    value = query_of(call, "limit")
    if value is None:
        return DEFAULT_ROWS
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(MOST_ROWS)) and 1 <= int(value) <= MOST_ROWS):
        raise InputError(f"a page has 1 to {MOST_ROWS} rows", field="limit")
    return int(value)


def cursor_of(call: Call) -> str | None:
    """Return what a cursor stands for: the key of the last row of the page before.

    Raises:
        InputError: not one of ours.

    """
    value = query_of(call, "cursor")
    if value is None:
        return None
    try:
        plain = base64.urlsafe_b64decode(value[:_LONGEST_CURSOR].encode("ascii") + b"==").decode("ascii")
    except (UnicodeError, binascii.Error):
        plain = ""
    if not plain.startswith(_CURSOR_MARK):
        raise InputError(_NO_CURSOR, field="cursor")
    return plain.removeprefix(_CURSOR_MARK)


def said_of_cursor(error: Exception, request: Request) -> Exception:
    """Return what is wrong with the key in a cursor as what is wrong with the cursor: nobody sent the key itself."""
    sent = {name for name, _ in request.query}
    of_key = isinstance(error, InputError | NotFound) and error.field in _KEYS - sent
    return InputError(_NO_CURSOR, field="cursor") if of_key and "cursor" in sent else error


def make_cursor(key: str) -> str:
    """Return an opaque cursor for the row with a key."""
    return base64.urlsafe_b64encode((_CURSOR_MARK + key).encode("ascii")).rstrip(b"=").decode("ascii")


def read_instant(value: str | None, *, field: str) -> datetime | None:
    """Read an instant (RFC 3339) that may be absent.

    Raises:
        InputError: no instant, or one without a zone.

    """
    if value is None:
        return None
    try:
        # Python reads week dates too, and instants without dashes or seconds.
        moment = datetime.fromisoformat(value.upper()) if _RFC3339.fullmatch(value) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InputError("an instant is written 2030-01-31T12:00:00Z", field=field)
    return parse_instant(moment, field=field)


def read_hex(value: str) -> bytes:
    """Read hex bytes whose form was checked."""
    return bytes.fromhex(value[2:])


def read_hex_or_none(value: str | None) -> bytes | None:
    """Read hex bytes that may be absent."""
    return None if value is None else read_hex(value)
