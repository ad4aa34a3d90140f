"""Guards for the host's own routes: a plan, a role, a quota."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.domain.actors import Actor
from evmbilling.domain.subscriptions.access import Access
from evmbilling.engine.core import Engine
from evmbilling.integrations.http.problems import HttpError, Unauthenticated
from evmbilling.integrations.http.routes import ROLES


class PlanNeeded(HttpError):
    """This needs a plan that is paid for."""

    code = "plan_needed"
    status = HTTPStatus.PAYMENT_REQUIRED


class QuotaExceeded(HttpError):
    """The plan's limit is used up for this period."""

    code = "quota_exceeded"
    status = HTTPStatus.TOO_MANY_REQUESTS


def signed_in(actor: Actor | None) -> Actor:
    """Return who is signed in.

    Raises:
        Unauthenticated: nobody.

    """
    if actor is None:
        raise Unauthenticated
    return actor


def plan_needed(engine: Engine, actor: Actor | None, product: str | None, feature: str | None) -> Access:
    """Return a user's access.

    Raises:
        Unauthenticated: nobody is signed in.
        PlanNeeded: the user has none; ``details`` say the reason.

    """
    found = engine.access(signed_in(actor).user_id, product=product, feature=feature)
    if not found.allowed:
        raise PlanNeeded(reason=found.reason)
    return found


def finance_only(actor: Actor | None) -> Actor:
    """Return an actor who may see the finances.

    Raises:
        Unauthenticated: nobody is signed in.
        PermissionDenied: without the role.

    """
    who = signed_in(actor)
    who.require(*ROLES["finance_ops"])
    return who


def quota_needed(engine: Engine, actor: Actor | None, limit: str, amount: int) -> int:
    """Take from a limit of the user's plan, and return what is left.

    Raises:
        Unauthenticated: nobody is signed in.
        QuotaExceeded: not so much is left; nothing was taken.

    """
    answer = engine.consume_quota(signed_in(actor).user_id, limit, amount)
    if not answer.allowed:
        raise QuotaExceeded(field=limit, left=answer.left)
    return answer.left
