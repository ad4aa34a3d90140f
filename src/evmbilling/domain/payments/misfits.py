"""Policies for money that does not fit: data, not code."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from evmbilling.domain.money import Asset
from evmbilling.domain.pairs import Pairs, pairs


@frozen(kw_only=True)
class MisfitPolicy:
    """What happens to money that does not fit: data of a gateway.

    Attributes:
        tolerance_bps: an order is complete when at most this many hundredths of a percent are missing; what is missing
            is carried as debt. 0 by default: paying 99 % again and again must not work.
        late: money for an offer whose deadline had passed in its block.
        duplicate: money for an order or a period that is paid already.
        unknown_payer: money from a wallet that nobody confirmed always waits for a person.
        dust_below: (symbol, base units): smaller transfers without a reference go to suspense without a queue item.
        approval_above: (symbol, base units): refunds and write-offs above need a second person.
        late_watch: how many seconds after the end of an order its deposit address is still looked at by itself.
        on_refund: whether the refund that leaves nothing of the period that was paid last ends the membership: ``burn``
            ends it with us when the refund is done, and its token is to be burned on chain; a month ahead that was
            given back shortens it. Who asks or agrees may say otherwise.

    """

    tolerance_bps: int = 0
    late: Literal["order", "credit", "suspense"] = "credit"
    duplicate: Literal["credit", "suspense"] = "credit"
    dust_below: Pairs = field(default=(), converter=pairs)
    approval_above: Pairs = field(default=(), converter=pairs)
    on_refund: Literal["keep", "burn"] = "keep"
    late_watch: int = 30 * 86_400

    def tolerance(self, amount: int) -> int:
        """Return how many base units may be missing from an amount; rounded down."""
        return amount * self.tolerance_bps // 10_000

    def is_dust(self, asset: Asset, amount: int) -> bool:
        """Whether an unexplained transfer is too small for a person's time."""
        return amount == 0 or amount < dict(self.dust_below).get(asset.symbol, 0)

    def needs_approval(self, asset: Asset, amount: int) -> bool:
        """Whether a second person must agree."""
        limit = dict(self.approval_above).get(asset.symbol)
        return limit is not None and amount > limit
