"""Renewals: calendars in segments, what is due and owed, dunning, charges by mandate, pay links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import (
    add_columns,
    add_index,
    create,
    dialect,
    guard,
    names,
    widen_words,
)
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.triggers import Guard
from evmbilling.adapters.sqlalchemy.types import Octets, PlainText, StrictJson, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0010"
down_revision = "0009"

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
)


def upgrade() -> None:
    """Add the columns and tables; the biller looks at every live subscription when its next payment is due."""
    add_columns("entitlements", column("told", PlainText(), null=True))
    add_columns(
        "subscriptions",
        column("segments", StrictJson()),
        column("dunning_state", PlainText(), null=True),
        column("dunned_at", UtcInstant(), null=True),
        column("chain_id", Whole(), null=True),
        column("look_at", UtcInstant(), null=True),
        column("looked_at", UtcInstant(), null=True),
        filled={"segments": "'[]'"},
    )
    add_columns(
        "payment_transactions",
        column("due_at", UtcInstant(), null=True),
        column("claim", Word("owed", "forgiven"), null=True),
        column("pull", Word("submitted", "unknown", "failed"), null=True),
        column("attempts", Whole()),
        column("attempted_at", UtcInstant(), null=True),
        column("retry_at", UtcInstant(), null=True),
        column("reminded_at", UtcInstant(), null=True),
        filled={"attempts": "0"},
    )
    _widen_changes()
    only_renewals = "origin = 'renewal' AND period IS NOT NULL"
    add_index("payment_transactions", unique("renewal", "subscription_id", "period", where=only_renewals))
    add_index("subscriptions", index("look", "chain_id", "look_at", "subscription_id", where="look_at IS NOT NULL"))
    create(_charges)
    _look_at_what_is_there()


def _widen_changes() -> None:
    """Let subscriptions change their zone, and keep the changes append-only."""
    added = (
        column("period", Whole(), null=True),
        column("zone", PlainText(), null=True),
        column("reason", PlainText(), null=True),
    )
    kept = ("subscription_id", "seq", "kind", "effective_at", "recorded_at", "decided_by")
    if dialect() == "postgresql":
        add_columns("subscription_changes", *added)
    widen_words("subscription_changes", column("kind", Word(*CHANGE_KIND)), _changes, kept)
    guard(
        {"subscription_changes": (*kept, "period", "zone", "reason")},
        (Guard("subscription_changes", (("subscription_id", "seq"),)),),
    )


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
        key("subscription_id", "seq"),
        refers(make.names, "subscription_id", "subscriptions"),
    )


def _charges(make: Creator) -> None:
    """Make the tables of charges by mandate, and of links by which orders are paid."""
    make(
        "charges",
        column("ledger_id", PlainText()),
        column("attempt", Whole()),
        column("user_id", PlainText()),
        column("subscription_id", PlainText()),
        column("mandate_id", PlainText()),
        column("chain_id", Whole()),
        column("state", Word("requested", "submitted", "unknown", "failed")),
        column("reason", PlainText(), null=True),
        column("requested_at", UtcInstant()),
        column("settled_at", UtcInstant(), null=True),
        column("version", Whole()),
        key("ledger_id", "attempt"),
        index("open", "chain_id", "state", "ledger_id", "attempt", where="state <> 'failed'"),
        refers(make.names, "ledger_id", "payment_transactions"),
        refers(make.names, "user_id", "customers"),
        refers(make.names, "subscription_id", "subscriptions"),
    )
    make(
        "pay_links",
        column("token_hash", Octets(32)),
        column("ledger_id", PlainText()),
        column("issued_at", UtcInstant()),
        column("expires_at", UtcInstant()),
        key("token_hash"),
        index("order", "ledger_id"),
        index("expired", "expires_at"),
        refers(make.names, "ledger_id", "payment_transactions"),
    )


def _look_at_what_is_there() -> None:
    """Say what users were told, anchor trials at their ends, and let the biller find what is live."""
    held, orders = names().qualified("subscriptions"), names().qualified("payment_transactions")
    told = f"UPDATE {names().qualified('entitlements')} SET told = plan_slug"  # noqa: S608  - names of ours
    live = "status NOT IN ('ended', 'incomplete_expired', 'incomplete')"
    newest = f"SELECT o.chain_id FROM {orders} o WHERE o.subscription_id = {held}.subscription_id"  # noqa: S608
    op.execute(f"{told} WHERE basis IN ('paid', 'trial')")
    op.execute(f"UPDATE {held} SET anchor = trial_end WHERE trial_end IS NOT NULL AND {live}")  # noqa: S608
    op.execute(
        f"UPDATE {held} SET look_at = COALESCE(next_charge_at, paid_until, start_at, created_at),"  # noqa: S608
        f" chain_id = ({newest} ORDER BY o.ledger_id DESC LIMIT 1) WHERE {live}"
    )
