"""What the engine is made of: its ports, and how a piece of work becomes a transaction."""

from __future__ import annotations

import secrets as randomness
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from attrs import field, frozen

from evmbilling.domain.books.receipt_documents import Papers
from evmbilling.domain.selling.offering import ExtraLines
from evmbilling.domain.subscriptions.dunning import NO_DUNNING, DunningPolicy
from evmbilling.domain.subscriptions.trials import TrialRule
from evmbilling.engine.processes import Claims, ProcessName
from evmbilling.engine.sampling import Sampler
from evmbilling.engine.tracing import Reads, traced
from evmbilling.errors import ConfigurationError, HostTransactionError, RequestInProgress, RetryTransaction
from evmbilling.ports.charges import Mandates
from evmbilling.ports.clock import Clock, Ids
from evmbilling.ports.crash import crash_point
from evmbilling.ports.lanes import InlineLanes, Lanes
from evmbilling.ports.network_guard import no_network
from evmbilling.ports.notifier import Notifier
from evmbilling.ports.outgoing import WebhookSender
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.ports.secrets import Secrets
from evmbilling.ports.storage import JoinedStorage, Storage, Unit
from evmbilling.ports.telemetry import Telemetry

T = TypeVar("T")
Work = Callable[[Unit], T]

Screen = Callable[[str, bytes], str]
"""A host's callable: (paying address, transaction hash) -> ``ok`` or ``hold``.

It is asked once for each movement that is seen first, outside every transaction, and may use the network.
"""

CLOCK_TOLERANCE = timedelta(hours=1)
"""Ordinary skew is minutes, and only delays what is due."""
MOST_OPEN_ORDERS = 10_000
"""The highest limit of unpaid orders for a customer: each is a row that a checkout reads."""
_ATTEMPTS = 5
_FIRST_PAUSE_MS = 20
_WAITED = frozenset({"lock timeout", "database is locked", "pool timeout", "statement timeout"})
"""Reasons of a storage that has waited as long as it was told to: nobody waits as long again."""


@frozen(kw_only=True)
class Ports:
    """Everything the engine reaches the outside through.

    Attributes:
        providers: by the name that gateways select.
        extra_lines: the host's callable for tax and discount lines.
        allow_trial: the host's callable that says who gets a plan's trial.
        screen: the host's callable that may hold money before it counts.
        worker: names this process in leases; ``claims`` tells its threads apart. A fork has a name of its own.
        reads: what this process read while it was traced.
        notifiers, quotas: who is told of events, by the name of the sink.
        webhooks: sends to the endpoints of the database; without it their deliveries wait for a process that has it.
        webhook_exceptions: exact ``host:port`` that webhooks may reach though private; test networks only.
        lanes: keeps the time limits of deliveries; the caller's own thread, without limits, when left out.
        seal_key: makes the chain of seals; without it sealing is off. ``former_seal_keys`` made it before.
        mandates: knows which subscriptions can be charged; without it everybody is asked to pay.
        dunning: of plans that say nothing about debt themselves.
        clock_tolerance: how far this machine's clock may be from the database's before nothing falls due any more;
            None where the clock is simulated and the database's is not.
        relay_keys: secrets of relays that serve every contract, the newest first.
        papers: what stands on receipts.
        sampler: keeps what strangers can cause from filling the log.
        seen_chains: chains whose networks this process has seen; a network never goes.
        open_orders: unpaid orders of checkouts that a customer may have at a time; None for any number.

    """

    storage: Storage
    providers: Mapping[str, Provider]
    clock: Clock
    ids: Ids
    secrets: Secrets
    telemetry: Telemetry
    extra_lines: ExtraLines | None = None
    relay_keys: tuple[bytes, ...] = field(default=(), repr=False)
    allow_trial: TrialRule | None = None
    screen: Screen | None = None
    _worker: str | ProcessName = field(factory=ProcessName, alias="worker")
    claims: Claims = field(factory=Claims, repr=False)
    reads: Reads = field(factory=Reads, repr=False)
    notifiers: Mapping[str, Notifier] = field(factory=dict)
    quotas: Mapping[str, QuotaBackend] = field(factory=dict)
    webhooks: WebhookSender | None = None
    webhook_exceptions: tuple[str, ...] = ()
    lanes: Lanes = field(factory=InlineLanes)
    seal_key: bytes | None = field(default=None, repr=False)
    former_seal_keys: tuple[bytes, ...] = field(default=(), repr=False)
    mandates: Mandates | None = None
    dunning: DunningPolicy = NO_DUNNING
    clock_tolerance: timedelta | None = CLOCK_TOLERANCE
    papers: Papers = field(factory=Papers)
    sampler: Sampler = field(factory=Sampler, repr=False)
    seen_chains: set[int] = field(factory=set, repr=False)
    open_orders: int | None = None

    @property
    def worker(self) -> str:
        """The name of this process in leases."""
        return str(self._worker)

    def provider(self, name: str) -> Provider:
        """Return a provider by name.

        Raises:
            ConfigurationError: a gateway names a provider that this engine does not have.

        """
        try:
            return self.providers[name]
        except KeyError:
            raise ConfigurationError(f"no payment provider named {name} is configured", field="provider") from None


class Runner(Protocol):
    """Runs work in a transaction. No network call may happen inside."""

    def read(self, work: Work[T]) -> T:
        """Run work that writes nothing."""
        ...

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run work that writes, all or nothing.

        Args:
            durable: False where a loss of power may take back what can be read again; see :meth:`Storage.unit`.

        """
        ...

    def claim(self, work: Work[T]) -> T:
        """Run work that writes and that equal calls wait for each other to finish."""
        ...


class OwnTransactions:
    """Runs work on connections of our own; runs it again, whole, when the database asks for that."""

    def __init__(self, storage: Storage, telemetry: Telemetry) -> None:
        self._storage = storage
        self._telemetry = telemetry

    def read(self, work: Work[T]) -> T:
        """Run work in a transaction that writes nothing."""
        return self._attempt(work, write=False)

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run work in a transaction and commit it."""
        return self._attempt(work, write=True, durable=durable)

    def claim(self, work: Work[T]) -> T:
        """Run work in a transaction; when another call of this customer is not done in time, say so.

        Raises:
            RequestInProgress: another caller still holds the customer's row.
            RetryTransaction: the database is busy with something else.

        """
        try:
            return self._attempt(work, write=True)
        except RetryTransaction as error:
            if error.details.get("held") != "customers":
                raise
            raise RequestInProgress("another call for this customer has not finished in time") from error

    def _attempt(self, work: Work[T], *, write: bool, durable: bool = True) -> T:
        """Run work until the database takes it; who has waited in vain is told so."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._once(work, write=write, durable=durable)
            except RetryTransaction as error:
                if error.details.get("reason") in _WAITED:
                    raise
                pause = _FIRST_PAUSE_MS * 2**attempt
                time.sleep((pause + randomness.randbelow(pause)) / 1000)
        return self._once(work, write=write, durable=durable)

    def _once(self, work: Work[T], *, write: bool, durable: bool) -> T:
        with no_network(), self._storage.unit(write=write, durable=durable) as unit:
            done = work(traced(unit, self._telemetry) if write else unit)
            if write:
                crash_point("transaction.before_commit")
        if write:
            crash_point("transaction.after_commit")
        return done


class JoinedTransaction:
    """Runs work in savepoints of the host's transaction; never commits, never runs anything twice.

    A connection belongs to one thread at a time, so the one that joined is the only one that may call.
    """

    def __init__(self, joined: JoinedStorage, telemetry: Telemetry) -> None:
        self._joined = joined
        self._telemetry = telemetry
        self._left = False
        self._thread = threading.get_ident()

    def leave(self) -> None:
        """Take no more work: the host's block is over."""
        self._left = True

    def read(self, work: Work[T]) -> T:
        """Run work in a savepoint."""
        return self.write(work)

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run work in a savepoint; the host's commit is as durable as the host has it.

        Raises:
            HostTransactionError: called from another thread than the one that joined.

        """
        del durable
        if threading.get_ident() != self._thread:
            raise HostTransactionError("this transaction was joined in another thread")
        if self._left:
            raise HostTransactionError("this billing was used after its `within` block", field="host")
        with no_network(), self._joined.unit() as unit:
            return work(traced(unit, self._telemetry))

    def claim(self, work: Work[T]) -> T:
        """Run work in a savepoint; the host runs its whole transaction again on RetryTransaction."""
        return self.write(work)


class Hosts:
    """Which of the host's connections and sessions are joined at the moment, and in which thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[int, list[int]] = {}

    @contextmanager
    def entered(self, host: object) -> Iterator[None]:
        """Note a host as joined here; the same thread may join it again inside.

        Raises:
            HostTransactionError: another thread has it joined: neither connections nor sessions are made for that.

        """
        me = threading.get_ident()
        with self._lock:
            inside = self._threads.setdefault(id(host), [])
            if any(thread != me for thread in inside):
                raise HostTransactionError("this connection or session is in use by another thread")
            inside.append(me)
        try:
            yield
        finally:
            with self._lock:
                inside.remove(me)
                if not inside:
                    self._threads.pop(id(host), None)
