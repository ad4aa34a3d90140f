"""Mandates: what payers allow us to pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.migrations.support import create
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.types import Address, Octets, PlainText, Uint256, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0009"
down_revision = "0008"

MANDATE_STATUS = ("prepared", "given", "active", "revoked", "cancelled", "expired")
END_REASON = ("by_user", "by_us", "replaced")


def upgrade() -> None:
    """Create the table."""
    create(_mandates)


def _mandates(make: Creator) -> None:
    """Make the table of mandates."""
    make(
        "mandates",
        column("mandate_id", PlainText()),
        column("digest", Octets(32)),
        column("user_id", PlainText()),
        column("subscription_id", PlainText()),
        column("plan_slug", PlainText()),
        column("plan_version", Whole()),
        column("network", PlainText()),
        column("chain_id", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("contract", Address()),
        column("payer", Address()),
        column("treasury", Address()),
        column("operator", Address(), null=True),
        column("via", Word("allowance", "permit2")),
        column("charge_cap", Uint256()),
        column("cap", Uint256()),
        column("spacing", Whole()),
        column("start_at", UtcInstant()),
        column("expires_at", UtcInstant()),
        column("salt", Uint256()),
        column("status", Word(*MANDATE_STATUS)),
        column("signature", Octets()),
        column("permit_amount", Uint256(), null=True),
        column("permit_nonce", Whole(), null=True),
        column("permit_expires_at", UtcInstant(), null=True),
        column("permit_deadline", UtcInstant(), null=True),
        column("permit_signature", Octets(), null=True),
        column("created_at", UtcInstant()),
        column("given_at", UtcInstant(), null=True),
        column("cancelled_at", UtcInstant(), null=True),
        column("end_reason", Word(*END_REASON), null=True),
        column("given_tx", Octets(32), null=True),
        column("given_ordinal", Whole(), null=True),
        column("given_block", Whole(), null=True),
        column("given_block_hash", Octets(32), null=True),
        column("given_block_time", UtcInstant(), null=True),
        column("given_log_index", Whole(), null=True),
        column("revoked_tx", Octets(32), null=True),
        column("revoked_ordinal", Whole(), null=True),
        column("revoked_block", Whole(), null=True),
        column("revoked_block_hash", Octets(32), null=True),
        column("revoked_block_time", UtcInstant(), null=True),
        column("revoked_log_index", Whole(), null=True),
        column("version", Whole()),
        key("mandate_id"),
        unique("digest", "digest"),
        index("user", "user_id", "mandate_id"),
        index("subscription", "subscription_id", "mandate_id"),
        index("given", "chain_id", "given_tx", where="given_tx IS NOT NULL"),
        index("revoked", "chain_id", "revoked_tx", where="revoked_tx IS NOT NULL"),
        refers(make.names, "user_id", "customers"),
        refers(make.names, "subscription_id", "subscriptions"),
    )
