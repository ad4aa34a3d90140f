"""The working copy of one customer's facts while money is taken in or ruled on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import attrs

from evmbilling.domain.books.bookkeeping import BookFacts, book_changes
from evmbilling.domain.decisions import (
    AppendEntry,
    Decision,
    StoreEntitlement,
    StoreItem,
    StoreOrder,
    StoreQueueItem,
    StoreReceipt,
    StoreSubscription,
)
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.journal import Journal, order_facts, plan_change
from evmbilling.domain.messages.events import EventType, PlanChangeCause
from evmbilling.domain.payments.allocation import PERIOD_PAID, SUBSCRIPTION_ENDED, allocate, is_ruled
from evmbilling.domain.payments.customer_facts import CustomerFacts
from evmbilling.domain.payments.finance import follow_queue, is_changed
from evmbilling.domain.payments.judgement import (
    Place,
    Sighting,
    contradicts,
    follow_evidence,
    mismatch,
    next_look,
    put_aside,
)
from evmbilling.domain.payments.paying import payers, purchase_moment
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, chain_position
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OPEN_ORDERS, PAID_ORDERS, OrderStatus, ReceiptStatus
from evmbilling.domain.subscriptions.access import Entitlement, entitle_purchase, entitle_subscription
from evmbilling.domain.subscriptions.marks import ask_about_marks
from evmbilling.domain.subscriptions.rivals import stale_orders
from evmbilling.domain.subscriptions.standing import next_order, order_standing, standing
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.domain.subscriptions.telling import received_facts, tell_move, tell_order, tell_terms, tell_unmatched
from evmbilling.domain.subscriptions.terms import REPLACING, outdated, terms_book

_WITHDRAWABLE = OPEN_ORDERS | {OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.FAILED}


class Draft:
    """The working copy of one customer's facts, and the decisions that grow out of it."""

    def __init__(
        self,
        facts: CustomerFacts,
        now: datetime,
        new_id: Callable[[], str],
        *,
        here: int,
        disputed_access: bool,
    ) -> None:
        self.facts = facts
        self.here, self.disputed_access = here, disputed_access
        self.now = now
        self.new_id = new_id
        self.journal = Journal(facts.customer, now, new_id)
        self.decisions: list[Decision] = []
        self.orders = {o.ledger_id: o for o in facts.orders}
        self.subscriptions = {s.subscription_id: s for s in facts.subscriptions}
        self.stored: Mapping[CreditIdentity, Receipt] = {r.identity: r for r in facts.receipts}
        self.receipts = dict(self.stored)
        self.entitlements = {e.source_id: e for e in facts.entitlements}
        self.changes = facts.changes
        self.plans = facts.plans
        self.looked: list[Sighting] = []
        self.aside: set[CreditIdentity] = set()
        self.entries: dict[CreditIdentity, Sequence[ReceiptEntry]] = {}
        self.touched: dict[str, datetime] = {}
        self.placed_anew: set[str] = set()

    def take(self, sighting: Sighting) -> None:
        """Bring one receipt in line with its evidence."""
        identity = sighting.item.identity
        current = self.receipts.get(identity)
        order = self.orders[sighting.order.ledger_id] if sighting.order else None
        asset = sighting.asset or (order.asset if order else None)
        observation = sighting.observation
        named = order if current is None or not is_ruled(current) else None
        changed = observation is not None and current is not None and contradicts(observation, current, named)
        if changed:
            self.aside.add(identity)
            observation = None
        sighting = attrs.evolve(sighting, receipt=current, order=order, observation=observation, changed=changed)
        self.looked.append(sighting)
        if asset is None:
            return
        different = mismatch(observation, order) if observation and order else None
        place: Place = ("suspense", different) if different else sighting.place or ("order", None)
        receipt, entries = follow_evidence(sighting, now=self.now, new_id=self.new_id, place=place, asset=asset)
        if receipt is not None and receipt != current:
            self.receipts[identity] = receipt
            self.entries[identity] = entries

    def rule(self, receipt: Receipt, order: Order | None, *, user_id: str | None, place: Place) -> None:
        """Write down what a person decided about a receipt; it is placed as if it had just come in."""
        moved = attrs.evolve(
            receipt,
            ledger_id=order.ledger_id if order else receipt.ledger_id if user_id == receipt.user_id else None,
            user_id=order.user_id if order else user_id,
            allocation=place[0],
            reason=place[1],
            version=receipt.version + 1,
        )
        self.stored = {**self.stored, receipt.identity: receipt}
        self.receipts[receipt.identity] = moved
        self.placed_anew.add(receipt.receipt_id)

    def mark(self, order: Order) -> None:
        """Take an order as paid by the mark that it bears."""
        self.orders[order.ledger_id] = order
        self.touched[order.ledger_id] = self.now

    def buys_nothing(self, order: Order) -> bool:
        """Whether an order is on terms that do not hold: its money is credit, and marking it as paid buys nothing."""
        held = self.subscriptions.get(order.subscription_id or "")
        places = {r.receipt_id: (r.allocation, r.reason) for r in self.receipts.values()}
        return held is not None and order.ledger_id in self._stale(held, self.family(order), places)

    def settle(self) -> tuple[Decision, ...]:
        """Place the money, fold everything that it touches, and return what has to be written."""
        self.place()
        self.write_receipts()
        self.refold()
        self.decisions += ask_about_marks(self)
        self.post()
        return (*self.decisions, *self.journal.decisions())

    def post(self) -> None:
        """Post to the books what changed."""
        self.decisions += book_changes(
            BookFacts(receipts=tuple(self.stored.values()), orders=self.facts.orders),
            BookFacts(receipts=tuple(self.receipts.values()), orders=tuple(self.orders.values())),
            balances=self.facts.balances,
            now=self.now,
            new_id=self.new_id,
        )

    def place(self) -> None:
        """Say anew what the money of every touched order counts for."""
        for ledger_id in dict.fromkeys(receipt.ledger_id for receipt in self._changed()):
            if ledger_id is None:
                continue
            order = self.orders[ledger_id]
            subscription = self.subscriptions.get(order.subscription_id or "")
            family = self.family(order)
            places = self._places(family, subscription)
            for identity, receipt in self.receipts.items():
                place = places.get(receipt.receipt_id, (receipt.allocation, receipt.reason))
                if place != (receipt.allocation, receipt.reason):
                    self._replace(identity, receipt, place)

    def write_receipts(self) -> None:
        """Store every receipt that changed, with its journal, and say when each item is looked at again."""
        changed = self._changed()
        for receipt in changed:
            entries = self.entries.get(receipt.identity, ())
            self.decisions += [StoreReceipt(receipt), *(AppendEntry(entry) for entry in entries)]
            before = self.stored.get(receipt.identity)
            self._tell_receipt(before, receipt, entries)
            self._queue(receipt)
            for ledger_id in {r.ledger_id for r in (before, receipt) if r is not None and r.ledger_id in self.orders}:
                self.touched[ledger_id or ""] = receipt.evidence.block_time
        written = {receipt.identity for receipt in changed}
        for sighting in self.looked:
            identity, known = sighting.item.identity, self.receipts.get(sighting.item.identity)
            item = put_aside(sighting.item, self.now) if sighting.changed else next_look(sighting, known)
            self.decisions.append(StoreItem(item))
            if (
                known is not None
                and identity not in written
                and (sighting.changed or is_changed(known, self.facts.queue))
            ):
                self._queue(known)  # what the chain says changed, although the receipt did not

    def refold(self) -> None:
        """Fold orders, subscriptions and entitlements of everything touched."""
        for ledger_id, occurred_at in self.touched.items():
            self._refold_order(ledger_id, occurred_at)
        for ledger_id, occurred_at in self.touched.items():
            order = self.orders[ledger_id]
            plan = self.plans[(order.plan_slug, order.plan_version)]
            if order.subscription_id is None:
                since = purchase_moment(order, self.receipts.values())
                purchase = entitle_purchase(order, plan, disputed=self._disputed(order), paid_at=since)
                self._entitle(purchase, occurred_at)
            else:
                self._refold_subscription(order, disputed=self._disputed(order), occurred_at=occurred_at)

    def _places(self, family: Sequence[Order], subscription: Subscription | None) -> Mapping[str, Place]:
        """Return what the live money of a family counts for, by receipt id."""
        receipts = list(self.receipts.values())
        place = partial(
            allocate,
            family,
            receipts,
            known={receipt.receipt_id for receipt in self.stored.values()} - self.placed_anew,
            status=subscription.status if subscription else None,
            policies=self.facts.policies,
        )
        places = place()
        stale = self._stale(subscription, family, places) if subscription else None
        return place(stale=stale) if stale else places

    def _stale(self, held: Subscription, family: Sequence[Order], places: Mapping[str, Place]) -> frozenset[str]:
        return stale_orders(held, family, self.receipts.values(), self.changes, places, plans=self.plans)

    def _changed(self) -> list[Receipt]:
        """Return the receipts that are not as they were stored, in chain order."""
        return sorted((r for i, r in self.receipts.items() if r != self.stored.get(i)), key=chain_position)

    def family(self, order: Order) -> list[Order]:
        """Return the orders among which money is placed: those of the subscription, or the order alone."""
        if order.subscription_id is None:
            return [order]
        return [o for o in self.orders.values() if o.subscription_id == order.subscription_id]

    def _replace(self, identity: CreditIdentity, receipt: Receipt, place: Place) -> None:
        stored = self.stored.get(identity)
        grown = stored is None or receipt.version > stored.version
        self.receipts[identity] = attrs.evolve(
            receipt, allocation=place[0], reason=place[1], version=receipt.version + (0 if grown else 1)
        )

    def _disputed(self, order: Order) -> bool:
        """Whether access closes: money behind it is disputed on a network whose policy says so."""
        disputed = [r for r in self.receipts.values() if r.status is ReceiptStatus.DISPUTED]
        if not disputed:
            return False
        family = {o.ledger_id: o for o in self.family(order)}
        chains = {r.identity.chain_id for r in disputed if r.ledger_id in family}
        source = self.entitlements.get(order.subscription_id or order.ledger_id)
        # What another network's policy said about its own disputes stands in the entitlement already.
        elsewhere = bool(chains - {self.here}) and source is not None and source.disputed
        return elsewhere or (self.here in chains and not self.disputed_access)

    def _refold_order(self, ledger_id: str, occurred_at: datetime) -> None:
        before = self.orders[ledger_id]
        after = next_order(before, self.receipts.values())
        if after is before:
            return
        self.orders[ledger_id] = after
        self.decisions.append(StoreOrder(after))
        tell_order(self.journal, before, after, occurred_at=occurred_at)
        if after.status in PAID_ORDERS and before.status not in PAID_ORDERS:
            self._close_siblings(after)

    def _close_siblings(self, paid: Order) -> None:
        """Withdraw other open offers for a period that is paid now; nothing is owed for it by any of them."""
        for order in list(self.orders.values()):
            same = order.subscription_id == paid.subscription_id and order.period == paid.period
            is_open = order.status in _WITHDRAWABLE and order.closed_as is None
            if paid.subscription_id is None or not same or order.ledger_id == paid.ledger_id:
                continue
            if not is_open and order.claim is None:
                continue
            closed = attrs.evolve(order, claim=None, version=order.version + 1)
            if is_open:
                # A charge that is not signed yet is not sent any more; one that was may still come, as credit.
                pull = None if order.pull == "failed" else order.pull
                closed = attrs.evolve(closed, closed_as=OrderStatus.CANCELLED, failure_reason=PERIOD_PAID, pull=pull)
            closed = order_standing(closed, self.receipts.values())
            self.orders[order.ledger_id] = closed
            self.decisions.append(StoreOrder(closed))
            self.journal.publish(EventType.ORDER_CANCELLED, order_facts(closed))

    def _refold_subscription(self, order: Order, *, disputed: bool, occurred_at: datetime) -> None:
        before = self.subscriptions[order.subscription_id or ""]
        orders = [o for o in self.orders.values() if o.subscription_id == before.subscription_id]
        changes = [c for c in self.changes if c.subscription_id == before.subscription_id]
        receipts = list(self.receipts.values())
        result = standing(before, orders, receipts, changes, self.now, plans=self.plans)
        after, terms = result.subscription, before.terms
        if after.terms != terms:
            # What is asked for on terms that do not hold any more must not be paid.
            book = terms_book(before, orders, receipts, changes, payers(orders, receipts))
            for old in outdated(orders, book, after.table):
                self._replace_offer(old)
            orders = [self.orders[o.ledger_id] for o in orders]
            result = standing(before, orders, receipts, changes, self.now, plans=self.plans)
            after = result.subscription
            tell_terms(self.journal, before, after, occurred_at=occurred_at)
        plan = self.plans[after.terms.key]
        policy = plan.dunning
        if after != before:
            after = attrs.evolve(after, version=before.version + 1)
            self.subscriptions[before.subscription_id] = after
            self.decisions.append(StoreSubscription(after))
            tell_move(self.journal, before, after, result.debts, policy, occurred_at=occurred_at)
        back = order.status not in PAID_ORDERS and after.terms != terms
        self._entitle(entitle_subscription(after, plan, disputed=disputed), occurred_at, back=back)

    def _replace_offer(self, old: Order) -> None:
        """Withdraw an offer that another one for its period will stand in for."""
        changed = attrs.evolve(old, **REPLACING, version=old.version + 1)
        changed = order_standing(changed, self.receipts.values())
        self.orders[old.ledger_id] = changed
        self.decisions.append(StoreOrder(changed))
        self.journal.publish(EventType.ORDER_SUPERSEDED, order_facts(changed))

    def _entitle(self, after: Entitlement, occurred_at: datetime, *, back: bool = False) -> None:
        before = self.entitlements.get(after.source_id)
        # That time alone closed something is the biller's to say.
        if before is not None and attrs.evolve(after, told=before.told) == before:
            return
        cause: PlanChangeCause = "payment" if after.basis == "paid" and not after.disputed and not back else "reversal"
        after = plan_change(self.journal, before, after, now=self.now, cause=cause, occurred_at=occurred_at)
        self.entitlements[after.source_id] = after
        self.decisions.append(StoreEntitlement(after))

    def _tell_receipt(self, before: Receipt | None, receipt: Receipt, entries: Sequence[ReceiptEntry]) -> None:
        order = self.orders.get(receipt.ledger_id or "")
        is_new = before is None or before.allocation == "order" or before.user_id != receipt.user_id
        # What was gone when its subscription ended is told once it is there.
        is_new |= receipt.reason == SUBSCRIPTION_ENDED and any(entry.kind == "seen" for entry in entries)
        if receipt.allocation in {"credit", "suspense"} and is_new:
            tell_unmatched(self.journal, receipt, order)
        elif receipt.allocation == "order" and any(entry.kind == "seen" for entry in entries):
            facts = received_facts(receipt, order)
            self.journal.publish(EventType.PAYMENT_SEEN, facts, occurred_at=receipt.evidence.block_time)

    def _queue(self, receipt: Receipt) -> None:
        order = next((o for o in self.facts.orders if o.ledger_id == receipt.ledger_id), None)
        had_paid = order is not None and order.status in PAID_ORDERS
        items = follow_queue(
            receipt,
            self.facts.queue,
            had_paid=had_paid,
            changed=receipt.identity in self.aside,
            now=self.now,
            new_id=self.new_id,
        )
        self.decisions += [StoreQueueItem(item) for item in items]
