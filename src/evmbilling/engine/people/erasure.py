"""Erasure and retention: personal data goes, the books stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

import attrs

from evmbilling.domain.actors import Actor
from evmbilling.domain.decisions import EraseCustomer, RecordAudit, StoreRefund
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.people.customers import Customer
from evmbilling.engine.context import Ports
from evmbilling.errors import InputError, NotFound
from evmbilling.ports.storage import Unit

RETENTION: Mapping[str, int] = {
    "webhook_inbox": 30,
    "deliveries": 90,
    "wallet_challenges": 1,
    "chain_logs": 30,
    "usage": 400,
    "pay_links": 30,
}
"""Days that rows are kept after they ended, by table. Idempotency keys, orders and everything append-only stay."""

_BATCH = 1000
LONGEST = 36_500
"""Days: a century."""


def erase(ports: Ports, unit: Unit, user_id: str, actor: Actor) -> Customer:
    """Erase a customer's personal data; see :meth:`evmbilling.engine.core.Engine.erase`."""
    user = parse_opaque(user_id, field="user_id")
    before = unit.lock_customers([user]).get(user)
    if before is None:
        raise NotFound("billing has not seen this user", field="user_id")
    now = ports.clock.now()
    after = attrs.evolve(before, zone="UTC", locale="en", erased_at=before.erased_at or now, version=before.version + 1)
    entry = AuditEntry(
        audit_id=ports.ids.new_id(),
        actor=actor.user_id,
        action="customer.erase",
        object=f"customer:{user}",
        changes={},
        recorded_at=now,
    )
    unit.apply([EraseCustomer(after), *_unsent_addresses(unit, user), RecordAudit(entry)])
    return after


def _unsent_addresses(unit: Unit, user_id: str) -> Iterator[StoreRefund]:
    """Take the address out of refunds that are over and whose transaction nobody can have: it was never on a chain.

    One that was prepared may be signed already, and is recognised by its address when it comes.
    """
    for refund in unit.refunds_by(users=[user_id]):
        if refund.status in OVER and refund.prepared_at is None and refund.address is not None:
            gone = attrs.evolve(refund, address=None, address_confirmed_at=None, version=refund.version + 1)
            yield StoreRefund(gone)


def prune(ports: Ports, days: Mapping[str, int] | None = None) -> Mapping[str, int]:
    """Remove rows whose time is over; see :meth:`evmbilling.engine.core.Engine.prune`."""
    if not isinstance(days, Mapping | None):
        raise InputError("periods are a mapping of tables to days", field="days")
    given = dict(days or {})
    for table, kept in given.items():
        if table not in RETENTION:
            raise InputError(
                f"only {', '.join(RETENTION)} are pruned", field=table if isinstance(table, str) and table else "days"
            )
        if type(kept) is not int or not 1 <= kept <= LONGEST:
            raise InputError(f"a period is a whole number of days, 1 to {LONGEST}", field=table)
    removed: dict[str, int] = {}
    for table, kept in (dict(RETENTION) | given).items():
        before = ports.clock.now() - timedelta(days=kept)
        removed[table] = 0
        while count := ports.storage.prune(table, before, _BATCH):
            removed[table] += count
            if count < _BATCH:
                break
    return removed
