"""Storages that read what is nearly right: order, pages, limits, what is looked for by."""

from __future__ import annotations

from datetime import timedelta

from contract_mutants import Stored, storage, unit_of

from evmbilling.adapters.memory.unit import MemoryUnit


@storage(10, "Networks are cached by name.")
class TestCachesNetworks(Stored):
    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.known = {}

    class _Unit(MemoryUnit):
        def network(self, name):
            found = self.storage.known.get(name) or super().network(name)
            if found is not None:
                self.storage.known[name] = found
            return found

    unit_class = _Unit


@unit_of(10, "Journals are read from a replica: not what this unit wrote.")
class TestReadsBehind(MemoryUnit):
    def entries_of_receipts(self, receipt_ids):
        kept, self._layer = self._layer, self.storage._committed
        try:
            return super().entries_of_receipts(receipt_ids)
        finally:
            self._layer = kept


@unit_of(10, "A journal's numbers are ordered as text.")
class TestOrdersAsText(MemoryUnit):
    def entries(self, receipt_id):
        return sorted(super().entries(receipt_id), key=lambda entry: str(entry.seq))


@unit_of(10, "Changes of a subscription are ordered as text.")
class TestChangesAsText(MemoryUnit):
    def changes(self, subscription_ids):
        return sorted(super().changes(subscription_ids), key=lambda c: (c.subscription_id, str(c.seq)))


@unit_of(7, "Unsent events are ordered by their number as text.")
class TestEventsAsText(MemoryUnit):
    def claim_events(self, limit):
        found = super().claim_events(10**9)
        return sorted(found, key=lambda event: (event.aggregate, str(event.seq)))[:limit]


@unit_of(10, "The newest version of a plan is the greatest as text.")
class TestVersionsAsText(MemoryUnit):
    def plan(self, slug, version=None):
        if version is not None:
            return super().plan(slug, version)
        return max(self._tables.plans.find("slug", slug), key=lambda p: str(p.version), default=None)


@unit_of(10, "A lane is ordered by nonce as text.")
class TestNoncesAsText(MemoryUnit):
    def lane(self, chain_id, sender, limit):
        found = super().lane(chain_id, sender, 10**9)
        return sorted(found, key=lambda t: (t.nonce is None, str(t.nonce), t.transmission_id))[:limit]


@unit_of(7, "Due deliveries are looked for among the first waiting ones.")
class TestLimitsFirst(MemoryUnit):
    def claim_deliveries(self, sink, now, limit, *, ordered=False):
        first = sorted(self._tables.deliveries.find("waiting", sink), key=lambda x: (x.aggregate, x.seq))[:limit]
        names = {(x.event_id, x.sink) for x in first}
        found = super().claim_deliveries(sink, now, limit, ordered=ordered)
        return [x for x in found if (x.event_id, x.sink) in names]


@unit_of(7, "Hints that are due are looked for among the oldest ones.")
class TestHintsLimitFirst(MemoryUnit):
    def claim_inbox(self, now, limit):
        self._must_write()
        oldest = sorted(
            self._tables.inbox.find("state", "received"), key=lambda i: (i.received_at, i.source, i.event_id)
        )[:limit]
        return [item for item in oldest if item.retry_at <= now]


@unit_of(10, "Overdue offers: the limit before the deadline's order.")
class TestOffersAnyFirst(MemoryUnit):
    def overdue_offers(self, chain_id, before, limit):
        found = super().overdue_offers(chain_id, before, 10**9)
        return sorted(found, key=lambda order: order.ledger_id)[:limit]


@unit_of(10, "A page of movements begins after the transaction, not after the log.")
class TestSkipsTwins(MemoryUnit):
    def all_movements(self, *, after=None, limit=1000):
        found = sorted(self._tables.movements.values(), key=lambda m: m.identity)
        place = None if after is None else (after.chain_id, after.tx_hash)
        return [m for m in found if place is None or (m.identity.chain_id, m.identity.tx_hash) > place][:limit]


@unit_of(10, "A page of figures begins after the source, not after (source, seq).")
class TestSkipsMoves(MemoryUnit):
    def all_figure_moves(self, *, after=("", -1), limit=1000):
        found = sorted(self._tables.figure_moves.values(), key=lambda m: (m.source, m.seq))
        return [m for m in found if after == ("", -1) or m.source > after[0]][:limit]


@unit_of(10, "What several places have in common is added to the last of them only.")
class TestAddsOnce(MemoryUnit):
    def figure_totals(self, parts, series):
        return super().figure_totals(list({(p.grain, p.start): p for p in parts}.values()), series)


@unit_of(10, "Sums are added as floating-point numbers.")
class TestAddsFloats(MemoryUnit):
    def figure_totals(self, parts, series):
        return [(*total[:-2], int(float(total[-2])), total[-1]) for total in super().figure_totals(parts, series)]


@unit_of(10, "A page of balances is cut within an owner.")
class TestCutsOwners(MemoryUnit):
    def all_balances(self, *, after="", limit=1000):
        return super().all_balances(after=after, limit=10**9)[:limit]


@unit_of(10, "Pages of customers go by another collation than their cursor.")
class TestCollatesPages(MemoryUnit):
    def customers(self, *, after="", limit=100):
        ordered = sorted(self._tables.customers.values(), key=lambda c: (c.user_id.casefold(), c.user_id))
        return [c for c in ordered if c.user_id > after][:limit]


@unit_of(10, "Documents of a user below a serial, whatever the series.")
class TestSerialsOnly(MemoryUnit):
    def documents_of_user(self, user_id, *, before=None, limit=100):
        found = super().documents_of_user(user_id, limit=10**9)
        return [doc for doc in found if before is None or doc.serial < before[1]][:limit]


@unit_of(10, "Orders are found by their reference only, not by an event's hash of it.")
class TestNoMarks(MemoryUnit):
    def orders_by_reference(self, references):
        return {o.reference: o for ref in references for o in self._tables.orders.find("reference", ref)}


@unit_of(10, "Orders that are paid in part are not payable.")
class TestPartsUnpayable(MemoryUnit):
    def payable_orders_of(self, user_ids, chain_id):
        return [o for o in super().payable_orders_of(user_ids, chain_id) if str(o.status) != "partially_paid"]


@unit_of(10, "Wallets are looked up on any chain.")
class TestWalletsAnywhere(MemoryUnit):
    def users_of_wallets(self, addresses, chain_id=None):
        return super().users_of_wallets(addresses)


@unit_of(10, "Refunds are found by the transaction that paid them, not by the one that burned.")
class TestNoBurns(MemoryUnit):
    def refunds_by(self, **named):
        found = super().refunds_by(**named)
        burned = {r.refund_id for tx in named.get("tx_hashes", ()) for r in self._tables.refunds.find("burned", tx)}
        other = super().refunds_by(**{**named, "tx_hashes": ()})
        moved = {r.refund_id for tx in named.get("tx_hashes", ()) for r in self._tables.refunds.find("moved", tx)}
        kept = {r.refund_id for r in other} | moved
        return [r for r in found if r.refund_id in kept or r.refund_id not in burned]


@unit_of(10, "Entries at exactly the instant are left out.")
class TestFoldsLater(MemoryUnit):
    def unfolded_entries(self, since, limit):
        return [e for e in super().unfolded_entries(since, 10**9) if e.recorded_at > since][:limit]


@unit_of(10, "The end of a range of orders is part of it.")
class TestCountsBoth(MemoryUnit):
    def order_counts(self, since, until):
        return super().order_counts(since, until + timedelta(microseconds=1))


@unit_of(3, "An idempotency key is found whatever it was for.")
class TestAnyOperation(MemoryUnit):
    def key(self, operation, user_id, key):
        kept = (one for one in self._tables.keys.values() if (one.user_id, one.key) == (user_id, key))
        return super().key(operation, user_id, key) or next(kept, None)
