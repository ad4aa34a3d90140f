"""Pages for people: the checkout page and the finance desk. Everything that they load comes from the host itself."""

from evmbilling.integrations.http.extras import needs

needs("jinja2", extra="pages")
needs("pygal", extra="pages")
needs("segno", extra="pages")

from evmbilling.integrations.pages.mounting import Pages  # noqa: E402  # after the check
from evmbilling.integrations.pages.rendering import PAGES_PREFIX  # noqa: E402  # after the check

__all__ = ["PAGES_PREFIX", "Pages"]
