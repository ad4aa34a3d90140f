"""How a receipt follows its evidence: seen, credited, final, gone, reversed, disputed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Finality, Heights
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Allocation, EntryKind, Evidence, Receipt, ReceiptEntry
from evmbilling.domain.reading.evidence import Halt, IntakeItem, Observation
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.domain.states import RECEIPT_MOVES, ReceiptStatus, check_move

MismatchCode = Literal["wrong_chain", "wrong_contract", "wrong_token", "wrong_treasury", "wrong_payer"]
_ENTRY: Mapping[ReceiptStatus, EntryKind] = {
    ReceiptStatus.SEEN: "seen",
    ReceiptStatus.CREDITED: "credited",
    ReceiptStatus.FINAL: "final",
    ReceiptStatus.GONE: "gone",
    ReceiptStatus.REVERSED: "reversed",
    ReceiptStatus.DISPUTED: "disputed",
}
_ASIDE = timedelta(hours=6)
CHANGED = "evidence_changed"
"""Why a movement is set aside whose log says something else than its receipt."""

Place = tuple[Allocation, str | None]
"""What a receipt counts for, with the reason when it is not the order."""


@frozen(kw_only=True)
class Depths:
    """When a network's blocks count, and how far it has come.

    Attributes:
        heights: ``head`` is the last block that the reader verified, not what a node claims.
        halt: set while the network stands still.

    """

    credit_after: Finality
    irreversible_after: Finality
    heights: Heights
    disputed_access: bool = True
    halt: Halt | None = None


@frozen(kw_only=True)
class Sighting:
    """One intake item with what is known about its movement.

    Attributes:
        observation: what the canonical log says; None when no canonical block holds it.
        order: the order that its reference names, or that its sender was asked to pay.
        user_id: whose money it is when there is no order.
        place: what it counts for when it is seen first, where that is decided already.
        asset: what was moved; the order's when left out.
        changed: the canonical log says something else than the receipt, so that nothing supports the receipt.

    """

    item: IntakeItem
    observation: Observation | None
    receipt: Receipt | None
    order: Order | None
    depths: Depths
    user_id: str | None = None
    place: Place | None = None
    asset: Asset | None = None
    changed: bool = False


def mismatch(observation: Observation, order: Order) -> MismatchCode | None:
    """Compare what the event says with the order's own row; return the first difference.

    A charge under a mandate comes from the bound Mandates contract, whatever contract the order was offered through,
    and from the payer who signed the mandate; only our own operator can name the reference there. A deposit address
    belongs to one order, and nobody knows who paid it. An event that says only which membership was paid, and not by
    whom, stands beside somebody's transfer: it is the order's money when its own wallet sent that.
    """
    pulled, paid_there = observation.rail == "mandate", observation.contract == order.contract
    anybodys = pulled or observation.rail == DEPOSIT
    by_wallet = observation.found_by == "token_id" and not observation.told_payer
    checks: tuple[tuple[bool, MismatchCode], ...] = (
        (observation.log.chain_id == order.chain_id, "wrong_chain"),
        (observation.contract == observation.log.address and (pulled or paid_there), "wrong_contract"),
        (observation.token == order.asset.token, "wrong_token"),
        (observation.treasury == order.treasury, "wrong_treasury"),
        # What names no order was found by the wallet that its customer has confirmed, or by the membership.
        (
            anybodys or not (observation.reference or by_wallet) or observation.payer == order.wallet,
            "wrong_payer",
        ),
    )
    return next((code for holds, code in checks if not holds), None)


def contradicts(observation: Observation, receipt: Receipt, order: Order | None) -> bool:
    """Whether a movement says something else now than when its receipt was written.

    A contract that pays may act differently on another branch of the chain; then the same transaction emits other
    logs, and what was believed before has no evidence any more.
    """
    said = (observation.token, observation.amount, observation.payer, observation.treasury)
    known = (receipt.asset.token, receipt.amount, receipt.payer, receipt.treasury)
    other = order is not None and bool(observation.reference) and observation.reference != order.reference
    return said != known or other


def follow_evidence(
    sighting: Sighting,
    *,
    now: datetime,
    new_id: Callable[[], str],
    place: Place,
    asset: Asset,
) -> tuple[Receipt | None, tuple[ReceiptEntry, ...]]:
    """Bring a receipt in line with its evidence; return it with the journal entries of every step taken."""
    before, observation = sighting.receipt, sighting.observation
    if observation is None:
        return _without_evidence(before, sighting, now)
    evidence = Evidence(
        block_number=observation.log.block_number,
        block_hash=observation.log.block_hash,
        block_time=observation.log.block_time,
        log_index=observation.log.log_index,
    )
    if before is None:
        order = sighting.order
        receipt = Receipt(
            receipt_id=new_id(),
            identity=observation.log.identity,
            ledger_id=order.ledger_id if order else None,
            user_id=order.user_id if order else sighting.user_id,
            allocation=place[0],
            reason=place[1],
            asset=asset,
            amount=observation.amount,
            payer=observation.payer,
            treasury=observation.treasury,
            evidence=evidence,
            status=ReceiptStatus.SEEN,
            first_seen_at=now,
            version=0,
        )
        steps = [ReceiptStatus.SEEN]
    else:
        receipt = attrs.evolve(before, evidence=evidence)
        back = before.status in {ReceiptStatus.GONE, ReceiptStatus.REVERSED}
        steps = [ReceiptStatus.SEEN] if back else []
    steps += _promotions(steps[-1] if steps else receipt.status, evidence, sighting.depths)
    return _walk(receipt, steps, now, moved=before is not None and before.evidence != evidence)


def next_look(sighting: Sighting, receipt: Receipt | None) -> IntakeItem:
    """Say when an item has to be looked at again: at the height of the next promotion, or when its evidence changes."""
    identity, reason = sighting.item.identity, receipt.reason if receipt else None
    settled = IntakeItem(identity=identity, wait="never", reason=reason)
    depths = sighting.depths
    if receipt is None:
        return settled
    if sighting.observation is None and _not_read_again(receipt, depths):
        # A network that stands still reads nothing again; whoever resumes it wakes the item.
        again = attrs.evolve(settled, wait="head", height=receipt.evidence.block_number)
        return settled if depths.halt is not None else again
    rules: dict[ReceiptStatus, tuple[Finality, ...]] = {
        ReceiptStatus.SEEN: (depths.credit_after, depths.irreversible_after),
        ReceiptStatus.CREDITED: (depths.irreversible_after,),
    }
    if sighting.observation is not None and depths.halt is None:
        rules[ReceiptStatus.DISPUTED] = rules[ReceiptStatus.SEEN]
    if receipt.status not in rules:
        return settled
    heights = depths.heights
    waits = [rule.threshold(receipt.evidence.block_number, heights) for rule in rules[receipt.status]]
    # The first rule decides, unless its tag may never come or its height comes later than the next rule's.
    heads = sorted(height for name, height in waits if name == "head")
    name, height = waits[0]
    if heads and (name == "head" or heights.of(name) is None):
        name, height = "head", heads[0]
    return IntakeItem(identity=identity, wait=name, height=height, reason=reason)


def put_aside(item: IntakeItem, now: datetime) -> IntakeItem:
    """Park an item whose log contradicts what we wrote of it: which of them counts is for a person to say."""
    return attrs.evolve(item, wait="time", retry_at=now + _ASIDE, attempts=item.attempts + 1, reason=CHANGED)


def turn_receipt(receipt: Receipt, after: ReceiptStatus, now: datetime) -> tuple[Receipt, tuple[ReceiptEntry, ...]]:
    """Give a receipt the status that a person decided; return it with its journal entry.

    Raises:
        IllegalTransition: the table has no such move.

    """
    return _walk(receipt, [after], now, moved=False)


def _not_read_again(receipt: Receipt, depths: Depths) -> bool:
    """Whether nobody can say yet if credited money is gone for good.

    Where reading began again below the irreversible height, a credit is judged when the new blocks have been read up
    to where it stood, and not before: it may be in one of them.
    """
    doubted = receipt.status in {ReceiptStatus.FINAL, ReceiptStatus.DISPUTED}
    return doubted and (depths.halt is not None or depths.heights.head < receipt.evidence.block_number)


def _without_evidence(
    before: Receipt | None, sighting: Sighting, now: datetime
) -> tuple[Receipt | None, tuple[ReceiptEntry, ...]]:
    if before is None:
        return None, ()
    if sighting.changed and before.status is ReceiptStatus.DISPUTED:
        return before, ()  # a person says which of the two counts
    if not sighting.changed and _not_read_again(before, sighting.depths):
        return before, ()
    lost = {
        ReceiptStatus.SEEN: ReceiptStatus.GONE,
        ReceiptStatus.CREDITED: ReceiptStatus.REVERSED,
        ReceiptStatus.DISPUTED: ReceiptStatus.REVERSED,
        # Below the irreversible height the chain is not believed without a person.
        ReceiptStatus.FINAL: ReceiptStatus.DISPUTED,
    }
    after = lost.get(before.status)
    return _walk(before, [after] if after else [], now, moved=False)


def _promotions(status: ReceiptStatus, evidence: Evidence, depths: Depths) -> list[ReceiptStatus]:
    if depths.halt is not None and evidence.block_number > depths.halt.at_block:
        supporting = status in {ReceiptStatus.CREDITED, ReceiptStatus.FINAL}
        return [ReceiptStatus.DISPUTED] if supporting else []
    steps: list[ReceiptStatus] = []
    credited = depths.credit_after.reached(evidence.block_number, depths.heights)
    final = depths.irreversible_after.reached(evidence.block_number, depths.heights)
    if status in {ReceiptStatus.SEEN, ReceiptStatus.DISPUTED} and (credited or final):
        steps.append(ReceiptStatus.CREDITED)
        status = ReceiptStatus.CREDITED
    if status is ReceiptStatus.CREDITED and final:
        steps.append(ReceiptStatus.FINAL)
    return steps


def _walk(
    receipt: Receipt, steps: Sequence[ReceiptStatus], now: datetime, *, moved: bool
) -> tuple[Receipt, tuple[ReceiptEntry, ...]]:
    """Take a receipt through its steps, one journal entry each; the row's version grows once."""
    entries: list[ReceiptEntry] = []
    status = receipt.status
    for step in steps:
        status = check_move(RECEIPT_MOVES, status, step)
        entries.append(
            ReceiptEntry(
                receipt_id=receipt.receipt_id,
                seq=receipt.entries + len(entries) + 1,
                kind=_ENTRY[step],
                amount=receipt.amount,
                evidence=receipt.evidence,
                occurred_at=receipt.evidence.block_time,
                recorded_at=now,
            )
        )
    changed = bool(entries) or moved
    after = attrs.evolve(
        receipt,
        status=status,
        entries=receipt.entries + len(entries),
        version=receipt.version + 1 if changed else receipt.version,
    )
    return after, tuple(entries)
