"""Sign-in messages (EIP-4361): the exact text by which a wallet proves that it belongs to a user."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

from attrs import frozen

from evmbilling._keccak import keccak
from evmbilling.errors import InputError

_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?(?::[0-9]{1,5})?", re.ASCII)
_STATEMENT = "Confirm that this wallet belongs to your account. This sends no transaction and costs nothing."


@frozen(kw_only=True)
class SignIn:
    """What a sign-in message binds.

    Attributes:
        domain: host, with its port where it has one (RFC 3986 authority); what the wallet compares with the page.
        uri: the page or resource, on that domain.
        nonce: at least 8 letters and digits.

    """

    domain: str
    uri: str
    address: str
    chain_id: int
    nonce: str
    issued_at: datetime
    expires_at: datetime

    def text(self) -> str:
        """Return the message as EIP-4361 writes it; line by line, nothing of it comes from a user."""
        return "\n".join(
            (
                f"{self.domain} wants you to sign in with your Ethereum account:",
                self.address,
                "",
                _STATEMENT,
                "",
                f"URI: {self.uri}",
                "Version: 1",
                f"Chain ID: {self.chain_id}",
                f"Nonce: {self.nonce}",
                f"Issued At: {_rfc3339(self.issued_at)}",
                f"Expiration Time: {_rfc3339(self.expires_at)}",
            )
        )


def parse_domain(value: object, *, field: str) -> str:
    """Read a domain: host and optional port, ASCII.

    Raises:
        InputError: anything else, line breaks included.

    """
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise InputError("a domain is a host with an optional port", field=field)
    return value


def parse_uri(value: object, domain: str, *, field: str) -> str:
    """Read a URI on a domain.

    Raises:
        InputError: not http(s), on another host, with user information, or with characters that are not printable.

    """
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise InputError("a URI is printable ASCII without spaces", field=field)
    try:
        parts = urlsplit(value)
    except ValueError:
        raise InputError("this is no URI", field=field) from None
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != domain.lower():
        raise InputError(f"the URI is not on {domain}", field=field)
    return value


def personal_digest(message: str) -> bytes:
    """Return the 32 bytes that a wallet signs for a text (EIP-191, version 0x45)."""
    raw = message.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(raw)).encode() + raw)


def _rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")
