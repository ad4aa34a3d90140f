"""Applying decisions: each class has one place here, and the list of classes is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy.failures import Duplicate
from evmbilling.adapters.sqlalchemy.meanings import meaning_of_duplicate
from evmbilling.adapters.sqlalchemy.reading.session import Session
from evmbilling.adapters.sqlalchemy.rows import billing, catalogue, chain, money
from evmbilling.adapters.sqlalchemy.writing.batching import Pending, values_of
from evmbilling.adapters.sqlalchemy.writing.changes import PREVIOUS, Change
from evmbilling.adapters.sqlalchemy.writing.grouping import grouped
from evmbilling.domain import decisions as d
from evmbilling.domain.evidence import IntakeItem
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    InputError,
    LeaseLost,
    NotFound,
    UnknownPlan,
    VersionConflict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Dialect

    from evmbilling.adapters.sqlalchemy.rows.catalogue import Values
    from evmbilling.domain.evidence import Cursor


class Applier(Session):
    """Implements ``apply`` of :class:`evmbilling.ports.storage.Unit`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pending: list[Pending] = []

    def apply(self, decisions: Sequence[d.Decision]) -> None:
        """Write the decisions, all or none: after an error the unit answers nothing and is not committed.

        So no savepoint is needed, and a list costs no round trips beyond its statements; on PostgreSQL changes of
        single rows share one.
        """
        self._begin_writing()
        self._foreseen.clear()
        try:
            for _, group in grouped(decisions):
                self._apply_group(group)
            self._send()
        except BaseException:
            self._closed = "a write failed in this unit; nothing of it is kept"
            raise

    def _apply_group(self, group: Sequence[Any]) -> None:  # noqa: C901, PLR0912  - one flat table of all decisions
        changes = self._statements.changes
        first: d.Decision = group[0]
        match first:
            case d.SaveNetwork():
                self._save("networks", [(e.network, catalogue.network_values(e.network)) for e in group])
            case d.SaveGateway():
                self._save("gateways", [(e.gateway, catalogue.gateway_values(e.gateway)) for e in group])
            case d.SaveContract():
                self._save("contracts", [(e.contract, catalogue.contract_values(e.contract)) for e in group])
            case d.AddPlanVersion():
                self._change(changes.inserts["plans"], [catalogue.plan_values(e.plan) for e in group])
            case d.ArchivePlan():
                for decision in group:
                    self._archive(decision)
            case d.StoreCustomer():
                self._store(changes.customer, [billing.customer_values(e.customer) for e in group], "customer")
            case d.ConfirmWallet():
                self._change(changes.wallet, [billing.wallet_values(e.wallet) for e in group])
            case d.OpenOrder():
                self._change(changes.inserts["payment_transactions"], [billing.order_values(e.order) for e in group])
            case d.StoreOrder():
                rows = [{"ledger_id": e.order.ledger_id, **billing.order_projection(e.order)} for e in group]
                self._replace("payment_transactions", rows)
            case d.BindKey():
                self._change(changes.inserts["idempotency_keys"], [billing.key_values(e.record) for e in group])
            case d.OpenSubscription():
                rows = [billing.subscription_values(e.subscription) for e in group]
                self._change(changes.inserts["subscriptions"], rows)
            case d.StoreSubscription():
                rows = [billing.subscription_values(e.subscription) for e in group]
                self._replace("subscriptions", rows)
            case d.RecordChange():
                self._change(changes.inserts["subscription_changes"], [billing.change_values(e.change) for e in group])
            case d.StoreEntitlement():
                self._change(changes.entitlement, [billing.entitlement_values(e.entitlement) for e in group])
            case d.StoreReceipt():
                self._save("payment_receipts", [(e.receipt, money.receipt_values(e.receipt)) for e in group])
            case d.AppendEntry():
                self._change(changes.inserts["receipt_entries"], [money.entry_values(e.entry) for e in group])
            case d.StoreRefund():
                self._save("refunds", [(e.refund, money.refund_values(e.refund)) for e in group])
            case d.Publish():
                self._change(changes.inserts["outbox"], [money.event_values(e.event) for e in group])
            case d.RecordAudit():
                self._change(changes.inserts["audit"], [money.audit_values(e.entry) for e in group])
            case d.StoreItem():
                self._store(changes.item, [chain.item_values(e.item) for e in group], "intake item")
            case d.RecordEvidence() | d.Rewind() | d.StoreCursor() | d.HaltChain():
                for decision in group:
                    self._apply_evidence(decision)
            case _:
                assert_never(first)

    def _apply_evidence(self, decision: d.RecordEvidence | d.Rewind | d.StoreCursor | d.HaltChain) -> None:
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
        self._change(changes.log, [chain.log_values(log) for log in decision.logs])
        # In one order for everybody, so that two writers wait for each other and never deadlock.
        identities = sorted({log.identity for log in decision.logs})
        awake = [chain.item_values(IntakeItem(identity=identity, wait="now")) for identity in identities]
        self._change(changes.woken, awake)
        self._send()
        self._run(self._statements.evidence_changes.prune, {"chain": chain_id, "keep_from": decision.keep_from})

    def _store_cursor(self, cursor: Cursor) -> None:
        if self._one(self._statements.evidence_changes.cursor, **chain.cursor_values(cursor)) is None:
            raise LeaseLost(given=cursor.fence)

    def _archive(self, decision: d.ArchivePlan) -> None:
        self._send()
        values = {"key_slug": decision.plan.slug, "new_archived_at": decision.plan.archived_at}
        if not self._run(self._statements.changes.archive_plan, values).rowcount:
            raise UnknownPlan(field="plan")

    def _save(self, short: str, pairs: Iterable[tuple[Any, Values]]) -> None:
        """Insert rows of version 1 and replace the others, each run of the same kind at once."""
        run: list[Values] = []
        fresh = True
        for record, values in pairs:
            if run and fresh != (record.version == 1):
                self._save_run(short, run, fresh=fresh)
                run = []
            fresh = record.version == 1
            run.append(values)
        self._save_run(short, run, fresh=fresh)

    def _save_run(self, short: str, rows: list[Values], *, fresh: bool) -> None:
        if fresh:
            self._change(self._statements.changes.inserts[short], rows)
        else:
            self._replace(short, rows)

    def _replace(self, short: str, rows: Sequence[Values]) -> None:
        change = self._statements.changes.replacements[short]
        named = [{**_named(change, row), PREVIOUS: row["version"] - 1} for row in rows]
        self._change(change, named, missing=VersionConflict())

    def _store(self, change: Change, rows: Sequence[Values], what: str) -> None:
        named = [_named(change, row) for row in rows]
        self._change(change, named, missing=NotFound(f"there is no such {what}"))

    def _change(self, change: Change, rows: Sequence[Values], *, missing: BillingError | None = None) -> None:
        """Run a statement for many rows, or keep it for the batch; ``missing`` is raised unless each row is met."""
        if not rows:
            return
        if len(rows) == 1 and self._statements.batches is not None:
            if any(waiting.change.table is change.table for waiting in self._pending):
                self._send()
            self._pending.append(Pending(change, rows[0], missing))
            return
        self._send()
        self._run_change(change, rows, missing)

    def _send(self) -> None:
        """Run what waits to be sent."""
        pending, self._pending = self._pending, []
        batches = self._statements.batches
        if len(pending) == 1 or batches is None:
            for one in pending:
                self._run_change(one.change, [one.row], one.missing)
        elif pending:
            self._run_batch(batches.statement([one.change for one in pending]), pending)

    def _run_batch(self, statement: Any, pending: Sequence[Pending]) -> None:
        try:
            (counts,) = self._rows(statement, values_of(pending))
        except InputError as error:
            named = (named_error(error, one.change, [one.row], self._connection.dialect) for one in pending)
            raise next((other for other in named if other is not error), error) from None
        expected = [one.missing for one in pending if one.change.replaced]
        for met, missing in zip(counts, expected, strict=False):
            if not met and missing is not None:
                raise missing

    def _run_change(self, change: Change, rows: Sequence[Mapping[str, Any]], missing: BillingError | None) -> None:
        try:
            met = self._run_rows(change, rows)
        except AlreadyExists as error:
            self._prefer_primary_key(change, rows, error)
            raise
        except InputError as error:
            raise named_error(error, change, rows, self._connection.dialect) from None
        if missing is not None and met != len(rows):
            raise missing

    def _run_rows(self, change: Change, rows: Sequence[Mapping[str, Any]]) -> int:
        """Return how many rows an UPDATE met; for an INSERT, how many were given."""
        if len(rows) == 1:
            met = self._count(change.alone, values_of([Pending(change, rows[0])]))
            return met if change.replaced else 1
        if not change.replaced:
            self._run(change.statement, rows)
            return len(rows)
        if not self._connection.dialect.supports_sane_multi_rowcount:
            return sum(self._run(change.statement, row).rowcount for row in rows)
        return self._run(change.statement, rows).rowcount

    def _prefer_primary_key(self, change: Change, rows: Sequence[Mapping[str, Any]], error: AlreadyExists) -> None:
        """Name the primary key when one row takes several keys: PostgreSQL does, SQLite names the newest index.

        Raises:
            BillingError: what a taken primary key of this table means.

        """
        if self._connection.dialect.name != "sqlite" or len(rows) != 1:
            return
        key = change.table.primary_key
        same = (column == rows[0].get(column.name) for column in key.columns)
        if self._connection.execute(sa.select(sa.literal(1)).where(*same)).one_or_none() is not None:
            name = str(key.name).removeprefix(self._statements.names.prefix)
            raise meaning_of_duplicate(Duplicate(name)) from error.__cause__


def _named(change: Change, row: Values) -> Values:
    """Name the values of an UPDATE apart: what finds the row, and what it becomes."""
    keys = {f"key_{name}": row[name] for name in change.table.primary_key.columns.keys()}  # noqa: SIM118  - no mapping
    return keys | {f"new_{name}": row[name] for name in change.replaced}


def named_error(error: InputError, change: Change, rows: Iterable[Mapping[str, Any]], dialect: Dialect) -> InputError:
    """Return the same error with the name of the column whose value cannot be stored."""
    for row in rows:
        for name, value in row.items():
            column = change.table.columns.get(name.removeprefix("key_").removeprefix("new_"))
            if column is not None and _refused(column.type.bind_processor(dialect), value):
                return type(error)(error.message, field=column.name)
    return error


def _refused(check: Callable[[Any], Any] | None, value: object) -> bool:
    if check is None:
        return False
    try:
        check(value)
    except InputError:
        return True
    return False
