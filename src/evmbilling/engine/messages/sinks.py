"""Where events go: the engine's notifiers and quota backends, and the webhook endpoints of the database."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Final, Protocol

import attrs
from attrs import field, frozen

from evmbilling.domain.messages.delivery import Attempt, SinkProfile
from evmbilling.domain.messages.envelope import body_bytes, envelope
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.messages import WebhookEndpoint
from evmbilling.engine.context import Ports
from evmbilling.errors import BillingError
from evmbilling.ports.notifier import PermanentFailure, profile_of
from evmbilling.ports.outgoing import WebhookAnswer, WebhookCall
from evmbilling.ports.storage import Unit

MOST_BYTES: Final = 256 * 1024
"""The largest body that is sent."""
GONE: Final = 410
_THROTTLED: Final = (429, 502, 503, 504)
_SUCCESS: Final = range(200, 300)
_QUOTA_EVENTS = frozenset({str(EventType.PLAN_CHANGED)})


class Sink(Protocol):
    """One receiver with a lane of its own."""

    @property
    def name(self) -> str:
        """As deliveries name it."""
        ...

    @property
    def profile(self) -> SinkProfile:
        """How it wants its deliveries."""
        ...

    def deliver(self, event: Event) -> Attempt:
        """Deliver one event; an Exception of the receiver is an outcome, any other BaseException is not caught."""
        ...


@frozen
class ObjectSink:
    """A notifier or a quota backend of this process."""

    name: str
    profile: SinkProfile
    _tell: Callable[[Event], object]

    def deliver(self, event: Event) -> Attempt:
        """Call it with an event of its own, whose ``data`` it may change without harm."""
        try:
            answer = self._tell(attrs.evolve(event, data=deepcopy(event.data)))
        except PermanentFailure as error:
            return Attempt(outcome="impossible", error=_short(str(error) or "PermanentFailure"))
        except Exception as error:  # noqa: BLE001  - whatever a plugin raises is a failed delivery
            return Attempt(outcome="failed", error=error_word(error))
        if inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            if inspect.iscoroutine(answer) or inspect.isgenerator(answer):
                answer.close()
            return Attempt(outcome="failed", error=f"returned a {type(answer).__name__}, which runs nothing")
        # Any other value says that the call came to its end; telling again for it would only annoy.
        return Attempt(outcome="done")


@frozen
class EndpointSink:
    """A webhook endpoint."""

    endpoint: WebhookEndpoint
    _ports: Ports = field(repr=False)
    _excepted: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """``webhook:<endpoint id>``."""
        return endpoint_sink(self.endpoint.endpoint_id)

    @property
    def profile(self) -> SinkProfile:
        """As the endpoint is configured."""
        return SinkProfile(events=frozenset(self.endpoint.events), ordered=self.endpoint.ordered)

    def deliver(self, event: Event) -> Attempt:
        """Sign with every live secret and send."""
        body = body_bytes(envelope(event, self._ports.storage.instance_id()))
        if len(body) > MOST_BYTES:
            return Attempt(outcome="impossible", error="the event is too large")
        sender = self._ports.webhooks
        if sender is None:
            return Attempt(outcome="failed", error="this engine sends no webhooks")
        try:
            answer = sender.send(
                WebhookCall(
                    url=self.endpoint.url,
                    secrets=tuple(self._ports.secrets.reveal(ref) for ref in self.endpoint.secrets),
                    message_id=event.event_id,
                    timestamp=int(self._ports.clock.now().timestamp()),
                    body=body,
                    excepted=self._excepted,
                )
            )
        except Exception as error:  # noqa: BLE001  - a sender is a plugin too
            return Attempt(outcome="failed", error=error_word(error))
        return judged(answer)


def judged(answer: object) -> Attempt:
    """Return what an endpoint's answer means: 2xx is success, 410 the end, anything else a failure (3xx too)."""
    if not isinstance(answer, WebhookAnswer):
        return Attempt(outcome="failed", error="the sender gave no answer")
    if answer.status is None:
        return Attempt(outcome="failed", error=_short(answer.error or "no answer"))
    if answer.status in _SUCCESS and answer.error is None:
        return Attempt(outcome="done", status_code=answer.status)
    error = _short(answer.error or f"HTTP {answer.status}")
    if answer.status == GONE:
        return Attempt(outcome="gone", status_code=answer.status, error=error)
    wait = answer.retry_after if answer.status in _THROTTLED else None
    return Attempt(outcome="failed", status_code=answer.status, error=error, retry_after=wait)


def throttles(attempt: Attempt) -> bool:
    """Whether a receiver asked for less: the rest of its lane waits, too."""
    return attempt.status_code in _THROTTLED


def endpoint_sink(endpoint_id: str) -> str:
    """Return how deliveries name an endpoint."""
    return f"webhook:{endpoint_id}"


def own_sinks(ports: Ports) -> list[Sink]:
    """Return the sinks that this process configures."""
    sinks: list[Sink] = [
        ObjectSink(f"notifier:{name}", profile_of(notifier), notifier.notify)
        for name, notifier in ports.notifiers.items()
    ]
    for name, backend in ports.quotas.items():
        profile = attrs.evolve(profile_of(backend), events=_QUOTA_EVENTS)
        sinks.append(ObjectSink(f"quota:{name}", profile, backend.plan_changed))
    return sinks


def endpoint_sinks(ports: Ports, unit: Unit) -> Iterator[EndpointSink]:
    """Yield the enabled webhook endpoints."""
    excepted = excepted_targets(ports, unit)
    for endpoint in unit.endpoints():
        if endpoint.disabled_at is None:
            yield EndpointSink(endpoint, ports, excepted)


def excepted_targets(ports: Ports, unit: Unit) -> frozenset[str]:
    """Return the exact ``host:port`` that may be private: none as soon as one network is not a test network."""
    if not ports.webhook_exceptions or not all(network.testnet for network in unit.networks()):
        return frozenset()
    return frozenset(ports.webhook_exceptions)


def takers(sinks: Sequence[Sink], event: Event) -> Iterator[Sink]:
    """Yield the sinks that take an event."""
    for sink in sinks:
        if sink.profile.takes(event.type):
            yield sink


def error_word(error: BaseException) -> str:
    """Return what is kept of an error: its code or class. Its text may quote a secret or an address."""
    return error.code if isinstance(error, BillingError) else type(error).__name__


def _short(text: str) -> str:
    return "".join(c if " " <= c <= "~" else " " for c in text)[:200]
