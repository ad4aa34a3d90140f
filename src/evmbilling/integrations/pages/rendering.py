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

from evmbilling.integrations.http.messages import Answer, Pairs, Request

PAGES_PREFIX = "/billing"
LANGUAGES = ("en", "ru")
_HERE = files("evmbilling.integrations.pages")
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_MOST_LANGUAGES = 20
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
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@cache
def texts(language: str) -> dict[str, str]:
    """Return the texts of a language that there is."""
    catalogue: dict[str, dict[str, str]] = json.loads(_HERE.joinpath("texts.json").read_text("utf-8"))
    return catalogue[language]


def language_of(request: Request) -> str:
    """Return the language that a browser asks for first, of those that there are (RFC 9110, 12.5.4)."""
    wanted = (request.header("accept-language") or "").split(",")[:_MOST_LANGUAGES]
    weighed = [(_weight(item), -place, item.partition(";")[0].strip()) for place, item in enumerate(wanted)]
    for weight, _, name in sorted(weighed, reverse=True):
        language = name.partition("-")[0].lower()
        if language in LANGUAGES and weight > 0:
            return language
    return LANGUAGES[0]


def _weight(item: str) -> int:
    """Return a preference in thousandths; what cannot be read counts nothing."""
    _, found, value = item.partition("q=")
    if not found:
        return 1000
    whole, _, fraction = value.strip().partition(".")
    digits = fraction[:3].ljust(3, "0")
    return int(whole) * 1000 + int(digits) if (whole + digits).isascii() and (whole + digits).isdigit() else 0


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
