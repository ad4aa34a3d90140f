"""Deposits: the addresses that orders are paid at, and what is sent to sweep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import create, dialect, guard, names, widen_words
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.triggers import Guard
from evmbilling.adapters.sqlalchemy.types import Address, Flag, Octets, PlainText, Uint256, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0019"
down_revision = "0018"

STATUS = ("queued", "signed", "submitted", "unknown", "mined", "reverted", "done", "failed", "cancelled")
OPEN = "status IN ('queued', 'signed', 'submitted', 'unknown', 'mined', 'reverted')"
PURPOSE = ("charge", "refund", "burn", "sweep")
_INDEXES = (
    *("uq_transmissions_attempt", "uq_transmissions_open", "uq_transmissions_nonce"),
    *("ix_transmissions_due", "ix_transmissions_lane", "uq_signed_transactions_hash"),
)


def upgrade() -> None:
    """Let transactions be sent that sweep, and remember where orders are paid."""
    if dialect() == "postgresql":
        widen_words("transmissions", column("purpose", Word(*PURPOSE)), _sending, ())
    else:
        _make_anew()
    create(_deposits)


def _make_anew() -> None:
    """Make both tables of our own transactions anew: SQLite changes no CHECK, and one of them refers to the other."""
    for name in _INDEXES:
        op.execute(f"DROP INDEX {names().qualified(name)}")
    # The one that refers goes first and comes back last; SQLite lets a reference follow a name that changes.
    for short in ("signed_transactions", "transmissions"):
        op.execute(f"ALTER TABLE {names().qualified(short)} RENAME TO {names().table(f'{short}_old')}")
    columns = create(_sending)
    for short, kept in columns.items():
        listed = ", ".join(kept)
        old = names().qualified(f"{short}_old")
        op.execute(f"INSERT INTO {names().qualified(short)} ({listed}) SELECT {listed} FROM {old}")  # noqa: S608  - ours
    for short in ("signed_transactions", "transmissions"):
        op.execute(f"DROP TABLE {names().qualified(f'{short}_old')}")
    guard(columns, (Guard("signed_transactions", (("transmission_id", "seq"), ("tx_hash",))),))


def _sending(make: Creator) -> None:
    """Make the tables of transmissions and their signed versions."""
    make(
        "transmissions",
        column("transmission_id", PlainText()),
        column("purpose", Word(*PURPOSE)),
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


def _deposits(make: Creator) -> None:
    """Make the table of deposit addresses."""
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
        refers(make.names, "ledger_id", "payment_transactions"),
    )
