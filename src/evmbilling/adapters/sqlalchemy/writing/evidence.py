"""Writing what the chain said: in one transaction with the cursor, which decides by its fence about the whole."""

from __future__ import annotations

from itertools import islice
from operator import eq
from typing import TYPE_CHECKING, Any, assert_never

import sqlalchemy as sa
from attrs import field, fields_dict, frozen
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from evmbilling.adapters.sqlalchemy.rows import chain
from evmbilling.adapters.sqlalchemy.writing.sending import Sender
from evmbilling.domain import decisions as d
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.errors import InputError, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.dml import Insert

    from evmbilling.adapters.sqlalchemy.statements import Statements
    from evmbilling.adapters.sqlalchemy.straight import Driver
    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.adapters.sqlalchemy.writing.bulk import Write
    from evmbilling.domain.reading.evidence import ChainLog, Cursor

EvidenceDecision = d.RecordEvidence | d.Rewind | d.StoreCursor | d.HaltChain
MANY = 500
"""From so many logs on it pays to make rows ahead, and to ask whether all of them are new."""


class EvidenceWriter(Sender):
    """Writes decisions about evidence."""

    def _apply_evidence(self, decision: EvidenceDecision) -> None:
        """Write evidence; the cursor last: its fence then decides about the whole, and nobody waits for it long."""
        self._send()
        statements, chain_id = self._statements.evidence_changes, decision.cursor.chain_id
        match decision:
            case d.RecordEvidence():
                self._record(decision)
            case d.Rewind():
                above = {"chain": chain_id, "block": decision.cursor.block.number}
                self._run(statements.wake_above, above)
                self._run(statements.orphan, above)
                self._run(statements.drop_above, above)
            case d.HaltChain(cursor):
                if cursor.halt is not None:
                    self._run(statements.wake_above, {"chain": chain_id, "block": cursor.halt.at_block})
            case d.StoreCursor():
                pass
            case _:
                assert_never(decision)
        self._store_cursor(decision.cursor)

    def _record(self, decision: d.RecordEvidence) -> None:
        changes, chain_id = self._statements.changes, decision.cursor.chain_id
        self._change(changes.header, [chain.header_values(chain_id, header) for header in decision.headers])
        if decision.logs:
            self._record_logs(decision.logs)
        self._send()
        self._run(self._statements.evidence_changes.prune, {"chain": chain_id, "keep_from": decision.keep_from})

    def _record_logs(self, logs: Sequence[ChainLog]) -> None:
        if self._driver is not None:
            ready = ready_logs(self._statements, self._driver.dialect, logs)
            if isinstance(ready, ReadyLogs) and self._written(self._driver, ready):
                return
        changes, columns = self._statements.changes, chain.log_columns(logs)
        self._change_columns(changes.log, columns)
        self._change_columns(changes.woken, chain.awake_columns(_movements(columns), _heights(columns)))

    def _store_cursor(self, cursor: Cursor) -> None:
        if self._one(self._statements.evidence_changes.cursor, **chain.cursor_values(cursor)) is None:
            raise LeaseLost(given=cursor.fence)

    def _written(self, driver: Driver, logs: ReadyLogs) -> bool:
        """Write logs that are ready; False when they cannot be written so."""
        if self._statements.evidence_changes.copies:
            return self._seem_new(logs) and self._added(driver, logs)
        with self._told():
            logs.write(driver)
        return True

    def _seem_new(self, logs: LogColumns) -> bool:
        """Whether nothing of these blocks is there yet, so that PostgreSQL can take it by COPY, at half the cost."""
        first, last = min(logs.block_number), max(logs.block_number)
        known = self._statements.evidence_changes.known_logs
        return not self._run(known, {"chain": logs.chain_id, "first": first, "last": last}).scalar_one()

    def _added(self, driver: Driver, logs: ReadyLogs) -> bool:
        """Add rows as new ones; False when one of them is there, as the item of a transaction that changed its block.

        Asking for each before would cost the database more than what is undone then.
        """
        with self._told():
            place = self._connection.begin_nested()
            try:
                logs.write(driver)
            except IntegrityError:
                place.rollback()
                return False
            place.commit()
        return True


@frozen(kw_only=True, eq=False)
class ReadyLogs(LogColumns):
    """Logs whose rows, and those of their movements, are made already.

    Attributes:
        writes: write them; on PostgreSQL as new ones, beside which nothing may be.

    """

    writes: Sequence[Write] = field(repr=False)

    def write(self, driver: Driver) -> None:
        """Write the rows."""
        for write in self.writes:
            write(driver)


def ready_logs(statements: Statements, dialect: Dialect, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
    """Make the rows of many logs of one chain before they are written; return fewer as they are.

    What cannot be stored is not ready either: it is refused where it is written.
    """
    if isinstance(logs, ReadyLogs) or len(logs) < MANY:
        return logs
    if not isinstance(logs, LogColumns):
        if any(log.chain_id != logs[0].chain_id for log in logs):
            return logs  # columns are of one chain
        logs = LogColumns.of(logs[0].chain_id, logs)
    changes, columns = statements.changes, chain.log_columns(logs)
    movements = _movements(columns)
    if statements.evidence_changes.copies and len(movements) < len(logs):
        return logs
    pair = (changes.new_log, changes.new_item) if statements.evidence_changes.copies else (changes.log, changes.woken)
    rows = (columns, chain.awake_columns(movements, _heights(columns)))
    try:
        writes = [statements.bulk(change, dialect).prepared(of) for change, of in zip(pair, rows, strict=True)]
    except InputError:
        return logs
    return ReadyLogs(**{name: getattr(logs, name) for name in fields_dict(LogColumns)}, writes=writes)


class EvidenceChanges:
    """How evidence is written: set-based where the rows are already in the database."""

    def __init__(self, tables: Tables, dialect: str) -> None:
        make = postgresql.insert if dialect == "postgresql" else sqlite.insert
        cursors, window, logs = tables["cursors"], tables["block_window"], tables["chain_logs"]
        self.cursor = _fenced_cursor(make(cursors), cursors)
        lower = sa.alias(window)
        highest = (
            sa.select(sa.func.max(lower.c.number))
            .where(lower.c.chain_id == bindparam("chain"), lower.c.number < bindparam("keep_from"))
            .scalar_subquery()
        )
        of_chain = sa.delete(window).where(window.c.chain_id == bindparam("chain"))
        self.prune = of_chain.where(window.c.number < highest)
        self.drop_above = of_chain.where(window.c.number > bindparam("block"))
        above = sa.and_(
            logs.c.chain_id == bindparam("chain"),
            logs.c.block_number > bindparam("block"),
            logs.c.canonical == bindparam("was_canonical", True, type_=logs.c.canonical.type),
        )
        self.orphan = (
            sa.update(logs).where(above).values(canonical=bindparam("is_canonical", False, type_=logs.c.canonical.type))
        )
        items = tables["intake_items"]
        self.wake_above = _wake_above(make(items), items, logs, above)
        of_blocks = sa.exists().where(
            logs.c.chain_id == bindparam("chain"), logs.c.block_number.between(bindparam("first"), bindparam("last"))
        )
        self.known_logs = sa.select(of_blocks)
        self.copies = dialect == "postgresql"


def _movements(logs: chain.Columns) -> Sequence[tuple[int, bytes, int]]:
    """Return the movements of logs, each once.

    They stand in one order for everybody, so that two writers wait for each other and never deadlock. Logs come as runs
    that are in order already, of which a sort makes use, and a set would not.
    """
    ordered = sorted(zip(logs["chain_id"], logs["tx_hash"], logs["ordinal"], strict=True))
    twice = any(map(eq, ordered, islice(ordered, 1, None)))
    return list(dict.fromkeys(ordered)) if twice else ordered


def _heights(logs: chain.Columns) -> Mapping[bytes, int]:
    """Return the block of each transaction."""
    return dict(zip(logs["tx_hash"], logs["block_number"], strict=True))


def _fenced_cursor(insert: Any, cursors: sa.Table) -> Any:
    """Insert or replace a cursor and return its key; no row comes back when the stored fence is newer."""
    names = [name for name in cursors.columns.keys() if name != "chain_id"]  # noqa: SIM118  - no mapping
    return insert.on_conflict_do_update(
        index_elements=["chain_id"],
        set_={name: insert.excluded[name] for name in names},
        where=cursors.c.fence <= insert.excluded.fence,
    ).returning(cursors.c.chain_id)


def _wake_above(insert: Insert, items: sa.Table, logs: sa.Table, above: Any) -> Any:
    """Make the intake look again at every movement that has a canonical log above a block."""
    awake = {"wait": "now", "retry_at": None, "attempts": 0, "reason": None}
    constants = [sa.literal(value, items.c[name].type).label(name) for name, value in awake.items()]
    identity = ["chain_id", "tx_hash", "ordinal"]
    movement = [logs.c[name] for name in identity]
    found = sa.select(*movement, sa.func.max(logs.c.block_number).label("height"), *constants).where(above)
    ordered = found.group_by(*movement).order_by(*movement)
    changed = ["height", *awake]
    upsert: Any = insert.from_select([*identity, *changed], ordered)
    return upsert.on_conflict_do_update(index_elements=identity, set_={name: upsert.excluded[name] for name in changed})
