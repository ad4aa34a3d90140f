"""What the chain says about mandates: the payer gave one, or revoked it, or a reorganisation took that back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract
from evmbilling.domain.decisions import Decision, StoreCustomer, StoreItem, StoreMandate
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.journal import Journal
from evmbilling.domain.mandates.mandates import USABLE_MANDATES, Mandate, MandateStatus, Seen, refold
from evmbilling.domain.mandates.offers import mandate_facts
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.payments.receipts import Evidence
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.reading.evidence import IntakeItem, Observation
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.scene import Scene
from evmbilling.engine.mandates.kept import agreed, mark_of
from evmbilling.ports.storage import Unit

MANDATE_KINDS = frozenset({"mandate_given", "mandate_revoked"})


class MandateBook:
    """The mandates that one unit of the intake touches."""

    def __init__(self, ports: Ports, unit: Unit, scene: Scene, *, now: datetime) -> None:
        self._ports = ports
        self._unit = unit
        self._now = now
        self._scene = scene
        about = {i.identity: scene.seen.get(i.identity) for i in scene.items}
        told = [seen for seen in about.values() if seen is not None and seen.kind in MANDATE_KINDS]
        named = {self._name(seen) for seen in told}
        gone = [identity for identity, seen in about.items() if seen is None]
        found = dict(unit.mandates_by_digest(named)) if named else {}
        taken_back = unit.mandates_seen_in(gone) if gone else ()
        self._by_digest = found | {m.digest: m for m in taken_back}
        fresh = {seen.payer for seen in told if self._name(seen) not in found and self._keeper(seen) is not None}
        self._owners = unit.users_of_wallets(fresh, scene.chain_id) if fresh else {}
        self._gone = {s.identity for m in taken_back for s in (m.on_chain, m.revocation) if s is not None}
        self._items: list[tuple[IntakeItem, Observation | None]] = []

    def concerns(self, item: IntakeItem, seen: Observation | None) -> bool:
        """Whether an item is about a mandate; it is then taken."""
        mine = seen.kind in MANDATE_KINDS if seen is not None else item.identity in self._gone
        if mine:
            self._items.append((item, seen))
        return mine

    def write(self, decisions: list[Decision]) -> int:
        """Add what became of the mandates to the batch's decisions; return how many items somebody holds."""
        if not self._items:
            return 0
        users = {m.user_id for m in self._by_digest.values()} | set(self._owners.values())
        locked = self._unit.lock_customers(users, skip_locked=True) if users else {}
        # Read again under the lock.
        names = {*self._by_digest, *(self._name(seen) for _, seen in self._items if seen is not None)}
        stored = dict(self._unit.mandates_by_digest(names)) if locked else {}
        self._by_digest |= stored
        current = dict(stored)
        left = 0
        for item, seen in self._items:
            mandate = self._named(item, seen)
            owner = self._owners.get(seen.payer) if seen is not None else None
            if mandate is not None:
                owner = mandate.user_id
            if owner is not None and owner not in locked:
                left += 1
                continue
            if mandate is None and seen is not None and owner is not None:
                mandate = self._begun(seen, owner)
                if mandate is not None:
                    self._by_digest[mandate.digest] = stored[mandate.digest] = current[mandate.digest] = mandate
            if mandate is None:
                self._ports.telemetry.count("evidence_ignored", reason="foreign_mandate")
            else:
                current[mandate.digest] = followed(current[mandate.digest], item.identity, seen)
            reason = None if mandate is not None else "foreign_mandate"
            decisions.append(StoreItem(IntakeItem(identity=item.identity, wait="never", reason=reason)))
        decisions += self._changes(stored, current, locked, decisions)
        return left

    def _keeper(self, seen: Observation) -> PaymentContract | None:
        """Return the mapped contract that speaks, and is not halted; None for the one that pulls by itself."""
        contract = self._scene.contract_at(seen.contract)
        return contract if contract is not None and contract.kind == MAPPED else None

    def _name(self, seen: Observation) -> bytes:
        """Return how we know a mandate: as the contract that pulls does, or by a mark where another keeps it."""
        return seen.mandate if self._keeper(seen) is None else mark_of(seen)

    def _begun(self, seen: Observation, user_id: str) -> Mandate | None:
        """Return a mandate of which a mapped contract tells for the first time; nothing is believed of a halted one."""
        keeper = self._keeper(seen)
        if keeper is None or seen.kind != "mandate_given" or seen.contract in self._scene.halted:
            return None
        return agreed(self._ports, self._unit, seen, keeper, user_id)

    def _named(self, item: IntakeItem, seen: Observation | None) -> Mandate | None:
        """Return the mandate that an item is about; None for one of somebody else's."""
        if seen is None:
            return next((m for m in self._by_digest.values() if item.identity in _identities(m)), None)
        mandate = self._by_digest.get(self._name(seen))
        said = (seen.log.chain_id, seen.contract, seen.payer)
        # Anybody can revoke the id of another's mandate, in their own name: that is not the payer's word.
        return mandate if mandate and (mandate.chain_id, mandate.contract, mandate.payer) == said else None

    def _changes(
        self,
        stored: Mapping[bytes, Mandate],
        current: Mapping[bytes, Mandate],
        locked: Mapping[str, Customer],
        decisions: Sequence[Decision],
    ) -> Sequence[Decision]:
        # The batch may have numbered events of the same customers already.
        counted = {d.customer.user_id: d.customer for d in decisions if isinstance(d, StoreCustomer)}
        found: list[Decision] = []
        journals: dict[str, Journal] = {}
        for digest, changed in current.items():
            before = stored[digest]
            if changed == before:
                continue
            after = refold(changed, self._now)
            found.append(StoreMandate(after))
            customer = counted.get(after.user_id) or locked[after.user_id]
            journal = journals.setdefault(after.user_id, Journal(customer, self._now, self._ports.ids.new_id))
            _tell(before, after, journal)
        return [*found, *(d for journal in journals.values() for d in journal.decisions())]


def followed(mandate: Mandate, identity: CreditIdentity, seen: Observation | None) -> Mandate:
    """Return a mandate with what a log says about it, or without what is gone; its status is not folded yet."""
    if seen is None:
        return attrs.evolve(
            mandate,
            on_chain=None if _is(mandate.on_chain, identity) else mandate.on_chain,
            revocation=None if _is(mandate.revocation, identity) else mandate.revocation,
        )
    log = seen.log
    evidence = Evidence(
        block_number=log.block_number, block_hash=log.block_hash, block_time=log.block_time, log_index=log.log_index
    )
    fact = Seen(identity=identity, evidence=evidence)
    # A contract may let a payer agree again under the same name: the later word counts.
    if seen.kind == "mandate_given":
        over = mandate.revocation is not None and _is_later(mandate.revocation, fact)
        return attrs.evolve(mandate, on_chain=fact, revocation=mandate.revocation if over else None)
    if mandate.on_chain is not None and _is_later(mandate.on_chain, fact):
        return mandate
    return attrs.evolve(mandate, revocation=fact)


def _is_later(one: Seen, other: Seen) -> bool:
    """Whether a log stands behind another on chain."""
    return _place(one) > _place(other)


def _place(seen: Seen) -> tuple[int, int]:
    return seen.evidence.block_number, seen.evidence.log_index


def _tell(before: Mandate, after: Mandate, journal: Journal) -> None:
    """Publish what changed for others: a mandate can be used now, or cannot any more."""
    usable, was = after.status in USABLE_MANDATES, before.status in USABLE_MANDATES
    if usable and not was:
        occurred = after.on_chain.evidence.block_time if after.on_chain else None
        journal.publish(EventType.MANDATE_GIVEN, mandate_facts(after), occurred_at=occurred)
    elif after.status is MandateStatus.REVOKED and before.status is not MandateStatus.REVOKED and after.revocation:
        occurred = after.revocation.evidence.block_time
        journal.publish(EventType.MANDATE_REVOKED, mandate_facts(after), occurred_at=occurred)


def _identities(mandate: Mandate) -> set[CreditIdentity]:
    return {seen.identity for seen in (mandate.on_chain, mandate.revocation) if seen is not None}


def _is(seen: Seen | None, identity: CreditIdentity) -> bool:
    return seen is not None and seen.identity == identity
