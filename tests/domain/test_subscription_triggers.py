"""Every state of a subscription, and what everything that can happen to it does there."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import attrs
import pytest
from domain_records import T0, at, change, period_order, period_receipt, plan, subscription

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, Price
from evmbilling.domain.catalogue.plan_terms import PlanTerms
from evmbilling.domain.journal import Journal
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offering import CheckoutRequest, Offer
from evmbilling.domain.states import (
    SUBSCRIPTION_MOVES,
    OrderStatus,
    ReceiptStatus,
    SubscriptionStatus,
    check_reachable,
)
from evmbilling.domain.subscriptions import triggers
from evmbilling.domain.subscriptions.asking import Terms
from evmbilling.domain.subscriptions.change_records import ChangeRequest, ChangeSale
from evmbilling.domain.subscriptions.changes import change_terms, withdraw_change
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.dunning import DunningPolicy, DunningStep
from evmbilling.domain.subscriptions.ending import end_refunded
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.leaving import CancelRequest, ZoneRequest, cancel, change_zone, undo_cancel
from evmbilling.domain.subscriptions.pausing import PauseRequest, pause, resume
from evmbilling.domain.subscriptions.renewals import renew
from evmbilling.domain.subscriptions.standing import standing
from evmbilling.domain.subscriptions.triggers import MEANING, SUBSCRIPTION_TRIGGERS, Trigger
from evmbilling.errors import Conflict

S = SubscriptionStatus
ASKED = period_order(0)
PLAN = plan(
    dunning=DunningPolicy(
        arrears="accumulate",
        steps=(
            DunningStep(name="gone", after_days=60, actions=("cancel",)),
            DunningStep(name="suspended", after_days=14, actions=("suspend",)),
        ),
    )
)
CHEAP = plan(slug="cheap", interval=PLAN.interval)
SALE = ChangeSale(
    after=PlanTerms(plan_slug="cheap", plan_version=1, quantity=1, interval=PLAN.interval),
    request=CheckoutRequest(
        plan="cheap",
        user_id="ann",
        wallet=ASKED.wallet,
        network=None,
        asset=None,
        product=None,
        quantity=1,
        beneficiary=None,
        zone=None,
        start_at=None,
    ),
    offer=Offer(
        plan=CHEAP,
        price=Price(network="main", asset=ASKED.asset, amount=1),
        network=Network(name="main", chain_id=ASKED.chain_id, rpc_urls=()),
        gateway=PaymentGateway(slug="main", networks=("main",), signer=SecretRef("env", "KEY"), treasuries=()),
        contract=PaymentContract(slug="checkout", network="main", chain_id=ASKED.chain_id, address=ASKED.contract),
        treasury=ASKED.treasury,
    ),
    instance_id=bytes(8),
)
DUE = at(28, seconds=60)
"""Where period 1 begins when period 0 was paid a minute after T0."""
TRIAL = {"trial_end": at(14)}
FACTS = {
    # status: stored facts, paid periods, claim on the renewal that is open, its period, changes
    S.SCHEDULED: ({"start_at": at(10)}, (0,), None, 1, ()),
    S.INCOMPLETE: ({}, (), None, None, ()),
    S.TRIALING: (TRIAL, (), None, 0, ()),
    S.ACTIVE: ({}, (0,), None, 1, ()),
    S.PAST_DUE: ({}, (0,), "owed", 1, ()),
    S.SUSPENDED: ({"dunning_state": "suspended", "dunned_at": DUE}, (0,), "owed", 1, ()),
    S.PAUSED: ({}, (0,), None, 1, ("pause",)),
    S.ENDED: ({}, (0,), None, 1, ("end",)),
    S.INCOMPLETE_EXPIRED: ({}, (), None, None, ("expire",)),
}


class Case:
    """A subscription in a state, with one renewal that is asked for where it has a calendar."""

    def __init__(self, status):
        stored, paid, claim, asked, kinds = FACTS[status]
        self.orders = [period_order(n) for n in paid]
        self.receipts = [period_receipt(n) for n in paid]
        self.changes = [change(kind, T0, seq=n + 1) for n, kind in enumerate(kinds)]
        days = {None: at(5) - DUE, "owed": timedelta(days=15 if "dunned_at" in stored else 1)}[claim]
        self.now = DUE + days
        before = S.SCHEDULED if "start_at" in stored else S.INCOMPLETE
        self.held = subscription(**({"status": before} | stored))
        self.fold()
        if asked is not None:
            due = self.held.table.start(asked)
            asking = {"status": OrderStatus.PENDING, "origin": "renewal", "due_at": due, "claim": claim}
            self.orders.append(period_order(asked, ledger_id=f"order-{asked}", deadline=at(400), **asking))
        else:
            over = status is S.INCOMPLETE_EXPIRED
            closed = {"status": OrderStatus.SUPERSEDED, "closed_as": OrderStatus.SUPERSEDED}
            self.orders.append(period_order(0, **(closed if over else {"status": OrderStatus.PENDING})))
        self.fold(**{name: value for name, value in stored.items() if name.startswith("dun")})
        assert self.held.status is status

    def fold(self, **noted):
        held = attrs.evolve(self.held, **noted)
        folded = standing(held, self.orders, self.receipts, self.changes, self.now, policy=PLAN.dunning)
        self.held = folded.subscription

    def draft(self, as_of=None):
        facts = SubscriptionFacts(
            subscription=self.held,
            plan=PLAN,
            orders=self.orders,
            receipts=self.receipts,
            changes=self.changes,
        )
        ids = count()
        new_id = lambda: f"id-{next(ids)}"  # noqa: E731  - short
        journal = Journal(Customer(user_id="ann", created_at=T0), self.now, new_id)
        return SubscriptionDraft(facts, journal, now=self.now, as_of=as_of or self.now, new_id=new_id)

    def take(self, draft):
        draft.fold()
        self.held, self.orders, self.changes = draft.held, draft.all_orders, draft.changes

    def money(self, status):
        """Money for what is asked for, or for the last thing that was."""
        order = self.orders[-1]
        self.receipts = [r for r in self.receipts if r.ledger_id != order.ledger_id]
        self.receipts.append(period_receipt(order.period, status, ledger_id=order.ledger_id))
        self.fold()

    def reverse(self):
        """A reorganisation takes back every payment."""
        self.receipts = [attrs.evolve(r, status=ReceiptStatus.REVERSED) for r in self.receipts]
        self.fold()

    def bill(self, moment):
        """The biller looks when payments are known up to a moment."""
        self.now = max(moment, self.now)
        draft = self.draft()
        renew(draft, Terms(request=None, offer=None, instance_id=bytes(8)))
        self.take(draft)

    def leave(self, when):
        draft = self.draft()
        cancel(draft, CancelRequest(subscription_id=self.held.subscription_id, when=when, by="ann"))
        self.take(draft)

    def stay(self):
        draft = self.draft()
        undo_cancel(draft, "ann")
        self.take(draft)

    def move(self):
        draft = self.draft()
        change_zone(draft, ZoneRequest(subscription_id=self.held.subscription_id, zone="Asia/Kathmandu", by="ann"))
        self.take(draft)

    def rest(self, when):
        draft = self.draft()
        pause(draft, PauseRequest(subscription_id=self.held.subscription_id, when=when, by="ann"))
        self.take(draft)

    def go_on(self):
        draft = self.draft()
        resume(draft, "ann")
        self.take(draft)

    def become(self, timing):
        draft = self.draft()
        draft.learn(CHEAP)
        request = ChangeRequest(subscription_id=self.held.subscription_id, timing=timing, plan="cheap", by="ann")
        change_terms(draft, request, SALE)
        self.take(draft)

    def remain(self):
        draft = self.draft()
        withdraw_change(draft, "ann")
        self.take(draft)

    def refund(self):
        draft = self.draft()
        end_refunded(draft, by="ops")
        self.take(draft)


def _leave_and_wait(case):
    case.leave("period_end")
    case.bill(at(40))


TRIGGERS = {
    "seen": lambda c: c.money(ReceiptStatus.SEEN),
    "paid": lambda c: c.money(ReceiptStatus.CREDITED),
    "reversed": lambda c: c.reverse(),
    "begins": lambda c: c.bill(at(10)),
    "trial_ends": lambda c: c.bill(at(14)),
    "due": lambda c: c.bill(at(40)),
    "old_debt": lambda c: (c.bill(at(40)), c.bill(at(55))),
    "older_debt": lambda c: (c.bill(at(40)), c.bill(at(55)), c.bill(at(100))),
    "cancel_now": lambda c: c.leave("now"),
    "cancel_at_end": lambda c: c.leave("period_end"),
    "cancelled_and_end": _leave_and_wait,
    "undo_cancel": lambda c: c.stay(),
    "zone": lambda c: c.move(),
    "pause_now": lambda c: c.rest("now"),
    "pause_at_end": lambda c: c.rest("period_end"),
    "resume": lambda c: c.go_on(),
    "change_now": lambda c: c.become("now"),
    "change_next": lambda c: c.become("next_period"),
    "withdraw_change": lambda c: c.remain(),
    "refunded": lambda c: c.refund(),
}
PAIRS = sorted(SUBSCRIPTION_TRIGGERS)


@pytest.mark.parametrize(("status", "trigger"), PAIRS)
def test_every_trigger_in_every_state(status, trigger):
    expected = SUBSCRIPTION_TRIGGERS[status, trigger]
    case = Case(status)
    if expected.refused is not None:
        with pytest.raises(Conflict) as caught:
            TRIGGERS[trigger](case)
        assert caught.value.code == expected.refused
        return
    TRIGGERS[trigger](case)
    assert case.held.status is expected.to


def test_the_table_has_every_pair_and_every_trigger_is_driven():
    assert set(PAIRS) == {(status, trigger) for status in S for trigger in Trigger}
    assert set(TRIGGERS) == set(Trigger) == set(MEANING)


def test_a_pair_without_a_row_is_an_error():
    lines = triggers._TABLE.strip().splitlines()
    with pytest.raises(AssertionError, match="pairs without a row"):
        triggers._read("\n".join(lines[:-1]))
    with pytest.raises(AssertionError, match="pairs without a row"):
        triggers._read("\n".join(line.rsplit(maxsplit=1)[0] for line in lines))


@pytest.mark.parametrize(("status", "trigger"), PAIRS)
def test_where_it_leads_is_where_the_moves_lead(status, trigger):
    check_reachable(SUBSCRIPTION_MOVES, status, SUBSCRIPTION_TRIGGERS[status, trigger].to)
