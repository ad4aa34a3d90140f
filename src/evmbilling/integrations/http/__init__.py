"""The HTTP API without a framework: routes, strict requests, answers as bytes, problem documents, OpenAPI.

A framework's integration turns its own request into a :class:`Request`, calls :meth:`HttpApi.respond` with the route
that it matched, and sends the :class:`Response` as it is. So every host answers with the same bytes.
"""

from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.messages import Request, Response
from evmbilling.integrations.http.routes import Route

__all__ = ["HttpApi", "Request", "Response", "Route"]
