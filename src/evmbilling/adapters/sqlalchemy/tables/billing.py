"""Tables of customers, what they hold, and what we asked them to pay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.types import (
    Address,
    Flag,
    Octets,
    PlainText,
    StrictJson,
    Uint256,
    UtcInstant,
    Whole,
    Word,
)

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.tables.maker import MakeTable

ORDER_STATUS = (
    "pending",
    "submitted",
    "partially_paid",
    "confirming",
    "confirmed",
    "final",
    "expired",
    "cancelled",
    "superseded",
    "failed",
    "unknown",
    "reversed",
)
SUBSCRIPTION_STATUS = (
    "scheduled",
    "incomplete",
    "trialing",
    "active",
    "past_due",
    "suspended",
    "paused",
    "ended",
    "incomplete_expired",
)
CHANGE_KIND = ("cancel_at_period_end", "undo_cancel", "end", "pause", "resume", "suspend", "unsuspend", "expire")
ACCESS_REASON = (
    "paid",
    "trial",
    "grace",
    "no_plan",
    "not_started",
    "unpaid",
    "expired",
    "paused",
    "suspended",
    "ended",
    "disputed",
)


def define_customers(make: MakeTable) -> None:
    """Make the tables of customers and of what they are entitled to."""
    make(
        "customers",
        column("user_id", PlainText()),
        column("zone", PlainText()),
        column("locale", PlainText()),
        column("created_at", UtcInstant()),
        column("event_seq", Whole()),
        column("version", Whole()),
        column("erased_at", UtcInstant(), null=True),
        key("user_id"),
    )
    make(
        "wallets",
        column("user_id", PlainText()),
        column("address", Address()),
        column("confirmed_at", UtcInstant()),
        key("user_id", "address"),
        unique("address", "address"),
        refers(make.names, "user_id", "customers"),
    )
    make(
        "entitlements",
        column("user_id", PlainText()),
        column("product_type", PlainText()),
        column("product_id", PlainText()),
        column("source_id", PlainText()),
        column("subscription_id", PlainText(), null=True),
        column("plan_slug", PlainText()),
        column("plan_version", Whole()),
        column("basis", Word(*ACCESS_REASON)),
        column("starts_at", UtcInstant(), null=True),
        column("until", UtcInstant(), null=True),
        column("grace_until", UtcInstant(), null=True),
        column("limits", StrictJson()),
        column("features", StrictJson()),
        column("disputed", Flag()),
        key("user_id", "product_type", "product_id", "source_id"),
        refers(make.names, "user_id", "customers"),
    )


def define_subscriptions(make: MakeTable) -> None:
    """Make the tables of subscriptions and of what was decided about them."""
    make(
        "subscriptions",
        column("subscription_id", PlainText()),
        column("user_id", PlainText()),
        column("product_type", PlainText()),
        column("product_id", PlainText()),
        column("plan_slug", PlainText()),
        column("plan_version", Whole()),
        column("interval_unit", Word("none", "day", "week", "month", "year")),
        column("interval_count", Whole()),
        column("quantity", Whole()),
        column("zone", PlainText()),
        column("created_at", UtcInstant()),
        column("start_at", UtcInstant(), null=True),
        column("trial_end", UtcInstant(), null=True),
        column("status", Word(*SUBSCRIPTION_STATUS)),
        column("anchor", UtcInstant(), null=True),
        column("paid_periods", Whole()),
        column("paid_until", UtcInstant(), null=True),
        column("next_charge_at", UtcInstant(), null=True),
        column("cancel_at_period_end", Flag()),
        column("debt", Uint256()),
        column("version", Whole()),
        key("subscription_id"),
        unique(
            "live",
            "user_id",
            "product_type",
            "product_id",
            where="status NOT IN ('ended', 'incomplete_expired')",
        ),
        index("user", "user_id", "subscription_id"),
        refers(make.names, "user_id", "customers"),
        refers(make.names, "plan_slug plan_version", "plans", "slug version"),
    )
    make(
        "subscription_changes",
        column("subscription_id", PlainText()),
        column("seq", Whole()),
        column("kind", Word(*CHANGE_KIND)),
        column("effective_at", UtcInstant()),
        column("recorded_at", UtcInstant()),
        column("decided_by", PlainText()),
        key("subscription_id", "seq"),
        refers(make.names, "subscription_id", "subscriptions"),
    )


def define_orders(make: MakeTable) -> None:
    """Make the tables of orders and of the keys under which they were asked for."""
    make(
        "payment_transactions",
        column("ledger_id", PlainText()),
        column("reference", Octets(32)),
        column("user_id", PlainText()),
        column("origin", Word("checkout", "renewal", "change")),
        column("product_type", PlainText()),
        column("product_id", PlainText()),
        column("plan_slug", PlainText()),
        column("plan_version", Whole()),
        column("subscription_id", PlainText(), null=True),
        column("period", Whole(), null=True),
        column("gateway_slug", PlainText()),
        column("contract_slug", PlainText()),
        column("network", PlainText()),
        column("chain_id", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("quantity", Whole()),
        column("lines", StrictJson()),
        column("amount", Uint256()),
        column("wallet", Address()),
        column("beneficiary", Address()),
        column("contract", Address()),
        column("treasury", Address()),
        column("gas", Whole()),
        column("created_at", UtcInstant()),
        column("deadline", UtcInstant()),
        column("member_until", UtcInstant(), null=True),
        column("signer", PlainText()),
        column("signature", Octets()),
        column("status", Word(*ORDER_STATUS)),
        column("closed_as", Word(*ORDER_STATUS), null=True),
        column("supersedes", PlainText(), null=True),
        column("tx_hash", Octets(32), null=True),
        column("log_index", Whole(), null=True),
        column("block_number", Whole(), null=True),
        column("block_hash", Octets(32), null=True),
        column("confirmed_at", UtcInstant(), null=True),
        column("failure_reason", PlainText(), null=True),
        column("external_id", PlainText(), null=True),
        column("rail", Word("checkout", "erc20")),
        column("manual_by", PlainText(), null=True),
        column("manual_at", UtcInstant(), null=True),
        column("manual_reason", PlainText(), null=True),
        column("tolerance", Uint256()),
        column("version", Whole()),
        key("ledger_id"),
        unique("reference", "reference"),
        unique(
            "open_period",
            "subscription_id",
            "period",
            where="status IN ('pending', 'partially_paid')",
        ),
        index("user", "user_id", "ledger_id"),
        index("subscription", "subscription_id", "ledger_id", where="subscription_id IS NOT NULL"),
        index(
            "offers",
            "chain_id",
            "deadline",
            where="closed_as IS NULL AND status IN ('pending', 'partially_paid', 'reversed')",
        ),
        refers(make.names, "user_id", "customers"),
        refers(make.names, "subscription_id", "subscriptions"),
        refers(make.names, "plan_slug plan_version", "plans", "slug version"),
    )
    make(
        "idempotency_keys",
        column("operation", PlainText()),
        column("user_id", PlainText()),
        column("key", PlainText()),
        column("fingerprint", Octets(32)),
        column("ledger_id", PlainText()),
        column("created_at", UtcInstant()),
        key("operation", "user_id", "key"),
        index("order", "ledger_id"),
        refers(make.names, "ledger_id", "payment_transactions"),
    )
