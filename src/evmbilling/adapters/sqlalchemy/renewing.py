"""A copy of a database that goes on beside the original becomes an instance of its own.

The instance id begins every reference that orders are paid by. While two live databases have the same one, each takes
the other's new payments for its own that lost their orders. Once the copy is renewed, they are another's to it and left
alone. Orders of before the copy was made keep their references; both databases credit them.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from attrs import frozen

from evmbilling.adapters.sqlalchemy.migrating import connecting
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX, Names
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.triggers import GUARDS, guard_statements, wanted_triggers
from evmbilling.domain.identity import INSTANCE_ID_BYTES, RENEWED, UUID7_RANDOM_BITS, uuid7_text
from evmbilling.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

_GUARDS = tuple(guard for guard in GUARDS if guard.table == "instance")


@frozen
class Renewed:
    """The instance ids before and after."""

    before: bytes
    after: bytes


def renew_instance(url_or_connection: object, *, schema: str | None = None, prefix: str = DEFAULT_PREFIX) -> Renewed:
    """Give a database an instance id of its own; every process that uses it has to be started again.

    Args:
        url_or_connection: as in :func:`evmbilling.adapters.sqlalchemy.migrating.upgrade`.
        schema, prefix: as there.

    Raises:
        SchemaError: there are no tables of ours.

    """
    names = Names(prefix=prefix, schema=schema)
    tables = build_tables(names)
    instance = tables["instance"]
    with connecting(url_or_connection) as connection:
        if not sa.inspect(connection).has_table(names.table("instance"), schema=schema):
            raise SchemaError("there are no tables of ours; run `evmbilling db upgrade`")
        before: bytes = connection.execute(sa.select(instance.c.instance_id)).scalar_one()
        after = secrets.token_bytes(INSTANCE_ID_BYTES)
        with unguarded(connection, names, instance):
            connection.execute(sa.update(instance).values(instance_id=after))
        connection.execute(sa.insert(tables["audit"]).values(_record(before, after)))
    return Renewed(before, after)


def _record(before: bytes, after: bytes) -> dict[str, object]:
    """The audit of it, by which readers know that orders of another instance may be paid here, too."""
    return {
        "audit_id": uuid7_text(time.time_ns() // 1_000_000 << UUID7_RANDOM_BITS | secrets.randbits(UUID7_RANDOM_BITS)),
        "actor": "system",
        "action": "instance.renew",
        "object": RENEWED,
        "changes": {"before": before.hex(), "after": after.hex()},
        "recorded_at": datetime.now(UTC),
    }


@contextmanager
def unguarded(connection: Connection, names: Names, instance: sa.Table) -> Iterator[None]:
    """Let the instance's row be changed for the block; the transaction around it makes both ends one."""
    columns = {"instance": [column.name for column in instance.columns]}
    for statement in _without_guards(names, connection.dialect.name, columns):
        connection.exec_driver_sql(statement)
    yield
    for statement in guard_statements(names, connection.dialect.name, columns, _GUARDS):
        connection.exec_driver_sql(statement)


def _without_guards(names: Names, dialect: str, columns: dict[str, list[str]]) -> Iterator[str]:
    for trigger in wanted_triggers(names, dialect, columns, _GUARDS):
        if dialect == "postgresql":
            yield f"DROP TRIGGER {trigger.name} ON {names.qualified(trigger.table)}"
        else:
            yield f"DROP TRIGGER {names.schema}.{trigger.name}" if names.schema else f"DROP TRIGGER {trigger.name}"
