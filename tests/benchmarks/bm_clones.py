"""Many orders at once: the rows that the engine wrote for a real customer, again under other names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import psycopg
import sqlalchemy as sa
from attrs import frozen
from bm_recording import TABLES
from bm_wire import Call, Wire
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.evm.signing.typed_data import order_digest
from evmbilling.adapters.signers.local import LocalSigner
from evmbilling.adapters.sqlalchemy.arrays import type_name
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.addresses import checksum
from evmbilling.domain.identity import make_reference
from evmbilling.domain.selling.orders import Order
from evmbilling.testing.merchant import SIGNER_KEY

OFFERED = ("customers", "subscriptions", "entitlements", "payment_transactions", "idempotency_keys")
"""What an order that nobody has paid consists of, its messages left out."""
PAID = (
    "customers",
    "subscriptions",
    "entitlements",
    "payment_transactions",
    "idempotency_keys",
    "payment_receipts",
    "receipt_entries",
    "outbox",
    "unsent_events",
    "chain_logs",
    "intake_items",
    "ledger_entries",
    "ledger_lines",
    "balances",
    "movements",
)
_SIGNER = LocalSigner(SIGNER_KEY)
_EACH = 500
"""Customers in one transaction."""
_APART = 1_000
"""Between the places in a block of two payments."""

Names = Mapping[Any, Any]
Cell = Callable[[Names, int], Any]


@frozen
class Model:
    """The rows of one customer, each cell a function of new names and of the number of the copy.

    Attributes:
        names: what is replaced: ids, addresses, hashes, as texts and as bytes.
        order: the customer's order, which every copy signs anew with the key of the tests.
        tables: short name, and the cells of each of its rows.

    """

    names: Names
    instance_id: bytes
    order: Order | None
    tables: list[tuple[str, list[list[Cell]]]]


def model_of(url: str, user_id: str, tables: Sequence[str]) -> Model:
    """Read the rows of a customer who has one order."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        order = connection.execute(_rows("payment_transactions", user_id=user_id)).one()._mapping
        found = {short: _rows_of(connection, short, dict(order)) for short in tables}
        instance_id = connection.execute(sa.select(TABLES["instance"].c.instance_id)).scalar_one()
    engine.dispose()
    texts = {user_id, order["wallet"], order["ledger_id"], order["subscription_id"]}
    for short, column in (("payment_receipts", "receipt_id"), ("outbox", "event_id"), ("ledger_entries", "entry_id")):
        texts |= {row[column] for row in found.get(short, ())}
    octets = {order["reference"], bytes.fromhex(order["wallet"][2:])}
    octets |= {order["signature"]} - {None}
    octets |= {row["tx_hash"] for row in found.get("chain_logs", ())}
    names = {name: number for number, name in enumerate([*sorted(texts), *sorted(octets)])}
    of = (sqlite if url.startswith("sqlite") else postgresql).dialect()
    return Model(
        names={"user": user_id, "order": order["ledger_id"], "wallet": order["wallet"], "all": names},
        instance_id=instance_id,
        order=_order_of(url, order["ledger_id"]),
        tables=[(short, [_cells(short, row, names, of) for row in rows]) for short, rows in found.items()],
    )


def _order_of(url: str, ledger_id: str) -> Order | None:
    storage = SqlAlchemyStorage.open(url)
    with storage.unit(write=False) as unit:
        order = unit.order(ledger_id)
    storage.close()
    return order


def clone(url: str, model: Model, first: int, last: int) -> None:
    """Add copies of a customer with these numbers."""
    wire = Wire(url)
    postgres = url.startswith("postgresql")
    for start in range(first, last, _EACH):
        numbers = range(start, min(start + _EACH, last))
        fresh = {number: _fresh(model, number) if model.names else {} for number in numbers}
        wire.begin()
        for short, rows in model.tables:
            made = [[cell(fresh[number], number) for cell in cells] for number in numbers for cells in rows]
            wire.send([insertion(short, made, postgres=postgres)])
        wire.send([Call("COMMIT")])
    wire.close()
    analyze(url)


def analyze(url: str) -> None:
    """Count the rows anew, as autovacuum does, which the server of tests lacks: plans would stay those of few rows."""
    if url.startswith("postgresql"):
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ANALYZE")


def wait_for_finality(url: str, chain_id: int, movements: int) -> None:
    """Add movements that were credited and wait for a height that does not come."""
    of = (sqlite if url.startswith("sqlite") else postgresql).dialect()
    item = {"chain_id": chain_id, "ordinal": 0, "wait": "finalized", "height": 10**9, "attempts": 0}
    cells = [_cell(column.type.bind_processor(of)(item.get(column.name)), {}) for column in TABLES["intake_items"].c]
    place = [column.name for column in TABLES["intake_items"].c].index("tx_hash")
    cells[place] = lambda _names, _number: secrets.token_bytes(32)
    clone(url, Model(names={}, instance_id=b"", order=None, tables=[("intake_items", [cells])]), 0, movements)


def insertion(short: str, rows: Sequence[Sequence[Any]], *, postgres: bool) -> Call:
    """Return the call that adds rows of all columns of a table."""
    table = TABLES[short]
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    if postgres:
        kinds = [type_name(column.type) for column in table.columns]
        return Call(f"COPY {table.name} ({columns}) FROM STDIN (FORMAT BINARY)", rows, "copy", kinds)
    places = ", ".join("?" for _ in table.columns)
    return Call(f"INSERT INTO {table.name} ({columns}) VALUES ({places})", rows, "many")


def _rows(short: str, **wanted: Any) -> Any:
    table = TABLES[short]
    return sa.select(table).where(*(table.c[name] == value for name, value in wanted.items()))


def _rows_of(connection: sa.Connection, short: str, order: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a customer's rows of a table, by whatever the table is tied to the customer."""
    table, order_id = TABLES[short], order["ledger_id"]
    receipts = sa.select(TABLES["payment_receipts"].c.receipt_id).where(_named("payment_receipts", order_id))
    moved = sa.select(TABLES["payment_receipts"].c.tx_hash).where(_named("payment_receipts", order_id))
    entries = sa.select(TABLES["ledger_entries"].c.entry_id).where(_named("ledger_entries", order_id))
    customer = f"customer:{order['user_id']}"
    tied: dict[str, Any] = {
        "receipt_entries": lambda: table.c.receipt_id.in_(receipts),
        "outbox": lambda: table.c.aggregate == customer,
        "unsent_events": lambda: table.c.aggregate == customer,
        "chain_logs": lambda: table.c.tx_hash.in_(moved),
        "intake_items": lambda: table.c.tx_hash.in_(moved),
        "movements": lambda: table.c.tx_hash.in_(moved),
        "ledger_lines": lambda: table.c.entry_id.in_(entries),
        "balances": lambda: table.c.owner.in_([customer, f"order:{order_id}"]),
        "payment_receipts": lambda: table.c.ledger_id == order_id,
    }
    condition = tied[short]() if short in tied else table.c.user_id == order["user_id"]
    return [dict(row) for row in connection.execute(sa.select(table).where(condition)).mappings()]


def _named(short: str, order_id: str) -> Any:
    return TABLES[short].c.ledger_id == order_id


def _cells(short: str, row: dict[str, Any], names: Names, of: Any) -> list[Cell]:
    table = TABLES[short]
    cells: list[Cell] = []
    for column in table.columns:
        write = column.type.bind_processor(of)
        value = row[column.name] if write is None else write(row[column.name])
        shifted = column.name == "log_index" and value is not None
        cells.append(_shifted(value) if shifted else _cell(value, names))
    return cells


def _shifted(value: int) -> Cell:
    return lambda _, number: value + (number + 1) * _APART


def _cell(value: Any, names: Names) -> Cell:
    """Return how a cell is written under new names: cut at every old one."""
    if not isinstance(value, (str, bytes)):
        return lambda _names, _number: value
    parts = list(_cut(value, [name for name in names if isinstance(name, type(value))]))
    if len(parts) == 1 and parts[0] not in names:
        return lambda _names, _number: value
    empty = value[:0]
    return lambda fresh, _: empty.join([fresh.get(part, part) for part in parts])


def _cut(value: Any, names: list[Any]) -> Iterator[Any]:
    while value:
        found = min((place for name in names if (place := value.find(name)) >= 0), default=-1)
        if found < 0:
            yield value
            return
        name = max((name for name in names if value.startswith(name, found)), key=len)
        if found:
            yield value[:found]
        yield name
        value = value[found + len(name) :]


def _fresh(model: Model, number: int) -> Names:
    """Return new names for all old ones; ids keep the order of the old ones."""
    names = model.names
    fresh: dict[Any, Any] = {}
    wallet = secrets.token_bytes(20)
    for old, place in names["all"].items():
        if old == names["user"]:
            fresh[old] = f"clone-{number}"
        elif old == names["wallet"]:
            fresh[old] = checksum(wallet)
        elif isinstance(old, str):
            fresh[old] = f"{old[:8]}-{number >> 16 & 0xFFFF:04x}-7{place:03x}-a{number & 0xFFF:03x}-{number:012x}"
        elif len(old) == len(wallet):
            fresh[old] = wallet
        else:
            fresh[old] = secrets.token_bytes(32)
    reference = next(old for old in names["all"] if isinstance(old, bytes) and old.startswith(model.instance_id))
    fresh[reference] = make_reference(model.instance_id, fresh[names["order"]])
    if model.order is not None and model.order.signature:
        fresh[model.order.signature] = _signed(model.order, fresh)
    return fresh


def _signed(order: Order, fresh: Names) -> bytes:
    """Sign a copy of an order, as its gateway would have."""
    wallet = fresh[order.wallet]
    copy = attrs.evolve(
        order,
        ledger_id=fresh[order.ledger_id],
        reference=fresh[order.reference],
        subscription_id=fresh[order.subscription_id],
        wallet=wallet,
        beneficiary=wallet if order.beneficiary == order.wallet else order.beneficiary,
    )
    return _SIGNER.sign_digest(order_digest(copy))
