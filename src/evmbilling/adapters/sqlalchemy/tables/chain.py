"""Tables of evidence: what the chain said, how far it was read, and what has to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key
from evmbilling.adapters.sqlalchemy.types import Address, Flag, Octets, PlainText, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.tables.maker import MakeTable


def define_chain(make: MakeTable) -> None:
    """Make the tables of evidence. They belong to a network and are written under its lease only."""
    make(
        "cursors",
        column("chain_id", Whole()),
        column("block_number", Whole()),
        column("block_hash", Octets(32)),
        column("parent_hash", Octets(32)),
        column("block_time", UtcInstant()),
        column("head", Whole()),
        column("safe", Whole(), null=True),
        column("finalized", Whole(), null=True),
        column("irreversible_number", Whole(), null=True),
        column("irreversible_hash", Octets(32), null=True),
        column("irreversible_parent", Octets(32), null=True),
        column("irreversible_time", UtcInstant(), null=True),
        column("halt_reason", PlainText(), null=True),
        column("halt_block", Whole(), null=True),
        column("halt_since", UtcInstant(), null=True),
        column("rescan_next", Whole(), null=True),
        column("rescan_last", Whole(), null=True),
        column("fence", Whole()),
        column("event_seq", Whole()),
        column("updated_at", UtcInstant()),
        key("chain_id"),
    )
    make(
        "block_window",
        column("chain_id", Whole()),
        column("number", Whole()),
        column("hash", Octets(32)),
        column("parent_hash", Octets(32)),
        column("block_time", UtcInstant()),
        key("chain_id", "number"),
    )
    make(
        "chain_logs",
        column("chain_id", Whole()),
        column("block_hash", Octets(32)),
        column("log_index", Whole()),
        column("block_number", Whole()),
        column("block_time", UtcInstant()),
        column("tx_hash", Octets(32)),
        column("ordinal", Whole()),
        column("address", Address(letters=False)),
        column("topics", Octets()),
        column("data", Octets()),
        column("canonical", Flag()),
        key("chain_id", "block_hash", "log_index"),
        index("identity", "chain_id", "tx_hash", "ordinal"),
        index("height", "chain_id", "block_number"),
    )
    make(
        "intake_items",
        column("chain_id", Whole()),
        column("tx_hash", Octets(32)),
        column("ordinal", Whole()),
        column("wait", Word("now", "head", "safe", "finalized", "time", "never")),
        column("height", Whole()),
        column("retry_at", UtcInstant(), null=True),
        column("attempts", Whole()),
        column("reason", PlainText(), null=True),
        key("chain_id", "tx_hash", "ordinal"),
        index("wait", "chain_id", "wait", "height", where="wait <> 'never'"),
    )
    make(
        "leases",
        column("name", PlainText()),
        column("owner", PlainText()),
        column("fence", Whole()),
        column("until", UtcInstant()),
        key("name"),
    )
