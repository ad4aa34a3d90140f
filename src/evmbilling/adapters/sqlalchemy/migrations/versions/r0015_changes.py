"""Changes of a running subscription: other terms, and subscribers that were imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns, dialect, guard, widen_words
from evmbilling.adapters.sqlalchemy.tables.maker import column, key, refers
from evmbilling.adapters.sqlalchemy.triggers import Guard
from evmbilling.adapters.sqlalchemy.types import PlainText, StrictJson, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from typing import Any

    import sqlalchemy as sa

    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0015"
down_revision = "0014"

CHANGE_KIND = (
    "cancel_at_period_end",
    "undo_cancel",
    "end",
    "pause",
    "resume",
    "suspend",
    "unsuspend",
    "expire",
    "zone",
    "change_now",
    "change_next",
    "withdraw_change",
    "adopt",
)
KEPT = (
    "subscription_id",
    "seq",
    "kind",
    "effective_at",
    "recorded_at",
    "decided_by",
    "period",
    "zone",
    "reason",
)


def upgrade() -> None:
    """Let what is decided about subscriptions say more, and keep it append-only; what is there keeps its bytes."""
    if dialect() == "postgresql":
        add_columns("subscription_changes", *_added())
    widen_words("subscription_changes", column("kind", Word(*CHANGE_KIND)), _changes, KEPT)
    guard(
        {"subscription_changes": (*KEPT, "terms", "adoption")},
        (Guard("subscription_changes", (("subscription_id", "seq"),)),),
    )


def _added() -> tuple[sa.Column[Any], ...]:
    return column("terms", StrictJson(), null=True), column("adoption", StrictJson(), null=True)


def _changes(make: Creator) -> None:
    """Make the table of what was decided about subscriptions."""
    make(
        "subscription_changes",
        column("subscription_id", PlainText()),
        column("seq", Whole()),
        column("kind", Word(*CHANGE_KIND)),
        column("effective_at", UtcInstant()),
        column("recorded_at", UtcInstant()),
        column("decided_by", PlainText()),
        column("period", Whole(), null=True),
        column("zone", PlainText(), null=True),
        column("reason", PlainText(), null=True),
        *_added(),
        key("subscription_id", "seq"),
        refers(make.names, "subscription_id", "subscriptions"),
    )
