"""Dunning and charging, lived: states in their order, what they close, and how a payment ends all of it at once."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from life_bench import DAY, LADDER, Life, wallet_of

from evmbilling.domain.actors import SYSTEM
from evmbilling.domain.mandates.charges import Ask, Pull, charge_plan
from evmbilling.errors import IllegalTransition, InputError, NotFound

PAID = ["payment.seen", "payment.confirmed"]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def indebted(life):
    """A life whose customer stopped to pay; a fortnight of grace, which does not help."""
    life.start(plan=life.plan(dunning={"grace_days": 10, "steps": LADDER, "reminders": [0]}))
    return life


def stands(life):
    held, access = life.held(), life.engine.access("u1")
    return str(held.status), held.dunning_state, access.allowed, access.reason


def test_the_ladder_from_a_notice_to_the_end(indebted):
    life, due = indebted, indebted.held().next_charge_at
    seen = []
    for days in (0, 2, 7, 14, 59, 60):
        life.until(due + days * DAY + MINUTE)
        seen.append(stands(life))
    assert seen == [
        ("past_due", None, True, "grace"),
        ("past_due", "late", True, "grace"),
        ("past_due", "blocked", False, "unpaid"),
        ("suspended", "suspended", False, "suspended"),
        ("suspended", "suspended", False, "suspended"),
        ("ended", None, False, "ended"),
    ]
    assert life.types()[5:] == [
        *("order.opened", "payment.due", "subscription.moved", "subscription.past_due"),
        "subscription.past_due",
        "plan.changed",
        *("subscription.moved", "subscription.suspended"),
        *("order.expired", "order.opened", "order.forgiven", "payment.due"),
        *("order.forgiven", "subscription.moved", "subscription.ended"),
    ]
    assert [t["state"] for t in life.told("subscription.past_due")] == [None, "late"]
    (ended,) = life.told("subscription.ended")
    assert ended["reason"] == "dunning:gone"
    audit = life.engine.admin(SYSTEM).audit(object_=f"subscription:{life.held().subscription_id}")
    assert [(a.action, a.changes["state"]) for a in audit] == [
        ("subscription.dun", [None, "late"]),
        ("subscription.dun", ["late", "blocked"]),
        ("subscription.dun", ["blocked", "suspended"]),
        ("subscription.dun", ["suspended", "gone"]),
    ]
    assert life.differences() == []
    assert life.held().look_at is None


@pytest.mark.parametrize("days", [0, 2, 7, 20])
def test_a_payment_ends_it_at_once_and_moves_no_date(memory_life, days):
    life = memory_life
    life.start(plan=life.plan(dunning={"grace_days": 10, "steps": LADDER}))
    due = life.held().next_charge_at
    life.until(due + days * DAY + MINUTE)
    life.pay(life.renewals()[-1])
    held = life.held()
    assert stands(life) == ("active", None, True, "paid")
    assert (held.dunned_at, held.debt) == (None, 0)
    assert held.paid_until == held.table.end(1)
    life.go(1)
    assert life.held().status == "active"
    assert life.differences() == []


def test_the_whole_ladder_in_one_look_is_the_worst_state(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"steps": LADDER}))
    life.until(life.held().next_charge_at + 15 * DAY)
    assert stands(life)[:2] == ("suspended", "suspended")
    assert [t["state"] for t in life.told("subscription.suspended")] == ["suspended"]
    assert "subscription.past_due" not in life.types()


def test_a_part_of_what_is_owed_leads_back_to_a_better_state(memory_life):
    ladder = [
        {"name": "large", "at_least": {"tUSD": "30000000"}, "actions": ["suspend"]},
        {"name": "small", "actions": ["notify"]},
    ]
    life = memory_life
    life.start(plan=life.plan(dunning={"steps": ladder, "arrears": "accumulate"}))
    life.go(65)
    assert stands(life)[:2] == ("suspended", "large")
    life.pay(life.renewals()[0])
    assert stands(life)[:2] == ("past_due", "small")
    life.pay(life.renewals()[1])
    assert stands(life)[:2] == ("active", None)


def test_a_state_may_tell_again_while_it_lasts(memory_life):
    ladder = [{"name": "late", "after_days": 1, "actions": ["notify"], "again_after_days": 5}]
    life = memory_life
    life.start(plan=life.plan(dunning={"steps": ladder, "reminders": []}))
    life.until(life.held().next_charge_at + 13 * DAY, every=DAY)
    assert [t["state"] for t in life.told("subscription.past_due")] == [None, "late", "late", "late"]


def test_a_reversed_payment_brings_the_state_back(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"steps": LADDER}))
    life.until(life.held().next_charge_at + 20 * DAY)
    life.pay(life.renewals()[0])
    life.chain.reorganise(3)
    life.shop.settle(1)
    assert stands(life)[:2] == ("suspended", "suspended")


BAD_POLICIES = [
    7,
    {"grace": 3},
    {"grace_days": -1},
    {"arrears": "sometimes"},
    {"arrears": "cap", "arrears_cap": 0},
    {"steps": [{"name": "late", "actions": []}]},
    {"steps": [{"name": "late", "actions": ["shout"]}]},
    {"steps": [{"name": "late"}]},
    {"steps": [{"name": "a", "actions": ["block"]}, {"name": "a", "actions": ["notify"]}]},
    {"steps": [{"name": "late", "actions": ["block"], "at_least": {"tUSD": -1}}]},
    {"steps": [{"name": "Late!", "actions": ["block"]}]},
    {"reminders": [3, 3]},
    {"reminders": [3, 1]},
    {"reminders": "daily"},
    {"reminders": {"days": [1], "reason": {}}},
    {"attempts": [-1, 0]},
    {"attempts": {"days": [0], "by_reason": {"balance": [1, 1]}}},
    {"charges_per_day": 0},
]


@pytest.mark.parametrize("policy", BAD_POLICIES, ids=str)
def test_a_policy_that_cannot_be_used_is_refused(memory_life, policy):
    with pytest.raises(InputError) as refused:
        memory_life.plan(dunning=policy)
    assert refused.value.field == "dunning"


class TestCharges:
    @pytest.fixture
    def given(self, life):
        life.start(plan=life.plan(dunning={"steps": LADDER}))
        life.mandate()
        return life

    def test_what_a_mandate_covers_is_charged_when_it_is_due_and_nobody_is_bothered(self, given):
        life = given
        for period in (1, 2, 3):
            life.until(life.held().next_charge_at)
            assert life.held().status == "active"
            assert life.renewals()[-1].status == "submitted"
            assert life.pull() == [(life.renewals()[-1].ledger_id, 1)]
            assert (life.held().status, life.held().paid_periods) == ("active", period + 1)
        assert life.types()[5:] == ["order.opened", *PAID] * 3
        assert life.differences() == []

    def test_a_failed_charge_is_debt_from_the_due_date_and_is_tried_again_by_its_reason(self, given):
        life, due = given, given.held().next_charge_at
        life.wallets.answer = lambda _: "balance"
        tried = []
        life.until(due)
        for _ in range(12):
            tried += [(life.clock.now() - due).days for _ in life.wallets.charge(life)]
            life.go(1)
        assert tried == [0, 1, 3, 7]
        (asked,) = life.renewals()
        assert (asked.claim, asked.attempts, asked.retry_at, asked.failure_reason) == ("owed", 4, None, "balance")
        assert (life.held().status, life.held().dunning_state) == ("past_due", "blocked")
        assert life.told("subscription.past_due")[0]["due_at"] == due.isoformat()
        assert [t["attempt"] for t in life.told("payment.failed")] == [1, 2, 3, 4]
        life.pay(asked)
        assert (life.held().status, life.held().paid_until) == ("active", life.held().table.end(1))
        assert life.differences() == []

    def test_what_the_payer_has_to_mend_is_asked_for(self, memory_life):
        life = memory_life
        life.start(plan=life.plan(dunning={"reminders": {"days": [-3, 5], "by_reason": {"revoked": [0, 2]}}}))
        life.mandate()
        life.wallets.answer = lambda _: "revoked"
        due = life.held().next_charge_at
        life.until(due)
        life.wallets.charge(life)
        for _ in range(9):
            life.go(1)
            assert life.wallets.charge(life) == []
        assert [(t["days"], t["reason"]) for t in life.told("payment.due")] == [(2, "revoked")]
        assert life.engine.order(life.renewals()[0].ledger_id).next == "pay"

    def test_a_retry_that_succeeds_ends_the_debt(self, memory_life):
        life = memory_life
        life.start()
        life.mandate()
        life.wallets.answer = lambda _: "allowance"
        life.until(life.held().next_charge_at)
        life.wallets.charge(life)
        life.shop.drain()
        assert life.held().status == "past_due"
        life.wallets.answer = lambda _: None
        life.go(1)
        assert [attempt for _, attempt in life.pull()] == [2]
        assert (life.held().status, life.held().paid_periods) == ("active", 2)

    def test_while_nobody_knows_nothing_is_owed_and_nothing_is_charged_again(self, memory_life):
        life = memory_life
        life.start()
        life.mandate()
        life.until(life.held().next_charge_at)
        (asked,) = life.renewals()
        life.engine.report_charge(asked.ledger_id, attempt=1, outcome="submitted")
        life.engine.report_charge(asked.ledger_id, attempt=1, outcome="unknown")
        life.go(9)
        assert (life.renewals()[0].status, life.held().status, life.renewals()[0].claim) == ("unknown", "active", None)
        assert life.wallets.charge(life) == []
        assert life.engine.order(asked.ledger_id).next == "wait"
        life.chain.pay(asked)
        life.shop.settle()
        assert (life.held().status, life.held().paid_periods) == ("active", 2)

    def test_a_charge_whose_block_disappears_is_on_its_way_again(self, memory_life):
        life = memory_life
        life.start()
        life.mandate()
        life.until(life.held().next_charge_at)
        life.wallets.charge(life)
        life.chain.mine(1)
        life.clock.set(life.chain.head.timestamp)
        life.shop.drain()
        assert life.renewals()[0].status == "confirming"
        life.chain.reorganise(1)
        life.shop.drain()
        assert life.renewals()[0].status == "submitted"

    def test_an_outcome_is_said_once_and_never_taken_back(self, memory_life):
        life = memory_life
        life.start()
        life.mandate()
        life.until(life.held().next_charge_at)
        (asked,) = life.renewals()
        say = life.engine.report_charge
        for attempt, outcome, reason, error in (
            (2, "failed", "balance", NotFound),
            (1, "done", None, InputError),
            (1, "failed", None, InputError),
            (1, "failed", "Not A Slug!", InputError),
        ):
            with pytest.raises(error):
                say(asked.ledger_id, attempt=attempt, outcome=outcome, reason=reason)
        first = say(asked.ledger_id, attempt=1, outcome="failed", reason="balance")
        assert say(asked.ledger_id, attempt=1, outcome="failed", reason="balance") == first
        assert len(life.told("payment.failed")) == 1
        with pytest.raises(IllegalTransition):
            say(asked.ledger_id, attempt=1, outcome="unknown")

    def test_a_charge_that_fails_after_the_money_came_says_nothing(self, memory_life):
        life = memory_life
        life.start()
        life.mandate()
        life.until(life.held().next_charge_at)
        (asked,) = life.renewals()
        life.pay(asked)
        life.engine.report_charge(asked.ledger_id, attempt=1, outcome="failed", reason="balance")
        assert (life.held().status, life.told("payment.failed")) == ("active", [])
        assert life.differences() == []

    @pytest.mark.parametrize(
        ("over", "reason"),
        [
            ({"chain_id": 10}, "other_terms"),
            ({"token": wallet_of("x")}, "other_terms"),
            ({"plan": ("life", 2)}, "other_terms"),
            ({"treasury": wallet_of("x")}, "other_terms"),
            ({"amount": 19_989_999}, "other_terms"),
            ({"until": "due"}, "mandate_over"),
        ],
        ids=str,
    )
    def test_a_mandate_that_does_not_cover_the_order_asks(self, memory_life, over, reason):
        life = memory_life
        life.start()
        due = life.held().next_charge_at
        cover = life.mandate(**(over if "until" not in over else {"until": due}))
        life.until(due)
        (asked,) = life.renewals()
        assert (asked.status, asked.attempts, asked.claim) == ("pending", 0, "owed")
        assert charge_plan(asked, cover, due) == Ask(reason)

    def test_the_decision_between_asking_and_charging(self, memory_life):
        life = memory_life
        life.start()
        cover = life.mandate()
        life.until(life.held().next_charge_at - DAY)
        (asked,) = life.renewals()
        now = life.clock.now()
        assert charge_plan(asked, cover, now) == Pull(cover.mandate_id)
        assert charge_plan(asked, None, now) == Ask("no_mandate")
        assert charge_plan(attrs.evolve(asked, status="superseded"), cover, now) == Ask("not_payable")
        assert charge_plan(asked, cover, asked.deadline + DAY) == Ask("not_payable")
        tried = attrs.evolve(asked, attempts=1)
        assert charge_plan(tried, cover, now) == Ask("failed")
        assert charge_plan(attrs.evolve(tried, retry_at=now), cover, now) == Pull(cover.mandate_id)

    def test_the_first_charge_waits_for_its_day_and_nothing_is_owed_before(self, memory_life):
        life = memory_life
        life.start(plan=life.plan(dunning={"attempts": [2, 4]}))
        life.mandate()
        due = life.held().next_charge_at
        life.until(due + DAY)
        assert (life.renewals()[0].status, life.held().status) == ("pending", "active")
        life.until(due + 2 * DAY)
        assert life.renewals()[0].status == "submitted"

    def test_a_mandate_that_is_gone_by_then_asks(self, memory_life):
        life = memory_life
        life.start(plan=life.plan(dunning={"attempts": [2, 4]}))
        life.mandate()
        due = life.held().next_charge_at
        life.until(due + DAY)
        life.wallets.given.clear()
        life.until(due + 2 * DAY)
        assert (life.renewals()[0].claim, life.held().status) == ("owed", "past_due")


def test_what_was_charged_is_paid_by_hand_meanwhile_and_the_second_money_is_credit():
    life = Life()
    life.start()
    life.mandate()
    life.until(life.held().next_charge_at)
    (asked,) = life.renewals()
    life.chain.pay(asked)
    life.pull()
    places = sorted((r.allocation, r.reason) for r in life.engine.receipts(asked.ledger_id))
    assert places == [("credit", "duplicate"), ("order", None)]
    assert (life.held().paid_periods, life.differences()) == (2, [])


def test_one_that_lapsed_and_gives_way_writes_its_debts_off_and_says_that_it_is_over(life):
    life.start(plan=life.plan(dunning={"arrears": "forgive"}))
    life.go(100)
    first = life.held()
    assert (first.status, len(life.owed())) == ("past_due", 1)
    life.shop.buy("u1", plan="life", idempotency_key="anew")
    old, new = life.engine.subscriptions("u1")
    assert (old.status, old.debt, new.status) == ("ended", 0, "active")
    assert {o.claim for o in life.renewals() if o.subscription_id == old.subscription_id} == {"forgiven"}
    assert [e["reason"] for e in life.told("subscription.ended")] == ["lapsed"]
    life.go(3, release=True)
    assert life.differences() == []
