"""Errors as problem documents (RFC 9457), each with the stable code of its class."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar, Final, NotRequired

from typing_extensions import TypedDict

from evmbilling.errors import (
    BillingError,
    ChallengeRefused,
    Conflict,
    IdempotencyConflict,
    InputError,
    NetworkUnavailable,
    NotFound,
    PermissionDenied,
    ProviderError,
    RequestInProgress,
    RetryTransaction,
    RpcUnavailable,
    TooManyOpenOrders,
    WebhookRejected,
)
from evmbilling.integrations.http.messages import PROBLEM, Pairs, Response, dumps


class HttpError(BillingError):
    """The request itself cannot be read.

    Attributes:
        status: of the answer.

    """

    code = "bad_request"
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class Unauthenticated(HttpError):
    """This needs a user who is signed in."""

    code = "unauthenticated"
    status = HTTPStatus.UNAUTHORIZED


class CrossSite(HttpError):
    """A page of another site sent this with the user's cookies."""

    code = "cross_site"
    status = HTTPStatus.FORBIDDEN


class NoSuchRoute(HttpError):
    """There is nothing here."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(HttpError):
    """This method does not exist here."""

    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED


class BodyTooLarge(HttpError):
    """The body is too large."""

    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMedia(HttpError):
    """A body is sent as application/json."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class BrokenBody(HttpError):
    """The body did not come whole."""

    code = "broken_body"


class AmbiguousLength(HttpError):
    """A request says in one way how long it is: by Content-Length or by Transfer-Encoding (RFC 9112, 6.1)."""

    code = "ambiguous_length"


class MetricsUnavailable(HttpError):
    """The metrics cannot be read now."""

    code = "metrics_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class InternalError(HttpError):
    """Something went wrong here; it was logged under this correlation id."""

    code = "internal_error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class InvalidBody(InputError):
    """The body does not have the shape that this route takes."""

    code = "invalid_body"


class ProblemDocument(TypedDict):
    """What stands in the way (RFC 9457), with a stable ``code``."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retry_safe: bool
    correlation_id: str
    field: NotRequired[str | None]
    details: NotRequired[dict[str, Any]]


_STATUS: Final[tuple[tuple[type[BillingError], HTTPStatus], ...]] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ChallengeRefused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (PermissionDenied, HTTPStatus.FORBIDDEN),
    (IdempotencyConflict, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TooManyOpenOrders, HTTPStatus.TOO_MANY_REQUESTS),
    (Conflict, HTTPStatus.CONFLICT),
    (NetworkUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (RetryTransaction, HTTPStatus.SERVICE_UNAVAILABLE),
    (RpcUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (ProviderError, HTTPStatus.BAD_GATEWAY),
)
_RETRY_AFTER: Final[tuple[type[BillingError], ...]] = (
    RequestInProgress,
    NetworkUnavailable,
    RetryTransaction,
    RpcUnavailable,
)
_RETRY_SECONDS = "5"
_OUR_FAULT = "something went wrong here; it was logged under this correlation id"


def status_of(error: BillingError) -> HTTPStatus:
    """Return the status that fits an error; 500 for what is our fault or the host's configuration."""
    if isinstance(error, HttpError):
        return error.status
    if isinstance(error, WebhookRejected):
        return HTTPStatus(error.status)
    found = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    return found or HTTPStatus.INTERNAL_SERVER_ERROR


def problem(error: BillingError, correlation_id: str) -> Response:
    """Return an error as a response. What is our fault says nothing of the inside: the log has the correlation id."""
    if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_error(correlation_id)
    headers: Pairs = ()
    if isinstance(error, _RETRY_AFTER):
        headers += (("Retry-After", _RETRY_SECONDS),)
    if isinstance(error, MethodNotAllowed):
        headers += (("Allow", ", ".join(error.details["allowed"])),)
    if isinstance(error, AmbiguousLength):
        # What follows on this connection may be the rest of this request, or somebody else's.
        headers += (("Connection", "close"),)
    return _document(error, correlation_id, headers)


def internal_error(correlation_id: str) -> Response:
    """Return the answer to a failure of ours."""
    return _document(InternalError(_OUR_FAULT), correlation_id)


def _document(error: BillingError, correlation_id: str, headers: Pairs = ()) -> Response:
    status = status_of(error)
    document = ProblemDocument(
        type="about:blank",
        title=status.phrase,
        status=int(status),
        code=error.code,
        detail=error.message,
        retry_safe=error.retry_safe,
        correlation_id=correlation_id,
    )
    if error.field is not None:
        document["field"] = error.field
    if error.details:
        document["details"] = {name: _plain(value) for name, value in error.details.items()}
    return Response(status=int(status), headers=(("Content-Type", PROBLEM), *headers), body=dumps(document))


def _plain(value: object) -> Any:
    """Return a detail as a JSON value."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
