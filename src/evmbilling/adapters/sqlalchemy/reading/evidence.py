"""Reads of what the chain said, and the claiming of what has to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.orders import by_chain
from evmbilling.adapters.sqlalchemy.reading.session import UNKNOWN, Session, several
from evmbilling.adapters.sqlalchemy.rows import chain as rows
from evmbilling.domain.reading.evidence import CLAIMED_BY_HEIGHT, claim_share

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.identity import CreditIdentity
    from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, IntakeItem, WaitKind

UNSETTLED = "wait <> 'never'"
"""The condition of the partial index on intake items, in its own words."""
_ANY_HEIGHT = 2**63 - 1


class EvidenceStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        cursors, window = tables["cursors"], tables["block_window"]
        self.cursors = sa.select(cursors).order_by(cursors.c.chain_id)
        self.cursor = sa.select(cursors).where(cursors.c.chain_id == bindparam("chain_id"))
        self.window = (
            sa.select(window)
            .where(window.c.chain_id == bindparam("chain_id"), window.c.number > bindparam("above"))
            .order_by(window.c.number)
        )
        self._build_items(tables["intake_items"], tables["chain_logs"])

    def _build_items(self, items: sa.Table, logs: sa.Table) -> None:
        self.logs = (
            sa.select(logs)
            .where(
                logs.c.chain_id == bindparam("chain_id"),
                logs.c.tx_hash.in_(several("tx_hashes")),
                logs.c.canonical == bindparam("canonical"),
            )
            .order_by(logs.c.block_number, logs.c.log_index)
        )
        self.logs_between = (
            sa.select(logs)
            .where(
                logs.c.chain_id == bindparam("chain_id"),
                logs.c.block_number.between(bindparam("first"), bindparam("last")),
                logs.c.canonical == bindparam("canonical"),
            )
            .order_by(logs.c.block_number, logs.c.log_index)
        )
        self.log_blocks = (
            sa.select(logs.c.block_number, logs.c.block_hash)
            .where(
                logs.c.chain_id == bindparam("chain_id"),
                logs.c.block_number < bindparam("below"),
                logs.c.canonical == bindparam("canonical"),
            )
            .distinct()
            .order_by(logs.c.block_number.desc(), logs.c.block_hash.desc())
            .limit(bindparam("most"))
        )
        identity = (items.c.tx_hash, items.c.ordinal)
        # One way of waiting at a time, in the order of the index: what is not due is not even looked at, and on a busy
        # chain that is everything which is not final yet. Among those of one height the index decides: an order of
        # their own would have all of them sorted for each claim.
        waiting = (
            sa.select(items)
            .where(items.c.chain_id == bindparam("chain_id"), sa.text(UNSETTLED))
            .order_by(items.c.height)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
        self.claim = waiting.where(items.c.wait == bindparam("wait"), items.c.height <= bindparam("reached"))
        self.claim_parked = waiting.where(
            items.c.wait == sa.literal_column("'time'"), items.c.retry_at <= bindparam("now")
        )
        self.parked = (
            sa.select(items)
            .where(sa.text(UNSETTLED), items.c.wait == "time", items.c.reason.is_not(None))
            .order_by(items.c.chain_id, *identity)
            .limit(bindparam("most"))
        )
        supported = sa.exists().where(
            logs.c.chain_id == items.c.chain_id,
            logs.c.tx_hash == items.c.tx_hash,
            logs.c.ordinal == items.c.ordinal,
            logs.c.block_number <= bindparam("block"),
            logs.c.canonical == bindparam("canonical"),
        )
        self.waiting = (
            sa.select(sa.func.count())
            .select_from(items)
            .where(items.c.chain_id == bindparam("chain_id"), sa.text(UNSETTLED), items.c.wait == "now", supported)
        )


class EvidenceReader(Session):
    """Implements :class:`evmbilling.ports.storage.EvidenceReads`."""

    def cursor(self, chain_id: int) -> Cursor | None:
        """Return how far a chain has been read."""
        known: Cursor | None = self._ahead("cursor", chain_id)
        if known is not UNKNOWN:
            return known
        row = self._one(self._statements.evidence.cursor, chain_id=chain_id)
        return None if row is None else rows.read_cursor(row)

    def cursors(self) -> Sequence[Cursor]:
        """Return all cursors by chain id."""
        return [rows.read_cursor(row) for row in self._all(self._statements.evidence.cursors)]

    def window(self, chain_id: int, *, above: int = -1) -> Sequence[BlockHeader]:
        """Return the stored headers with a number greater than ``above``, in order."""
        found = self._all(self._statements.evidence.window, chain_id=chain_id, above=above)
        return [rows.read_header(row) for row in found]

    def logs_of(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, ChainLog]:
        """Return the canonical log of each movement, the highest when the window holds several."""
        wanted = set(identities)
        statement = self._statements.evidence.logs
        logs = [
            rows.read_log(row)
            for chain_id, hashes in by_chain(wanted)
            for row in self._in(statement, "tx_hashes", hashes, chain_id=chain_id, canonical=True)
        ]
        return {log.identity: log for log in logs if log.identity in wanted}

    def logs_between(self, chain_id: int, first: int, last: int) -> Sequence[ChainLog]:
        """Return the canonical logs of the blocks ``first`` to ``last`` in chain order."""
        found = self._all(
            self._statements.evidence.logs_between, chain_id=chain_id, first=first, last=last, canonical=True
        )
        return [rows.read_log(row) for row in found]

    def log_blocks(self, chain_id: int, *, below: int, limit: int = 500) -> Sequence[tuple[int, bytes]]:
        """Return number and hash of the blocks below a height that hold canonical logs, the highest first."""
        statement = self._statements.evidence.log_blocks
        found = self._all(statement, chain_id=chain_id, below=below, canonical=True, most=limit)
        return [(row.block_number, row.block_hash) for row in found]

    def claim_items(self, chain_id: int, cursor: Cursor, now: datetime, limit: int) -> Sequence[IntakeItem]:
        """Claim intake items of a chain that are due, until the unit ends; skips what others hold."""
        self._begin_writing()
        fresh = self._reached(chain_id, "now", _ANY_HEIGHT, limit)
        room = claim_share(len(fresh), limit)
        statement = self._statements.evidence.claim_parked
        others = list(self._all(statement, chain_id=chain_id, now=now, most=room))
        for wait in CLAIMED_BY_HEIGHT:
            height = cursor.heights.of(wait)
            if height is not None and len(others) < room:
                others += self._reached(chain_id, wait, height, room - len(others))
        found = [rows.read_item(row) for row in (*fresh[: limit - len(others)], *others)]
        return sorted(found, key=lambda item: item.identity)

    def _reached(self, chain_id: int, wait: WaitKind, height: int, most: int) -> Sequence[Any]:
        statement = self._statements.evidence.claim
        return self._all(statement, chain_id=chain_id, wait=wait, reached=height, most=most)

    def waiting_below(self, chain_id: int, block: int) -> int:
        """Count items of a chain that wait ``now`` and whose canonical log is at or below a block."""
        found = self._run(self._statements.evidence.waiting, {"chain_id": chain_id, "block": block, "canonical": True})
        return int(found.scalar_one())

    def parked_items(self, limit: int = 100) -> Sequence[IntakeItem]:
        """Return items parked with a reason, by identity."""
        return [rows.read_item(row) for row in self._all(self._statements.evidence.parked, most=limit)]
