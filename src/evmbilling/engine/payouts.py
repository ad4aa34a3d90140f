"""What treasuries sent: refunds that we prepared are recognised here; everything else is the owner's own business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import field, frozen

from evmbilling.domain.decisions import Decision
from evmbilling.domain.evidence import IntakeItem, Observation
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.judgement import Depths
from evmbilling.domain.treasury import Movement, MovementRole
from evmbilling.engine.context import Ports
from evmbilling.ports.storage import Unit


@frozen(kw_only=True)
class Payout:
    """An intake item about money that may have left a treasury, inside the unit that has claimed it.

    Attributes:
        item: of the contract's refund event, or of the token's transfer; both come when both are watched.
        transfer: the token's transfer; None when its block is gone, or for the native coin.
        event: the contract's refund event in the same transaction that the transfer is part of.
        movement: what was stored about the transfer before.

    """

    item: IntakeItem
    transfer: Observation | None
    event: Observation | None
    movement: Movement | None
    depths: Depths


@frozen(kw_only=True)
class PayoutOutcome:
    """What payouts were.

    Attributes:
        decisions: to be applied with the batch.
        roles: of the transfers that are refunds, by the transfer's identity.
        items: how items go on; an item that is not named is settled.

    """

    decisions: tuple[Decision, ...] = ()
    roles: Mapping[CreditIdentity, MovementRole] = field(factory=dict)
    items: Mapping[CreditIdentity, IntakeItem] = field(factory=dict)


def match_payouts(ports: Ports, unit: Unit, payouts: Sequence[Payout], *, now: datetime) -> PayoutOutcome:
    """Recognise refunds among what left the treasuries; what is not named in the outcome is external."""
    del ports, unit, payouts, now
    return PayoutOutcome()
