"""The finance queue: what a person decides about money that does not fit. Roles are checked at every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evmbilling.domain.actors import Role
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.admin.readers import one_of, text
from evmbilling.engine.books.finance_evidence import EvidenceRulings
from evmbilling.engine.books.finance_rulings import Decided, Rulings
from evmbilling.engine.requests import parse_page
from evmbilling.errors import NotFound
from evmbilling.ports.storage import Unit

_LONGEST_NOTE = 500
_STATES = ("open", "decided", "withdrawn")


class Finance(AdminBase):
    """The finance people's face of billing, for one actor.

    Deciding needs ``finance_ops``; marking an order as paid and approving what is above a limit ``billing_admin``
    (PermissionDenied otherwise). A decision, what it moves, its postings and its audit entry are one transaction.
    Asking for the same decision again answers with the item as it stands; asking for another one is a Conflict.
    """

    def queue(self, *, state: str | None = "open", after: str = "", limit: int = 100) -> Sequence[QueueItem]:
        """Return a page of the queue by item id; of every state when it is None."""
        wanted = None if state is None else one_of("state", _STATES)(state)
        start, rows = parse_page(after, limit)
        return self._read_only(lambda unit: unit.queue_items(state=wanted, after=start, limit=rows))

    def item(self, item_id: str) -> QueueItem:
        """Return an item.

        Raises:
            NotFound: there is none.

        """
        name = parse_opaque(item_id, field="item_id")
        found = self._read_only(lambda unit: unit.queue_item(name))
        if found is None:
            raise NotFound("there is no such item", field="item_id")
        return found

    def assign(self, item_id: str, ledger_id: str, *, note: str = "") -> QueueItem:
        """Count money in suspense for an order of any customer; it must be of the order's asset.

        What the order does not need is its customer's credit.

        Raises:
            NotFound: no such item or order.
            InputError: the order is in another asset.
            Conflict: the item is decided otherwise, withdrawn, or of a kind that cannot be assigned.

        """
        name = parse_opaque(ledger_id, field="ledger_id")
        return self._decide(item_id, lambda rulings, item: rulings.assign(item, name), note)

    def credit(self, item_id: str, user_id: str, *, note: str = "") -> QueueItem:
        """Give money in suspense to a customer as credit.

        Raises:
            NotFound: no such item or customer.
            Conflict: as in ``assign``.

        """
        user = parse_opaque(user_id, field="user_id")
        return self._decide(item_id, lambda rulings, item: rulings.credit(item, user), note)

    def write_off(self, item_id: str, *, note: str = "") -> QueueItem:
        """Take money in suspense as nobody's. Above the gateway's limit it waits for a second person.

        The item stays open then, with its ruling, and an item ``write_off_approval`` asks for the other one.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``.

        """
        return self._decide(item_id, lambda rulings, item: rulings.write_off(item), note)

    def approve_write_off(self, item_id: str, *, note: str = "") -> QueueItem:
        """Agree to a write-off that another person asked for; ``item_id`` is the approval's. Needs ``billing_admin``.

        Raises:
            NotFound: no such item.
            PermissionDenied: the actor is who asked for it.
            Conflict: the item is decided or withdrawn.

        """
        self._actor.require(Role.BILLING_ADMIN)
        return self._decide(item_id, lambda rulings, item: rulings.approve_write_off(item), note, Role.BILLING_ADMIN)

    def release(self, item_id: str, *, note: str = "") -> QueueItem:
        """Let held money count as if it had just come in.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``.

        """
        return self._decide(item_id, lambda rulings, item: rulings.release(item), note)

    def acknowledge(self, item_id: str, *, note: str = "") -> QueueItem:
        """Say that a reversal, a payment that came twice, or a halted token or contract has been looked at.

        What was halted is sold with again after that.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``.

        """
        return self._decide(item_id, lambda rulings, item: rulings.acknowledge(item), note)

    def accept(self, item_id: str, *, note: str = "") -> QueueItem:
        """Believe a disputed credit, as long as what we have read of it stands; or what its transaction says now.

        Money whose content changed then counts for the order that the chain names, as if it had just come in.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``; or the chain does not show the payment, or says nothing else any more.

        """
        return self._decide_evidence(item_id, lambda rulings, item: rulings.accept(item), note)

    def reverse(self, item_id: str, *, note: str = "") -> QueueItem:
        """Take back a disputed credit at once: books, access and quota follow. The chain may still restore it.

        Money whose content changed is kept in suspense, with an item of its own.

        Raises:
            NotFound: no such item.
            Conflict: as in ``accept``.

        """
        return self._decide_evidence(item_id, lambda rulings, item: rulings.reverse(item), note)

    def mark_paid(self, ledger_id: str, *, reason: str) -> Order:
        """Take an order as paid because its money came another way; needs ``billing_admin``.

        Access opens as after a payment that is final. Money that still arrives on chain is the customer's credit.

        Raises:
            NotFound: no such order.
            Conflict: it is paid already, marked with another reason, or cannot be paid any more.

        """
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_opaque(ledger_id, field="ledger_id")
        read = text("reason", _LONGEST_NOTE)(reason)
        return self._runner.write(lambda unit: self._rulings(unit, "").mark_paid(name, read))

    def _decide(self, item_id: str, ruling: Decided, note: str, *roles: Role) -> QueueItem:
        self._actor.require(*(roles or (Role.FINANCE_OPS,)))
        name = parse_opaque(item_id, field="item_id")
        read = _note(note)

        def work(unit: Unit) -> QueueItem:
            return ruling(self._rulings(unit, read), name)

        return self._runner.write(work)

    def _decide_evidence(
        self, item_id: str, ruling: Callable[[EvidenceRulings, str], QueueItem], note: str
    ) -> QueueItem:
        self._actor.require(Role.FINANCE_OPS)
        name, read = parse_opaque(item_id, field="item_id"), _note(note)
        return self._runner.write(lambda unit: ruling(EvidenceRulings(self._ports, unit, self._actor, note=read), name))

    def _rulings(self, unit: Unit, note: str) -> Rulings:
        return Rulings(self._ports, unit, self._actor, note=note)


def _note(note: object) -> str:
    return "" if isinstance(note, str) and not note else str(text("note", _LONGEST_NOTE)(note))
