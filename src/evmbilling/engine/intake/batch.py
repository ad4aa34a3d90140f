"""One unit of the intake: the items that it has claimed, and which of them are money.

Whose that is says :mod:`evmbilling.engine.intake.settling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import HOLD
from evmbilling.domain.payments.judgement import Place, Sighting
from evmbilling.domain.payments.paired_money import AMBIGUOUS
from evmbilling.domain.reading.evidence import ChainLog, Cursor, IntakeItem, Observation
from evmbilling.engine.books.movements import MovementBook
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.mandates import MandateBook
from evmbilling.engine.intake.membership_ends import ended_by_payments
from evmbilling.engine.intake.money import (
    is_new_money,
    logs_behind,
    needs_agreement,
    speaks_for_money,
)
from evmbilling.engine.intake.outcome import IntakeReport, Outcome
from evmbilling.engine.intake.scene import Scene
from evmbilling.engine.intake.settling import Settling
from evmbilling.engine.intake.telling import Telling, aside_of, telling_of
from evmbilling.engine.reading.agreement import NO_AGREEMENT, Agreed
from evmbilling.engine.tracing import traced
from evmbilling.ports.storage import Unit

Verdict = Literal["ok", "hold"]
Verdicts = Mapping[CreditIdentity, Verdict]


@frozen(kw_only=True)
class Incoming:
    """Money that is not credited yet, as others are asked about it.

    Attributes:
        is_new: whether it is seen for the first time; a screen is asked then.
        is_large: whether several nodes have to show it.

    """

    log: ChainLog
    payer: str
    is_new: bool
    is_large: bool


@frozen(kw_only=True)
class Outside:
    """What was said outside the transaction: money that was not asked about is left for the next batch.

    Attributes:
        verdicts: of the screen; None when nobody screens.
        agreed: what enough nodes show.

    """

    verdicts: Verdicts | None = None
    agreed: Agreed = field(factory=dict)


class Batch:
    """The items that one unit has claimed, and what has to be known about them.

    Args:
        known: items to pass over. tried: gets those that were claimed.
        outside: what the screen and other nodes said.
        told: gets what an operator is told of, when the transaction is committed.

    """

    def __init__(
        self,
        ports: Ports,
        unit: Unit,
        chain_id: int,
        known: frozenset[CreditIdentity] = frozenset(),
        tried: set[CreditIdentity] | None = None,
        *,
        outside: Outside = Outside(),
        told: list[Telling] | None = None,
    ) -> None:
        self._ports = ports
        self._unit = unit
        self._chain_id = chain_id
        self._known = known
        self._tried = tried
        self._verdicts, self._agreed, self._told = outside.verdicts, outside.agreed, told
        self._now = ports.clock.now()
        self._outcome = Outcome(ports, now=self._now)

    def take(self, limit: int, *, most: int | None = None) -> IntakeReport:
        """Take in up to ``limit`` items; with ``most``, so many of those that were not tried before."""
        items, cursor = self._claim(limit, most)
        if items and cursor is not None:
            with self._ports.telemetry.span("billing.intake", chain_id=str(self._chain_id)):
                self._write(items, cursor)
        return self._outcome.report()

    def _write(self, items: Sequence[IntakeItem], cursor: Cursor) -> None:
        """Decide about items, and write what was decided."""
        scene = Scene(self._ports, self._unit, items, cursor)
        blocks = {seen.log.block_number for seen in scene.seen.values()}
        self._ports.reads.link(self._ports.telemetry, self._chain_id, blocks)
        book = MovementBook(self._ports, self._unit, scene, now=self._now)
        mandates = MandateBook(self._ports, self._unit, scene, now=self._now)
        sightings = self._sight(scene, book, mandates)
        Settling(self._ports, self._unit, scene, self._outcome, now=self._now).settle(sightings)
        decisions = self._outcome.decisions
        book.write(decisions)
        self._outcome.leave_taken(mandates.write(decisions))
        traced(self._unit, self._ports.telemetry).apply(decisions)
        if ended := ended_by_payments(self._ports, self._unit, decisions, now=self._now):
            traced(self._unit, self._ports.telemetry).apply(ended)
        if self._told is not None:
            self._told[:] = [telling_of(decisions, scene, cursor.heights.head)]

    def incoming(self, limit: int, *, most: int | None = None) -> tuple[Incoming, ...]:
        """Return the money among the items that is new or large and not credited yet; nothing is written."""
        items, cursor = self._claim(limit, most)
        if not items or cursor is None:
            return ()
        scene = Scene(self._ports, self._unit, items, cursor)
        found: list[Incoming] = []
        for identity in (item.identity for item in items):
            is_new, is_large = is_new_money(scene, identity), needs_agreement(scene, identity)
            if is_new or is_large:
                seen = scene.seen[identity]
                found.append(Incoming(log=seen.log, payer=seen.payer, is_new=is_new, is_large=is_large))
                behind = logs_behind(scene, seen) if is_large else ()
                found += (Incoming(log=log, payer=seen.payer, is_new=False, is_large=True) for log in behind)
        return tuple(found)

    def park_first(self, limit: int, reason: str) -> IntakeReport:
        """Park the first item that was not tried before, whose decisions could not be written."""
        items, _ = self._claim(limit, 1)
        for item in items:
            self._outcome.park(item, reason)
        self._unit.apply(self._outcome.decisions)
        if self._told is not None:
            names = (n.name for n in self._unit.networks() if n.chain_id == self._chain_id)
            self._told[:] = [Telling(aside=aside_of(self._outcome.decisions, next(names, "")))]
        return self._outcome.report()

    def _claim(self, limit: int, most: int | None) -> tuple[Sequence[IntakeItem], Cursor | None]:
        cursor = self._unit.cursor(self._chain_id)
        if cursor is None:
            return (), None
        claimed = self._unit.claim_items(self._chain_id, cursor, self._now, limit + len(self._known))
        items = [item for item in claimed if item.identity not in self._known][:most]
        if self._tried is not None:
            self._tried.update(item.identity for item in items)
        return items, cursor

    # -- what is there

    def _sight(self, scene: Scene, book: MovementBook, mandates: MandateBook) -> list[Sighting]:
        """Return the items that money of ours hangs on; the books take what is only part of something."""
        found: list[Sighting] = []
        for item in scene.items:
            identity = item.identity
            seen = scene.seen.get(identity)
            book.forget_other(identity, seen)
            if mandates.concerns(item, seen) and identity not in scene.receipts:
                self._outcome.taken += 1
                continue
            if identity in scene.unclear and identity not in scene.receipts:
                self._outcome.ignore(item, scene.unclear[identity])
                self._outcome.taken += 1
                continue
            if identity not in scene.receipts and not is_new_money(scene, identity):
                self._outcome.decisions += book.take(item, seen)
                self._outcome.taken += 1
                continue
            if self._verdicts is not None and identity not in scene.receipts and identity not in self._verdicts:
                self._outcome.left += 1
                continue
            if needs_agreement(scene, identity) and not self._is_agreed(scene, item, scene.seen[identity]):
                continue
            found.append(
                Sighting(
                    item=item,
                    observation=seen if speaks_for_money(scene, identity) else None,
                    receipt=scene.receipts.get(identity),
                    order=scene.orders.get(identity),
                    depths=scene.depths,
                    asset=_asset_of(scene, identity),
                    place=self._forced(scene, seen),
                )
            )
        return found

    def _is_agreed(self, scene: Scene, item: IntakeItem, seen: Observation) -> bool:
        """Whether enough nodes show it where it is now. If not it is parked; if nobody was asked it is left."""
        logs = [seen.log, *logs_behind(scene, seen)]
        said = [self._agreed.get((log.identity, log.block_hash)) for log in logs]
        if None in said:
            self._outcome.left += 1
        elif not all(said):
            self._outcome.park(item, NO_AGREEMENT)
        return all(said)

    def _forced(self, scene: Scene, seen: Observation | None) -> Place | None:
        """Return where new money is put whatever explains it."""
        if seen is None:
            return None
        if self._verdicts is not None and self._verdicts.get(seen.log.identity) == "hold":
            return "suspense", HOLD
        if seen.log.identity in scene.doubtful:
            return "suspense", AMBIGUOUS
        reason = scene.halted.get(seen.contract) or scene.halted.get(seen.token)
        return ("suspense", reason) if reason is not None else None


def _asset_of(scene: Scene, identity: CreditIdentity) -> Asset | None:
    """Return what a movement is counted in, where that is not what its order asks for."""
    receipt, seen, order = scene.receipts.get(identity), scene.seen.get(identity), scene.orders.get(identity)
    if receipt is not None:
        return receipt.asset
    other = seen is not None and order is not None and seen.token != order.asset.token
    return scene.asset_of(seen.token) if seen is not None and other else None
