"""Taking urls apart that come from outside: what cannot be taken apart is no url, and no failure of ours."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def split_web_url(value: object) -> SplitResult | None:
    """Return the parts of an http or https url; None for everything else, however it is written.

    ``urlsplit`` raises for some texts, such as an IPv6 host without its end or a host that Unicode would change.
    """
    if not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") else None
