"""Months that were given back, against what memberships still count: from amounts, orders and refunds alone.

A fold that counted such a month again would find itself right. So this asks no fold and no decision that was noted: a
month whose whole price went back with refunds that take it away, and every one behind it up to where the membership
was paid when they were asked for, is neither paid nor open. Only months that are not over are looked at: for those it
is the same whenever the refunds were done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, PAID_ORDERS, RefundStatus
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.verify.report import Findings
from evmbilling.ports.storage import Unit

_PAGE: Final = 500


class GivenBackCheck:
    """Names memberships that count a month of which everything was given back."""

    def __init__(self, unit: Unit, findings: Findings, now: datetime) -> None:
        self._unit, self._findings, self._now = unit, findings, now

    def run(self) -> None:
        """Look at every membership that a refund which is done takes months from."""
        after = ""
        while page := self._unit.refunds(states=[RefundStatus.DONE], after=after, limit=_PAGE):
            orders = self._unit.orders({r.ledger_id for r in page if r.shortens and r.ledger_id is not None})
            self._check({o.subscription_id for o in orders.values() if o.subscription_id is not None})
            after = page[-1].refund_id

    def _check(self, names: set[str]) -> None:
        live = {
            name: held
            for name, held in (self._unit.subscriptions(names) if names else {}).items()
            if held.status in LIVE_SUBSCRIPTIONS
        }
        if not live:
            return
        owned: dict[str, list[Order]] = defaultdict(list)
        for order in self._unit.orders_of_subscriptions(live):
            owned[order.subscription_id or ""].append(order)
        entitled = {e.source_id: e for e in self._unit.entitlements({held.user_id for held in live.values()})}
        for name, held in live.items():
            self._compare(held, entitled.get(name), owned[name])

    def _compare(self, held: Subscription, entitled: Entitlement | None, orders: Sequence[Order]) -> None:
        table = held.table
        first = None if table is None else _taken(orders, self._whole(orders))
        if table is None or first is None or table.end(first) <= self._now:
            return
        start = table.start(first)
        counted = {"standing": held.paid_until}
        if entitled is not None and entitled.basis == "paid":
            counted["access"] = entitled.until
        for name, until in counted.items():
            if until is not None and until > start:
                subject = f"subscription:{held.subscription_id}"
                self._findings.add("month_given_back_counts", subject, expected=start, found=until, reason=name)

    def _whole(self, orders: Iterable[Order]) -> Mapping[str, list[Refund]]:
        """Return the refunds that are done of each order that has nothing left, where one of them takes its month."""
        found: dict[str, list[Refund]] = {}
        for order in orders:
            done = [r for r in self._unit.refunds_of_order(order.ledger_id) if r.status is RefundStatus.DONE]
            if any(r.shortens for r in done) and sum(r.amount for r in done) >= order.amount:
                found[order.ledger_id] = done
        return found


def _taken(orders: Sequence[Order], whole: Mapping[str, Sequence[Refund]]) -> int | None:
    """Return the first month from which a membership has nothing left, by the refund that takes most; None for none.

    A refund takes what lies behind it up to where the membership was paid when it was asked for, if none of that was
    kept. What is older than that note says nothing here.
    """
    back = {order.period for order in orders if order.ledger_id in whole and order.period is not None}
    back -= {o.period for o in orders if o.ledger_id not in whole and o.status in PAID_ORDERS}
    limits = {r.paid_to for done in whole.values() for r in done if r.shortens and r.paid_to is not None}
    firsts: list[int] = []
    for limit in limits:
        first = limit
        while first - 1 in back:
            first -= 1
        firsts += [first] if first < limit else []
    return min(firsts, default=None)
