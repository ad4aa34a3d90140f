"""Webhook endpoints, for people: where events go by Standard Webhooks. Secrets are shown once and stored sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
from attrs import field, frozen

from evmbilling.domain.actors import Role
from evmbilling.domain.decisions import OpenDeliveries, Publish, SaveEndpoint
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.delivery import SinkProfile, first_delivery
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.messages import Delivery, WebhookEndpoint
from evmbilling.domain.messages.standard_webhooks import make_secret, secret_key
from evmbilling.domain.messages.targets import parse_target, split_target
from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.admin.readers import flag, text
from evmbilling.engine.messages.deliveries import Deliveries
from evmbilling.engine.messages.sinks import endpoint_sink, excepted_targets
from evmbilling.engine.requests import parse_words
from evmbilling.errors import Conflict, NotFound
from evmbilling.ports.storage import Unit

MOST_SECRETS = 2
"""The new secret and the one before: both sign while a rotation lasts."""


@frozen(kw_only=True)
class NewSecret:
    """An endpoint with a secret that is shown this once.

    Attributes:
        secret: ``whsec_…``, for the receiver.

    """

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


class Endpoints(AdminBase):
    """Webhook endpoints, for one actor.

    Reading needs ``finance_ops`` or ``billing_admin``, everything else ``billing_admin`` (PermissionDenied otherwise);
    every change is audited with the host and a fingerprint, never with a path or a secret.
    """

    def create(
        self, *, url: str, events: Sequence[str] = (), ordered: bool = False, secret: str | None = None
    ) -> NewSecret:
        """Add an endpoint. It gets what happens from now on.

        Args:
            url: https on a public host; on test networks also an exact ``host:port`` that the settings except.
            events: types that are sent; all when left out.
            ordered: a failed delivery holds back the next ones about the same customer.
            secret: the receiver's own, ``whsec_`` and base64 of 24 to 64 bytes; a fresh one when left out.

        Raises:
            InputError: a url that may not be called, or an unknown event.

        """
        self._actor.require(Role.BILLING_ADMIN)
        types, in_order = _event_types(events), flag("ordered")(ordered)
        made, ref = self._new_secret(secret)

        def work(unit: Unit) -> WebhookEndpoint:
            parse_target(url, excepted=excepted_targets(self._ports, unit))
            endpoint = WebhookEndpoint(
                endpoint_id=self._ports.ids.new_id(),
                url=url,
                secrets=(ref,),
                events=types,
                ordered=in_order,
                created_at=self._ports.clock.now(),
            )
            self._keep(unit, endpoint, "endpoint.create", self._facts(endpoint))
            return endpoint

        return NewSecret(endpoint=self._runner.write(work), secret=made)

    def list(self) -> Sequence[WebhookEndpoint]:
        """Return all endpoints by id, disabled ones too."""
        return self._read_only(lambda unit: unit.endpoints())

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Return an endpoint.

        Raises:
            NotFound: there is none with this id.

        """
        name = parse_opaque(endpoint_id, field="endpoint_id")
        return self._read_only(lambda unit: _found(unit, name))

    def rotate(self, endpoint_id: str, *, secret: str | None = None) -> NewSecret:
        """Add a secret in front; the newest one before signs along until :meth:`retire`, older ones go.

        Raises:
            NotFound: there is no such endpoint.
            InputError: the given secret cannot be used.

        """
        self._actor.require(Role.BILLING_ADMIN)
        parse_opaque(endpoint_id, field="endpoint_id")
        made, ref = self._new_secret(secret)

        def change(before: WebhookEndpoint, _: Unit) -> WebhookEndpoint:
            return attrs.evolve(before, secrets=(ref, *before.secrets)[:MOST_SECRETS])

        return NewSecret(endpoint=self._change(endpoint_id, "endpoint.rotate", change), secret=made)

    def retire(self, endpoint_id: str) -> WebhookEndpoint:
        """End a rotation: only the newest secret signs from now on.

        Raises:
            NotFound: there is no such endpoint.

        """
        return self._change(endpoint_id, "endpoint.retire", lambda e, _: attrs.evolve(e, secrets=e.secrets[:1]))

    def update(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        ordered: bool | None = None,
    ) -> WebhookEndpoint:
        """Change where and what is sent; waiting deliveries go to the new url.

        Raises:
            NotFound: there is no such endpoint.
            InputError: as ``create``.

        """
        if url is not None:
            split_target(url)
        types = None if events is None else _event_types(events)
        in_order = None if ordered is None else flag("ordered")(ordered)

        def change(before: WebhookEndpoint, unit: Unit) -> WebhookEndpoint:
            if url is not None:
                parse_target(url, excepted=excepted_targets(self._ports, unit))
            return attrs.evolve(
                before,
                url=before.url if url is None else url,
                events=before.events if types is None else types,
                ordered=before.ordered if in_order is None else in_order,
            )

        return self._change(endpoint_id, "endpoint.update", change)

    def disable(self, endpoint_id: str, *, reason: str = "by an administrator") -> WebhookEndpoint:
        """Send nothing more; what waits is kept, what happens meanwhile is not sent later.

        Raises:
            NotFound: there is no such endpoint.

        """
        now = self._ports.clock.now()
        why: str = text("reason")(reason)

        def change(before: WebhookEndpoint, _: Unit) -> WebhookEndpoint:
            return attrs.evolve(before, disabled_at=before.disabled_at or now, disabled_reason=why)

        return self._change(endpoint_id, "endpoint.disable", change)

    def enable(self, endpoint_id: str) -> WebhookEndpoint:
        """Send again, first what waits.

        Raises:
            NotFound: there is no such endpoint.

        """
        return self._change(
            endpoint_id, "endpoint.enable", lambda e, _: attrs.evolve(e, disabled_at=None, disabled_reason=None)
        )

    def test(self, endpoint_id: str) -> str:
        """Send a ``billing.endpoint.tested.v1`` to this endpoint alone with the next dispatch; return its event id.

        Raises:
            NotFound: there is no such endpoint.
            Conflict: it is disabled.

        """
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_opaque(endpoint_id, field="endpoint_id")

        def work(unit: Unit) -> str:
            before = _found(unit, name)
            if before.disabled_at is not None:
                raise Conflict("the endpoint is disabled", field="endpoint_id")
            after = attrs.evolve(before, version=before.version + 1)
            now = self._ports.clock.now()
            event = _test_event(after, self._ports.ids.new_id(), now)
            delivery = first_delivery(event, endpoint_sink(name), SinkProfile(), self._ports.storage.now())
            unit.apply([Publish(event), OpenDeliveries(event.event_id, (delivery,))])
            self._keep(unit, after, "endpoint.test", {"event_id": event.event_id})
            return event.event_id

        return self._runner.write(work)

    def deliveries(
        self, endpoint_id: str, *, state: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Delivery]:
        """Return a page of an endpoint's deliveries by event id.

        Raises:
            InputError: as :meth:`evmbilling.engine.messages.deliveries.Deliveries.list`.

        """
        name = parse_opaque(endpoint_id, field="endpoint_id")
        return self._all_deliveries().list(sink=endpoint_sink(name), state=state, after=after, limit=limit)

    def redeliver(self, endpoint_id: str, event_id: str) -> Delivery:
        """Try one of its deliveries once more, now.

        Raises:
            NotFound: there is no such delivery.
            Conflict: it has not been tried yet.

        """
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_opaque(endpoint_id, field="endpoint_id")
        return self._all_deliveries().redeliver(event_id, endpoint_sink(name))

    def _all_deliveries(self) -> Deliveries:
        return Deliveries(self._ports, self._runner, self._actor)

    def _new_secret(self, given: str | None) -> tuple[str, SecretRef]:
        made = make_secret([self._ports.ids.token(), self._ports.ids.token()]) if given is None else given
        secret_key(made)
        return made, self._ports.secrets.seal(made)

    def _change(self, endpoint_id: str, action: str, change: Any) -> WebhookEndpoint:
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_opaque(endpoint_id, field="endpoint_id")

        def work(unit: Unit) -> WebhookEndpoint:
            before = _found(unit, name)
            after: WebhookEndpoint = attrs.evolve(change(before, unit), version=before.version + 1)
            old, new = self._facts(before), self._facts(after)
            self._keep(unit, after, action, {name: [old[name], new[name]] for name in new if old[name] != new[name]})
            return after

        return self._runner.write(work)

    def _keep(self, unit: Unit, endpoint: WebhookEndpoint, action: str, facts: dict[str, Any]) -> None:
        self._save(unit, SaveEndpoint(endpoint), action, f"endpoint:{endpoint.endpoint_id}", facts)

    def _facts(self, endpoint: WebhookEndpoint) -> dict[str, Any]:
        """Return what the audit log says; of the url the host and a fingerprint."""
        return {
            "host": split_target(endpoint.url).authority,
            "url": self._mark(SecretRef("file", endpoint.url)),
            "secrets": [self._mark(ref) for ref in endpoint.secrets],
            "events": list(endpoint.events),
            "ordered": endpoint.ordered,
            "disabled": endpoint.disabled_reason if endpoint.disabled_at else None,
        }


def _found(unit: Unit, endpoint_id: str) -> WebhookEndpoint:
    endpoint = unit.endpoint(endpoint_id)
    if endpoint is None:
        raise NotFound("there is no such endpoint", field="endpoint_id")
    return endpoint


def _event_types(events: Sequence[str]) -> tuple[str, ...]:
    return parse_words(events, EventType, field="events")


def _test_event(endpoint: WebhookEndpoint, event_id: str, now: datetime) -> Event:
    """Return a test event; an endpoint's version only grows, so it numbers them."""
    return Event(
        event_id=event_id,
        type=EventType.ENDPOINT_TESTED,
        aggregate=f"endpoint:{endpoint.endpoint_id}",
        seq=endpoint.version,
        occurred_at=now,
        recorded_at=now,
        data={"endpoint_id": endpoint.endpoint_id},
    )
