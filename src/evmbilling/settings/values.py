"""How the text of one variable becomes a value. Errors say what was expected and repeat nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Secret, SecretStr
from pydantic_settings import NoDecode

from evmbilling.domain.books.receipt_documents import check_text
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.hints import parse_secrets
from evmbilling.domain.strict_json import parse_strict
from evmbilling.errors import ConfigurationError, InputError

_KEY_BYTES = 32
_LARGEST_FILE = 1024 * 1024
_LAST_PORT: Final = 65_535
_SHORTEST_TOKEN = 16
_ROLES = ("storage", "provider", "notifier", "quota", "signer")
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def _json_object(value: object) -> object:
    """Read a JSON object without repeating any of it in an error."""
    if not isinstance(value, str):
        return value
    try:
        read = parse_strict(value)
    except ValueError as error:
        where = str(error)
    else:
        if isinstance(read, dict):
            return read
        where = "not an object"
    raise ValueError(f"a JSON object is expected ({where})")


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _users(value: object) -> object:
    listed = _words(value)
    if not isinstance(listed, Sequence):
        raise ValueError("a list of user ids, separated by commas, is expected")  # noqa: TRY004  - pydantic's protocol
    return tuple(_said(parse_opaque, word) for word in listed)


def _secret_keys(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not (text.split() and all(map(_is_key, text.split()))):
        raise ValueError(f"base64 of {_KEY_BYTES} bytes is expected, or several separated by spaces, the newest first")
    return value


def keys_of(keys: SecretStr | None) -> tuple[bytes, ...]:
    """Return the keys that one variable holds, the newest first; none when it is not set."""
    return () if keys is None else tuple(map(key_bytes, keys.get_secret_value().split()))


def key_bytes(text: str) -> bytes:
    """Return the bytes of a key, from base64 of either alphabet.

    Raises:
        ValueError: it is not base64.

    """
    return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)


def _is_key(text: str) -> bool:
    try:
        return len(key_bytes(text)) == _KEY_BYTES
    except ValueError:
        return False


def _webhook_secret(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str):
        parse_secrets(text)
    return value


def _metrics_token(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and len(text) < _SHORTEST_TOKEN:
        raise ValueError(f"at least {_SHORTEST_TOKEN} characters are expected")
    return value


def _seller(value: object) -> object:
    return _said(check_text, value) if isinstance(value, str) else value


def _plugin_options(value: object) -> object:
    read = _json_object(value)
    for key in read if isinstance(read, Mapping) else ():
        role, _, name = str(key).partition(".")
        if role not in _ROLES or not name:
            raise ValueError(f"keys are written role.name, with a role of {', '.join(_ROLES)}")
    return read


def _origin(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("https://host is expected, with a path where there is one")
    return value


def _places(value: object) -> object:
    listed = _words(value)
    for word in listed if isinstance(listed, tuple) else ():
        if not _HOST_AND_PORT.fullmatch(word):
            raise ValueError("host:port is expected, several separated by commas")
        if not 0 < int(word.rpartition(":")[2]) <= _LAST_PORT:
            raise ValueError(f"a port is from 1 to {_LAST_PORT}")
    return listed


def _said(parse: Callable[..., Any], value: object) -> Any:
    try:
        return parse(value, field="")
    except InputError as error:
        text = error.message
    raise ValueError(text)


def file_text(path: Path, variable: str) -> str:
    """Return the text of the file that a variable names, without white space and a byte-order mark around it.

    Raises:
        ConfigurationError: it cannot be read, is empty, not UTF-8 or larger than 1 MiB; names the variable.

    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)  # no size is asked for: a device has none, and no end either
        text = content.decode("utf-8-sig").strip()
        if text and len(content) <= _LARGEST_FILE:
            return text
        problem = "is too large" if text else "is empty"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError:
        problem = "is not UTF-8 text"
    raise ConfigurationError(f"the file {str(path)!r} {problem}", field=variable)


_Rows = Secret[dict[str, dict[str, Any]]]
Fields = Annotated[Secret[dict[str, Any]], NoDecode, BeforeValidator(_json_object)]
Json = Annotated[_Rows, NoDecode, BeforeValidator(_json_object)]
Options = Annotated[_Rows, NoDecode, BeforeValidator(_plugin_options)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Users = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_users)]
Places = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_places)]
Origin = Annotated[str, BeforeValidator(_origin)]
SecretKeys = Annotated[SecretStr, BeforeValidator(_secret_keys)]
MetricsToken = Annotated[SecretStr, BeforeValidator(_metrics_token)]
Seller = Annotated[str, BeforeValidator(_seller)]
WebhookSecret = Annotated[SecretStr, BeforeValidator(_webhook_secret)]
