"""Leases: who may work on what, by the database's clock, with a fence that only grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy.rows.chain import read_lease
from evmbilling.adapters.sqlalchemy.types import UtcInstant

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.reading.evidence import Lease
    from evmbilling.ports.clock import Clock


class LeaseStatements:
    """Built once per prefix, schema and database."""

    def __init__(self, tables: Tables, dialect: str) -> None:
        leases = tables["leases"]
        insert = (postgresql if dialect == "postgresql" else sqlite).insert(leases)
        ours = leases.c.owner == insert.excluded.owner
        # One statement decides: whoever comes second sees the first one's row and gets nothing back.
        self.take = insert.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "owner": insert.excluded.owner,
                "fence": leases.c.fence + sa.case((ours, 0), else_=1),
                "until": insert.excluded.until,
            },
            where=sa.or_(ours, leases.c.until <= bindparam("now", type_=UtcInstant())),
        ).returning(leases)
        self.release = (
            sa.update(leases)
            .where(
                leases.c.name == bindparam("lease"),
                leases.c.owner == bindparam("holder"),
                leases.c.fence == bindparam("number"),
            )
            .values(until=bindparam("now", type_=UtcInstant()))
        )
        self.all = sa.select(leases).order_by(leases.c.name)
        self.clock = sa.select(sa.func.clock_timestamp(type_=UtcInstant()))


def database_now(connection: Connection, statements: LeaseStatements, clock: Clock | None) -> datetime:
    """Return the injected clock's time, else the database's; SQLite has the clock of this machine."""
    if clock is not None:
        return clock.now()
    if connection.dialect.name != "postgresql":
        return datetime.now(UTC)
    found: datetime = connection.execute(statements.clock).scalar_one()
    return found


def take_lease(
    connection: Connection, statements: LeaseStatements, *, name: str, owner: str, now: datetime, seconds: int
) -> Lease | None:
    """Take or renew a lease; None while another owner holds it."""
    until = now + timedelta(seconds=seconds)
    values = {"name": name, "owner": owner, "fence": 1, "until": until, "now": now}
    row = connection.execute(statements.take, values).one_or_none()
    return None if row is None else read_lease(row)


def give_lease_back(connection: Connection, statements: LeaseStatements, lease: Lease, now: datetime) -> None:
    """End a lease if it is still its holder's; the fence stays used."""
    values = {"lease": lease.name, "holder": lease.owner, "number": lease.fence, "now": now}
    connection.execute(statements.release, values)
