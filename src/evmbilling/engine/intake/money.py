"""What the intake asks about one movement: whether it is money, whose, and whose word for it is enough."""

from __future__ import annotations

from collections.abc import Mapping

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.payments.judgement import Sighting
from evmbilling.domain.reading.evidence import ChainLog, Observation
from evmbilling.engine.intake.scene import Scene
from evmbilling.engine.reading.agreement import CREDITED


def is_new_money(scene: Scene, identity: CreditIdentity) -> bool:
    """Whether a movement brings money that is a receipt of its own, and has none yet."""
    seen = scene.seen.get(identity)
    if seen is None or identity in scene.receipts:
        return False
    if seen.kind == "payment":
        return True
    leaves, reaches = scene.ways(seen)
    # Anybody may move nothing from anybody's wallet; it is no word of whose wallet it is.
    brings = seen.kind == "transfer" and seen.amount > 0
    return brings and reaches and not leaves and identity not in scene.events


def speaks_for_money(scene: Scene, identity: CreditIdentity) -> bool:
    """Whether what a log says now can be the money of a receipt at its place.

    A reorganisation may give a transaction one log more, as a first charge has one that tells of the mandate. Then the
    transfer of a payment stands where its event had stood, and the event is a receipt of its own: not both are money.
    """
    seen, event = scene.seen.get(identity), scene.events.get(identity)
    if seen is None or seen.kind == "payment":
        return seen is not None
    return seen.kind == "transfer" and (event is None or event.kind != "payment")


def logs_behind(scene: Scene, seen: Observation) -> tuple[ChainLog, ...]:
    """Return the transfers that say what a mapped contract's payment brought: others have to show them, too."""
    transfers = scene.transfers_of(seen.log.identity) if seen.rail == "call" else ()
    return tuple(transfer.log for transfer in transfers)


def needs_agreement(scene: Scene, identity: CreditIdentity) -> bool:
    """Whether a movement is money that is not credited yet and too large for the word of one node."""
    seen, receipt = scene.seen.get(identity), scene.receipts.get(identity)
    if seen is None or (receipt is None and not is_new_money(scene, identity)):
        return False
    if receipt is not None and (receipt.status in CREDITED or not speaks_for_money(scene, identity)):
        return False
    return scene.network.needs_agreement(scene.asset_of(seen.token).symbol, seen.amount)


def is_nameless(sighting: Sighting) -> bool:
    """Whether it is new money that names no order, so that who paid it says whose it is."""
    seen = sighting.observation
    by_payer = seen is not None and seen.kind == "payment" and seen.found_by == "payer"
    return sighting.receipt is None and seen is not None and (by_payer or seen.kind == "transfer")


def user_of(sighting: Sighting, owners: Mapping[str, str]) -> str | None:
    """Return whose money it is: the order's customer, the one it was credited to, or whose wallet sent it."""
    if sighting.order is not None:
        return sighting.order.user_id
    if sighting.receipt is not None:
        return sighting.receipt.user_id
    seen = sighting.observation if is_nameless(sighting) else None
    return owners.get(seen.payer) if seen is not None else None
