"""One unit of the intake: the items that it has claimed, and the decisions that grow out of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import attrs
from attrs import field, frozen

from evmbilling.domain.decisions import Decision, StoreItem
from evmbilling.domain.identity import CreditIdentity, is_ours
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import DUST, HOLD, QueueItem, receipt_subject
from evmbilling.domain.payments.judgement import Place, Sighting
from evmbilling.domain.payments.matching import UNKNOWN_PAYER, Match, match_transfer
from evmbilling.domain.payments.paired_money import AMBIGUOUS
from evmbilling.domain.payments.payments import settle_payments, settle_unmatched
from evmbilling.domain.reading.evidence import ChainLog, Cursor, IntakeItem, Observation
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.books.movements import MovementBook
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.mandates import MandateBook
from evmbilling.engine.intake.membership_ends import ended_by_payments
from evmbilling.engine.intake.money import (
    is_nameless,
    is_new_money,
    logs_behind,
    needs_agreement,
    speaks_for_money,
    user_of,
)
from evmbilling.engine.intake.scene import Scene
from evmbilling.engine.intake.shelf import Shelf
from evmbilling.engine.intake.telling import Telling, aside_of, telling_of
from evmbilling.engine.reading.agreement import NO_AGREEMENT, Agreed
from evmbilling.engine.tracing import traced
from evmbilling.errors import BillingError
from evmbilling.ports.storage import Unit

PARK_FIRST = timedelta(seconds=30)
PARK_LONGEST = timedelta(hours=6)
Verdict = Literal["ok", "hold"]
Verdicts = Mapping[CreditIdentity, Verdict]


@frozen(kw_only=True)
class IntakeReport:
    """What one call of the intake did: items taken, parked with a reason, and left because somebody holds the row."""

    taken: int = 0
    parked: int = 0
    left: int = 0


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
        self._decisions: list[Decision] = []
        self._taken = self._parked = self._left = 0

    def take(self, limit: int, *, most: int | None = None) -> IntakeReport:
        """Take in up to ``limit`` items; with ``most``, so many of those that were not tried before."""
        items, cursor = self._claim(limit, most)
        if items and cursor is not None:
            with self._ports.telemetry.span("billing.intake", chain_id=str(self._chain_id)):
                self._write(items, cursor)
        return IntakeReport(taken=self._taken, parked=self._parked, left=self._left)

    def _write(self, items: Sequence[IntakeItem], cursor: Cursor) -> None:
        """Decide about items, and write what was decided."""
        scene = Scene(self._ports, self._unit, items, cursor)
        blocks = {seen.log.block_number for seen in scene.seen.values()}
        self._ports.reads.link(self._ports.telemetry, self._chain_id, blocks)
        book = MovementBook(self._ports, self._unit, scene, now=self._now)
        mandates = MandateBook(self._ports, self._unit, scene, now=self._now)
        sightings = self._sight(scene, book, mandates)
        self._settle(scene, sightings)
        book.write(self._decisions)
        held = mandates.write(self._decisions)
        self._taken, self._left = self._taken - held, self._left + held
        traced(self._unit, self._ports.telemetry).apply(self._decisions)
        if ended := ended_by_payments(self._ports, self._unit, self._decisions, now=self._now):
            traced(self._unit, self._ports.telemetry).apply(ended)
        if self._told is not None:
            self._told[:] = [telling_of(self._decisions, scene, cursor.heights.head)]

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
            self._park(item, reason)
        self._unit.apply(self._decisions)
        if self._told is not None:
            names = (n.name for n in self._unit.networks() if n.chain_id == self._chain_id)
            self._told[:] = [Telling(aside=aside_of(self._decisions, next(names, "")))]
        return IntakeReport(parked=self._parked)

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
                self._taken += 1
                continue
            if identity in scene.unclear and identity not in scene.receipts:
                self._ignore(item, scene.unclear[identity])
                self._taken += 1
                continue
            if identity not in scene.receipts and not is_new_money(scene, identity):
                self._decisions += book.take(item, seen)
                self._taken += 1
                continue
            if self._verdicts is not None and identity not in scene.receipts and identity not in self._verdicts:
                self._left += 1
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
            self._left += 1
        elif not all(said):
            self._park(item, NO_AGREEMENT)
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

    # -- whose it is

    def _settle(self, scene: Scene, sightings: Sequence[Sighting]) -> None:
        by_user: dict[str, list[Sighting]] = defaultdict(list)
        payers = {s.observation.payer for s in sightings if is_nameless(s) and s.observation}
        owners = self._unit.users_of_wallets(payers, self._chain_id) if payers else {}
        unnamed: list[Sighting] = []
        for sighting in sightings:
            user_id = user_of(sighting, owners)
            if user_id is None:
                unnamed.append(sighting)
            else:
                by_user[user_id].append(attrs.evolve(sighting, user_id=user_id))
        items = [receipt_subject(s.receipt.receipt_id) for s in unnamed if s.receipt is not None]
        queue = self._unit.queue_items_of(items) if items else ()
        for sighting in unnamed:
            self._settle_unnamed(scene, sighting, queue)
        if by_user:
            self._settle_users(scene, by_user)

    def _settle_unnamed(self, scene: Scene, sighting: Sighting, queue: Sequence[QueueItem]) -> None:
        """Money with no order of ours: a foreign reference is left alone, everything else is suspense."""
        seen, receipt = sighting.observation, sighting.receipt
        self._taken += 1
        named = seen.reference if receipt is None and seen is not None and seen.kind == "payment" else b""
        if named and not is_ours(named, self._ports.storage.instance_id()):
            self._ignore(sighting.item, "foreign_reference")
            return
        reason = "no_order"
        if seen is not None and not seen.reference and seen.found_by != "token_id":
            reason = DUST if scene.is_dust(seen) else (UNKNOWN_PAYER.place or ("suspense", None))[1] or ""
        if sighting.place is not None:
            reason = sighting.place[1] or reason
        asset = receipt.asset if receipt else scene.asset_of(seen.token if seen else "")
        self._decisions += settle_unmatched(
            sighting, asset=asset, reason=reason, now=self._now, new_id=self._ports.ids.new_id, queue=queue
        )

    def _settle_users(self, scene: Scene, by_user: Mapping[str, list[Sighting]]) -> None:
        locked = self._unit.lock_customers(by_user, skip_locked=True)
        mine = {user_id: self._match(scene, user_id, own) for user_id, own in by_user.items() if user_id in locked}
        self._left += sum(len(own) for user_id, own in by_user.items() if user_id not in locked)
        all_mine = [s for own in mine.values() for s in own]
        shelf = Shelf(
            self._unit,
            [s.order for s in all_mine if s.order],
            receipts=[s.receipt for s in all_mine if s.receipt],
            policies=scene.policies,
        )
        for user_id, own in mine.items():
            try:
                self._decisions += settle_payments(
                    shelf.facts(locked[user_id]),
                    [self._with_gateway_policy(scene, s) for s in own],
                    now=self._now,
                    new_id=self._ports.ids.new_id,
                )
                self._taken += len(own)
            except BillingError as error:
                for sighting in own:
                    self._park(sighting.item, error.code)

    def _match(self, scene: Scene, user_id: str, own: Sequence[Sighting]) -> list[Sighting]:
        """Say which orders of a customer, who is locked, their plain transfers are for."""
        if not any(is_nameless(s) for s in own):
            return list(own)
        payable = self._unit.payable_orders_of([user_id], scene.chain_id)
        found: list[Sighting] = []
        for sighting in own:
            if sighting.observation is None or not is_nameless(sighting):
                found.append(sighting)
                continue
            match = match_transfer(sighting.observation, payable)
            if match.order is None:
                match = match_transfer(sighting.observation, [*payable, *self._others(user_id, payable)])
            found.append(self._matched(scene, sighting, sighting.observation, match))
        return found

    def _others(self, user_id: str, payable: Sequence[Order]) -> list[Order]:
        known = {order.ledger_id for order in payable}
        return [o for o in self._unit.orders_of_user(user_id) if o.ledger_id not in known]

    def _matched(self, scene: Scene, sighting: Sighting, seen: Observation, match: Match) -> Sighting:
        place = sighting.place or match.place
        if place is not None and place[0] == "suspense" and sighting.place is None and scene.is_dust(seen):
            place = ("suspense", DUST)
        return attrs.evolve(sighting, order=match.order, place=place, asset=scene.asset_of(seen.token))

    def _with_gateway_policy(self, scene: Scene, sighting: Sighting) -> Sighting:
        """Use the gateway's own credit depth where it has one."""
        gateway = scene.gateways.get(sighting.order.gateway_slug) if sighting.order else None
        if gateway is None or gateway.credit_after is None:
            return sighting
        return attrs.evolve(sighting, depths=attrs.evolve(sighting.depths, credit_after=gateway.credit_after))

    # -- items

    def _ignore(self, item: IntakeItem, reason: str) -> None:
        self._ports.telemetry.count("evidence_ignored", reason=reason)
        self._decisions.append(StoreItem(attrs.evolve(item, wait="never", reason=reason)))

    def _park(self, item: IntakeItem, reason: str) -> None:
        pause = min(PARK_FIRST * 2 ** min(item.attempts, 16), PARK_LONGEST)
        self._decisions.append(StoreItem(parked(item, reason, self._now + pause)))
        self._parked += 1
        self._ports.telemetry.count("evidence_parked", reason=reason)


def _asset_of(scene: Scene, identity: CreditIdentity) -> Asset | None:
    """Return what a movement is counted in, where that is not what its order asks for."""
    receipt, seen, order = scene.receipts.get(identity), scene.seen.get(identity), scene.orders.get(identity)
    if receipt is not None:
        return receipt.asset
    other = seen is not None and order is not None and seen.token != order.asset.token
    return scene.asset_of(seen.token) if seen is not None and other else None


def parked(item: IntakeItem, reason: str, retry_at: datetime) -> IntakeItem:
    """Return the item as it waits for its next attempt."""
    return attrs.evolve(item, wait="time", retry_at=retry_at, attempts=item.attempts + 1, reason=reason)
