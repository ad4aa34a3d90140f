"""Every state of a subscription, and what everything that can happen to it does there."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import attrs
import pytest
from domain_records import T0, at, change, period_order, period_receipt, plan, subscription

from evmbilling.domain.asking import Terms
from evmbilling.domain.customers import Customer
from evmbilling.domain.dunning import DunningPolicy, DunningStep
from evmbilling.domain.journal import Journal
from evmbilling.domain.leaving import CancelRequest, ZoneRequest, cancel, change_zone, undo_cancel
from evmbilling.domain.renewals import renew
from evmbilling.domain.standing import apply_standing, standing
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.domain.subscription_draft import SubscriptionDraft, SubscriptionFacts
from evmbilling.errors import IllegalTransition

S = SubscriptionStatus
PLAN = plan(
    dunning=DunningPolicy(
        arrears="accumulate",
        steps=(
            DunningStep(name="gone", after_days=60, actions=("cancel",)),
            DunningStep(name="suspended", after_days=14, actions=("suspend",)),
        ),
    )
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
        result = standing(held, self.orders, self.receipts, self.changes, self.now, policy=PLAN.dunning)
        self.held = apply_standing(held, result)

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

    def decide(self, kind):
        self.changes = [*self.changes, change(kind, self.now, seq=len(self.changes) + 1)]
        self.fold()


def _leave_and_wait(case):
    case.leave("period_end")
    case.bill(at(40))


TRIGGERS = {
    "seen": lambda c: c.money(ReceiptStatus.SEEN),
    "paid": lambda c: c.money(ReceiptStatus.CREDITED),
    "reversed": lambda c: c.reverse(),
    "begins": lambda c: c.bill(at(10)),
    "trial ends": lambda c: c.bill(at(14)),
    "due": lambda c: c.bill(at(40)),
    "old debt": lambda c: (c.bill(at(40)), c.bill(at(55))),
    "older debt": lambda c: (c.bill(at(40)), c.bill(at(55)), c.bill(at(100))),
    "cancel now": lambda c: c.leave("now"),
    "cancel at the end": lambda c: c.leave("period_end"),
    "cancelled, and the end": _leave_and_wait,
    "undo": lambda c: c.stay(),
    "zone": lambda c: c.move(),
    "pause": lambda c: c.decide("pause"),
    "resume": lambda c: c.decide("resume"),
}
REFUSED = "refused"
SAME = None
TABLE = {
    S.SCHEDULED: {
        "reversed": S.SCHEDULED,
        "begins": S.ACTIVE,
        "trial ends": S.ACTIVE,
        "due": S.PAST_DUE,
        "old debt": S.SUSPENDED,
        "older debt": S.ENDED,
        "cancel now": S.ENDED,
        "cancelled, and the end": S.ENDED,
        "pause": S.PAUSED,
    },
    S.INCOMPLETE: {
        "paid": S.ACTIVE,
        "cancel now": S.INCOMPLETE_EXPIRED,
        "cancel at the end": S.INCOMPLETE_EXPIRED,
        "cancelled, and the end": S.INCOMPLETE_EXPIRED,
        "pause": S.PAUSED,
    },
    S.TRIALING: {
        "trial ends": S.PAST_DUE,
        "due": S.SUSPENDED,
        "old debt": S.SUSPENDED,
        "older debt": S.ENDED,
        "cancel now": S.ENDED,
        "cancelled, and the end": S.ENDED,
        "pause": S.PAUSED,
    },
    S.ACTIVE: {
        "reversed": S.INCOMPLETE,
        "due": S.PAST_DUE,
        "old debt": S.SUSPENDED,
        "older debt": S.ENDED,
        "cancel now": S.ENDED,
        "cancelled, and the end": S.ENDED,
        "pause": S.PAUSED,
    },
    S.PAST_DUE: {
        "paid": S.ACTIVE,
        "reversed": S.INCOMPLETE,
        "old debt": S.SUSPENDED,
        "older debt": S.ENDED,
        "cancel now": S.ENDED,
        "cancel at the end": S.ENDED,
        "cancelled, and the end": S.ENDED,
        "pause": S.PAUSED,
    },
    S.SUSPENDED: {
        "paid": S.ACTIVE,
        "reversed": S.INCOMPLETE,
        "older debt": S.ENDED,
        "cancel now": S.ENDED,
        "cancel at the end": S.ENDED,
        "cancelled, and the end": S.ENDED,
        "pause": S.PAUSED,
    },
    S.PAUSED: {
        "cancel now": S.ENDED,
        "cancelled, and the end": S.ENDED,
        "resume": S.ACTIVE,
    },
    S.ENDED: {"undo": REFUSED, "zone": REFUSED},
    S.INCOMPLETE_EXPIRED: {"undo": REFUSED, "zone": REFUSED},
}
"""Where each trigger leads; what is not named changes nothing."""


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("status", list(S))
def test_every_trigger_in_every_state(status, trigger):
    expected = TABLE[status].get(trigger, SAME)
    case = Case(status)
    if expected == REFUSED:
        with pytest.raises(IllegalTransition):
            TRIGGERS[trigger](case)
        return
    TRIGGERS[trigger](case)
    assert case.held.status is (expected or status)


def test_the_table_names_every_state_and_only_triggers_that_there_are():
    assert set(TABLE) == set(S)
    assert all(set(row) <= set(TRIGGERS) for row in TABLE.values())
