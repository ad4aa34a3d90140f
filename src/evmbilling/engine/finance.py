"""The finance queue: what a person decides about money that does not fit. Roles are checked at every call."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.actors import Role
from evmbilling.domain.finance import QueueItem
from evmbilling.domain.orders import Order
from evmbilling.engine.admin_base import AdminBase
from evmbilling.engine.finance_rulings import Decided, Rulings
from evmbilling.engine.readers import text
from evmbilling.errors import NotFound
from evmbilling.ports.storage import Unit

_LONGEST_NOTE = 500


class Finance(AdminBase):
    """The finance people's face of billing, for one actor.

    Deciding needs ``finance_ops``; marking an order as paid and approving what is above a limit ``billing_admin``
    (PermissionDenied otherwise). A decision, what it moves, its postings and its audit entry are one transaction.
    Asking for the same decision again answers with the item as it stands; asking for another one is a Conflict.
    """

    def queue(self, *, state: str | None = "open", after: str = "", limit: int = 100) -> Sequence[QueueItem]:
        """Return a page of the queue by item id; of every state when it is None."""
        return self._read_only(lambda unit: unit.queue_items(state=state, after=after, limit=limit))

    def item(self, item_id: str) -> QueueItem:
        """Return an item.

        Raises:
            NotFound: there is none.

        """
        found = self._read_only(lambda unit: unit.queue_item(item_id))
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
        return self._decide(lambda rulings: rulings.assign(item_id, ledger_id), note)

    def credit(self, item_id: str, user_id: str, *, note: str = "") -> QueueItem:
        """Give money in suspense to a customer as credit.

        Raises:
            NotFound: no such item or customer.
            Conflict: as in ``assign``.

        """
        return self._decide(lambda rulings: rulings.credit(item_id, user_id), note)

    def write_off(self, item_id: str, *, note: str = "") -> QueueItem:
        """Take money in suspense as nobody's. Above the gateway's limit it waits for a second person.

        The item stays open then, with its ruling, and an item ``write_off_approval`` asks for the other one.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``.

        """
        return self._decide(lambda rulings: rulings.write_off(item_id), note)

    def approve_write_off(self, item_id: str, *, note: str = "") -> QueueItem:
        """Agree to a write-off that another person asked for; ``item_id`` is the approval's. Needs ``billing_admin``.

        Raises:
            NotFound: no such item.
            PermissionDenied: the actor is who asked for it.
            Conflict: the item is decided or withdrawn.

        """
        self._actor.require(Role.BILLING_ADMIN)
        return self._decide(lambda rulings: rulings.approve_write_off(item_id), note, Role.BILLING_ADMIN)

    def release(self, item_id: str, *, note: str = "") -> QueueItem:
        """Let held money count as if it had just come in.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``.

        """
        return self._decide(lambda rulings: rulings.release(item_id), note)

    def acknowledge(self, item_id: str, *, note: str = "") -> QueueItem:
        """Say that a reversal, a payment that came twice, or a halted token has been looked at.

        A halted token is sold again after that.

        Raises:
            NotFound: no such item.
            Conflict: as in ``assign``.

        """
        return self._decide(lambda rulings: rulings.acknowledge(item_id), note)

    def mark_paid(self, ledger_id: str, *, reason: str) -> Order:
        """Take an order as paid because its money came another way; needs ``billing_admin``.

        Access opens as after a payment that is final. Money that still arrives on chain is the customer's credit.

        Raises:
            NotFound: no such order.
            Conflict: it is paid already, marked with another reason, or cannot be paid any more.

        """
        self._actor.require(Role.BILLING_ADMIN)
        read = text("reason", _LONGEST_NOTE)(reason)
        return self._runner.write(lambda unit: self._rulings(unit, "").mark_paid(ledger_id, read))

    def _decide(self, ruling: Decided, note: str, *roles: Role) -> QueueItem:
        self._actor.require(*(roles or (Role.FINANCE_OPS,)))
        read = text("note", _LONGEST_NOTE)(note) if note else ""

        def work(unit: Unit) -> QueueItem:
            return ruling(self._rulings(unit, read))

        return self._runner.write(work)

    def _rulings(self, unit: Unit, note: str) -> Rulings:
        return Rulings(self._ports, unit, self._actor, note=note)
