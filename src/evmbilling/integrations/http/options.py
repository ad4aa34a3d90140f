"""What a host decides about its HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from evmbilling.domain.actors import Role
from evmbilling.errors import ConfigurationError
from evmbilling.settings import BillingSettings, roles_of

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
        roles: the roles of a user whose actor carries none; :func:`evmbilling.settings.roles_of` reads them from the
            environment.
        max_body: bytes of a body at most.

    """

    prefix: str = PREFIX
    public_url: str | None = field(default=None, converter=_optional_origin)
    pay_path: str = "/billing/pay/"
    shop_name: str = ""
    trusted_origins: tuple[str, ...] = ()
    roles: Callable[[str], frozenset[Role]] = lambda _: frozenset()
    max_body: int = MOST_BYTES

    @classmethod
    def from_settings(cls, settings: BillingSettings, **more: Any) -> Options:
        """Return what ``BILLING_…`` settings say of the HTTP API; ``more`` goes before them."""
        read: dict[str, Any] = {"public_url": settings.public_url, "roles": partial(roles_of, settings)}
        return cls(**(read | more))

    def pay_url(self, token: str) -> str | None:
        """Return the link by which anybody can pay an order."""
        return None if self.public_url is None else f"{self.public_url}{self.pay_path}{token}"

    def knows(self, origin: str) -> bool:
        """Whether pages of an origin may call with cookies."""
        own = urlsplit(self.public_url or "")
        return origin in self.trusted_origins or origin == f"{own.scheme}://{own.netloc}"
