"""What a host decides about its HTTP API."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from pydantic import SecretStr

from evmbilling.domain.actors import Role
from evmbilling.domain.books.paper_words import DEFAULT_LANGUAGE
from evmbilling.domain.web_urls import split_web_url
from evmbilling.errors import ConfigurationError
from evmbilling.integrations.http.languages import LANGUAGES
from evmbilling.settings import BillingSettings, roles_of

PREFIX = "/v1/billing"
METRICS_PATH = "/v1/metrics"
MOST_BYTES = 256 * 1024
"""Of a body."""
_SHORTEST_TOKEN = 16
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def _origin(value: str) -> str:
    parts = split_web_url(value)
    if parts is None or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError("a public url is https://host, with a path where there is one", field="public_url")
    return value.rstrip("/")


def _optional_origin(value: str | None) -> str | None:
    return None if value is None else _origin(value)


def _spoken(_: object, __: object, value: str) -> None:
    if value not in LANGUAGES:
        raise ConfigurationError(f"a language is one of {', '.join(LANGUAGES)}", field="language")


def _metrics_path(value: str | None) -> str | None:
    if value is not None and not _PATH.fullmatch(value):
        raise ConfigurationError("a path is /words/with/slashes", field="metrics_path")
    return value


def _token(value: str | SecretStr | None) -> SecretStr | None:
    """Return a token that nobody guesses; those who look at figures of a business have no account to lock."""
    if value is None:
        return None
    token = value if isinstance(value, SecretStr) else SecretStr(value)
    if len(token.get_secret_value()) < _SHORTEST_TOKEN:
        raise ConfigurationError(f"a token has {_SHORTEST_TOKEN} characters at least", field="metrics_token")
    return token


@frozen(kw_only=True)
class Options:
    """Settings of a mounted API.

    Attributes:
        prefix: where the API is mounted.
        public_url: where people reach the host; links are made from this alone, never from a request's ``Host``. None:
            no links are made.
        pay_path: below it, the page that takes a pay link's token at its end.
        shop_name: shown on pages.
        language: of pages and printed papers for those who ask for none that we speak: ``en`` or ``ru``.
        trusted_origins: more origins whose pages may call with the user's cookies; the public url's own always may.
        roles: the roles of a user whose actor carries none; :func:`evmbilling.settings.roles_of` reads them from the
            environment.
        max_body: bytes of a body at most.
        metrics_path: where Prometheus reads the metrics, from the root of the host; None serves none. ``finance_ops``
            and administrators may read them, and whoever sends the token.
        metrics_token: ``Authorization: Bearer …`` of the metrics; None lets in nobody but the roles.

    """

    prefix: str = PREFIX
    public_url: str | None = field(default=None, converter=_optional_origin)
    pay_path: str = "/billing/pay/"
    shop_name: str = ""
    language: str = field(default=DEFAULT_LANGUAGE, validator=_spoken)
    trusted_origins: tuple[str, ...] = ()
    roles: Callable[[str], frozenset[Role]] = lambda _: frozenset()
    max_body: int = MOST_BYTES
    metrics_path: str | None = field(default=METRICS_PATH, converter=_metrics_path)
    metrics_token: SecretStr | None = field(default=None, converter=_token, repr=False)

    @classmethod
    def from_settings(cls, settings: BillingSettings, **more: Any) -> Options:
        """Return what ``BILLING_…`` settings say of the HTTP API; ``more`` goes before them."""
        read: dict[str, Any] = {"public_url": settings.public_url, "roles": partial(roles_of, settings)}
        read["metrics_token"] = settings.metrics_token
        return cls(**(read | more))

    def pay_url(self, token: str) -> str | None:
        """Return the link by which anybody can pay an order."""
        return None if self.public_url is None else f"{self.public_url}{self.pay_path}{token}"

    def knows(self, origin: str) -> bool:
        """Whether pages of an origin may call with cookies."""
        own = urlsplit(self.public_url or "")
        return origin in self.trusted_origins or origin == f"{own.scheme}://{own.netloc}"
