"""Reading secrets from an administrator: references are kept, plain values are checked and encrypted at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evmbilling.domain.messages.hints import parse_secrets
from evmbilling.domain.secrets import SecretRef, parse_secret_ref
from evmbilling.domain.web_urls import split_web_url
from evmbilling.errors import InputError
from evmbilling.ports.secrets import Secrets

Reader = Callable[[Any], Any]
_REFERENCES = ("env:", "file:", "plugin:", "enc:")


def secret(field: str, secrets: Secrets) -> Reader:
    """Return a reader of secrets: references are kept, a plain value is encrypted at once."""

    def read(value: object) -> SecretRef:
        if not _can_be_stored(value):
            raise InputError("a secret is Unicode text; this holds half a character", field=field)
        try:
            return parse_secret_ref(value, field=field)
        except InputError:
            # Something that looks like a reference and is none is a slip, not a secret.
            if not isinstance(value, str) or not value or value.startswith(_REFERENCES):
                raise
            return secrets.seal(value)

    return read


def _can_be_stored(value: object) -> bool:
    """Whether UTF-8 can write a text; raised elsewhere, so that no error leads to one that holds the secret."""
    text = value.locator if isinstance(value, SecretRef) else value
    if not isinstance(text, str):
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def rpc_url(secrets: Secrets, field: str = "rpc_urls") -> Reader:
    """Return a reader of node urls: references, or a plain http(s) url, which is encrypted at once."""
    kept = secret(field, secrets)

    def read(value: object) -> SecretRef:
        if isinstance(value, str) and not value.startswith(_REFERENCES):
            _check_node_url(value, field)
        ref: SecretRef = kept(value)
        return ref

    return read


def _check_node_url(value: str, field: str) -> None:
    """Refuse what no node can be reached at; the url itself is a secret, and never repeated."""
    parts = split_web_url(value)
    if parts is None:
        raise InputError("a node url begins with http:// or https://", field=field)
    try:
        reached = parts.port != 0 and bool(parts.hostname)
    except ValueError:  # of the port
        reached = False
    if not reached or not value.isprintable() or " " in value:
        raise InputError("a node url has a host, a port up to 65535, and no blanks or control characters", field=field)


def webhook_secret(field: str, secrets: Secrets) -> Reader:
    """Return a reader of webhook secrets: a reference, or ``whsec_`` secrets separated by spaces, the newest first."""
    kept = secret(field, secrets)

    def read(value: object) -> SecretRef:
        message = ""
        if isinstance(value, str) and not value.startswith(_REFERENCES):
            try:
                parse_secrets(value)
            except ValueError as error:
                message = str(error)
        if message:
            raise InputError(message, field=field)
        ref: SecretRef = kept(value)
        return ref

    return read
