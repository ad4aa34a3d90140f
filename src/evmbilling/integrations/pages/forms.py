"""Forms of pages: read from the body as browsers send them, answered with the page that shows what came of it."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl

from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.problems import HttpError, UnsupportedMedia
from evmbilling.integrations.http.reading import check_coding
from evmbilling.integrations.http.routes import Call

FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


def read_form(call: Call, *names: str) -> dict[str, str]:
    """Return the fields of a form that were filled in.

    Raises:
        UnsupportedMedia: no form was sent, or a compressed one.
        HttpError: it cannot be read, or has a field that is unknown or doubled.

    """
    kind = (call.request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise UnsupportedMedia("a form is sent as application/x-www-form-urlencoded", field="content-type")
    check_coding(call.request)
    try:
        pairs = parse_qsl(
            call.request.body.decode("ascii"), keep_blank_values=True, strict_parsing=False, max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise HttpError("the form cannot be read", field="body") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in names or name in found:
            raise HttpError("this field is unknown, or was sent more than once", field=name[:64])
        found[name] = value.strip()
    return {name: value for name, value in found.items() if value}


def see_other(address: str) -> Answer:
    """Return a redirect after a form: a reload asks for the page, and sends nothing again."""
    return Answer(value=b"", status=HTTPStatus.SEE_OTHER, headers=(("Location", address),))
