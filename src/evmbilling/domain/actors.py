"""Who acts: the host's user, with the roles that billing knows."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from evmbilling.errors import PermissionDenied


class Role(StrEnum):
    """What an actor may do beyond their own things."""

    FINANCE_OPS = "finance_ops"
    """Reads all, decides items of the finance queue."""
    BILLING_ADMIN = "billing_admin"
    """Configures; approves refunds and write-offs above a limit."""


@frozen
class Actor:
    """A person or a process of the host.

    Attributes:
        user_id: the host's opaque id; recorded in the audit log.
        roles: what they may do.

    """

    user_id: str
    roles: frozenset[Role] = frozenset()

    def require(self, *accepted: Role) -> None:
        """Raise PermissionDenied unless the actor has one of the roles."""
        if not self.roles & set(accepted):
            needed = " or ".join(sorted(accepted))
            raise PermissionDenied(f"this needs the role {needed}", field="actor", roles=sorted(accepted))


SYSTEM = Actor("system", frozenset(Role))
"""The engine itself: seeding from the environment, workers."""
