"""Storages that lose a part: a field that nobody looks at, a word that is not known, the end of an answer."""

from __future__ import annotations

from datetime import timedelta

import attrs
from storage_mutants import Changed, OverMemory, rewriting, unit_of

from evmbilling.domain import decisions as d


class TestNoSpan(OverMemory):
    """The span in which an event was published is forgotten."""

    of = 10
    storage_type = rewriting(
        lambda _, one: d.Publish(attrs.evolve(one.event, trace=None)) if isinstance(one, d.Publish) else one
    )


def keeping(kind, name, field, read):
    """Return what replaces a record but for one field, which stays as it was."""

    def change(unit, decision):
        if not isinstance(decision, kind):
            return decision
        given = getattr(decision, name)
        stored = read(unit, given)
        return decision if stored is None else kind(attrs.evolve(given, **{field: getattr(stored, field)}))

    return change


class TestKeptPermit(OverMemory):
    """A mandate that is replaced keeps the permit that it had."""

    of = 10
    storage_type = rewriting(
        keeping(d.StoreMandate, "mandate", "permit", lambda unit, one: unit.mandate(one.mandate_id))
    )


class TestKeptRelayer(OverMemory):
    """A gateway that is replaced keeps the relayer that it had."""

    of = 10
    storage_type = rewriting(keeping(d.SaveGateway, "gateway", "relayer", lambda unit, one: unit.gateway(one.slug)))


class TestSweptOnce(OverMemory):
    """How many sweeps a deposit address had stays as it was first."""

    of = 10
    storage_type = rewriting(
        keeping(d.StoreDeposit, "deposit", "sweeps", lambda unit, one: unit.deposit(one.ledger_id))
    )


class TestNamedForEver(OverMemory):
    """A transaction that was named for one refund stays named for it."""

    of = 10
    storage_type = rewriting(
        keeping(
            d.StoreProof,
            "proof",
            "refund_id",
            lambda unit, one: next(iter(unit.proofs(one.chain_id, [one.tx_hash])), None),
        )
    )


class TestUnknownWord(OverMemory):
    """A sweep is stored as a charge, which was known before."""

    of = 10
    storage_type = rewriting(
        lambda _, one: (
            d.StoreTransmission(attrs.evolve(one.transmission, purpose="charge"))
            if isinstance(one, d.StoreTransmission) and one.transmission.purpose == "sweep"
            else one
        )
    )


class TestCursorOfARange(OverMemory):
    """What a range says of the irreversible height is not taken over."""

    of = 10
    storage_type = rewriting(
        lambda _, one: (
            attrs.evolve(one, cursor=attrs.evolve(one.cursor, irreversible=None))
            if isinstance(one, d.RecordEvidence)
            else one
        )
    )


class TestLongPage(OverMemory):
    """A page has one row more than was asked."""

    of = 10

    class Generous(Changed):
        def all_orders(self, *, after="", limit=1000):
            return self.inner.all_orders(after=after, limit=limit + 1)

    storage_type = unit_of(Generous)


class TestFirstOfSeveral(OverMemory):
    """Of several events that are looked up the first is found."""

    of = 10

    class Hasty(Changed):
        def events_by_id(self, event_ids):
            return self.inner.events_by_id(list(event_ids)[:1])

    storage_type = unit_of(Hasty)


class TestNothingCounted(OverMemory):
    """Orders of a second chain are counted with those of the first."""

    of = 10

    class Mixed(Changed):
        def order_counts(self, since, until):
            found = self.inner.order_counts(since, until)
            return [attrs.evolve(one, chain_id=found[0].chain_id) for one in found]

    storage_type = unit_of(Mixed)


class TestDueLate(OverMemory):
    """What is due at an instant is found a microsecond after it."""

    of = 7

    class Late(Changed):
        def due_deposits(self, chain_id, now, limit):
            return self.inner.due_deposits(chain_id, now - timedelta(microseconds=1), limit)

    storage_type = unit_of(Late)
