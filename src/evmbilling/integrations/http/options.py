"""What a host decides about its HTTP API."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import field, frozen

from evmbilling.errors import ConfigurationError

PREFIX = "/v1/billing"
MOST_BYTES = 256 * 1024
"""Of a body."""


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError("a public url is https://host, with a path where there is one", field="public_url")
    return value.rstrip("/")


def _optional_origin(value: str | None) -> str | None:
    return None if value is None else _origin(value)


@frozen(kw_only=True)
class Options:
    """Settings of a mounted API.

    Attributes:
        prefix: where the API is mounted.
        public_url: where people reach the host; links are made from this alone, never from a request's ``Host``. None:
            no links are made.
        pay_path: below it, the page that takes a pay link's token at its end.
        shop_name: shown on pages.
        trusted_origins: more origins whose pages may call with the user's cookies; the public url's own always may.
        finance_ops: users who are ``finance_ops`` when their actor carries no roles.
        max_body: bytes of a body at most.

    """

    prefix: str = PREFIX
    public_url: str | None = field(default=None, converter=_optional_origin)
    pay_path: str = "/billing/pay/"
    shop_name: str = ""
    trusted_origins: tuple[str, ...] = ()
    finance_ops: frozenset[str] = frozenset()
    max_body: int = MOST_BYTES

    def pay_url(self, token: str) -> str | None:
        """Return the link by which anybody can pay an order."""
        return None if self.public_url is None else f"{self.public_url}{self.pay_path}{token}"

    def knows(self, origin: str) -> bool:
        """Whether pages of an origin may call with cookies."""
        own = urlsplit(self.public_url or "")
        return origin in self.trusted_origins or origin == f"{own.scheme}://{own.netloc}"
