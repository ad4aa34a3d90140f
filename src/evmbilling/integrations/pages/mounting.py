"""All pages of an engine, mounted as the API is; what goes wrong is told to people as a page."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.engine.core import Engine
from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.messages import Request, Response
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.pages.checkout import pay_pages
from evmbilling.integrations.pages.desk import desk_pages
from evmbilling.integrations.pages.desk_health import health_pages
from evmbilling.integrations.pages.desk_queue import queue_pages
from evmbilling.integrations.pages.rendering import HEADERS, PAGES_PREFIX, templates

TABLES = (pay_pages, desk_pages, queue_pages, health_pages)
_SAID = {
    HTTPStatus.UNAUTHORIZED: ("Please sign in", "This page is for people who are signed in."),
    HTTPStatus.FORBIDDEN: ("Not for you", "Your account does not have the role that this page needs."),
    HTTPStatus.NOT_FOUND: ("Not here", "There is nothing at this address."),
}
_ELSE = (
    "That did not work",
    "Please go back and try it again. If it stays like this, tell the people who run the shop:",
)


class Pages(HttpApi):
    """The pages of one engine: for browsers, errors are pages too."""

    def __init__(self, engine: Engine, options: Options) -> None:
        super().__init__(engine, options, tables=TABLES, prefix=PAGES_PREFIX)

    def failed(self, error: Exception, request: Request, correlation: str | None = None) -> Response:
        """Return an error as a page to browsers, as a problem document to everybody else."""
        told = super().failed(error, request, correlation)
        if "text/html" not in (request.header("accept") or ""):
            return told
        title, text = _SAID.get(HTTPStatus(told.status), _ELSE)
        name = next(value for key, value in told.headers if key == "X-Correlation-Id")
        body = (
            templates()
            .get_template("message.html")
            .render(
                lang="en",
                static=f"{PAGES_PREFIX}/static",
                title=title,
                text=text if title != _ELSE[0] else f"{text} {name}",
            )
        )
        plain = tuple(pair for pair in told.headers if pair[0] not in ("Content-Type", "Content-Security-Policy"))
        headers = (*plain, ("Content-Type", "text/html; charset=utf-8"), *HEADERS)
        return Response(status=told.status, headers=headers, body=body.encode())
