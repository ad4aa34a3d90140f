"""What became of messages, for people: dead letters are listed here and replayed."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.actors import Role
from evmbilling.domain.decisions import StoreDelivery
from evmbilling.domain.delivery import replayed
from evmbilling.domain.messages import Delivery
from evmbilling.engine.admin_base import AdminBase
from evmbilling.errors import Conflict, InputError, NotFound
from evmbilling.ports.storage import Unit

_STATES = ("waiting", "done", "dead")
_MOST = 1000


class Deliveries(AdminBase):
    """Deliveries, for one actor: ``finance_ops`` or ``billing_admin`` (PermissionDenied otherwise)."""

    def list(
        self, *, sink: str | None = None, state: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Delivery]:
        """Return a page of deliveries by (event id, sink); ``state="dead"`` for what needs a person.

        Args:
            sink: ``notifier:<name>``, ``webhook:<endpoint id>`` or ``quota:<name>``.
            state: ``waiting``, ``done`` or ``dead``.
            after: the last event id of the page before. limit: rows, 1 to 1,000; an event's deliveries stay together.

        Raises:
            InputError: another state, or a limit out of range.

        """
        if state is not None and state not in _STATES:
            raise InputError(f"a delivery is {', '.join(_STATES)}", field="state")
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise InputError(f"a page has 1 to {_MOST} rows", field="limit")
        return self._read_only(lambda unit: unit.deliveries(sink=sink, state=state, after=after, limit=limit))

    def redeliver(self, event_id: str, sink: str) -> Delivery:
        """Try a delivery once more, now; a dead one that fails again is dead again. Audited.

        Raises:
            NotFound: there is no such delivery.
            Conflict: it has not been tried yet: it goes out in its turn.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)

        def work(unit: Unit) -> Delivery:
            before = unit.delivery(event_id, sink)
            if before is None:
                raise NotFound("there is no such delivery", field="event_id")
            if before.state == "waiting" and before.attempts == 0:
                raise Conflict("it has not been tried yet", field="event_id")
            after = replayed(before, self._ports.storage.now())
            facts = {"sink": sink, "state": before.state, "attempts": before.attempts}
            self._save(unit, StoreDelivery(after), "delivery.redeliver", f"event:{event_id}", facts)
            return after

        return self._runner.write(work)
