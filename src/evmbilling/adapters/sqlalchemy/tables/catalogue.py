"""Tables of what is configured: networks, gateways, contracts, plans; and the instance itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, unique
from evmbilling.adapters.sqlalchemy.types import (
    Address,
    Day,
    ExactDecimal,
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


def define_catalogue(make: MakeTable) -> None:
    """Make the tables of the catalogue."""
    make(
        "instance",
        column("single", Word("only")),
        column("instance_id", Octets(8)),
        key("single"),
    )
    make(
        "networks",
        column("name", PlainText()),
        column("chain_id", Whole()),
        column("rpc_urls", StrictJson()),
        column("testnet", Flag()),
        column("native_symbol", PlainText()),
        column("credit_after", PlainText()),
        column("irreversible_after", PlainText()),
        column("fallback_networks", StrictJson()),
        column("max_lag", Whole(), null=True),
        column("start_block", Whole(), null=True),
        column("rpc_retries", Whole()),
        column("rpc_timeout", Whole()),
        column("gas_price_cap", Uint256(), null=True),
        column("disputed_access", Flag()),
        column("explorer_url", PlainText(), null=True),
        column("agreement_above", StrictJson()),
        column("quorum", Whole()),
        column("version", Whole()),
        column("archived_at", UtcInstant(), null=True),
        column("allowed", StrictJson(), null=True),
        key("name"),
        unique("chain", "chain_id"),
    )
    make(
        "gateways",
        column("slug", PlainText()),
        column("provider", PlainText()),
        column("networks", StrictJson()),
        column("signer", PlainText()),
        column("treasuries", StrictJson()),
        column("order_ttl", Whole()),
        column("credit_after", PlainText(), null=True),
        column("misfits", StrictJson()),
        column("relaying", StrictJson(), null=True),
        column("version", Whole()),
        column("archived_at", UtcInstant(), null=True),
        key("slug"),
    )
    make(
        "contracts",
        column("slug", PlainText()),
        column("network", PlainText()),
        column("chain_id", Whole()),
        column("address", Address()),
        column("kind", PlainText()),
        column("abi", PlainText(), null=True),
        column("mint_method", PlainText()),
        column("burn_method", PlainText(), null=True),
        column("webhook_secret", PlainText(), null=True),
        column("fallback_rpc", StrictJson()),
        column("start_block", Whole()),
        column("gas", StrictJson()),
        column("version", Whole()),
        column("archived_at", UtcInstant(), null=True),
        column("renew_method", PlainText(), null=True),
        column("permit_method", PlainText(), null=True),
        column("events", PlainText(), null=True),
        column("pins", StrictJson(), null=True),
        column("refund_method", PlainText(), null=True),
        key("slug", "network"),
        index("chain", "chain_id"),
    )
    make(
        "plans",
        column("slug", PlainText()),
        column("version", Whole()),
        column("name", PlainText()),
        column("product_type", PlainText()),
        column("product_id", PlainText()),
        column("interval_unit", Word("none", "day", "week", "month", "year")),
        column("interval_count", Whole()),
        column("prices", StrictJson()),
        column("gateway_slug", PlainText()),
        column("contract_slug", PlainText()),
        column("price_token", PlainText(), null=True),
        column("fiat_amount", ExactDecimal(), null=True),
        column("fiat_currency", PlainText(), null=True),
        column("fiat_as_of", Day(), null=True),
        column("limits", StrictJson()),
        column("features", StrictJson()),
        column("trial_days", Whole()),
        column("dunning", StrictJson()),
        column("created_at", UtcInstant(), null=True),
        column("archived_at", UtcInstant(), null=True),
        key("slug", "version"),
    )
