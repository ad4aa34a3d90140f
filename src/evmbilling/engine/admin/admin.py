"""Administration: roles are checked here, and every write is audited in its own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from evmbilling.domain.actors import Role
from evmbilling.domain.decisions import StoreCustomer
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.events import AuditEntry, Event
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.reading.evidence import Cursor
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.subscriptions.calendar import parse_zone
from evmbilling.engine.admin.adopting import AdoptionAdmin
from evmbilling.engine.admin.books import BooksAdmin
from evmbilling.engine.admin.catalogue import CatalogueAdmin
from evmbilling.engine.admin.readers import text
from evmbilling.engine.admin.secrets import SecretsAdmin
from evmbilling.engine.requests import is_ledger_id, parse_limit, parse_optional, parse_page
from evmbilling.errors import InputError, NotFound
from evmbilling.ports.storage import Unit


class Admin(CatalogueAdmin, BooksAdmin, AdoptionAdmin, SecretsAdmin):
    """The administrator's face of billing, for one actor.

    Reading needs ``finance_ops`` or ``billing_admin``, writing ``billing_admin`` (PermissionDenied otherwise). Updates
    name the version that was read (VersionConflict when it is no longer the newest). Fields that cannot be used are
    InputError and name the field. Secrets are given as references, or as plain values that are encrypted at once.
    """

    def customer(self, user_id: str) -> Customer:
        """Return a customer.

        Raises:
            NotFound: billing has never seen this user.

        """
        found = self._read_only(lambda unit: unit.customer(parse_opaque(user_id, field="user_id")))
        if found is None:
            raise NotFound("billing has not seen this user", field="user_id")
        return found

    def customers(self, *, after: str = "", limit: int = 100) -> Sequence[Customer]:
        """Return a page of customers by id."""
        start, rows = parse_page(after, limit)
        return self._read_only(lambda unit: unit.customers(after=start, limit=rows))

    def update_customer(self, user_id: str, *, zone: str | None = None, locale: str | None = None) -> Customer:
        """Change a customer's zone (for later subscriptions) or locale.

        Raises:
            InputError: no IANA zone, or no BCP 47 tag.
            NotFound: billing has never seen this user.

        """
        self._actor.require(Role.BILLING_ADMIN)
        user = parse_opaque(user_id, field="user_id")
        read: dict[str, Any] = {}
        if zone is not None:
            read["zone"] = parse_zone(zone, field="zone")
        if locale is not None:
            read["locale"] = text("locale", 35)(locale)

        def work(unit: Unit) -> Customer:
            before = unit.lock_customers([user]).get(user)
            if before is None:
                raise NotFound("billing has not seen this user", field="user_id")
            after = attrs.evolve(before, **read, version=before.version + 1)
            self._save(unit, StoreCustomer(after), "customer.update", f"customer:{user}", self._diff(before, after))
            return after

        return self._runner.write(work)

    def audit(self, *, object_: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """Return audit entries, oldest first; of one object (``plan:pro``) when it is named."""
        of, rows = _name(object_, "object_"), parse_limit(limit)
        return self._read_only(lambda unit: unit.audit(object_=of, limit=rows))

    def events(self, *, aggregate: str | None = None, type_: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Return events of the outbox, oldest first."""
        of, kind, rows = _name(aggregate, "aggregate"), _name(type_, "type_"), parse_limit(limit)
        return self._read_only(lambda unit: unit.events(aggregate=of, type_=kind, limit=rows))

    def orders(
        self, wanted: OrderFilter | None = None, *, before: str | None = None, limit: int = 100
    ) -> Sequence[Order]:
        """Return a page of orders that meet all conditions, newest first, below the given ledger id.

        Raises:
            InputError: no filter, or a limit out of range.
            NotFound: ``before`` names no order.

        """
        asked, rows = OrderFilter() if wanted is None else wanted, parse_limit(limit)
        if not isinstance(asked, OrderFilter):
            raise InputError("an OrderFilter is expected", field="wanted")
        if before is not None and not is_ledger_id(before):
            raise NotFound("there is no such order", field="before")
        return self._read_only(lambda unit: unit.find_orders(asked, before=before, limit=rows))

    def unmatched_receipts(self, *, limit: int = 100) -> Sequence[Receipt]:
        """Return money that no order explains, oldest first."""
        rows = parse_limit(limit)
        return self._read_only(lambda unit: unit.unmatched_receipts(rows))

    def cursors(self) -> Sequence[Cursor]:
        """Return how far each chain has been read."""
        return self._read_only(lambda unit: unit.cursors())


def _name(value: str | None, field: str) -> str | None:
    """Read the name of an object that log entries are about; None for all."""
    return parse_optional(value, field=field, longest=400)
