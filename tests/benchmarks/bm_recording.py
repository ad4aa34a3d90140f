"""What checkouts really send, and the rows that they leave."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from attrs import Factory, frozen
from bm_shops import WAITS, Database, SilentPen, buy, open_engine, open_host

from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.tables import build_tables

TABLES = build_tables(Names())
WRITTEN = (
    "customers",
    "subscriptions",
    "entitlements",
    "payment_transactions",
    "idempotency_keys",
    "outbox",
    "unsent_events",
)
"""The tables that a first checkout writes, in the order of their references."""

Sent = tuple[str, Any]
Row = dict[str, Any]
_TABLE = re.compile(r"(?:FROM|INTO|UPDATE) evmbilling_(\w+)")


@frozen
class Recording:
    """Checkouts of as many users, each with all statements that it sent and all rows that it left.

    Attributes:
        streams: for each user the (statement, parameters) as the driver was given them; BEGIN and COMMIT of the
            driver itself are no statements.
        rows: for each user and table the one row, in Python values.

    """

    streams: list[list[Sent]] = Factory(list)
    rows: list[dict[str, Row]] = Factory(list)

    def statements(self) -> list[str]:
        """What the last checkout sent, in short."""
        return [short(statement) for statement, _ in self.streams[-1]]


def short(statement: str) -> str:
    """The verbs of a statement and the tables that they are about."""
    verb = statement.split(None, 1)[0]
    tables = dict.fromkeys(_TABLE.findall(statement))
    return f"{verb} {' '.join(tables)}" if tables else statement[:60]


@contextmanager
def listening(engine: sa.Engine) -> Iterator[list[Sent]]:
    """Collect what an engine sends."""
    sent: list[Sent] = []

    def heard(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if many:
            raise AssertionError("a checkout sends no statement for many rows")
        sent.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", heard)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", heard)


def record(database: Database, users: int, *, joined: bool) -> Recording:
    """Let users check out on a copy of the database, and record it."""
    recording = Recording()
    with database.fresh() as url:
        storage = SqlAlchemyStorage.open(url, waits=WAITS)
        host = open_host(url)
        engine = open_engine(storage, SilentPen)
        check_out = joined_checkout(engine, host) if joined else lambda user: buy(engine, user)
        for warm in range(8):  # until everything that is compiled, prepared or looked up once is there
            check_out(f"warm-{warm}")
        for number in range(users):
            with listening(host if joined else storage._engine) as sent:
                check_out(user_name(number))
            recording.streams.append(sent)
        recording.rows.extend(read_rows(host, users))
        storage.close()
        host.dispose()
    return recording


def user_name(number: int) -> str:
    return f"user-{number}"


def joined_checkout(engine: Any, host: sa.Engine) -> Callable[[str], None]:
    """Return a checkout inside a transaction of the host's."""

    def check_out(user: str) -> None:
        with host.begin() as connection, engine.within(connection) as billing:
            buy(billing, user)

    return check_out


def read_rows(engine: sa.Engine, users: int) -> list[dict[str, Row]]:
    """Return the rows of each recorded user by table."""
    found: list[dict[str, Row]] = [{} for _ in range(users)]
    names = {user_name(number): number for number in range(users)}
    with engine.connect() as connection:
        for short_name in WRITTEN:
            for row in connection.execute(sa.select(TABLES[short_name])).mappings():
                user = row.get("user_id") or row["aggregate"].removeprefix("customer:")
                if user in names:
                    if short_name in found[names[user]]:
                        raise AssertionError(f"a checkout left two rows in {short_name}")
                    found[names[user]][short_name] = dict(row)
    return found


def count_rows(url: str) -> Counter[str]:
    """Return the number of rows in each table that a checkout writes."""
    engine = open_host(url)
    with engine.connect() as connection:
        counts = {
            name: connection.execute(sa.select(sa.func.count()).select_from(TABLES[name])).scalar_one()
            for name in WRITTEN
        }
    engine.dispose()
    return Counter(counts)
