"""Signing in, and forms that only the shop's own pages can send."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import MutableMapping
from typing import Any

from sqlalchemy.orm import Session

from .tables import User

_LONGEST = 64


class Refused(Exception):
    """What was sent cannot be taken; the text is for the user."""


def sign_in(session: Session, name: str, password: str) -> str:
    """Return the user's name; a new name becomes an account. A real shop would ask for more."""
    if not (name.isascii() and name.isalnum() and len(name) <= _LONGEST and password):
        raise Refused("A name has letters and digits, and a password is not empty.")
    known = session.get(User, name)
    if known is None:
        salt = secrets.token_bytes(16)
        session.add(User(name=name, salt=salt, password=_hashed(password, salt)))
    elif not hmac.compare_digest(known.password, _hashed(password, known.salt)):
        raise Refused("That is not the password of this name.")
    return name


def form_token(cookies: MutableMapping[str, Any]) -> str:
    """Return the word that every form of this session carries: other sites cannot know it."""
    return str(cookies.setdefault("form", secrets.token_urlsafe(24)))


def check_form(cookies: MutableMapping[str, Any], form: MutableMapping[str, str]) -> None:
    """Refuse a form that does not come from a page of this session.

    That holds for signing in, too: otherwise another site could sign a visitor in as somebody else, who then pays for
    that account. Each page gives its session a word, in a signed cookie that other sites neither read nor send; without
    such a cookie nothing is taken.
    """
    expected = str(cookies.get("form", ""))
    if not expected or not hmac.compare_digest(expected.encode(), form.get("form", "").encode()):
        raise Refused("This form is too old. Please try again.")


def _hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
