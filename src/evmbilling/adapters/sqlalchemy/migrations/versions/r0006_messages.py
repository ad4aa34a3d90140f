"""Messages: the webhook inbox, endpoints, deliveries, usage, wallet challenges; an address has one owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import add_unique, create, names
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers
from evmbilling.adapters.sqlalchemy.types import (
    Address,
    Flag,
    Octets,
    PlainText,
    StrictJson,
    UtcInstant,
    Whole,
    Word,
)

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables; every event that was published before is still to be handed out."""
    create(_messages, _usage)
    add_unique("wallets", "address", "address")
    unsent, outbox = names().qualified("unsent_events"), names().qualified("outbox")
    columns = "event_id, aggregate, seq"
    op.execute(f"INSERT INTO {unsent} ({columns}) SELECT {columns} FROM {outbox}")  # noqa: S608  - names of ours


def _messages(make: Creator) -> None:
    """Make the tables of hints that came in and of events on their way out."""
    make(
        "webhook_inbox",
        column("source", PlainText()),
        column("event_id", PlainText()),
        column("digest", Octets(32)),
        column("body", Octets()),
        column("chain_id", Whole()),
        column("tx_hash", Octets(32)),
        column("received_at", UtcInstant()),
        column("state", Word("received", "done", "parked", "dead")),
        column("attempts", Whole()),
        column("retry_at", UtcInstant()),
        column("reason", PlainText(), null=True),
        column("version", Whole()),
        key("source", "event_id"),
        index("due", "retry_at", where="state = 'received'"),
    )
    make(
        "webhook_endpoints",
        column("endpoint_id", PlainText()),
        column("url", PlainText()),
        column("secrets", StrictJson()),
        column("events", StrictJson()),
        column("ordered", Flag()),
        column("created_at", UtcInstant()),
        column("disabled_at", UtcInstant(), null=True),
        column("disabled_reason", PlainText(), null=True),
        column("version", Whole()),
        key("endpoint_id"),
    )
    make(
        "unsent_events",
        column("event_id", PlainText()),
        column("aggregate", PlainText()),
        column("seq", Whole()),
        key("event_id"),
        index("order", "aggregate", "seq"),
    )
    make(
        "deliveries",
        column("event_id", PlainText()),
        column("sink", PlainText()),
        column("aggregate", PlainText()),
        column("seq", Whole()),
        column("state", Word("waiting", "done", "dead")),
        column("attempts", Whole()),
        column("next_at", UtcInstant()),
        column("done_at", UtcInstant(), null=True),
        column("status_code", Whole(), null=True),
        column("error", PlainText(), null=True),
        column("version", Whole()),
        key("event_id", "sink"),
        index("waiting", "sink", "aggregate", "seq", where="state = 'waiting'"),
        refers(make.names, "event_id", "outbox"),
    )


def _usage(make: Creator) -> None:
    """Make the tables of what was used, and of proofs of wallets."""
    make(
        "usage",
        column("user_id", PlainText()),
        column("limit_name", PlainText()),
        column("source_id", PlainText()),
        column("starts_at", UtcInstant()),
        column("used", Whole()),
        key("user_id", "limit_name", "source_id", "starts_at"),
        refers(make.names, "user_id", "customers"),
    )
    make(
        "wallet_challenges",
        column("nonce", PlainText()),
        column("user_id", PlainText()),
        column("address", Address()),
        column("chain_id", Whole()),
        column("message", PlainText()),
        column("purpose", PlainText()),
        column("issued_at", UtcInstant()),
        column("expires_at", UtcInstant()),
        column("used_at", UtcInstant(), null=True),
        key("nonce"),
        index("user", "user_id"),
        index("expired", "expires_at"),
        refers(make.names, "user_id", "customers"),
    )
