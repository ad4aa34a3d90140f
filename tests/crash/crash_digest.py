"""The books without what differs from life to life: ids, hashes, and when somebody learned of something."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from crash_script import USER
from crash_world import CHAIN_ID

from evmbilling.factory import BillingEngine

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

_ON_ITS_WAY = {"submitted", "unknown"}
"""One word or the other: whether its sender lived to say so. What became of it is in the transmission and the order."""


def masked(text: object) -> str:
    """Return a text with every id and hash of 32 bytes blotted out."""
    return _ID.sub("*", str(text))


def digest(engine: BillingEngine) -> dict[str, Any]:
    """Return what has to be the same whoever died in between, as JSON values."""
    with engine._ports.storage.unit(write=False) as unit:
        orders = unit.all_orders()
        held = {order.subscription_id for order in orders if order.subscription_id}
        found = {
            "entries": [(masked(e.source), e.kind, e.occurred_at, _lines(e.lines)) for e in unit.ledger_entries()],
            "balances": [(b.account, masked(b.owner), b.debit, b.credit) for b in unit.all_balances()],
            "receipts": [
                (r.allocation, r.reason, r.amount, r.status, r.evidence.block_number, r.entries, r.version)
                for r in unit.all_receipts()
            ],
            "journal": [
                (e.seq, e.kind, e.amount, e.occurred_at)
                for r in unit.all_receipts()
                for e in unit.entries(r.receipt_id)
            ],
            "orders": [(o.status, o.amount, o.period, o.closed_as, o.completion is not None) for o in orders],
            "subscriptions": [
                (s.status, s.anchor, s.paid_periods, s.paid_until, s.next_charge_at, s.debt)
                for s in unit.subscriptions(held).values()
            ],
            "entitlements": [(str(e.product), e.until) for e in unit.entitlements([USER])],
            "movements": [(m.kind, m.direction, m.live, m.amount) for m in unit.all_movements()],
            "refunds": [(r.status, r.amount, r.via, r.address) for r in unit.refunds()],
            "queue": [(i.kind, i.state) for i in unit.queue_items(state=None)],
            "events": [(masked(e.aggregate), e.seq, e.type) for e in unit.events(limit=1000)],
            "deliveries": [(d.sink, d.seq, d.state) for d in unit.deliveries(limit=1000)],
            "cursor": [(c.chain_id, c.block.number) for c in unit.cursors() if c.chain_id == CHAIN_ID],
        }
    return {name: sorted(map(repr, rows)) for name, rows in found.items()} | {"wrong": _wrong(engine)}


def work_of_workers(engine: BillingEngine) -> dict[str, Any]:
    """Return what the steps of workers leave beside the books, in the same way."""
    with engine._ports.storage.unit(write=False) as unit:
        orders = unit.all_orders()
        deposits = [deposit for order in orders if (deposit := unit.deposit(order.ledger_id))]
        users = sorted({order.user_id for order in orders})
        found = {
            "charges": [
                (c.attempt, "on its way" if c.state in _ON_ITS_WAY else c.state, c.reason)
                for c in unit.charges_of([order.ledger_id for order in orders])
            ],
            "transmissions": [
                (t.purpose, masked(t.subject), t.attempt, t.status, t.nonce, t.failure_reason, t.mined is not None)
                for t in unit.transmissions(limit=1000)
            ],
            "deposits": [(d.held, d.seen_at is None, d.sweeps, d.failures) for d in deposits],
            "figures": [(cell.key, cell.amount, cell.items) for cell in unit.figure_cells("ever")],
            "documents": [
                (document.kind, document.corrects) for user in users for document in unit.documents_of_user(user)
            ],
            "hint": [(item.state, item.reason) for item in [unit.inbox_item("checkout", "msg_1")] if item],
            "access": [(str(e.product), e.until) for e in unit.entitlements(users)],
        }
    return {name: sorted(map(repr, rows)) for name, rows in found.items()}


def told_wrongly(engine: BillingEngine, told: list[tuple[str, str]], most: int) -> list[str]:
    """Return the events that did not leave, or left more than ``most`` times."""
    count = Counter(event_id for event_id, _ in told)
    with engine._ports.storage.unit(write=False) as unit:
        events = unit.events(limit=1000)
    return [f"{e.type} {count[e.event_id]} times" for e in events if not 1 <= count[e.event_id] <= most]


def _lines(lines: Any) -> list[tuple[str, str, str, int]]:
    return [(line.account, masked(line.owner), line.side, line.amount) for line in lines]


def _wrong(engine: BillingEngine) -> list[str]:
    report = engine.verify(full=True)
    return [repr(d) for d in report.differences if d.code not in ("unproved", "row_unsealed")]
