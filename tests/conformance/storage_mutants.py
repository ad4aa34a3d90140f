"""Storages that are subtly wrong, one way each: the kit has to refuse every one of them.

Each class says what is wrong in its docstring, and which clause that breaks in ``of``.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, timedelta

import attrs
import pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain import decisions as d
from evmbilling.errors import BillingError
from evmbilling.testing.conformance import StorageConformance


class Changed:
    """Something that is like the inner object but for what its subclass does."""

    def __init__(self, inner, **about):
        self.__dict__.update(inner=inner, **about)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Wrong(Changed):
    """A storage whose units are wrapped."""

    unit_type = Changed

    @contextmanager
    def unit(self, *, write=True, durable=True):
        with self.inner.unit(write=write, durable=durable) as unit:
            yield self.unit_type(unit, storage=self)


class OverMemory(StorageConformance):
    """A mutant of the storage in memory."""

    storage_type = Wrong

    @pytest.fixture
    def new_storage(self, clock):
        return lambda: self.storage_type(MemoryStorage(clock, lock_timeout=0.4))


class TestControl(OverMemory):
    """Nothing is wrong."""

    of = 0
    storage_type = Wrong


def unit_of(base):
    """Return a storage class whose units are of this class."""
    return type(f"{base.__name__}Storage", (Wrong,), {"unit_type": base})


def rewriting(change):
    """Return a storage class that changes each decision before it is applied; None leaves it out."""

    class Rewriting(Changed):
        def apply(self, decisions):
            kept = [change(self.inner, one) for one in decisions]
            self.inner.apply([one for one in kept if one is not None])

    return unit_of(Rewriting)


class TestVisibleBeforeCommit(OverMemory):
    """Units that only read see what another unit has not committed."""

    of = 1

    class storage_type(Wrong):  # noqa: N801  - an attribute of the kit
        writing = None

        @contextmanager
        def unit(self, *, write=True, durable=True):
            if not write and self.writing is not None:
                yield self.writing
                return
            with self.inner.unit(write=write, durable=durable) as unit:
                self.__dict__["writing"] = unit if write else self.writing
                try:
                    yield unit
                finally:
                    self.__dict__["writing"] = None if write else self.writing


class TestLostWrite(OverMemory):
    """The last decision of a long list is lost."""

    of = 1

    class Losing(Changed):
        def apply(self, decisions):
            self.inner.apply(decisions[:20])

    storage_type = unit_of(Losing)


class TestCommitsOnError(OverMemory):
    """A unit that raises is committed all the same."""

    of = 2

    class storage_type(Wrong):  # noqa: N801
        @contextmanager
        def unit(self, *, write=True, durable=True):
            raised = None
            with self.inner.unit(write=write, durable=durable) as unit:
                try:
                    yield unit
                except BaseException as error:  # noqa: BLE001  - the mutant itself
                    raised = error
            if raised is not None:
                raise raised


class TestSwallowsFailure(OverMemory):
    """A list that fails is left out, and the unit goes on and commits."""

    of = 2

    class Swallowing(Changed):
        def apply(self, decisions):
            for one in decisions:
                self.storage.inner._writing = False
                try:
                    with self.storage.inner.unit() as alone:
                        alone.apply([one])
                except BillingError as error:
                    self.__dict__["last"] = error
                    raise
                finally:
                    self.storage.inner._writing = True

    storage_type = unit_of(Swallowing)


def twice(unit, decision):
    """Credit a movement again under another name."""
    if isinstance(decision, d.StoreReceipt) and decision.receipt.version == 1:
        taken = unit.receipts_by_identity([decision.receipt.identity])
        if taken:
            other = attrs.evolve(decision.receipt.identity, tx_hash=decision.receipt.receipt_id.encode()[-32:])
            return d.StoreReceipt(attrs.evolve(decision.receipt, identity=other))
    return decision


class TestDoubleCredit(OverMemory):
    """The unique key of a movement is missing: it is credited twice."""

    of = 3
    storage_type = rewriting(twice)


def any_version(unit, decision):
    """Take whatever version is right."""
    if isinstance(decision, d.StoreOrder):
        stored = unit.order(decision.order.ledger_id)
        if stored is not None:
            return d.StoreOrder(attrs.evolve(decision.order, version=stored.version + 1))
    return decision


class TestLostUpdate(OverMemory):
    """An order is replaced whatever version was read: the last writer wins."""

    of = 3
    storage_type = rewriting(any_version)


class TestKeyTwice(OverMemory):
    """An idempotency key that is taken is passed over in silence."""

    of = 3
    storage_type = rewriting(
        lambda unit, one: (
            None if isinstance(one, d.BindKey) and unit.key(one.key.operation, one.key.user_id, one.key.key) else one
        )
    )


class TestForgottenConflict(OverMemory):
    """A record that is there already is passed over instead of refused."""

    of = 4

    class Forgiving(Changed):
        def apply(self, decisions):
            if [type(one) for one in decisions] == [d.RecordAudit] and list(self.inner.audit()):
                return
            self.inner.apply(decisions)

    storage_type = unit_of(Forgiving)


class TestFloatAmounts(OverMemory):
    """Amounts of orders go through a float."""

    of = 5
    storage_type = rewriting(
        lambda _, one: (
            d.OpenOrder(attrs.evolve(one.order, amount=int(float(one.order.amount))))
            if isinstance(one, d.OpenOrder) and type(one.order.amount) is int and 0 <= one.order.amount < 2**256
            else one
        )
    )


class TestWholeSeconds(OverMemory):
    """Instants of orders lose what is below a second."""

    of = 5
    storage_type = rewriting(
        lambda _, one: (
            d.OpenOrder(attrs.evolve(one.order, created_at=one.order.created_at.replace(microsecond=0)))
            if isinstance(one, d.OpenOrder)
            else one
        )
    )


class TestNaiveInstants(OverMemory):
    """An instant without a time zone is taken for UTC."""

    of = 5
    storage_type = rewriting(
        lambda _, one: (
            d.OpenOrder(attrs.evolve(one.order, created_at=one.order.created_at.replace(tzinfo=UTC)))
            if isinstance(one, d.OpenOrder) and one.order.created_at.tzinfo is None
            else one
        )
    )


class TestLocksInAnyOrder(OverMemory):
    """Customers are locked in the order in which they are named."""

    of = 6

    class Unordered(Changed):
        def lock_customers(self, user_ids, *, skip_locked=False):
            found = self.inner.lock_customers(user_ids, skip_locked=skip_locked)
            return {user: found[user] for user in dict.fromkeys(user_ids) if user in found}

    storage_type = unit_of(Unordered)


class TestNoLock(OverMemory):
    """A customer is read without being locked, and written later."""

    of = 6

    class storage_type(Wrong):  # noqa: N801
        @contextmanager
        def unit(self, *, write=True, durable=True):
            if not write:
                with self.inner.unit(write=False) as unit:
                    yield unit
                return
            later = Late(self.inner)
            yield later
            with self.inner.unit() as unit:
                unit.apply(later.decisions)


class Late(Changed):
    """Reads at once, writes at the end."""

    def __init__(self, inner):
        super().__init__(inner, decisions=[])

    def __getattr__(self, name):
        def read(*arguments, **named):
            with self.inner.unit() as unit:
                return getattr(unit, name)(*arguments, **named)

        return read

    def apply(self, decisions):
        self.decisions.extend(decisions)


class TestClaimsEarly(OverMemory):
    """What is due at an instant is claimed a second before it."""

    of = 7

    class Early(Changed):
        def claim_items(self, chain_id, cursor, now, limit):
            return self.inner.claim_items(chain_id, cursor, now + timedelta(seconds=1), limit)

    storage_type = unit_of(Early)


class TestOutboxById(OverMemory):
    """Events are handed out in the order of their ids."""

    of = 7

    class ById(Changed):
        def claim_events(self, limit):
            return sorted(self.inner.claim_events(10_000), key=lambda event: event.event_id)[:limit]

    storage_type = unit_of(ById)


def any_fence(unit, decision):
    """Write under whatever fence is the newest."""
    if isinstance(decision, d.RecordEvidence):
        stored = unit.cursor(decision.cursor.chain_id)
        if stored is not None and stored.fence > decision.cursor.fence:
            return attrs.evolve(decision, cursor=attrs.evolve(decision.cursor, fence=stored.fence))
    return decision


class TestNoFence(OverMemory):
    """Evidence is taken from whoever lost the lease."""

    of = 8
    storage_type = rewriting(any_fence)


class TestDroppedChainId(OverMemory):
    """Logs are looked up by transaction and ordinal, whatever their chain is."""

    of = 8

    class AnyChain(Changed):
        def logs_of(self, identities):
            chains = {cursor.chain_id for cursor in self.inner.cursors()}
            wanted = {attrs.evolve(one, chain_id=chain): one for one in identities for chain in chains}
            return {wanted[found]: log for found, log in self.inner.logs_of(list(wanted)).items()}

    storage_type = unit_of(AnyChain)


class TestForgetsToOrphan(OverMemory):
    """A rewind moves the cursor and leaves the logs canonical."""

    of = 8
    storage_type = rewriting(lambda _, one: d.StoreCursor(one.cursor) if isinstance(one, d.Rewind) else one)


class TestSameFence(OverMemory):
    """A new owner of a lease has the fence of the last one."""

    of = 9

    class storage_type(Wrong):  # noqa: N801
        def acquire_lease(self, name, owner, seconds):
            lease = self.inner.acquire_lease(name, owner, seconds)
            return None if lease is None else attrs.evolve(lease, fence=1)


class TestLeaseTooLong(OverMemory):
    """A lease ends a microsecond later than it says."""

    of = 9

    class storage_type(Wrong):  # noqa: N801
        def acquire_lease(self, name, owner, seconds):
            for held in self.inner.leases():
                if (held.name, held.until) == (name, self.inner.now()) and held.owner != owner:
                    return None
            return self.inner.acquire_lease(name, owner, seconds)


class TestStaleRead(OverMemory):
    """An order is read from a cache that nobody empties."""

    of = 10

    class Cached(Changed):
        def order(self, ledger_id):
            cache = self.storage.__dict__.setdefault("cache", {})
            if cache.get(ledger_id) is None:
                cache[ledger_id] = self.inner.order(ledger_id)
            return cache[ledger_id]

    storage_type = unit_of(Cached)


class TestFirstOfAPage(OverMemory):
    """Every page but the first lacks its first row."""

    of = 10

    class Short(Changed):
        def all_receipts(self, *, after="", limit=1000):
            more = 1 if after else 0
            return self.inner.all_receipts(after=after, limit=limit + more)[more:]

    storage_type = unit_of(Short)


class TestOneTooMany(OverMemory):
    """One more use than allowed is taken."""

    of = 11

    class Generous(Changed):
        def consume(self, window, amount):
            return self.inner.consume(attrs.evolve(window, allowed=window.allowed + 1), amount)

    storage_type = unit_of(Generous)


class TestChallengeTwice(OverMemory):
    """A challenge that was used can be used again."""

    of = 11

    class Again(Changed):
        def use_challenge(self, nonce, now):
            used = self.storage.__dict__.setdefault("used", {})
            found = self.inner.use_challenge(nonce, now)
            used[nonce] = found or used.get(nonce)
            return used[nonce]

    storage_type = unit_of(Again)


class TestPrunesAll(OverMemory):
    """Pruning takes no notice of the limit."""

    of = 12

    class storage_type(Wrong):  # noqa: N801
        def prune(self, table, before, limit):
            return self.inner.prune(table, before, limit and 10_000)


class TestPrunesEarly(OverMemory):
    """What ended at the instant goes with what ended before it."""

    of = 12

    class storage_type(Wrong):  # noqa: N801
        def prune(self, table, before, limit):
            return self.inner.prune(table, before + timedelta(microseconds=1), limit)


class TestSealsByKey(OverMemory):
    """The sealer is offered what has a higher key than what is sealed: what commits late is never covered."""

    of = 13

    class ByKey(Changed):
        def unsealed_rows(self, limit):
            sealed = {}
            for seal in self.inner.seals():
                for item in self.inner.seal_items(seal.number):
                    sealed[item.table] = max(item.key, sealed.get(item.table, ""))
            rows = self.inner.unsealed_rows(10_000)
            return [row for row in rows if row.key > sealed.get(row.table, "")][:limit]

    storage_type = unit_of(ByKey)
