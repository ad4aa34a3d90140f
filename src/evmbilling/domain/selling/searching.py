"""What orders can be searched by."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from evmbilling.domain.selling.orders import Order, OrderOrigin
from evmbilling.domain.states import OrderStatus


@frozen(kw_only=True)
class OrderFilter:
    """Conditions that all hold; what is left out does not matter.

    Attributes:
        statuses: one of these. network: name. plan_slug: any version of it.
        symbol: of the token. wallet: who was asked to pay. tx_hash: 32 bytes of the payment that completed it.
        created_from, created_before: half-open.
        deadline_from: payable until then at least.
        origin: why it was made.

    """

    statuses: tuple[OrderStatus, ...] = ()
    network: str | None = None
    user_id: str | None = None
    plan_slug: str | None = None
    symbol: str | None = None
    wallet: str | None = None
    tx_hash: bytes | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    deadline_from: datetime | None = None
    origin: OrderOrigin | None = None

    def takes(self, order: Order) -> bool:
        """Whether an order meets all conditions."""
        paid_by = None if order.completion is None else order.completion.tx_hash
        wanted = (
            (self.network, order.network),
            (self.user_id, order.user_id),
            (self.plan_slug, order.plan_slug),
            (self.symbol, order.asset.symbol),
            (self.wallet, order.wallet),
            (self.tx_hash, paid_by),
            (self.origin, order.origin),
        )
        return (
            all(asked in (None, found) for asked, found in wanted)
            and (not self.statuses or order.status in self.statuses)
            and (self.created_from is None or order.created_at >= self.created_from)
            and (self.created_before is None or order.created_at < self.created_before)
            and (self.deadline_from is None or order.deadline >= self.deadline_from)
        )
