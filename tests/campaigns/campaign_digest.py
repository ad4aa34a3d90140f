"""What the facts come to, without what depends on when and how often somebody looked."""

from __future__ import annotations

from typing import Any

LIVE = {"seen", "credited", "final", "disputed"}
UNPAID = {"pending", "reversed", "confirming"}


def digest(engine: Any) -> dict[str, list[Any]]:
    """Return receipts, balances, orders, periods, standings, movements and the queue."""
    with engine._ports.storage.unit(write=False) as unit:
        orders = list(unit.all_orders(after="", limit=100_000))
        held = {order.subscription_id for order in orders if order.subscription_id}
        users = sorted({order.user_id for order in orders})
        receipts = [r for r in unit.all_receipts(after="", limit=100_000) if r.status in LIVE]
        balances = [(b.owner, str(b.account), b.asset.token, b.net_credit) for b in unit.all_balances(limit=100_000)]
        found = {
            "receipts": [
                (str(r.identity), r.ledger_id, r.user_id, r.allocation, r.reason, r.amount, str(r.status), r.evidence)
                for r in receipts
            ],
            "balances": [row for row in balances if row[-1]],
            "orders": [(o.ledger_id, "unpaid" if o.status in UNPAID else str(o.status), o.completion) for o in orders],
            "subscriptions": [
                (s.subscription_id, str(s.status), s.anchor, s.paid_periods, s.paid_until)
                for s in unit.subscriptions(held).values()
            ],
            "standings": [(e.user_id, e.source_id, e.basis, e.until, e.disputed) for e in unit.entitlements(users)],
            "movements": [
                (str(m.identity), m.kind, m.direction, m.amount, m.evidence)
                for m in unit.all_movements(limit=100_000)
                if m.live
            ],
            "suspense": [(i.subject, i.kind, i.state) for i in unit.queue_items(state="open") if i.kind == "suspense"],
        }
        known = {f"receipt:{r.receipt_id}": str(r.identity) for r in receipts}
        found["suspense"] = [(known[subject], kind, state) for subject, kind, state in found["suspense"]]
    return {name: sorted(map(repr, rows)) for name, rows in found.items()}


def differing(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> dict[str, Any]:
    """Return what two digests do not share, by part."""
    return {
        name: {"only first": sorted(set(rows) - set(other[name])), "only second": sorted(set(other[name]) - set(rows))}
        for name, rows in one.items()
        if rows != other[name]
    }
