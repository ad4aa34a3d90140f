"""Request and answer of a change, and on what terms it is sold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from evmbilling.domain.catalogue.plan_terms import ChangeTiming, PlanTerms
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.offering import CheckoutRequest, ExtraLines, Offer
from evmbilling.domain.selling.orders import OrderLine


@frozen(kw_only=True)
class ChangeRequest:
    """What somebody wants a running subscription to be; None keeps what is.

    Attributes:
        timing: ``now``, within the running period, or ``next_period``.
        plan: a slug: the newest version of that plan, of its own too. A subscription that is not moved keeps its own.
        quantity: pieces.
        network, asset, wallet: how it is paid from the next period on; the wallet also within a period.
        by: who decided.

    """

    subscription_id: str
    timing: ChangeTiming
    plan: str | None = None
    quantity: int | None = None
    network: str | None = None
    asset: str | None = None
    wallet: str | None = None
    by: str


@frozen(kw_only=True)
class ChangeSale:
    """On what terms the new ones are sold.

    Attributes:
        after: the new terms.
        request, offer: how their next period is asked for. Within a period: how the difference is.
        before: where the present plan is sold, for a period that was paid elsewhere.
        refunded: base units that went back of orders, or are about to, by ledger id.
        extra: adds tax and discount lines.
        instance_id: 8 bytes that prefix every reference.

    """

    after: PlanTerms
    request: CheckoutRequest
    offer: Offer
    before: Offer | None = None
    refunded: Mapping[str, int] = field(factory=dict)
    extra: ExtraLines | None = None
    instance_id: bytes


@frozen(kw_only=True)
class ChangePreview:
    """What a change comes to, before anything is written.

    Attributes:
        before, after: the terms.
        starts_at: from when the new ones hold, when they are paid in time.
        pay_now: base units of ``asset`` that have to be paid for it now; 0 for nothing. ``lines`` say why.
        unused: base units that were paid for the rest of the running period, and count against the new terms.
        kept: what of that is more than the new terms cost; it stays with the period, and counts if they go up again.
        next_charge_at, next_amount, next_asset, next_network: the next period that is asked for.

    """

    subscription_id: str
    timing: ChangeTiming
    before: PlanTerms
    after: PlanTerms
    starts_at: datetime
    pay_now: int
    asset: Asset
    network: str
    lines: tuple[OrderLine, ...]
    unused: int
    kept: int
    next_charge_at: datetime
    next_amount: int
    next_asset: Asset
    next_network: str
