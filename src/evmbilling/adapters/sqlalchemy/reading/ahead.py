"""Reading ahead: what a checkout will ask of its unit, in one statement instead of eight.

The answers wait in the unit for the questions. They are as true as answers to the questions themselves: nothing but the
unit's own writes can change them for the unit, and a write throws them away.
"""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy.reading.session import Session
from evmbilling.adapters.sqlalchemy.rows import catalogue as rows
from evmbilling.adapters.sqlalchemy.rows.chain import read_cursor
from evmbilling.adapters.sqlalchemy.types import PlainText
from evmbilling.domain.identity import Product
from evmbilling.domain.payments.finance import ABOUT_CONTRACTS, ABOUT_TOKENS
from evmbilling.domain.selling.orders import KeyRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.selling.offering import CheckoutRequest

R = TypeVar("R")
_KEPT = 1024
"""Different rows of one table whose records are kept."""


class RawRows(Generic[R]):
    """Columns of a table as the driver answers them, and the record that they make.

    The catalogue hardly changes and is read all the time. A record is made once for each content, whoever wrote it:
    equal rows give the same record, any other row another one.
    """

    def __init__(self, table: sa.Table, read: Callable[[Any], R], dialect: str) -> None:
        of = (postgresql if dialect == "postgresql" else sqlite).dialect()
        readers = [column.type.result_processor(of, None) or _as_is for column in table.columns]
        row = namedtuple("row", [column.name for column in table.columns])  # type: ignore[misc]  # noqa: PYI024
        raw = sa.types.NullType()
        self.columns = [sa.type_coerce(c, raw).label(f"{table.name}_{c.name}") for c in table.columns]

        @lru_cache(_KEPT)
        def make(values: Sequence[Any]) -> R:
            return read(row(*(reader(value) for reader, value in zip(readers, values, strict=True))))

        self._make = make

    def take(self, values: tuple[Any, ...]) -> tuple[R | None, tuple[Any, ...]]:
        """Return the record of the first values, ``None`` when a join found no row, and the values behind them."""
        own, rest = values[: len(self.columns)], values[len(self.columns) :]
        return (None if own[0] is None else self._make(own)), rest


def _as_is(value: object) -> object:
    return value


class AheadStatements:
    """Built once per prefix, schema and database."""

    def __init__(self, tables: Tables, dialect: str) -> None:
        self.plans = RawRows(tables["plans"], rows.read_plan, dialect)
        self.gateways = RawRows(tables["gateways"], rows.read_gateway, dialect)
        self.contracts = RawRows(tables["contracts"], rows.read_contract, dialect)
        self.networks = RawRows(tables["networks"], rows.read_network, dialect)
        self.cursors = RawRows(tables["cursors"], read_cursor, dialect)
        tables_of = (self.plans, self.gateways, self.contracts, self.networks, self.cursors)
        raw = [column for rows_of in tables_of for column in rows_of.columns]
        keys, live = tables["idempotency_keys"].c, tables["subscriptions"].c
        key = [keys.fingerprint, keys.ledger_id, keys.created_at]
        may_halt = _may_halt(tables["finance_queue"])
        asked = [*key, live.subscription_id.label("live"), may_halt.label("may_halt")]
        self.checkout = sa.select(*asked, *raw).select_from(_around(tables, dialect))


def _around(tables: Tables, dialect: str) -> sa.FromClause:
    """Join what a checkout looks at: its key, the newest plan, where that is sold, and the live subscription to it."""
    keys, plans, gateways = tables["idempotency_keys"], tables["plans"], tables["gateways"]
    contracts, networks, live = tables["contracts"], tables["networks"], tables["subscriptions"]
    cursors = tables["cursors"]
    versions = sa.alias(plans)
    newest = sa.select(sa.func.max(versions.c.version)).where(versions.c.slug == _given("plan")).scalar_subquery()
    network = sa.func.coalesce(_given("network"), _first_network(plans, dialect))
    type_ = sa.func.coalesce(_given("product_type"), plans.c.product_type)
    id_ = sa.func.coalesce(_given("product_id"), plans.c.product_id)
    nothing = sa.select(sa.literal_column("1").label("one")).subquery("always")
    bound = sa.and_(
        keys.c.operation == _given("operation"), keys.c.user_id == _given("user_id"), keys.c.key == _given("key")
    )
    lives = sa.and_(
        live.c.user_id == _given("user_id"),
        live.c.product_type == type_,
        live.c.product_id == id_,
        # In the words of the partial index, which is then used.
        live.c.status.not_in([sa.literal_column("'ended'"), sa.literal_column("'incomplete_expired'")]),
    )
    return (
        nothing.outerjoin(keys, bound)
        .outerjoin(plans, sa.and_(plans.c.slug == _given("plan"), plans.c.version == newest))
        .outerjoin(gateways, gateways.c.slug == plans.c.gateway_slug)
        .outerjoin(networks, networks.c.name == network)
        .outerjoin(
            contracts, sa.and_(contracts.c.slug == plans.c.contract_slug, contracts.c.network == networks.c.name)
        )
        .outerjoin(cursors, cursors.c.chain_id == networks.c.chain_id)
        .outerjoin(live, lives)
    )


def _first_network(plans: sa.Table, dialect: str) -> Any:
    """Return the network of a plan's first price: where it is sold when the caller names none."""
    if dialect == "postgresql":
        prices = sa.cast(plans.c.prices, postgresql.JSON)
        return sa.func.json_extract_path_text(prices, sa.literal_column("'0'"), sa.literal_column("'network'"))
    return sa.func.json_extract(plans.c.prices, sa.literal_column("'$[0].network'"))


def _may_halt(queue: sa.Table) -> Any:
    """Return whether there is any item about a token or a contract: hardly ever, and a look at an index tells."""
    return sa.or_(
        *(sa.exists().where(*_beginning(queue.c.subject, about)) for about in (ABOUT_TOKENS, ABOUT_CONTRACTS))
    )


def _beginning(subject: sa.ColumnElement[Any], text: str) -> tuple[Any, Any]:
    following = f"{text[:-1]}{chr(ord(text[-1]) + 1)}"
    return subject >= sa.literal_column(f"'{text}'"), subject < sa.literal_column(f"'{following}'")


def _given(name: str) -> sa.BindParameter[Any]:
    return bindparam(name, type_=PlainText())


class AheadReader(Session):
    """Implements ``read_ahead`` of :class:`evmbilling.ports.storage.Unit`."""

    def read_ahead(self, *, operation: str, key: str, request: CheckoutRequest) -> None:
        """Read what a checkout will ask for; the questions are then answered without the database."""
        statements, product = self._statements.ahead, request.product
        values = {
            "operation": operation,
            "user_id": request.user_id,
            "key": key,
            "plan": request.plan,
            "network": request.network,
            "product_type": product and product.type,
            "product_id": product and product.id,
        }
        (answer,) = map(tuple, self._rows(statements.checkout, values))
        fingerprint, ledger_id, created_at, live, may_halt = answer[:5]
        known = self._foreseen
        known["key", operation, request.user_id, key] = ledger_id and KeyRecord(
            operation=operation,
            user_id=request.user_id,
            key=key,
            fingerprint=fingerprint,
            ledger_id=ledger_id,
            created_at=created_at,
        )
        if not may_halt:
            known["items that may halt",] = ()
        plan, rest = statements.plans.take(answer[5:])
        gateway, rest = statements.gateways.take(rest)
        contract, rest = statements.contracts.take(rest)
        network, rest = statements.networks.take(rest)
        cursor, _ = statements.cursors.take(rest)
        known["plan", request.plan, None] = plan
        if plan is None:
            return
        known["gateway", plan.gateway_slug] = gateway
        if network is not None:
            known["network", network.name] = network
            known["contract", plan.contract_slug, network.name] = contract
            known["cursor", network.chain_id] = cursor
        if live is None:
            known["live", request.user_id, product or Product(plan.product.type, plan.product.id)] = None
