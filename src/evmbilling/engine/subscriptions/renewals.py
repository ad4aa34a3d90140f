"""The biller: finds what time has made due, one index lookup a network, and does it under the customer's lock.

Any number of billers share the work: each passes over the customers that another one holds. That nothing is asked for
twice does not depend on that: a period has one renewal, and an attempt one charge, by their natural keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.decisions import Decision, OpenOrder, StoreSubscription
from evmbilling.domain.journal import Journal
from evmbilling.domain.mandates.charges import Cover
from evmbilling.domain.selling.offering import CheckoutRequest
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.changeable import first_free
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.renewals import Renewed, Terms, renew
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.admin.bindings import with_call
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.parked import Parked, parked_logs
from evmbilling.engine.selling.deposit_orders import arriving_periods, opening, policy_of
from evmbilling.engine.subscriptions.membership_burns import burns_of_ended
from evmbilling.engine.subscriptions.paid_like import changed_request, paid_like
from evmbilling.engine.subscriptions.shelf import Offers, SubscriptionShelf
from evmbilling.engine.subscriptions.watermarks import read_watermarks
from evmbilling.engine.tracing import traced
from evmbilling.engine.watching.clock_check import clock_doubt
from evmbilling.errors import BillingError, RetryTransaction
from evmbilling.ports.storage import Unit

HELD = timedelta(minutes=1)
"""How long what has to wait for a chain or for a person waits, at least."""
REFUSED = timedelta(hours=1)
"""How long what cannot be written waits."""


@frozen(kw_only=True)
class RenewalReport:
    """What one call of the biller did.

    Attributes:
        looked: subscriptions that were looked at; call again while it is not 0.
        opened: orders that were made. charged: charges that were handed over. forgiven: periods that were given up.
        reminded: reminders. dunned: states of dunning that were entered. ended: subscriptions that ended.
        held: subscriptions that have to wait: for a chain that is not read far enough, or for a person.
        left: rows that somebody holds. halted: why nothing was done at all, such as ``clock_ahead``.

    """

    looked: int = 0
    opened: int = 0
    charged: int = 0
    forgiven: int = 0
    reminded: int = 0
    dunned: int = 0
    ended: int = 0
    held: int = 0
    left: int = 0
    halted: str | None = None

    @property
    def changed(self) -> int:
        """How much was done."""
        return self.opened + self.charged + self.forgiven + self.reminded + self.dunned + self.ended


def run_renewals(ports: Ports, runner: Runner, *, limit: int) -> RenewalReport:
    """Do what is due on every network; see :meth:`evmbilling.engine.core.Engine.run_renewals`."""
    doubt = clock_doubt(ports, runner)
    if doubt is not None:
        return RenewalReport(halted=doubt)
    total = RenewalReport()
    for cursor in runner.read(lambda unit: unit.cursors()):
        if cursor.halt is None:
            total = _sum(total, _renew_network(ports, runner, cursor.chain_id, limit))
    return total


def _renew_network(ports: Ports, runner: Runner, chain_id: int, limit: int) -> RenewalReport:
    try:
        return runner.write(partial(_run, ports, chain_id, limit, None))
    except RetryTransaction:
        return RenewalReport(left=1)
    except BillingError:
        # One of them cannot be written: find it by taking them one at a time.
        names = runner.write(lambda unit: list(_Batch(ports, chain_id, unit).claim(limit).subscriptions))
    total = RenewalReport()
    for name in names:
        total = _sum(total, _run_alone(ports, runner, chain_id, limit, name))
    return total


def _run_alone(ports: Ports, runner: Runner, chain_id: int, limit: int, name: str) -> RenewalReport:
    try:
        return runner.write(partial(_run, ports, chain_id, limit, name))
    except RetryTransaction:
        return RenewalReport(left=1)
    except BillingError as error:
        reason = error.code
    return runner.write(lambda unit: _Batch(ports, chain_id, unit, only=name).refuse(limit, reason))


def _run(ports: Ports, chain_id: int, limit: int, only: str | None, unit: Unit) -> RenewalReport:
    return _Batch(ports, chain_id, unit, only=only).run(limit)


class _Batch:
    """The subscriptions of a network that one unit has claimed."""

    def __init__(self, ports: Ports, chain_id: int, unit: Unit, *, only: str | None = None) -> None:
        self._ports = ports
        self._chain_id = chain_id
        self._unit = unit
        self._only = only
        self._now = ports.clock.now()
        self._marks = read_watermarks(unit)
        self._journals: dict[str, Journal] = {}
        self._decisions: list[Decision] = []

    def run(self, limit: int) -> RenewalReport:
        """Do what is due for up to ``limit`` of them."""
        shelf = self.claim(limit)
        if not shelf.subscriptions:
            return RenewalReport()
        with self._ports.telemetry.span("billing.renewals", chain_id=str(self._chain_id)):
            return self._renew_all(shelf)

    def _renew_all(self, shelf: SubscriptionShelf) -> RenewalReport:
        orders = [o for name in shelf.subscriptions for o in shelf.orders(name)]
        self._parked: Parked | None = parked_logs(self._unit, orders)
        self._offers = Offers(self._unit, self._ports.clock.now())
        mandates = self._ports.mandates
        covers = mandates.covers(self._unit, list(shelf.subscriptions.values())) if mandates is not None else {}
        total = RenewalReport()
        for subscription in shelf.subscriptions.values():
            total = _sum(total, self._renew(shelf, subscription, covers))
        for journal in self._journals.values():
            self._decisions += journal.decisions()
        traced(self._unit, self._ports.telemetry).apply(self._signed())
        return total

    def refuse(self, limit: int, reason: str) -> RenewalReport:
        """Look again later at what could not be written."""
        shelf = self.claim(limit)
        total = RenewalReport()
        for subscription in shelf.subscriptions.values():
            total = _sum(total, self._hold(subscription, reason, REFUSED))
        self._unit.apply(self._decisions)
        return total

    def claim(self, limit: int) -> SubscriptionShelf:
        """Lock what is due, as far as this network is known, and read it under the lock."""
        mark = self._marks.known.get(self._chain_id)
        before = self._now if mark is None else min(self._now, mark)
        claimed = self._unit.claim_due(self._chain_id, before, limit) if mark is not None else ()
        for customer, _ in claimed:
            self._journals[customer.user_id] = Journal(customer, self._now, self._ports.ids.new_id)
        shelf = SubscriptionShelf(self._unit, [name for _, name in claimed if self._only in (None, name)])
        # What was claimed may have been looked at by another biller just before it was locked.
        shelf.subscriptions = {
            name: held
            for name, held in shelf.subscriptions.items()
            if held.look_at is not None and held.look_at <= before
        }
        return shelf

    def _renew(
        self, shelf: SubscriptionShelf, subscription: Subscription, covers: Mapping[str, Cover]
    ) -> RenewalReport:
        orders = shelf.orders(subscription.subscription_id)
        as_of = self._marks.as_of(subscription, orders, self._now)
        if as_of is None or (subscription.look_at is not None and subscription.look_at > as_of):
            return self._hold(subscription, "not_read", HELD)
        if self._parked is None or any(self._parked.concerns(o) for o in orders):
            return self._hold(subscription, "evidence_parked", HELD)
        journal = self._journals[subscription.user_id]
        point = journal.point()
        try:
            renewed = self._decide(shelf, subscription, as_of, covers.get(subscription.subscription_id))
        except BillingError as error:
            journal.rewind(point)
            return self._hold(subscription, error.code, REFUSED)
        self._decisions += renewed.decisions
        self._decisions += self._burns(renewed, journal)
        if renewed.held is not None:
            self._ports.telemetry.count("renewals_held", reason=renewed.held)
        counts = attrs.asdict(renewed, filter=lambda a, _: a.name not in {"decisions", "held"})
        return RenewalReport(looked=1, held=int(renewed.held is not None), **counts)

    def _burns(self, renewed: Renewed, journal: Journal) -> Sequence[Decision]:
        """Return what follows for the token of a membership that has just ended."""
        over = [d.subscription for d in renewed.decisions if isinstance(d, StoreSubscription)] if renewed.ended else []
        return [b for held in over for b in burns_of_ended(self._ports, self._unit, held, journal, now=self._now)]

    def _decide(
        self, shelf: SubscriptionShelf, subscription: Subscription, as_of: datetime, cover: Cover | None
    ) -> Renewed:
        facts = shelf.facts(subscription)
        draft = SubscriptionDraft(
            facts,
            self._journals[subscription.user_id],
            now=self._now,
            as_of=as_of,
            new_id=self._ports.ids.new_id,
            tells_time=True,
        )
        draft.fold()
        return renew(draft, self._terms(draft, cover))

    def _terms(self, draft: SubscriptionDraft, cover: Cover | None) -> Terms:
        """Return on what terms it is renewed, and from the period on with which a change begins that waits."""
        request, book = paid_like(draft.facts), draft.book
        agreed = book.agreed(first_free(draft), draft.held.table)
        terms = self._sold(request, draft.facts.plans.get(agreed.key, draft.facts.plan), cover)
        if cover is not None:
            arriving = arriving_periods(self._unit, draft.all_orders, draft.receipts)
            terms = attrs.evolve(terms, arriving=arriving)
        waiting = book.waiting
        if waiting is None or waiting.period is None:
            return terms
        plan = draft.facts.plans[waiting.terms.after.key]
        return attrs.evolve(terms, changed=self._sold(changed_request(request, waiting.terms), plan, cover))

    def _sold(self, request: CheckoutRequest, plan: SubscriptionPlan, cover: Cover | None) -> Terms:
        offer, refusal = self._offers.like(request, plan)
        return Terms(
            request=request,
            offer=offer,
            refusal=refusal,
            cover=cover,
            extra=self._ports.extra_lines,
            instance_id=self._ports.storage.instance_id(),
        )

    def _hold(self, subscription: Subscription, reason: str, pause: timedelta) -> RenewalReport:
        self._ports.telemetry.count("renewals_held", reason=reason)
        later = attrs.evolve(subscription, look_at=self._now + pause, version=subscription.version + 1)
        self._decisions.append(StoreSubscription(later))
        return RenewalReport(looked=1, held=1)

    def _signed(self) -> list[Decision]:
        """Sign the orders that are to be paid through a contract; what is given up from the start needs none."""
        signed: list[Decision] = []
        for decision in self._decisions:
            if isinstance(decision, OpenOrder) and decision.order.closed_as is None:
                order = self._sign(decision.order)
                signed += opening(order, policy_of(self._unit, order), self._now)
            else:
                signed.append(decision)
        return signed

    def _sign(self, order: Order) -> Order:
        if order.rail == "call":
            return with_call(self._ports, self._unit, order)
        gateway = self._unit.gateway(order.gateway_slug) if order.rail == "checkout" else None
        if gateway is None:
            return order
        signer, signature = self._ports.provider(gateway.provider).sign(order, gateway)
        return attrs.evolve(order, signer=signer, signature=signature)


def _sum(one: RenewalReport, other: RenewalReport) -> RenewalReport:
    names = [a.name for a in attrs.fields(RenewalReport) if a.name != "halted"]
    return RenewalReport(**{name: getattr(one, name) + getattr(other, name) for name in names})
