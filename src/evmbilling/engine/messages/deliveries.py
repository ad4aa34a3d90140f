"""What became of messages, for people: dead letters are listed here and replayed."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.actors import Role
from evmbilling.domain.decisions import StoreDelivery
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.delivery import replayed
from evmbilling.domain.messages.messages import Delivery
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.admin.readers import one_of, whole
from evmbilling.engine.messages.sinks import endpoint_sink, own_sinks
from evmbilling.engine.requests import parse_optional, parse_page
from evmbilling.errors import Conflict, NotFound
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
        of, wanted = parse_optional(sink, field="sink"), None if state is None else one_of("state", _STATES)(state)
        start = parse_page(after, 1)[0]
        rows: int = whole("limit", 1, _MOST)(limit)
        return self._read_only(lambda unit: unit.deliveries(sink=of, state=wanted, after=start, limit=rows))

    def sink(self, sink: str) -> str:
        """Return the name of a sink that this process configures, of an endpoint, or of one that has deliveries.

        Raises:
            NotFound: nothing of that name takes or took an event (``field="sink"``).

        """
        of = parse_opaque(sink, field="sink")

        def known(unit: Unit) -> bool:
            ours = {own.name for own in own_sinks(self._ports)}
            endpoints = {endpoint_sink(endpoint.endpoint_id) for endpoint in unit.endpoints()}
            return of in ours | endpoints or bool(unit.deliveries(sink=of, limit=1))

        if not self._read_only(known):
            raise NotFound(f"there is no sink {of}", field="sink")
        return of

    def redeliver(self, event_id: str, sink: str) -> Delivery:
        """Try a delivery once more, now; a dead one that fails again is dead again. Audited.

        Raises:
            NotFound: there is no such delivery.
            Conflict: it has not been tried yet: it goes out in its turn.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name, of = parse_opaque(event_id, field="event_id"), parse_opaque(sink, field="sink")

        def work(unit: Unit) -> Delivery:
            before = unit.delivery(name, of)
            if before is None:
                raise NotFound("there is no such delivery", field="event_id")
            if before.state == "waiting" and before.attempts == 0:
                raise Conflict("it has not been tried yet", field="event_id")
            after = replayed(before, self._ports.storage.now())
            facts = {"sink": of, "state": before.state, "attempts": before.attempts}
            self._save(unit, StoreDelivery(after), "delivery.redeliver", f"event:{name}", facts)
            return after

        return self._runner.write(work)
