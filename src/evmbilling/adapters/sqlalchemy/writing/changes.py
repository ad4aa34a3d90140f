"""The statements that write, built once per prefix, schema and database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import field, frozen
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy.reading.session import plus, several
from evmbilling.adapters.sqlalchemy.straight import prefix_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evmbilling.adapters.sqlalchemy.rows.catalogue import Values
    from evmbilling.adapters.sqlalchemy.tables import Tables

ORDER_PROJECTION = (
    "status",
    "closed_as",
    "tx_hash",
    "log_index",
    "block_number",
    "block_hash",
    "confirmed_at",
    "failure_reason",
    "external_id",
    "manual_by",
    "manual_at",
    "manual_reason",
    "claim",
    "pull",
    "attempts",
    "attempted_at",
    "retry_at",
    "reminded_at",
    "version",
)
SUBSCRIPTION_PROJECTION = (
    "plan_slug",
    "plan_version",
    "interval_unit",
    "interval_count",
    "quantity",
    "status",
    "anchor",
    "paid_periods",
    "paid_until",
    "next_charge_at",
    "cancel_at_period_end",
    "debt",
    "segments",
    "dunning_state",
    "dunned_at",
    "chain_id",
    "look_at",
    "looked_at",
    "version",
)
RECEIPT_PROJECTION = (
    "ledger_id",
    "user_id",
    "allocation",
    "reason",
    "token",
    "decimals",
    "symbol",
    "amount",
    "payer",
    "treasury",
    "block_number",
    "block_hash",
    "block_time",
    "log_index",
    "status",
    "entries",
    "version",
)
DELIVERY_PROJECTION = ("state", "attempts", "next_at", "done_at", "status_code", "error", "version")
TRANSMISSION_PROJECTION = (
    "gas",
    "status",
    "nonce",
    "versions",
    "mined_hash",
    "block_number",
    "block_hash",
    "block_time",
    "succeeded",
    "gas_paid",
    "withdrawn",
    "failure_reason",
    "looks",
    "next_at",
    "waiting_since",
    "version",
)
PREVIOUS = "version_below"


@frozen(eq=False)
class Change:
    """A statement on one table.

    Attributes:
        table: whose columns the values are for.
        make: makes the statement; a prefix before the name of every parameter tells it from others in one batch.
        replaced: the columns that an UPDATE writes; empty for an INSERT, which writes all.
        parameters: the columns that the parameters are for, by their names without prefix.
        of_rows: makes the statement for the rows of a table of parameters (PostgreSQL).
        key: the parameters that find a row.
        plain: whether it only inserts.
        distinct: whether each row of a list has a key of its own, so that a batch may hold several.
        sparing: whether it is an INSERT that leaves a row alone whose primary key is taken; that it does is counted.
        statement: takes one dictionary per row.
        alone: takes the parameters of a batch of one.

    """

    table: sa.Table
    make: Callable[[str], Any]
    parameters: Mapping[str, sa.Column[Any]]
    of_rows: Callable[[Any], Any]
    key: frozenset[str]
    replaced: tuple[str, ...] = ()
    plain: bool = False
    distinct: bool = False
    sparing: bool = False
    statement: Any = field(init=False)
    alone: Any = field(init=False)
    _places: tuple[tuple[str, str], ...] = field(init=False)

    @property
    def counted(self) -> bool:
        """Whether it may meet less rows than it was given, which then means something."""
        return self.sparing or bool(self.replaced)

    @statement.default
    def _plain(self) -> Any:
        return self.make("")

    @alone.default
    def _alone(self) -> Any:
        return self.make(prefix_of(0))

    @_places.default
    def _named(self) -> tuple[tuple[str, str], ...]:
        keys = self.table.primary_key.columns.keys()
        return (*((f"key_{name}", name) for name in keys), *((f"new_{name}", name) for name in self.replaced))

    def named(self, row: Values) -> Values:
        """Name the values of an UPDATE apart: what finds the row, and what it becomes."""
        return {place: row[name] for place, name in self._places}


class Changes:
    """Everything that is written, by what it does."""

    def __init__(self, tables: Tables, dialect: str) -> None:
        self._tables = tables
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        self.inserts = {
            short: self.insert(short)
            for short in (
                "networks",
                "gateways",
                "contracts",
                "plans",
                "payment_transactions",
                "idempotency_keys",
                "subscriptions",
                "subscription_changes",
                "payment_receipts",
                "receipt_entries",
                "refunds",
                "outbox",
                "unsent_events",
                "audit",
                "ledger_entries",
                "ledger_lines",
                "movements",
                "finance_queue",
                "seals",
                "seal_items",
                "webhook_endpoints",
                "wallet_challenges",
                "transmissions",
                "signed_transactions",
                "deposits",
                "refund_proofs",
                "mandates",
                "charges",
                "pay_links",
                "figure_moves",
                "figure_sums",
                "figure_states",
                "receipt_documents",
                "buyer_notes",
            )
        }
        # A webhook comes again every day. On PostgreSQL a refused INSERT is an error in the server's log, and ends the
        # transaction.
        self.inserts["webhook_inbox"] = self.keep("webhook_inbox", sparing=True)
        self.replacements = {
            "networks": self.replace("networks"),
            "gateways": self.replace("gateways"),
            "contracts": self.replace("contracts"),
            "payment_transactions": self.replace("payment_transactions", ORDER_PROJECTION),
            "subscriptions": self.replace("subscriptions", SUBSCRIPTION_PROJECTION),
            "payment_receipts": self.replace("payment_receipts", RECEIPT_PROJECTION),
            "refunds": self.replace("refunds"),
            "movements": self.replace("movements"),
            "finance_queue": self.replace("finance_queue"),
            "webhook_inbox": self.replace("webhook_inbox"),
            "webhook_endpoints": self.replace("webhook_endpoints"),
            "mandates": self.replace("mandates"),
            "deliveries": self.replace("deliveries", DELIVERY_PROJECTION),
            "transmissions": self.replace("transmissions", TRANSMISSION_PROJECTION),
            "deposits": self.replace("deposits"),
            "refund_proofs": self.replace("refund_proofs"),
            "charges": self.replace("charges", ("state", "reason", "settled_at", "version")),
            "figure_states": self.replace("figure_states"),
        }
        self.archive_plan = self._archive_plan()
        self.customer = self.store("customers")
        self.item = self.store("intake_items")
        self.wallet = self.upsert("wallets", only=("chains",))
        self.treasury = self.keep("treasuries")
        self.delivery = self.keep("deliveries")
        self.entitlement = self.upsert("entitlements")
        self.header = self.upsert("block_window")
        self.log = self.upsert("chain_logs")
        self.woken = self.upsert("intake_items")
        self.cell = self.upsert("figure_sums", distinct=True)
        self.mark = self.upsert("journal_marks", distinct=True)
        self.new_log = self.insert("chain_logs")
        self.new_item = self.insert("intake_items")
        self.adds_balances = dialect == "postgresql"
        """Whether the database adds to a balance by itself; digits in a text cannot be added exactly."""
        self.balance = self._added_balance() if self.adds_balances else self.upsert("balances", distinct=True)
        unsent = tables["unsent_events"]
        self.handed_out = sa.delete(unsent).where(unsent.c.event_id.in_(several("event_ids")))
        self.shorten_links = _shortened(tables["pay_links"])
        outbox = tables["outbox"]
        self.published = (
            sa.select(sa.func.count()).select_from(outbox).where(outbox.c.event_id.in_(several("event_ids")))
        )
        self.erase = [
            sa.delete(tables[short]).where(tables[short].c.user_id == bindparam("gone"))
            for short in ("wallets", "wallet_challenges", "buyer_notes")
        ]

    def insert(self, short: str) -> Change:
        """Insert rows; a taken key is the database's to refuse."""
        return _insertion(self._tables[short], self._insert(self._tables[short]), distinct=True, plain=True)

    def keep(self, short: str, *, sparing: bool = False) -> Change:
        """Insert rows; what is there under the same primary key stays as it is."""
        table = self._tables[short]
        insert: Any = self._insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))
        statement = insert.execution_options(preserve_rowcount=True) if sparing else insert
        return _insertion(table, statement, distinct=sparing, sparing=sparing)

    def replace(self, short: str, columns: tuple[str, ...] = ()) -> Change:
        """Replace columns (all but the key when none are named) of rows whose stored version is the one below."""
        table = self._tables[short]
        return _update_by_key(table, columns or _beside_key(table), versioned=True)

    def store(self, short: str) -> Change:
        """Replace rows that are there, whatever they held."""
        table = self._tables[short]
        return _update_by_key(table, _beside_key(table), versioned=False)

    def upsert(self, short: str, *, only: tuple[str, ...] | None = None, distinct: bool = False) -> Change:
        """Insert rows, or replace the columns of those whose key is there."""
        table = self._tables[short]
        insert: Any = self._insert(table)
        keys = table.primary_key.columns.keys()
        taken = {name: insert.excluded[name] for name in only or _beside_key(table)}
        return _insertion(table, insert.on_conflict_do_update(index_elements=keys, set_=taken), distinct=distinct)

    def _added_balance(self) -> Change:
        table = self._tables["balances"]
        insert: Any = self._insert(table)
        sums = {name: plus(table.c[name], insert.excluded[name]) for name in ("debit", "credit")}
        statement = insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=sums)
        return _insertion(table, statement, distinct=True)

    def _archive_plan(self) -> Any:
        plans = self._tables["plans"]
        archived_at = bindparam("new_archived_at", type_=plans.c.archived_at.type)
        return sa.update(plans).where(plans.c.slug == bindparam("key_slug")).values(archived_at=archived_at)


def _shortened(links: sa.Table) -> Any:
    """Let the links of an order end at an instant, those that would last longer."""
    until = bindparam("others_until", type_=links.c.expires_at.type)
    longer = links.c.expires_at > until
    return sa.update(links).where(links.c.ledger_id == bindparam("order"), longer).values(expires_at=until)


def _beside_key(table: sa.Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if not column.primary_key)


def _insertion(
    table: sa.Table, statement: Any, *, distinct: bool = False, plain: bool = False, sparing: bool = False
) -> Change:
    """Return an INSERT, which names its columns by itself when it stands alone."""

    def make(prefix: str) -> Any:
        if not prefix:
            return statement
        return statement.values({c.name: bindparam(prefix + c.name, type_=c.type) for c in table.columns})

    names = table.columns.keys()
    return Change(
        table,
        make,
        parameters=dict(table.columns.items()),
        of_rows=lambda given: statement.from_select(names, sa.select(*(given.c[name] for name in names))),
        key=frozenset(table.primary_key.columns.keys()),
        distinct=distinct,
        plain=plain,
        sparing=sparing,
    )


def _update_by_key(table: sa.Table, columns: tuple[str, ...], *, versioned: bool) -> Change:
    keys = {f"key_{column.name}": column for column in table.primary_key.columns}
    finding = {**keys, PREVIOUS: table.c.version} if versioned else keys
    writing = {f"new_{name}": table.c[name] for name in columns}

    def update(value: Callable[[str, sa.Column[Any]], Any]) -> Any:
        found = [column == value(name, column) for name, column in finding.items()]
        return sa.update(table).where(*found).values({c: value(name, c) for name, c in writing.items()})

    return Change(
        table,
        make=lambda prefix: update(lambda name, column: bindparam(prefix + name, type_=column.type)),
        parameters={**finding, **writing},
        of_rows=lambda given: update(lambda name, _: given.c[name]),
        key=frozenset(keys),
        replaced=columns,
    )
