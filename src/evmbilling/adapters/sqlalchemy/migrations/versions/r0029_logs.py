"""Who emitted a log is not looked at letter by letter any more: that took more than all other checks of its row."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import change_words
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key
from evmbilling.adapters.sqlalchemy.types import Address, Flag, Octets, UtcInstant, Whole

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Change the CHECK; columns, keys and indexes stay, so that workers of the version before go on."""
    change_words(
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
        columns=("address",),
    )
