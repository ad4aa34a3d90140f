"""The ledger and the seals over append-only rows, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import assert_never

import attrs

from evmbilling.adapters.memory.appended import COUNTED, note_appended, sealed_row
from evmbilling.adapters.memory.pages import page_after, whole_groups
from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.values import checked
from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import Account, Balance, Entry, owned_changes
from evmbilling.domain.books.seals import Seal, SealedRow, SealItem
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import AlreadyExists

LedgerDecision = d.PostEntry | d.AddSeal


class MemoryLedger(Reads):
    """Implements :class:`evmbilling.ports.books.LedgerReads` and :class:`evmbilling.ports.books.SealReads`."""

    def balances(self, owners: Collection[str]) -> Sequence[Balance]:
        """Return the balance rows of these owners, by (owner, account, chain id, token)."""
        return sorted((b for owner in set(owners) for b in self._tables.balances.find("owner", owner)), key=_place)

    def all_balances(self, *, after: str = "", limit: int = 1000) -> Sequence[Balance]:
        """Return a page of balance rows in that order: as many whole owners as fit, at least one."""
        found = (b for b in self._tables.balances.values() if b.owner > after)
        return whole_groups(sorted(found, key=_place), lambda balance: balance.owner, limit)

    def ledger_entries(self, *, ledger_id: str | None = None, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """Return a page of entries by entry id, all or of one order."""
        rows = self._tables.postings
        found = rows.values() if ledger_id is None else rows.find("order", ledger_id)
        return page_after(found, lambda entry: entry.entry_id, after, limit)

    def deferred_orders(self, *, after: str = "", limit: int = 1000) -> Sequence[Order]:
        """Return a page of orders, by ledger id, whose deferred revenue is above zero."""
        owners = {balance.owner for balance in self._tables.balances.find("deferred", True)}
        found = (self._tables.orders.get(owner.removeprefix("order:")) for owner in owners)
        return page_after((o for o in found if o is not None), lambda order: order.ledger_id, after, limit)

    def last_seal(self) -> Seal | None:
        """Return the newest link of the chain."""
        return max(self._tables.seals.values(), key=lambda seal: seal.number, default=None)

    def seals(self, *, after: int = 0, limit: int = 1000) -> Sequence[Seal]:
        """Return a page of links by number."""
        return page_after(self._tables.seals.values(), lambda seal: seal.number, after, limit)

    def seal_items(self, number: int) -> Sequence[SealItem]:
        """Return what a link covers, by (table, key)."""
        return sorted(self._tables.seal_items.find("seal", number), key=lambda item: (item.table, item.key))

    def unsealed_rows(self, limit: int) -> Sequence[SealedRow]:
        """Return append-only rows that no link covers yet, by (table, key)."""
        return self._rows_at(sorted(row.place for row in self._tables.unsealed.values())[:limit])

    def sealed_rows(self, table: str, keys: Collection[str]) -> Mapping[str, SealedRow]:
        """Return append-only rows by key, as they are stored now."""
        return {row.key: row for row in self._rows_at((table, key) for key in sorted(set(keys)))}

    def unsealed_before(self, instant: datetime) -> int:
        """Count ledger and audit rows recorded before an instant that no link covers."""
        waiting = self._tables.unsealed.values()
        return sum(row.place[0] in COUNTED and row.recorded_at < instant for row in waiting)

    def _rows_at(self, places: Iterable[tuple[str, str]]) -> list[SealedRow]:
        found = (sealed_row(self._tables, *place) for place in places)
        return [row for row in found if row is not None]


def _place(balance: Balance) -> tuple[str, Account, int, str]:
    return (balance.owner, balance.account, balance.asset.chain_id, balance.asset.token)


def _post(tables: Tables, entry: Entry) -> None:
    """Append a ledger entry and add it to the balances of its owners."""
    if tables.postings.get(entry.entry_id) is not None:
        raise AlreadyExists("an entry with this id is posted", field="entry_id")
    if tables.postings.find("source", entry.source):
        raise AlreadyExists("this source is posted", field="source")
    if entry.ledger_id is not None:
        refer(tables.orders, entry.ledger_id, field="ledger_id")
    if entry.user_id is not None:
        refer(tables.customers, entry.user_id, field="user_id")
    tables.postings.put(entry.entry_id, entry)
    note_appended(tables, "ledger_entries", entry.entry_id, entry.recorded_at)
    for added in owned_changes([entry]):
        stored = tables.balances.get(_place(added))
        total = added
        if stored is not None:
            total = attrs.evolve(stored, debit=stored.debit + added.debit, credit=stored.credit + added.credit)
        tables.balances.put(_place(added), checked(total))


def _add_seal(tables: Tables, seal: Seal, items: Sequence[SealItem]) -> None:
    """Append a link and the rows that it covers."""
    if tables.seals.get(seal.number) is not None:
        raise AlreadyExists("this number is sealed", field="number")
    tables.seals.put(seal.number, seal)
    for item in items:
        place = (item.table, item.key)
        if tables.seal_items.get(place) is not None:
            raise AlreadyExists("this row is sealed", field="key")
        refer(tables.seals, item.seal, field="seal")
        tables.seal_items.put(place, item)
        tables.unsealed.drop(place)


def write(tables: Tables, decision: LedgerDecision) -> None:
    """Write one decision about the books."""
    match decision:
        case d.PostEntry(entry):
            _post(tables, entry)
        case d.AddSeal(seal, items):
            _add_seal(tables, seal, items)
        case _:
            assert_never(decision)
