"""The metrics of an engine in its host, for Prometheus: below no mount point, and not for everybody."""

from __future__ import annotations

import hmac
import json

from evmbilling.integrations.http.messages import Answer, Request
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.http.problems import MetricsUnavailable
from evmbilling.integrations.http.routes import Call, RouteTable
from evmbilling.integrations.metrics import metrics_page

_FINE = 200


def metrics_at(path: str | None) -> RouteTable:
    """Return the route at a path; none without one."""
    table = RouteTable("metrics", access="finance_ops")
    if path is None:
        return table

    @table.get(path, outside=True, key=has_token, produces="text/plain", errors=(MetricsUnavailable,))
    def get_metrics(call: Call) -> Answer:
        """The metrics of billing in the text format of Prometheus.

        For `finance_ops`, administrators, and whoever sends the configured token as `Authorization: Bearer`.
        """
        page = metrics_page(call.engine)
        if page.status != _FINE:
            told = json.loads(page.body)
            raise MetricsUnavailable(told["reason"], cause=told["code"])
        return Answer(value=page.body, headers=(("Content-Type", page.content_type),))

    return table


def has_token(request: Request, options: Options) -> bool:
    """Whether a request brings the token of the metrics (RFC 6750), compared in constant time."""
    if options.metrics_token is None:
        return False
    scheme, _, given = (request.header("authorization") or "").partition(" ")
    known = options.metrics_token.get_secret_value().encode()
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), known)
