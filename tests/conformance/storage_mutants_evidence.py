"""Storages that are nearly right about evidence, claims, counters and retention."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import timedelta

import attrs
from contract_mutants import Each, Stored, storage, unit_of

from evmbilling.adapters.memory.tables import StoredLog
from evmbilling.adapters.memory.unit import MemoryUnit
from evmbilling.domain import decisions as d
from evmbilling.domain.selling.pay_links import OpenPayLink


@unit_of(8, "A log that is there is ignored: it stays orphaned.")
class TestIgnoresReturned(Each):
    def one(self, decision):
        if isinstance(decision, d.RecordEvidence):
            orphans = [
                (key, stored)
                for log in decision.logs
                for key in [(log.chain_id, log.block_hash, log.log_index)]
                if (stored := self._tables.logs.get(key)) is not None and not stored.canonical
            ]
            MemoryUnit.apply(self, [decision])
            for key, stored in orphans:
                self._tables.logs.put(key, StoredLog(stored.log, canonical=False))
            return None
        return decision


@unit_of(8, "A rewind wakes only items that are not settled.")
class TestLetsSettledSleep(Each):
    def one(self, decision):
        if isinstance(decision, d.Rewind):
            asleep = [i for i in self._tables.items.values() if i.wait == "never"]
            MemoryUnit.apply(self, [decision])
            for item in asleep:
                self._tables.items.put(item.identity, item)
            return None
        return decision


@unit_of(8, "A halt wakes from two blocks above on.")
class TestHaltsOneLate(Each):
    def one(self, decision):
        if isinstance(decision, d.HaltChain) and decision.cursor.halt is not None:
            edge = decision.cursor.halt.at_block + 1
            asleep = [
                self._tables.items.get(s.log.identity)
                for s in self._tables.logs.values()
                if s.log.block_number == edge and s.log.chain_id == decision.cursor.chain_id
            ]
            MemoryUnit.apply(self, [decision])
            for item in asleep:
                if item is not None:
                    self._tables.items.put(item.identity, item)
            return None
        return decision


@unit_of(7, "A tag that the node does not have is taken for the head.")
class TestTagsFallBack(MemoryUnit):
    def claim_items(self, chain_id, cursor, now, limit):
        heights = cursor.heights
        filled = attrs.evolve(
            heights,
            safe=heights.head if heights.safe is None else heights.safe,
            finalized=heights.head if heights.finalized is None else heights.finalized,
        )
        return super().claim_items(chain_id, attrs.evolve(cursor, heights=filled), now, limit)


@unit_of(7, "A height is reached one block early.")
class TestOneEarly(MemoryUnit):
    def claim_items(self, chain_id, cursor, now, limit):
        heights = attrs.evolve(cursor.heights, head=cursor.heights.head + 1)
        return super().claim_items(chain_id, attrs.evolve(cursor, heights=heights), now, limit)


@unit_of(7, "What waits now is taken first, up to the limit.")
class TestFreshFirst(MemoryUnit):
    def claim_items(self, chain_id, cursor, now, limit):
        found = super().claim_items(chain_id, cursor, now, 10**9)
        fresh = [item for item in found if item.wait == "now"]
        return sorted([*fresh, *(i for i in found if i.wait != "now")][:limit], key=lambda i: i.identity)


@unit_of(7, "What waits now is claimed by transaction, whatever its block.")
class TestForgetsBlocks(MemoryUnit):
    def claim_items(self, chain_id, cursor, now, limit):
        found = super().claim_items(chain_id, cursor, now, 10**9)
        fresh = {item.identity for item in [i for i in found if i.wait == "now"][:limit]}
        kept = [item for item in super().claim_items(chain_id, cursor, now, limit) if item.wait != "now"]
        room = limit - len(kept)
        return sorted([*kept, *[i for i in found if i.identity in fresh][:room]], key=lambda i: i.identity)


@unit_of(7, "An ordered sink is treated like any other.")
class TestNeverOrdered(MemoryUnit):
    def claim_deliveries(self, sink, now, limit, *, ordered=False):
        return super().claim_deliveries(sink, now, limit)


@unit_of(11, "A counter that is not full yet takes any amount.")
class TestOvershoots(MemoryUnit):
    def consume(self, window, amount):
        if self.used(window) < window.allowed < self.used(window) + amount:
            return super().consume(attrs.evolve(window, allowed=self.used(window) + amount), amount)
        return super().consume(window, amount)


@unit_of(11, "A challenge is good at the instant at which it expires.")
class TestExpiresLate(MemoryUnit):
    def use_challenge(self, nonce, now):
        found = super().use_challenge(nonce, now)
        if found is None and (stored := self._tables.challenges.get(nonce)) is not None and stored.expires_at == now:
            return super().use_challenge(nonce, now - timedelta(microseconds=1))
        return found


@unit_of(3, "Older pay links end at the instant, also those that ended before.")
class TestRevivesLinks(Each):
    def one(self, decision):
        if isinstance(decision, OpenPayLink):
            for other in self._tables.pay_links.find("order", decision.link.ledger_id):
                until = decision.others_until
                self._tables.pay_links.put(other.token_hash, attrs.evolve(other, expires_at=until))
        return decision


@storage(12, "Usage is pruned by when its window began.")
class TestPrunesInUse(Stored):
    def prune(self, table, before, limit):
        if table != "usage":
            return super().prune(table, before, limit)
        with self._turn():
            rows = self._committed.usage
            old = sorted((w for w in rows.values() if w.starts_at < before), key=lambda w: w.starts_at)[: max(limit, 0)]
            for w in old:
                rows.drop((w.user_id, w.limit, w.source_id, w.starts_at))
            return len(old)


@storage(12, "A limit of zero is no limit.")
class TestNoLimitAtZero(Stored):
    def prune(self, table, before, limit):
        return super().prune(table, before, limit or 10**9)


@unit_of(13, "Rows are offered after the last sealed instant.")
class TestSealsByTime(MemoryUnit):
    def unsealed_rows(self, limit):
        times = {}
        for table in ("audit", "postings", "events", "entries", "changes"):
            short = {
                "postings": "ledger_entries",
                "events": "outbox",
                "entries": "receipt_entries",
                "changes": "subscription_changes",
            }.get(table, table)
            for row in getattr(self._tables, table).values():
                key = next((getattr(row, n) for n in ("audit_id", "entry_id", "event_id") if hasattr(row, n)), None)
                if key is None:
                    key = f"{getattr(row, 'receipt_id', None) or row.subscription_id}:{row.seq}"
                if self._tables.seal_items.get((short, key)) is not None:
                    times[short] = max(times.get(short, row.recorded_at), row.recorded_at)
        waiting = [
            row.place
            for row in self._tables.unsealed.values()
            if row.place[0] not in times or row.recorded_at > times[row.place[0]]
        ]
        return self._rows_at(sorted(waiting)[:limit])


@unit_of(10, "Erasing a customer leaves what documents say of the buyer.")
class TestKeepsNotes(Each):
    def one(self, decision):
        if isinstance(decision, d.EraseCustomer):
            notes = self._tables.buyer_notes.find("user", decision.customer.user_id)
            MemoryUnit.apply(self, [decision])
            for note in notes:
                self._tables.buyer_notes.put((note.series, note.serial), note)
            return None
        return decision


@storage(6, "No lock: units of two threads lie over each other.")
class TestNeverLocks(Stored):
    @contextmanager
    def unit(self, *, write=True, durable=True):
        unit = self.unit_class(self._committed.over(), write=write)
        unit.storage = self
        try:
            yield unit
            if write:
                unit.commit()
        finally:
            unit.end()


@storage(8, "A long list that is made ready lacks its last log.")
class TestReadiesAllButOne(Stored):
    def prepare(self, logs):
        return logs[:-1] if len(logs) > 500 else logs


class Ready(Sequence):
    """Logs, marked as made ready."""

    def __init__(self, logs):
        self._logs = list(logs)

    def __len__(self):
        return len(self._logs)

    def __getitem__(self, place):
        return self._logs[place]


class Readies(Stored):
    """Marks what was made ready."""

    def prepare(self, logs):
        return Ready(logs)


class TakesForNew(Each):
    """Does not look whether a movement that was made ready is there."""

    def one(self, decision):
        if not (isinstance(decision, d.RecordEvidence) and isinstance(decision.logs, Ready)):
            return decision
        asleep = [item for item in self._tables.items.values() if item.wait == "never"]
        MemoryUnit.apply(self, [decision])
        for item in asleep:
            self._tables.items.put(item.identity, item)
        return None


@storage(8, "A movement that is there is not woken by a log that was made ready.")
class TestTakesForNew(Readies):
    unit_class = TakesForNew


class Spent(Ready):
    """Logs of which nothing is left once they were recorded."""

    def recorded(self):
        self._logs.clear()


class Spends(Each):
    """Uses up what was made ready."""

    def one(self, decision):
        MemoryUnit.apply(self, [decision])
        if isinstance(decision, d.RecordEvidence) and isinstance(decision.logs, Spent):
            decision.logs.recorded()


@storage(8, "What was made ready can be recorded once only.")
class TestSpends(Stored):
    unit_class = Spends

    def prepare(self, logs):
        return Spent(logs)


@storage(8, "Logs are made ready when no unit of another thread is open.")
class TestReadiesInTurn(Stored):
    def prepare(self, logs):
        with self._turn():
            return logs


@storage(1, "A unit that does not wait for the disk is never committed.")
class TestNeverDurable(Stored):
    @contextmanager
    def unit(self, *, write=True, durable=True):
        with super().unit(write=write) as unit:
            yield unit
            if write and not durable:
                unit._layer = unit._layer.over()


@storage(1, "A unit that fails takes back what the one before did not wait for.")
class TestTakesBackHaste(Stored):
    kept = None

    @contextmanager
    def unit(self, *, write=True, durable=True):
        before = copy.deepcopy(self._committed) if write and not durable else None
        try:
            with super().unit(write=write) as unit:
                yield unit
        except BaseException:
            self._committed = self.kept or self._committed
            raise
        if write:
            self.kept = before


@storage(2, "A unit that does not wait for the disk commits whatever becomes of it.")
class TestKeepsHaste(Stored):
    @contextmanager
    def unit(self, *, write=True, durable=True):
        with super().unit(write=write) as unit:
            layer = unit._layer
            try:
                yield unit
            except BaseException:
                if not durable:
                    layer.settle()
                raise
