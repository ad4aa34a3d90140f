"""The working copy of one subscription while time or a person changes it, and the decisions that grow out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs

from evmbilling.domain.books.bookkeeping import BookFacts, book_changes
from evmbilling.domain.books.ledger import Balance
from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.catalogue.plan_terms import Adoption, TermsChange
from evmbilling.domain.decisions import (
    Decision,
    OpenOrder,
    RecordAudit,
    RecordChange,
    StoreEntitlement,
    StoreOrder,
    StoreReceipt,
    StoreSubscription,
)
from evmbilling.domain.journal import Journal, order_facts, plan_change
from evmbilling.domain.messages.events import AuditEntry, EventType, PlanChangeCause
from evmbilling.domain.payments.allocation import SUBSCRIPTION_ENDED, left_behind
from evmbilling.domain.payments.paying import Paid, payers, paying_moments
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import (
    IN_FLIGHT_ORDERS,
    OPEN_ORDERS,
    OVER_SUBSCRIPTIONS,
    PAID_ORDERS,
    OrderStatus,
    ReceiptStatus,
)
from evmbilling.domain.subscriptions.access import entitle_subscription
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.looking import is_in_flight
from evmbilling.domain.subscriptions.standing import Standing, order_standing, standing
from evmbilling.domain.subscriptions.subscriptions import ChangeKind, SubscriptionChange
from evmbilling.domain.subscriptions.telling import tell_move, tell_terms, tell_unmatched
from evmbilling.domain.subscriptions.terms import REPLACING, TermsBook, outdated, terms_book

_FORGIVEN = "forgiven"


class SubscriptionDraft:
    """What is to become of a subscription.

    Args:
        facts: as stored.
        journal: of its customer; the caller takes its decisions at the end.
        now: the clock.
        as_of: as far as payments are known.
        new_id: gives ids.
        tells_time: whether it is said that time alone has closed access; the biller says so.

    """

    def __init__(
        self,
        facts: SubscriptionFacts,
        journal: Journal,
        *,
        now: datetime,
        as_of: datetime,
        new_id: Callable[[], str],
        tells_time: bool = False,
    ) -> None:
        self.facts = facts
        self.journal = journal
        self.now, self.as_of = now, as_of
        self.new_id = new_id
        self._tells_time = tells_time
        self.before = self.held = facts.subscription
        self.orders = {o.ledger_id: o for o in facts.orders}
        self.receipts = list(facts.receipts)
        self.changes = list(facts.changes)
        self.balances: Sequence[Balance] = ()
        self.paid = paying_moments(list(facts.orders), self.receipts)
        self._stored = dict(self.orders)
        self._further: list[Decision] = []
        self._reason: str | None = None
        self._again = False
        self._folded: Standing | None = None

    @property
    def plan(self) -> SubscriptionPlan:
        """The plan version that holds."""
        return self.facts.plans.get(self.held.terms.key, self.facts.plan)

    def learn(self, plan: SubscriptionPlan) -> None:
        """Take a plan version that its terms may come to be of."""
        self.facts = attrs.evolve(self.facts, plans={**self.facts.plans, (plan.slug, plan.version): plan})

    @property
    def policy(self) -> DunningPolicy:
        """What happens with its debt."""
        return self.plan.dunning

    @property
    def payers(self) -> dict[int, Paid]:
        """Which order paid each period, and when."""
        return payers(self.all_orders, self.receipts)

    @property
    def book(self) -> TermsBook:
        """All changes of its terms."""
        if all(change.terms is None for change in self.changes):
            return TermsBook(base=self.facts.subscription.terms)
        orders = self.all_orders
        return terms_book(self.facts.subscription, orders, self.receipts, self.changes, self.payers)

    @property
    def all_orders(self) -> list[Order]:
        """The orders as they are now."""
        return list(self.orders.values())

    @property
    def touched(self) -> bool:
        """Whether anything was decided."""
        return bool(self._further) or len(self.changes) > len(self.facts.changes) or self.orders != self._stored

    def put(self, order: Order, **changes: Any) -> Order:
        """Take an order as it becomes; its status follows from its receipts."""
        stored = self._stored.get(order.ledger_id)
        changed = attrs.evolve(order, **changes, version=stored.version + 1 if stored is not None else 1)
        changed = order_standing(changed, self.receipts)
        self.orders[changed.ledger_id] = changed
        self._folded = None
        return changed

    def take_ends(self) -> None:
        """Take charges that have come to their end though nothing has said so since."""
        for order in self.all_orders:
            if order.status in IN_FLIGHT_ORDERS and order_standing(order, self.receipts) != order:
                self.put(order)

    def take_money(self, receipt: Receipt) -> None:
        """Take a receipt as it becomes; its orders are put anew by the caller."""
        self.receipts = [receipt if r.receipt_id == receipt.receipt_id else r for r in self.receipts]
        self.paid = paying_moments(self.all_orders, self.receipts)
        self._folded = None

    def note(self, **changes: Any) -> None:
        """Take what is noted on the subscription itself."""
        self.held = attrs.evolve(self.held, **changes)
        self._folded = None

    def fold(self) -> Standing:
        """Fold what is known by now into the subscription."""
        if self._folded is None:
            orders = self.all_orders
            result = standing(
                self.held,
                orders,
                self.receipts,
                self.changes,
                self.now,
                policy=self.facts.plan.dunning,
                plans=self.facts.plans,
            )
            self.held = result.subscription
            self._folded = result
        return self._folded

    def record(
        self,
        kind: ChangeKind,
        *,
        by: str,
        at: datetime | None = None,
        period: int | None = None,
        paid_to: int | None = None,
        zone: str | None = None,
        reason: str | None = None,
        terms: TermsChange | None = None,
        adoption: Adoption | None = None,
    ) -> None:
        """Write down something that was decided."""
        self._folded = None
        self.changes.append(
            SubscriptionChange(
                subscription_id=self.before.subscription_id,
                seq=max((c.seq for c in self.changes), default=0) + 1,
                kind=kind,
                effective_at=at or self.now,
                recorded_at=self.now,
                by=by,
                period=period,
                paid_to=paid_to,
                zone=zone,
                reason=reason,
                terms=terms,
                adoption=adoption,
            )
        )

    def audit(self, action: str, by: str, **changes: Any) -> None:
        """Write down who did it."""
        entry = AuditEntry(
            audit_id=self.new_id(),
            actor=by,
            action=action,
            object=f"subscription:{self.before.subscription_id}",
            changes=changes,
            recorded_at=self.now,
        )
        self._further.append(RecordAudit(entry))

    def add(self, *decisions: Decision) -> None:
        """Take further decisions."""
        self._further += decisions

    def replace_outdated(self) -> int:
        """Close the offers for periods that are on other terms than are wanted; return how many there were."""
        found = outdated(self.all_orders, self.book, self.held.table)
        for order in found:
            changed = self.put(order, **REPLACING)
            self.journal.publish(EventType.ORDER_SUPERSEDED, order_facts(changed))
        return len(found)

    def tell_again(self) -> None:
        """Tell the state of dunning once more, though it did not change."""
        self._again = True

    def forgive(self, order: Order) -> None:
        """Give up what an order asks for: nobody is asked for it any more, and what was owed is written off."""
        owed = order.claim == "owed"
        closed = order.closed_as or OrderStatus.CANCELLED
        changed = self.put(order, claim="forgiven", closed_as=closed, failure_reason=_FORGIVEN, retry_at=None)
        if owed:
            self.journal.publish(EventType.ORDER_FORGIVEN, order_facts(changed) | {"period": changed.period})

    def end(self, *, by: str, reason: str, at: datetime | None = None) -> None:
        """End the subscription: its offers are withdrawn and its debts given up. What was paid stays paid.

        Money that is in flight finds it ended, and is the customer's credit then: also what is seen but does not count
        yet, and what the chain has taken back for now.
        """
        self.record("end", by=by, at=at, reason=reason)
        self._reason = reason
        left = left_behind(self.receipts)
        for receipt in left:
            self.take_money(receipt)
        for order in self.all_orders:
            if order.status in PAID_ORDERS:
                continue
            if order.claim == "owed":
                self.forgive(order)
            elif order.status in OPEN_ORDERS | IN_FLIGHT_ORDERS and order.closed_as is None:
                closed = self.put(order, closed_as=OrderStatus.CANCELLED, failure_reason=SUBSCRIPTION_ENDED)
                if closed.status is OrderStatus.CANCELLED:
                    self.journal.publish(EventType.ORDER_CANCELLED, order_facts(closed))
        for receipt in left:
            if receipt.status is ReceiptStatus.SEEN:
                tell_unmatched(self.journal, receipt, self.orders[receipt.ledger_id or ""])

    def give_up(self, *, by: str, reason: str | None) -> None:
        """Close a subscription that was never paid; its offers stay watched."""
        self.record("expire", by=by, reason=reason)
        self._reason = reason
        for order in self.all_orders:
            if order.status in OPEN_ORDERS and order.closed_as is None:
                changed = self.put(order, closed_as=OrderStatus.SUPERSEDED)
                self.journal.publish(EventType.ORDER_SUPERSEDED, order_facts(changed))

    def settle(
        self, cause: PlanChangeCause, *, occurred_at: datetime | None = None, look_at: datetime | None = None
    ) -> tuple[Decision, ...]:
        """Fold everything and return what has to be written; orders that are opened are not signed yet.

        Args:
            cause: why the plan changes that the user is entitled to, if it does.
            occurred_at: when it happened; as far as payments are known when left out.
            look_at: when to look again in any case; else when time may change something.

        """
        result = self.fold()
        if look_at is not None and self.held.look_at is not None:
            self.held = attrs.evolve(self.held, look_at=look_at)
        occurred_at = occurred_at or self.as_of
        tell_terms(self.journal, self.before, self.held, occurred_at=occurred_at)
        tell_move(
            self.journal,
            self.before,
            self.held,
            result.debts,
            self.policy,
            occurred_at=occurred_at,
            reason=self._reason,
            again=self._again,
        )
        return (
            *(OpenOrder(o) for o in self.all_orders if o.ledger_id not in self._stored),
            *(StoreOrder(o) for o in self.all_orders if o != self._stored.get(o.ledger_id, o)),
            *(StoreReceipt(r) for r in self.receipts if r not in self.facts.receipts),
            *self._books(),
            *(RecordChange(c) for c in self.changes[len(self.facts.changes) :]),
            *self._subscription(),
            *self._entitlement(cause, occurred_at),
            *self._further,
        )

    def _books(self) -> Sequence[Decision]:
        return book_changes(
            BookFacts(receipts=self.facts.receipts, orders=list(self._stored.values())),
            BookFacts(receipts=self.receipts, orders=self.all_orders),
            balances=self.balances,
            now=self.now,
            new_id=self.new_id,
        )

    def _subscription(self) -> Sequence[Decision]:
        if self.held == self.before:
            return ()
        self.held = attrs.evolve(self.held, version=self.before.version + 1)
        return (StoreSubscription(self.held),)

    def _entitlement(self, cause: PlanChangeCause, occurred_at: datetime) -> Sequence[Decision]:
        before = self.facts.entitlement
        after = entitle_subscription(self.held, self.plan, disputed=before is not None and before.disputed)
        waits = self.held.status not in OVER_SUBSCRIPTIONS and is_in_flight(self.all_orders, self.held.paid_periods)
        same = before is not None and attrs.evolve(after, told=before.told) == before
        if before is not None and (waits or (same and not self._tells_time)):
            # What is about to be paid is not said to be over: it would be said to be back a minute later.
            after = attrs.evolve(after, told=before.told)
        else:
            after = plan_change(self.journal, before, after, now=self.as_of, cause=cause, occurred_at=occurred_at)
        return () if after == before else (StoreEntitlement(after),)
