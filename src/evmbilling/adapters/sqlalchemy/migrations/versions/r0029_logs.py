"""Logs are kept by height, their emitters as bytes: an index less, and nothing to compare letter by letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import op

from evmbilling.adapters.sqlalchemy.address_octets import AddressOctets
from evmbilling.adapters.sqlalchemy.migrations.support import create, dialect, names
from evmbilling.adapters.sqlalchemy.tables.maker import check_of, column, index, key
from evmbilling.adapters.sqlalchemy.types import Flag, Octets, UtcInstant, Whole

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0029"
down_revision = "0028"

_LOGS = "chain_logs"
_KEY = ("chain_id", "block_number", "log_index", "block_hash")
_DIGITS = "0123456789abcdef"


def upgrade() -> None:
    """Change the table in its place, or make it anew where that cannot be; every row stays."""
    if dialect() == "postgresql":
        _alter()
    else:
        _rebuild()


def _alter() -> None:
    table, primary = names().qualified(_LOGS), names().table(f"pk_{_LOGS}")
    name, text = check_of(_LOGS, column("address", AddressOctets()), "postgresql") or ("", "")
    op.drop_index(names().table(f"ix_{_LOGS}_height"), table_name=names().table(_LOGS), schema=names().schema)
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {primary}, DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ALTER COLUMN address TYPE bytea USING decode(substr(address, 3), 'hex')")
    op.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT {primary} PRIMARY KEY ({', '.join(_KEY)}),"
        f" ADD CONSTRAINT {name} CHECK ({text})"
    )


def _rebuild() -> None:
    table, old = names().qualified(_LOGS), f"{names().table(_LOGS)}_old"
    for purpose in ("identity", "height"):
        op.drop_index(names().table(f"ix_{_LOGS}_{purpose}"), table_name=names().table(_LOGS), schema=names().schema)
    op.execute(f"ALTER TABLE {table} RENAME TO {old}")
    place = f"{names().schema}.{old}" if names().schema else old
    columns = create(_logs)[_LOGS]
    given = ", ".join(_octets_of_address() if name == "address" else name for name in columns)
    op.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {given} FROM {place}"  # noqa: S608  - names of ours
        f" ORDER BY {', '.join(_KEY)}"
    )
    op.execute(f"DROP TABLE {place}")


def _octets_of_address() -> str:
    """Return what reads hexadecimal digits: SQLite has a function for that only since 3.41."""
    octets = f"x'{bytes(range(256)).hex()}'"

    def digit(place: int) -> str:
        return f"instr('{_DIGITS}', lower(substr(address, {place}, 1)))"

    pairs = (f"substr({octets}, ({digit(at)} - 1) * 16 + {digit(at + 1)}, 1)" for at in range(3, 43, 2))
    return f"CAST({' || '.join(pairs)} AS BLOB)"


def _logs(make: Creator) -> None:
    make(
        _LOGS,
        column("chain_id", Whole()),
        column("block_hash", Octets(32)),
        column("log_index", Whole()),
        column("block_number", Whole()),
        column("block_time", UtcInstant()),
        column("tx_hash", Octets(32)),
        column("ordinal", Whole()),
        column("address", AddressOctets()),
        column("topics", Octets()),
        column("data", Octets()),
        column("canonical", Flag()),
        key(*_KEY),
        index("identity", "chain_id", "tx_hash", "ordinal"),
    )
