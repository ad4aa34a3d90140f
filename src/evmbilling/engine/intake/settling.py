"""Whose money is what one unit of the intake has seen, and what it pays: asked of the rules, customer by customer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import attrs

from evmbilling.domain.identity import CreditIdentity, is_ours
from evmbilling.domain.payments.finance import DUST, QueueItem, receipt_subject
from evmbilling.domain.payments.judgement import Sighting
from evmbilling.domain.payments.matching import UNKNOWN_PAYER, Match, completed, match_transfer
from evmbilling.domain.payments.paying import of_order
from evmbilling.domain.payments.payments import settle_payments, settle_unmatched
from evmbilling.domain.reading.evidence import Observation
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS, OrderStatus, ReceiptStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.money import is_nameless, user_of
from evmbilling.engine.intake.outcome import Outcome
from evmbilling.engine.intake.scene import Scene
from evmbilling.engine.intake.shelf import Shelf
from evmbilling.errors import BillingError
from evmbilling.ports.storage import Unit

_LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}


class Settling:
    """Settles the money of one unit; what is decided goes to its outcome."""

    def __init__(self, ports: Ports, unit: Unit, scene: Scene, outcome: Outcome, *, now: datetime) -> None:
        self._ports, self._unit, self._scene = ports, unit, scene
        self._outcome, self._now = outcome, now

    def settle(self, sightings: Sequence[Sighting]) -> None:
        """Decide about sightings: a customer's together, the money of nobody one by one."""
        by_user: dict[str, list[Sighting]] = defaultdict(list)
        payers = {s.observation.payer for s in sightings if is_nameless(s) and s.observation}
        owners = self._unit.users_of_wallets(payers, self._scene.chain_id) if payers else {}
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
            self._settle_unnamed(sighting, queue)
        if by_user:
            self._settle_users(by_user)

    def _settle_unnamed(self, sighting: Sighting, queue: Sequence[QueueItem]) -> None:
        """Money with no order of ours: a foreign reference is left alone, everything else is suspense."""
        seen, receipt = sighting.observation, sighting.receipt
        self._outcome.taken += 1
        named = seen.reference if receipt is None and seen is not None and seen.kind == "payment" else b""
        if named and not is_ours(named, self._ports.storage.instance_id()):
            self._outcome.ignore(sighting.item, "foreign_reference")
            return
        reason = "no_order"
        if seen is not None and not seen.reference and seen.found_by != "token_id":
            reason = DUST if self._scene.is_dust(seen) else (UNKNOWN_PAYER.place or ("suspense", None))[1] or ""
        if sighting.place is not None:
            reason = sighting.place[1] or reason
        asset = receipt.asset if receipt else self._scene.asset_of(seen.token if seen else "")
        self._outcome.decisions += settle_unmatched(
            sighting, asset=asset, reason=reason, now=self._now, new_id=self._ports.ids.new_id, queue=queue
        )

    def _settle_users(self, by_user: Mapping[str, list[Sighting]]) -> None:
        locked = self._unit.lock_customers(by_user, skip_locked=True)
        mine = {user_id: self._match(user_id, own) for user_id, own in by_user.items() if user_id in locked}
        self._outcome.left += sum(len(own) for user_id, own in by_user.items() if user_id not in locked)
        all_mine = [s for own in mine.values() for s in own]
        shelf = Shelf(
            self._unit,
            [s.order for s in all_mine if s.order],
            receipts=[s.receipt for s in all_mine if s.receipt],
            policies=self._scene.policies,
        )
        for user_id, own in mine.items():
            try:
                self._outcome.decisions += settle_payments(
                    shelf.facts(locked[user_id]),
                    [self._with_gateway_policy(s) for s in own],
                    now=self._now,
                    new_id=self._ports.ids.new_id,
                )
                self._outcome.taken += len(own)
            except BillingError as error:
                for sighting in own:
                    self._outcome.park(sighting.item, error.code)

    def _match(self, user_id: str, own: Sequence[Sighting]) -> list[Sighting]:
        """Say which orders of a customer, who is locked, their plain transfers are for."""
        if not any(is_nameless(s) for s in own):
            return list(own)
        payable = {o.ledger_id: o for o in self._unit.payable_orders_of([user_id], self._scene.chain_id)}
        came: dict[str, int] = {}
        found: dict[CreditIdentity, Sighting] = {}
        # One after the other, as the chain has them: what completes an order leaves the next money to the next order,
        # whether they are taken in at once or not.
        for sighting in sorted(own, key=_place):
            if sighting.observation is None or not is_nameless(sighting):
                found[sighting.item.identity] = sighting
                continue
            seen = sighting.observation
            match = match_transfer(seen, [*payable.values()])
            if match.order is None:
                match = match_transfer(seen, [*payable.values(), *self._others(user_id, payable)])
            matched = found[sighting.item.identity] = self._matched(sighting, seen, match)
            order = matched.order
            if order is not None and matched.place is None and order.ledger_id in payable:
                came[order.ledger_id] = came.get(order.ledger_id, self._came(order)) + seen.amount
                payable[order.ledger_id] = completed(order, seen, came[order.ledger_id])
        return [found[sighting.item.identity] for sighting in own]

    def _came(self, order: Order) -> int:
        """Return the base units that an order has, of what was taken in before."""
        if order.status is not OrderStatus.PARTIALLY_PAID:
            return 0
        receipts = self._unit.receipts_of_orders([order.ledger_id])
        return sum(r.amount for r in of_order(order, receipts) if r.status in _LIVE)

    def _others(self, user_id: str, payable: Collection[str]) -> list[Order]:
        return [o for o in self._unit.orders_of_user(user_id) if o.ledger_id not in payable]

    def _matched(self, sighting: Sighting, seen: Observation, match: Match) -> Sighting:
        place = sighting.place or match.place
        if place is not None and place[0] == "suspense" and sighting.place is None and self._scene.is_dust(seen):
            place = ("suspense", DUST)
        return attrs.evolve(sighting, order=match.order, place=place, asset=self._scene.asset_of(seen.token))

    def _with_gateway_policy(self, sighting: Sighting) -> Sighting:
        """Use the gateway's own credit depth where it has one."""
        gateway = self._scene.gateways.get(sighting.order.gateway_slug) if sighting.order else None
        if gateway is None or gateway.credit_after is None:
            return sighting
        return attrs.evolve(sighting, depths=attrs.evolve(sighting.depths, credit_after=gateway.credit_after))


def _place(sighting: Sighting) -> tuple[int, int]:
    """Return where on the chain a sighting is; one that is no longer there comes first and takes nothing."""
    seen = sighting.observation
    return (0, 0) if seen is None else (seen.log.block_number, seen.log.log_index)
