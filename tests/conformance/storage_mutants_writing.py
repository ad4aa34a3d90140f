"""Storages that write what is nearly right: fences, values, rollbacks, natural keys."""

from __future__ import annotations

from contextlib import contextmanager

import attrs
from contract_mutants import Each, Stored, storage, unit_of

from evmbilling.adapters.memory.unit import MemoryUnit
from evmbilling.adapters.memory.values import checked
from evmbilling.domain import decisions as d
from evmbilling.errors import AlreadyExists


@storage(9, "Release compares the owner, not the fence.")
class TestReleasesByOwner(Stored):
    def release_lease(self, lease):
        held = self._leases.get(lease.name)
        if held is not None and held.owner == lease.owner:
            super().release_lease(held)


@storage(9, "A lease that is given back is deleted: fences begin again.")
class TestForgetsFences(Stored):
    def release_lease(self, lease):
        held = self._leases.get(lease.name)
        if held is not None and (held.owner, held.fence) == (lease.owner, lease.fence):
            del self._leases[lease.name]


@unit_of(8, "The fence is compared for new evidence, not for a rewind.")
class TestRewindsUnfenced(Each):
    def one(self, decision):
        if isinstance(decision, d.Rewind):
            stored = self.cursor(decision.cursor.chain_id)
            if stored is not None and stored.fence > decision.cursor.fence:
                return attrs.evolve(decision, cursor=attrs.evolve(decision.cursor, fence=stored.fence))
        return decision


@unit_of(8, "The fence is compared for new evidence, not for a halt.")
class TestHaltsUnfenced(Each):
    def one(self, decision):
        if isinstance(decision, d.HaltChain):
            stored = self.cursor(decision.cursor.chain_id)
            if stored is not None and stored.fence > decision.cursor.fence:
                return attrs.evolve(decision, cursor=attrs.evolve(decision.cursor, fence=stored.fence))
        return decision


@unit_of(5, "An amount in a column of 38 digits (queue items).")
class TestNarrowQueue(Each):
    def one(self, decision):
        if isinstance(decision, d.StoreQueueItem) and decision.item.amount in range(2**256):
            return d.StoreQueueItem(attrs.evolve(decision.item, amount=decision.item.amount % 10**38))
        return decision


@unit_of(5, "An amount in a column of 38 digits (debts).")
class TestNarrowDebt(Each):
    def one(self, decision):
        if isinstance(decision, d.OpenSubscription | d.StoreSubscription) and decision.subscription.debt in range(
            2**256
        ):
            cut = attrs.evolve(decision.subscription, debt=decision.subscription.debt % 10**38)
            return type(decision)(cut)
        return decision


@unit_of(5, "Instants of challenges are kept to the millisecond.")
class TestMilliseconds(Each):
    def one(self, decision):
        if isinstance(decision, d.OpenChallenge):
            until = decision.challenge.expires_at
            cut = until.replace(microsecond=until.microsecond // 1000 * 1000)
            return d.OpenChallenge(attrs.evolve(decision.challenge, expires_at=cut))
        return decision


@unit_of(5, "User ids compare without case, as in MySQL.")
class TestFoldsCase(MemoryUnit):
    def customer(self, user_id):
        found = [c for c in self._tables.customers.values() if c.user_id.lower() == user_id.lower()]
        return found[0] if found else None

    def lock_customer(self, fresh):
        return self.customer(fresh.user_id) or super().lock_customer(fresh)


@unit_of(5, "Trailing blanks of a key are not significant, as in a CHAR column.")
class TestPadsKeys(Each):
    def one(self, decision):
        if isinstance(decision, d.BindKey):
            return d.BindKey(attrs.evolve(decision.record, key=decision.record.key.rstrip()))
        return decision

    def key(self, operation, user_id, key):
        return super().key(operation, user_id, key.rstrip())


@unit_of(2, "Counters are written at once, beside the transaction.")
class TestCountsAtOnce(MemoryUnit):
    def consume(self, window, amount):
        total = super().consume(window, amount)
        if total is not None:
            self.storage._committed.usage.put(*next(self._row(window)))
        return total

    def _row(self, window):
        key = (window.user_id, window.limit, window.source_id, window.starts_at)
        yield key, self._tables.usage.get(key)


@storage(2, "The mark that an event is handed out survives a rollback.")
class TestKeepsHandedOut(Stored):
    @contextmanager
    def unit(self, *, write=True, durable=True):
        with super().unit(write=write, durable=durable) as unit:
            layer = unit._layer
            try:
                yield unit
            except BaseException:
                layer.unsent.settle()
                raise


@storage(2, "An audit table that commits by itself.")
class TestKeepsAudit(Stored):
    @contextmanager
    def unit(self, *, write=True, durable=True):
        with super().unit(write=write, durable=durable) as unit:
            layer = unit._layer
            try:
                yield unit
            except BaseException:
                layer.audit.settle()
                layer.unsealed.settle()
                raise


@unit_of(3, "Receipts are unique by transaction and ordinal, without the chain.")
class TestChainlessReceipts(Each):
    def one(self, decision):
        if isinstance(decision, d.StoreReceipt) and decision.receipt.version == 1:
            new = decision.receipt.identity
            for other in self._tables.receipts.values():
                if (other.identity.tx_hash, other.identity.ordinal) == (new.tx_hash, new.ordinal):
                    raise AlreadyExists("this movement on chain has a receipt", field="identity")
        return decision


@unit_of(3, "A renewal of a period is unique while it is open only.")
class TestAsksTwice(MemoryUnit):
    def apply(self, decisions):
        rows = self._tables.orders
        index = rows._indexes["renewal"]
        rows._indexes = {**rows._indexes, "renewal": lambda order: None}
        try:
            super().apply(decisions)
        finally:
            rows._indexes = {**rows._indexes, "renewal": index}


@unit_of(3, "A wallet is refused only where its chains overlap with the other user's.")
class TestSharesWallets(Each):
    def one(self, decision):
        if isinstance(decision, d.ConfirmWallet):
            wallet = decision.wallet
            others = [w for w in self._tables.wallets.find("address", wallet.address) if w.user_id != wallet.user_id]
            if others and not any(
                (w.chains is None or wallet.chains is None or {*w.chains} & {*wallet.chains}) for w in others
            ):
                self._tables.wallets.put((wallet.user_id, wallet.address), checked(wallet))
                return None
        return decision


@unit_of(3, "A nonce is unique among open transmissions only.")
class TestReusesNonces(MemoryUnit):
    def last_nonce(self, chain_id, sender, *, mined_before=None):
        if mined_before is not None:
            return super().last_nonce(chain_id, sender, mined_before=mined_before)
        own = self._tables.transmissions.find("lane", (chain_id, sender))
        return max((t.nonce for t in own if t.nonce is not None), default=None)


@unit_of(10, "The last nonce before an instant is that of all transmissions.")
class TestForgetsWhenItWasMined(MemoryUnit):
    def last_nonce(self, chain_id, sender, *, mined_before=None):
        return super().last_nonce(chain_id, sender)


@unit_of(10, "Nonces count as used up before a block holds them.")
class TestCountsWhatWaitsToBeMined(MemoryUnit):
    def count_mined(self, chain_id, sender, first, below):
        own = self._tables.transmissions.find("sender", (chain_id, sender))
        return sum(t.nonce is not None and first <= t.nonce < below for t in own)


@unit_of(3, "A source of the ledger may be posted twice.")
class TestPostsTwice(Each):
    def one(self, decision):
        if isinstance(decision, d.PostEntry):
            twins = self._tables.postings.find("source", decision.entry.source)
            if twins and all(twin.kind != decision.entry.kind for twin in twins):
                rows = self._tables.postings
                for twin in twins:
                    rows.put(twin.entry_id, attrs.evolve(twin, source=twin.source + "#"))
        return decision


@unit_of(3, "A stored order is replaced whole.")
class TestReplacesOrders(Each):
    def one(self, decision):
        if isinstance(decision, d.StoreOrder):
            MemoryUnit.apply(self, [decision])
            self._tables.orders.put(decision.order.ledger_id, checked(decision.order))
            return None
        return decision


@unit_of(2, "A failed list is undone alone; the unit commits the rest.")
class TestForgiving(MemoryUnit):
    failed = False

    def apply(self, decisions):
        copy = self._layer.over()
        kept, self._layer = self._layer, copy
        closed = self._closed
        try:
            super().apply(decisions)
            copy.settle()
        except Exception:
            self._closed = closed
            raise
        finally:
            self._layer = kept
