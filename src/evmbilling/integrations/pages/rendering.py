"""Templates, texts and files of pages, and the headers that keep everything else out."""

from __future__ import annotations

import io
import json
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evmbilling.integrations.http.messages import Answer, Pairs

PAGES_PREFIX = "/billing"
_HERE = files("evmbilling.integrations.pages")
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What pages may load (Content Security Policy 3): our own files and nothing else."""
HEADERS: Pairs = (("Content-Security-Policy", POLICY),)


@cache
def templates() -> Environment:
    """Return the templates; what is put into them is escaped, and a name that is missing is an error."""
    loader = PackageLoader("evmbilling.integrations.pages")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def html(template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Answer:
    """Return a page."""
    body = templates().get_template(template).render(**values).encode()
    return Answer(value=body, status=status, headers=HEADERS)


def embedded(value: object) -> Markup:
    """Return JSON that is safe inside a script element: no character can end it or begin another."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return Markup(written)  # noqa: S704  # escaped above, for the place where it stands


def static_file(name: str) -> Answer | None:
    """Return one of our own files; None when there is none with this name."""
    stem, dot, ending = name.rpartition(".")
    if not (dot and stem.isascii() and stem.isalpha() and ending in _TYPES):
        return None
    found = _HERE.joinpath("static", name)
    if not found.is_file():
        return None
    headers = (("Content-Type", _TYPES[ending]), ("Cache-Control", "max-age=3600"))
    return Answer(value=found.read_bytes(), headers=headers)


def qr(text: str) -> Answer:
    """Return a QR code (ISO/IEC 18004) as an image."""
    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False).save(drawn, kind="svg", scale=4, border=2, xmldecl=False)
    return Answer(value=drawn.getvalue(), headers=(("Content-Type", "image/svg+xml"), *HEADERS))
