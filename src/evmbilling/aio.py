"""The asynchronous face: the same engine, one typed line per method, in worker threads.

Joining an async host's transaction needs no face: inside ``await session.run_sync(...)`` the synchronous
``engine.within(session)`` is right there on the session's own connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from evmbilling.domain.actors import Actor
from evmbilling.engine.admin.contract_desk import ContractDesk
from evmbilling.engine.books.finance import Finance
from evmbilling.engine.books.overview import Overview
from evmbilling.engine.core import Engine
from evmbilling.engine.mandates.mandates import Mandates
from evmbilling.engine.messages.deliveries import Deliveries
from evmbilling.engine.messages.endpoints import Endpoints
from evmbilling.engine.operations import Operations
from evmbilling.engine.reading.halts import ReaderDesk
from evmbilling.engine.refunds.refunds import Refunds
from evmbilling.engine.selling.deposit_desk import DepositDesk
from evmbilling.engine.sending.sending import Sending
from evmbilling.engine.watching.watch import Watch

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_THREADS = 10


def _threaded(
    method: Callable[Concatenate[Engine, P], R],
) -> Callable[Concatenate[AsyncBillingEngine, P], Awaitable[R]]:
    """Turn a method of the engine into a coroutine method of the face."""

    @wraps(method)
    async def call(self: AsyncBillingEngine, /, *args: P.args, **kwargs: P.kwargs) -> R:
        work = partial(method, self.engine, *args, **kwargs)
        return await anyio.to_thread.run_sync(work, limiter=self.limiter)

    return call


class AsyncBillingEngine:
    """An engine whose calls do not block the event loop.

    Args:
        engine: the synchronous engine; it stays usable.
        threads: calls at once; as large as the engine's connection pool.

    """

    def __init__(self, engine: Engine, *, threads: int = DEFAULT_THREADS) -> None:
        self.engine = engine
        self._threads = threads
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def limiter(self) -> anyio.CapacityLimiter:
        """The limiter of this engine's calls, made inside the event loop that uses it first."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        return self._limiter

    checkout = _threaded(Engine.checkout)
    quote = _threaded(Engine.quote)
    requote = _threaded(Engine.requote)
    order = _threaded(Engine.order)
    orders = _threaded(Engine.orders)
    receipts = _threaded(Engine.receipts)
    subscriptions = _threaded(Engine.subscriptions)
    plans = _threaded(Engine.plans)
    access = _threaded(Engine.access)
    subscription = _threaded(Engine.subscription)
    cancel_subscription = _threaded(Engine.cancel_subscription)
    undo_cancel = _threaded(Engine.undo_cancel)
    change_zone = _threaded(Engine.change_zone)
    preview_change = _threaded(Engine.preview_change)
    change_subscription = _threaded(Engine.change_subscription)
    withdraw_change = _threaded(Engine.withdraw_change)
    pause_subscription = _threaded(Engine.pause_subscription)
    resume_subscription = _threaded(Engine.resume_subscription)
    issue_pay_link = _threaded(Engine.issue_pay_link)
    pay_link = _threaded(Engine.pay_link)
    report_charge = _threaded(Engine.report_charge)
    pay_instructions = _threaded(Engine.pay_instructions)
    progress = _threaded(Engine.progress)
    pay_permit = _threaded(Engine.pay_permit)
    pay_with_permit = _threaded(Engine.pay_with_permit)
    read_chain = _threaded(Engine.read_chain)
    rescan = _threaded(Engine.rescan)
    run_intake = _threaded(Engine.run_intake)
    expire_orders = _threaded(Engine.expire_orders)
    now = _threaded(Engine.now)
    networks_health = _threaded(Engine.networks_health)
    run_renewals = _threaded(Engine.run_renewals)
    run_charges = _threaded(Engine.run_charges)
    release_revenue = _threaded(Engine.release_revenue)
    seal = _threaded(Engine.seal)
    verify = _threaded(Engine.verify)
    dispatch = _threaded(Engine.dispatch)
    fold = _threaded(Engine.fold)
    rebuild_figures = _threaded(Engine.rebuild_figures)
    number_receipts = _threaded(Engine.number_receipts)
    receipt_documents = _threaded(Engine.receipt_documents)
    receipt_document = _threaded(Engine.receipt_document)
    relay = _threaded(Engine.relay)
    look_at_deposits = _threaded(Engine.look_at_deposits)
    check_contracts = _threaded(Engine.check_contracts)
    check_tokens = _threaded(Engine.check_tokens)
    handle_webhook = _threaded(Engine.handle_webhook)
    read_hints = _threaded(Engine.read_hints)
    check_quota = _threaded(Engine.check_quota)
    consume_quota = _threaded(Engine.consume_quota)
    profile = _threaded(Engine.profile)
    wallet_challenge = _threaded(Engine.wallet_challenge)
    confirm_wallet = _threaded(Engine.confirm_wallet)
    refund_challenge = _threaded(Engine.refund_challenge)
    confirm_refund_address = _threaded(Engine.confirm_refund_address)
    use_refund_wallet = _threaded(Engine.use_refund_wallet)
    erase = _threaded(Engine.erase)
    prune = _threaded(Engine.prune)
    close = _threaded(Engine.close)

    async def admin(self, actor: Actor, work: Callable[[Any], R]) -> R:
        """Run administrative work in a thread: ``await billing.admin(actor, lambda admin: admin.plans())``."""
        return await anyio.to_thread.run_sync(lambda: work(Operations.admin(self.engine, actor)), limiter=self.limiter)

    async def finance(self, actor: Actor, work: Callable[[Finance], R]) -> R:
        """Decide about money that does not fit, in a thread: ``await billing.finance(actor, lambda f: f.queue())``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.finance(actor)), limiter=self.limiter)

    async def refunds(self, actor: Actor, work: Callable[[Refunds], R]) -> R:
        """Give money back, in a thread: ``await billing.refunds(actor, lambda face: face.prepare(refund_id))``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.refunds(actor)), limiter=self.limiter)

    async def sending(self, actor: Actor, work: Callable[[Sending], R]) -> R:
        """Look after transactions of our own, in a thread."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.sending(actor)), limiter=self.limiter)

    async def deposits(self, actor: Actor, work: Callable[[DepositDesk], R]) -> R:
        """Look after deposit addresses in a thread: ``await billing.deposits(actor, lambda desk: desk.sweep(…))``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.deposits(actor)), limiter=self.limiter)

    async def endpoints(self, actor: Actor, work: Callable[[Endpoints], R]) -> R:
        """Run work on webhook endpoints in a thread: ``await billing.endpoints(actor, lambda face: face.list())``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.endpoints(actor)), limiter=self.limiter)

    async def mandates(self, work: Callable[[Mandates], R]) -> R:
        """Run work on mandates in a thread: ``await billing.mandates(lambda face: face.list("user-1"))``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.mandates), limiter=self.limiter)

    async def watch(self, work: Callable[[Watch], R]) -> R:
        """Look at figures and signs of life in a thread: ``await billing.watch(lambda face: face.figures())``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.watch), limiter=self.limiter)

    async def deliveries(self, actor: Actor, work: Callable[[Deliveries], R]) -> R:
        """Run work on deliveries in a thread."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.deliveries(actor)), limiter=self.limiter)

    async def contracts(self, actor: Actor, work: Callable[[ContractDesk], R]) -> R:
        """Run work on bound contracts in a thread: ``await billing.contracts(actor, lambda desk: desk.pin(…))``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.contracts(actor)), limiter=self.limiter)

    async def overview(self, actor: Actor, work: Callable[[Overview], R]) -> R:
        """Look at figures in a thread: ``await billing.overview(actor, lambda face: face.summary())``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.overview(actor)), limiter=self.limiter)

    async def reader(self, actor: Actor, work: Callable[[ReaderDesk], R]) -> R:
        """Run work on the readers in a thread: ``await billing.reader(actor, lambda desk: desk.status())``."""
        return await anyio.to_thread.run_sync(lambda: work(self.engine.reader(actor)), limiter=self.limiter)
