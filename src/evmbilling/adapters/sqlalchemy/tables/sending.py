"""Tables of our own transactions: what is sent, every version that was signed, and the addresses that are swept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.types import Address, Flag, Octets, PlainText, Uint256, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.tables.maker import MakeTable

STATUS = ("queued", "signed", "submitted", "unknown", "mined", "reverted", "done", "failed", "cancelled")
OPEN = "status IN ('queued', 'signed', 'submitted', 'unknown', 'mined', 'reverted')"


def define_sending(make: MakeTable) -> None:
    """Make the tables of transmissions, their signed versions, and the addresses that are swept."""
    make(
        "transmissions",
        column("transmission_id", PlainText()),
        column("purpose", Word("charge", "refund", "burn", "sweep")),
        column("subject", PlainText()),
        column("attempt", Whole()),
        column("user_id", PlainText(), null=True),
        column("network", PlainText()),
        column("chain_id", Whole()),
        column("signer", PlainText()),
        column("sender", Address()),
        column("recipient", Address()),
        column("value", Uint256()),
        column("data", Octets()),
        column("gas", Whole()),
        column("gas_ceiling", Uint256()),
        column("not_after", UtcInstant()),
        column("status", Word(*STATUS)),
        column("nonce", Whole(), null=True),
        column("versions", Whole()),
        column("mined_hash", Octets(32), null=True),
        column("block_number", Whole(), null=True),
        column("block_hash", Octets(32), null=True),
        column("block_time", UtcInstant(), null=True),
        column("succeeded", Flag(), null=True),
        column("gas_paid", Uint256(), null=True),
        column("withdrawn", Flag()),
        column("failure_reason", PlainText(), null=True),
        column("looks", Whole()),
        column("next_at", UtcInstant()),
        column("waiting_since", UtcInstant()),
        column("created_at", UtcInstant()),
        column("version", Whole()),
        key("transmission_id"),
        unique("attempt", "purpose", "subject", "attempt"),
        unique("open", "purpose", "subject", where=OPEN),
        unique("nonce", "chain_id", "sender", "nonce", where="nonce IS NOT NULL"),
        index("due", "next_at", where=OPEN),
        index("lane", "chain_id", "sender", where=OPEN),
    )
    make(
        "signed_transactions",
        column("transmission_id", PlainText()),
        column("seq", Whole()),
        column("kind", Word("send", "cancel")),
        column("tx_hash", Octets(32)),
        column("raw", Octets()),
        column("max_fee", Uint256()),
        column("priority_fee", Uint256()),
        column("signed_at", UtcInstant()),
        key("transmission_id", "seq"),
        unique("hash", "tx_hash"),
        refers(make.names, "transmission_id", "transmissions"),
    )
    make(
        "deposits",
        column("ledger_id", PlainText()),
        column("chain_id", Whole()),
        column("address", Address()),
        column("watched_until", UtcInstant()),
        column("next_at", UtcInstant(), null=True),
        column("held", Uint256()),
        column("seen_at", UtcInstant(), null=True),
        column("sweeps", Whole()),
        column("failures", Whole()),
        column("version", Whole()),
        key("ledger_id"),
        index("due", "chain_id", "next_at", where="next_at IS NOT NULL"),
        index("held", "ledger_id", where="seen_at IS NOT NULL"),
        refers(make.names, "ledger_id", "payment_transactions"),
    )
    make(
        "refund_proofs",
        column("chain_id", Whole()),
        column("tx_hash", Octets(32)),
        column("refund_id", PlainText()),
        column("state", Word("open", "settled", "refused")),
        column("reason", PlainText(), null=True),
        column("looks", Whole()),
        column("next_at", UtcInstant()),
        column("named_by", PlainText()),
        column("named_at", UtcInstant()),
        column("version", Whole()),
        key("chain_id", "tx_hash"),
        index("due", "chain_id", "next_at", where="state = 'open'"),
        index("refund", "refund_id"),
        refers(make.names, "refund_id", "refunds"),
    )
