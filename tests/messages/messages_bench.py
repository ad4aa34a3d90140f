"""An engine that only sends messages, sinks that remember, a publisher of events, receivers on loopback."""

from __future__ import annotations

import base64
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
from engine_shop import Counts
from pydantic import SecretStr

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.decisions import Publish
from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.messages import Delivery
from evmbilling.engine.context import Ports
from evmbilling.engine.core import Engine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.ids import SeededIds

ADMIN = Actor("root", frozenset({Role.BILLING_ADMIN}))
FINANCE = Actor("frida", frozenset({Role.FINANCE_OPS}))
NOBODY = Actor("nobody")


class Recorder:
    """A notifier that remembers what it was told, and does first what a test wants."""

    def __init__(self, before: Callable[[Event], Any] | None = None, **profile: Any) -> None:
        self.profile = SinkProfile(**profile)
        self.told: list[Event] = []
        self.before = before
        self._lock = threading.Lock()

    def notify(self, event: Event) -> Any:
        with self._lock:
            self.told.append(event)
        return self.before(event) if self.before else None

    @property
    def seqs(self) -> list[int]:
        return [event.seq for event in self.told]

    def by_aggregate(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for event in self.told:
            found[event.aggregate].append(event.seq)
        return found


class QuotaRecorder:
    """A quota backend that remembers changes of plan."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def check(self, user_id: str, limit: str, amount: int = 1) -> Any:
        raise AssertionError("not asked")

    def consume(self, user_id: str, limit: str, amount: int = 1) -> Any:
        raise AssertionError("not asked")

    def plan_changed(self, event: Event) -> None:
        self.told.append(event)


@attrs.frozen(kw_only=True)
class Bench:
    """An engine with nothing but messages."""

    engine: Engine
    ports: Ports
    clock: FrozenClock
    storage: Any
    telemetry: Counts
    _seqs: dict[str, int] = attrs.field(factory=lambda: defaultdict(int))

    def publish(
        self, n: int = 1, *, user: str = "u1", type_: EventType = EventType.PAYMENT_CONFIRMED, **data: Any
    ) -> list[Event]:
        """Put events about a user into the outbox."""
        made = []
        for _ in range(n):
            self._seqs[user] += 1
            made.append(
                Event(
                    event_id=self.ports.ids.new_id(),
                    type=type_,
                    aggregate=f"customer:{user}",
                    seq=self._seqs[user],
                    occurred_at=self.clock.now(),
                    recorded_at=self.clock.now(),
                    data={"user_id": user} | data,
                )
            )
        with self.storage.unit() as unit:
            unit.apply([Publish(event) for event in made])
        return made

    def deliveries(self, **query: Any) -> list[Delivery]:
        with self.storage.unit(write=False) as unit:
            return list(unit.deliveries(limit=1000, **query))

    def delivery(self, event: Event, sink: str) -> Delivery:
        with self.storage.unit(write=False) as unit:
            found = unit.delivery(event.event_id, sink)
        assert found is not None
        return found

    def states(self, sink: str) -> list[tuple[int, str, int]]:
        """Return (seq, state, attempts) of a sink's deliveries."""
        return sorted((d.seq, d.state, d.attempts) for d in self.deliveries(sink=sink))

    def audit(self) -> list[Any]:
        with self.storage.unit(write=False) as unit:
            return list(unit.audit(limit=1000))

    def networks(self, *, testnet: bool) -> None:
        self.engine.admin(ADMIN).create_network(
            name="n" + str(testnet).lower(),
            chain_id=31337 if testnet else 1,
            rpc_urls=["http://127.0.0.1:1"],
            testnet=testnet,
            credit_after="depth 3",
            irreversible_after="depth 20",
        )


def make_bench(storage: Any, clock: FrozenClock, *, seed: int = 1, **ports: Any) -> Bench:
    """Wire an engine with these sinks over ready storage."""
    counts = Counts()
    made = Ports(
        storage=storage,
        providers={},
        clock=clock,
        ids=SeededIds(seed, clock),
        secrets=SecretBox(SecretStr(base64.b64encode(b"k" * 32).decode()), random_bytes=random.Random(seed).randbytes),
        telemetry=counts,
        **ports,
    )
    return Bench(engine=Engine(made), ports=made, clock=clock, storage=storage, telemetry=counts)


@attrs.define
class Receiver:
    """A real HTTP server on loopback that answers as a test says and keeps what it got."""

    port: int
    answer: Callable[[int], tuple[int, dict[str, str]]]
    got: list[tuple[str, dict[str, str], bytes]] = attrs.field(factory=list)

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}/hook"


@contextmanager
def receiving(answer: Callable[[int], tuple[int, dict[str, str]]] | int = 204) -> Iterator[Receiver]:
    """Run a receiver; ``answer`` is a status, or a function of how many messages came before."""
    decide = answer if callable(answer) else (lambda _: (answer, {}))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers = decide(len(receiver.got) - 1)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port, decide)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(5)
