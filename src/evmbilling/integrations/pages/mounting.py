"""All pages of an engine, mounted as the API is; what goes wrong is told to people as a page."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.engine.core import Engine
from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.languages import language_of
from evmbilling.integrations.http.messages import Request, Response
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.pages.checkout import pay_pages
from evmbilling.integrations.pages.desk import desk_pages
from evmbilling.integrations.pages.desk_deposits import deposit_pages
from evmbilling.integrations.pages.desk_figures import figure_pages
from evmbilling.integrations.pages.desk_health import health_pages
from evmbilling.integrations.pages.desk_orders import order_pages
from evmbilling.integrations.pages.desk_queue import queue_pages
from evmbilling.integrations.pages.desk_refunds import refund_pages
from evmbilling.integrations.pages.rendering import HEADERS, PAGES_PREFIX, templates
from evmbilling.integrations.pages.words import desk_words

TABLES = (pay_pages, desk_pages, figure_pages, order_pages, queue_pages, refund_pages, deposit_pages, health_pages)
_SAID = {
    HTTPStatus.UNAUTHORIZED: "sign_in",
    HTTPStatus.FORBIDDEN: "not_for_you",
    HTTPStatus.NOT_FOUND: "not_here",
}


class Pages(HttpApi):
    """The pages of one engine: for browsers, errors are pages too."""

    def __init__(self, engine: Engine, options: Options) -> None:
        super().__init__(engine, options, tables=TABLES, prefix=PAGES_PREFIX)

    def failed(self, error: Exception, request: Request, correlation: str | None = None) -> Response:
        """Return an error as a page to browsers, as a problem document to everybody else."""
        told = super().failed(error, request, correlation)
        if "text/html" not in (request.header("accept") or ""):
            return told
        words, said = desk_words(language_of(request, self.options.language)), _SAID.get(HTTPStatus(told.status))
        name = next(value for key, value in told.headers if key == "X-Correlation-Id")
        body = (
            templates()
            .get_template("message.html")
            .render(
                lang=words.language,
                static=f"{PAGES_PREFIX}/static",
                title=words(said or "failed"),
                text=words(f"{said}_text") if said else words("failed_text", name=name),
            )
        )
        plain = tuple(pair for pair in told.headers if pair[0] not in ("Content-Type", "Content-Security-Policy"))
        headers = (*plain, ("Content-Type", "text/html; charset=utf-8"), *HEADERS)
        return Response(status=told.status, headers=headers, body=body.encode())
