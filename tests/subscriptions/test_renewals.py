"""Renewals: each period is asked for once, some days before it begins; what is not paid is owed from then on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from life_bench import DAY, LADDER, START, wallet_of

from evmbilling.domain.actors import SYSTEM
from evmbilling.domain.books.ledger import Account
from evmbilling.domain.subscriptions.dunning import DunningPolicy

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PAID = ["payment.seen", "payment.confirmed"]
FIRST = ["order.opened", *PAID, "subscription.moved", "plan.changed"]


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_a_period_is_asked_for_three_days_before_it_begins(life):
    begun = life.start().anchor
    life.until(begun + 24 * DAY)
    assert life.renewals() == []
    life.go(2)
    (asked,) = life.renewals()
    held = life.held()
    assert (asked.period, asked.due_at, asked.origin, asked.claim) == (1, held.paid_until, "renewal", None)
    assert (asked.amount, asked.wallet, asked.asset) == (19_990_000, wallet_of("u1"), life.shop.token)
    assert asked.deadline == utc(2026, 3, 31, 12, 0, 12)
    assert life.types() == [*FIRST, "order.opened", "payment.due"]
    assert [t["days"] for t in life.told("payment.due")] == [-2]
    assert life.engine.order(asked.ledger_id).payload is not None


def test_paid_in_time_nothing_is_ever_owed(life):
    life.start()
    for _ in range(3):
        life.until(life.held().next_charge_at - DAY)
        life.pay(life.renewals()[-1])
    held = life.held()
    assert (held.status, held.paid_periods, held.paid_until) == ("active", 4, utc(2026, 5, 31, 12, 0, 12))
    assert life.types() == [*FIRST, *(["order.opened", "payment.due", *PAID] * 3)]
    assert life.differences() == []


def test_unpaid_it_is_owed_from_its_due_date_and_a_late_payment_moves_no_date(life):
    life.start()
    due = life.held().next_charge_at
    life.until(due + 5 * DAY)
    held = life.held()
    assert (held.status, held.debt, life.owed()) == ("past_due", 19_990_000, [1])
    assert not life.engine.access("u1").allowed
    (moved,) = life.engine.admin(SYSTEM).events(type_="billing.subscription.past_due.v1")
    assert (moved.occurred_at, moved.data["due_at"]) == (due, due.isoformat())
    life.pay(life.renewals()[0])
    held = life.held()
    assert (held.status, held.debt, held.paid_until) == ("active", 0, utc(2026, 3, 31, 12, 0, 12))
    assert life.engine.access("u1").allowed
    assert life.types() == [
        *FIRST,
        *("order.opened", "payment.due", "subscription.moved", "subscription.past_due", "plan.changed"),
        *(*PAID, "subscription.moved", "plan.changed"),
    ]
    causes = [(t["old_plan"], t["new_plan"], t["cause"]) for t in life.told("plan.changed")]
    assert causes == [(None, "life", "payment"), ("life", None, "end"), (None, "life", "payment")]
    assert life.differences() == []


def test_a_debt_is_in_the_books_from_the_day_it_is_due(life):
    life.start()

    def receivable():
        with life.engine._ports.storage.unit(write=False) as unit:
            rows = [b for b in unit.all_balances() if b.account is Account.RECEIVABLE]
            return [(b.owner.partition(":")[2], -b.net_credit) for b in rows]

    life.until(life.held().next_charge_at - DAY)
    assert receivable() == []
    life.go(2)
    (asked,) = life.renewals()
    assert receivable() == [(asked.ledger_id, asked.amount)]
    life.go(10, release=True)
    life.pay(asked)
    assert receivable() == [(asked.ledger_id, 0)]
    life.go(40, release=True)
    assert life.differences() == []


@pytest.mark.fault("Z08")
@pytest.mark.parametrize(
    ("policy", "owed", "forgiven"),
    [
        ({"arrears": "forgive"}, [4], [1, 2, 3]),
        ({"arrears": "accumulate"}, [1, 2, 3, 4], []),
        ({"arrears": "cap", "arrears_cap": 2}, [3, 4], [1, 2]),
    ],
    ids=str,
)
@pytest.mark.parametrize("every", [None, DAY], ids=["once", "daily"])
def test_z08_four_missed_periods_are_owed_exactly_as_the_plan_says(memory_life, policy, owed, forgiven, every):
    life = memory_life
    life.start(plan=life.plan(dunning=policy))
    life.go(125, every=every)
    renewals = life.renewals()
    assert [o.period for o in renewals] == [1, 2, 3, 4]
    assert life.owed() == owed
    assert [o.period for o in renewals if o.claim == "forgiven"] == forgiven
    assert life.held().debt == len(owed) * 19_990_000
    assert life.differences() == []
    for period in owed:
        life.pay(next(o for o in renewals if o.period == period))
    held = life.held()
    assert (held.status, held.paid_periods, held.paid_until) == ("active", 5, utc(2026, 6, 30, 12, 0, 12))
    assert life.engine.access("u1").allowed
    assert life.differences() == []


def test_arrears_that_accumulate_open_access_when_all_is_paid(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"arrears": "accumulate"}))
    life.go(65)
    first, second = life.renewals()
    life.pay(second)
    assert (life.held().status, life.owed(), life.engine.access("u1").allowed) == ("past_due", [1], False)
    life.pay(first)
    assert (life.held().status, life.owed(), life.engine.access("u1").allowed) == ("active", [], True)


def test_money_for_what_was_forgiven_is_the_customers_credit(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"arrears": "cap", "arrears_cap": 1}))
    life.until(life.held().next_charge_at)
    first = life.renewals()[0]
    life.until(first.deadline)
    assert life.renewals()[0].claim == "forgiven"
    life.chain.pay(first, payer=first.wallet)
    life.chain.mine(3, timestamp=first.deadline)  # in time for its own deadline, and too late to be owed
    life.shop.settle()
    (receipt,) = life.engine.receipts(first.ledger_id)
    assert (receipt.allocation, receipt.reason) in {("credit", "forgiven"), ("credit", "late")}
    assert life.owed() == [2]
    assert life.differences() == []


def test_what_was_forgiven_is_written_off(memory_life):
    life = memory_life
    life.start()
    life.go(65, every=5 * DAY, release=True)
    with life.engine._ports.storage.unit(write=False) as unit:
        entries = [e for e in unit.ledger_entries(limit=1000) if e.kind == "written_off"]
    (entry,) = entries
    sides = {(line.account, line.side): line.amount for line in entry.lines}
    assert sides == {("write_off", "debit"): 19_990_000, ("receivable", "credit"): 19_990_000}
    assert life.told("order.forgiven")[0]["period"] == 1


class TestNothingIsOwedBeforePaymentsAreKnown:
    def test_not_while_the_chain_is_not_read_so_far(self, life):
        life.start()
        due = life.held().next_charge_at
        life.until(due - DAY)
        (asked,) = life.renewals()
        life.chain.pay(asked)
        life.chain.mine(3)
        life.clock.set(due + 3 * DAY)
        assert life.engine.run_renewals().looked == 0  # the money is in a block that nobody has read
        assert life.held().status == "active"
        life.shop.settle()
        assert (life.held().status, life.held().paid_periods) == ("active", 2)
        assert "subscription.past_due" not in life.types()

    def test_not_while_what_was_read_is_not_taken_in(self, life):
        life.start()
        due = life.held().next_charge_at
        life.until(due - DAY)
        life.chain.pay(life.renewals()[0])
        life.chain.mine(3)
        life.chain.mine(timestamp=due + DAY)
        life.clock.set(due + DAY)
        life.engine.read_chain(life.shop.network)
        assert life.engine.run_renewals().changed == 0
        assert life.held().status == "active"
        life.shop.settle()
        assert life.held().paid_periods == 2
        assert "subscription.past_due" not in life.types()

    def test_not_while_the_network_is_halted(self, memory_life):
        life = memory_life
        life.start()
        life.chain.mine(30)
        life.shop.settle()
        life.chain.reorganise(25)
        life.chain.mine(30)
        life.clock.set(life.held().next_charge_at + 9 * DAY)
        life.engine.read_chain(life.shop.network)
        life.engine.run_intake()
        report = life.engine.run_renewals()
        assert (report.looked, report.halted) == (0, None)
        assert life.held().status == "active"

    def test_not_while_a_payment_is_being_confirmed(self, life):
        life.start()
        due = life.held().next_charge_at
        life.until(due - DAY)
        life.chain.pay(life.renewals()[0])
        life.chain.mine(timestamp=due + DAY)
        life.clock.set(due + DAY)
        life.shop.drain()
        assert life.engine.order(life.renewals()[0].ledger_id).status == "confirming"
        assert (life.held().status, life.renewals()[0].claim) == ("active", None)
        life.shop.settle(3)
        assert (life.held().status, life.held().paid_periods) == ("active", 2)

    def test_a_payment_that_disappears_leaves_the_debt_dated_by_its_due_date(self, memory_life):
        life = memory_life
        life.start()
        due = life.held().next_charge_at
        life.until(due - DAY)
        life.chain.pay(life.renewals()[0])
        life.chain.mine(timestamp=due + DAY)
        life.clock.set(due + DAY)
        life.shop.drain()
        life.chain.reorganise(1)
        life.shop.settle(1)
        debt = life.engine.subscription(life.held().subscription_id).debts[0]
        assert (life.held().status, debt.due_at) == ("past_due", due)

    def test_other_networks_on_which_it_can_still_be_paid_count_too(self, memory_life):
        life = memory_life
        life.start()
        report = life.engine.run_renewals()
        assert report.looked == 0
        with life.engine._ports.storage.unit(write=False) as unit:
            from evmbilling.engine.subscriptions.watermarks import Watermarks, read_watermarks

            marks, held = read_watermarks(unit), life.held()
            orders = unit.orders_of_subscriptions([held.subscription_id])
        there = attrs.evolve(orders[0].asset, chain_id=10)
        other = attrs.evolve(orders[0], status="pending", period=1, asset=there, deadline=START + 90 * DAY)
        now = START + 40 * DAY
        known = marks.known[life.chain.chain_id]
        assert marks.as_of(held, orders, now) == known
        assert marks.as_of(held, [*orders, other], now) is None  # nothing was ever read there
        both = Watermarks(read={**marks.read, 10: START}, known={**marks.known, 10: START})
        assert marks.as_of(held, orders, START) == min(START, known)
        assert both.as_of(held, [*orders, other], now) == START
        over = attrs.evolve(other, deadline=START - DAY)
        assert both.as_of(held, [*orders, over], now) == known  # it could not be paid there any more


class TestOneRenewalStandsInForItself:
    def test_a_checkout_of_the_same_answers_with_the_renewal(self, life):
        life.start()
        life.until(life.held().next_charge_at - DAY)
        (asked,) = life.renewals()
        again = life.checkout(idempotency_key="again")
        assert again.ledger_id == asked.ledger_id
        life.pay(again.order)
        assert life.held().paid_periods == 2

    def test_another_wallet_takes_its_place_and_it_is_offered_again_when_that_is_over(self, life):
        life.start()
        life.until(life.held().next_charge_at - DAY)
        (asked,) = life.renewals()
        other = life.checkout(idempotency_key="x", wallet=wallet_of("friend"))
        assert other.ledger_id != asked.ledger_id
        assert life.renewals()[0].status == "superseded"
        life.go(2)
        (back,) = life.renewals()
        assert (back.ledger_id, back.status, back.claim) == (asked.ledger_id, "pending", "owed")
        life.pay(back)
        assert (life.held().status, life.held().paid_periods) == ("active", 2)

    def test_paid_by_another_order_nothing_is_owed_by_it(self, life):
        life.start()
        life.until(life.held().next_charge_at + DAY)
        other = life.checkout(idempotency_key="x", wallet=wallet_of("friend"))
        life.pay(other.order)
        (asked,) = life.renewals()
        assert (life.held().status, asked.claim, life.owed()) == ("active", None, [])
        life.go(1, release=True)
        assert life.differences() == []

    def test_an_offer_that_is_open_is_waited_for(self, memory_life):
        life = memory_life
        life.start()
        due = life.held().next_charge_at
        life.until(due - 3 * DAY - timedelta(minutes=5))
        early = life.checkout(idempotency_key="early")
        life.until(due - 3 * DAY + timedelta(minutes=1))
        assert life.renewals() == []
        life.go(1)
        (asked,) = life.renewals()
        assert life.engine.order(early.ledger_id).status == "expired"
        assert asked.status == "pending"

    def test_a_reversed_renewal_is_owed_again(self, memory_life):
        life = memory_life
        life.start()
        life.until(life.held().next_charge_at + DAY)
        life.pay(life.renewals()[0])
        life.chain.reorganise(3)
        life.shop.settle(1)
        (asked,) = life.renewals()
        assert (asked.status, life.held().status, life.owed()) == ("reversed", "past_due", [1])
        receipt = life.engine.receipts(asked.ledger_id)[0]
        life.chain.resend(receipt.identity.tx_hash)
        life.shop.settle()
        assert (life.held().status, life.owed()) == ("active", [])
        assert life.differences() == []


class TestTrials:
    @pytest.fixture
    def on_trial(self, memory_life):
        life = memory_life
        life.plan(trial_days=14)
        life.checkout()
        return life

    def test_the_end_of_a_trial_is_due_and_anchors_the_calendar(self, on_trial):
        life = on_trial
        end = START + 14 * DAY
        life.until(end - 2 * DAY)
        (asked,) = life.renewals()
        assert (asked.period, asked.due_at, life.held().status) == (0, end, "trialing")
        life.until(end + 3 * DAY)
        assert (life.held().status, life.owed()) == ("past_due", [0])
        life.pay(life.renewals()[0])
        held = life.held()
        assert (held.status, held.anchor, held.paid_until) == ("active", end, utc(2026, 3, 14, 12))

    def test_paid_ahead_it_goes_on_without_a_word(self, on_trial):
        life = on_trial
        life.shop.buy("u1", plan="life")
        life.go(20)
        assert (life.held().status, life.held().paid_until) == ("active", utc(2026, 3, 14, 12))
        assert life.types()[-1] == "subscription.moved"
        assert life.renewals() == []

    def test_a_trial_in_calendar_days_ends_at_the_same_time_of_day(self, memory_life):
        life = memory_life
        life.plan(trial_days=60)
        life.checkout(zone="Europe/Berlin")
        assert life.held().trial_end == utc(2026, 4, 1, 11)  # summer time has begun


def test_a_deferred_start_that_is_paid_begins_then_and_is_renewed_from_then(memory_life):
    life = memory_life
    begins = START + 10 * DAY
    life.start(start_at=begins)
    assert life.held().status == "scheduled"
    life.until(begins)
    assert (life.held().status, life.held().anchor) == ("active", begins)
    life.go(40)
    assert (life.renewals()[0].due_at, life.held().status) == (utc(2026, 3, 10, 12), "past_due")


@pytest.mark.parametrize(("interval", "days"), [("day", 1), ("week", 7), (("day", 10), 10)], ids=str)
def test_short_intervals_ask_not_before_the_period_before_has_begun(memory_life, interval, days):
    life = memory_life
    anchor = life.start(plan=life.plan(interval=interval)).anchor
    lead = min(3, days)
    life.until(anchor + (days - lead) * DAY + timedelta(minutes=1))
    assert [o.due_at for o in life.renewals()] == [anchor + days * DAY]


def test_what_cannot_be_sold_any_more_is_held_and_nobody_owes_it(memory_life):
    life = memory_life
    life.start()
    admin = life.engine.admin(SYSTEM)
    admin.archive_gateway("main", version=1)
    life.go(30)
    assert (life.renewals(), life.held().status, life.owed()) == ([], "active", [])
    assert life.held().look_at > life.clock.now()


@pytest.mark.fault("T10")
def test_t10_a_halted_token_holds_renewals_until_a_person_has_looked(life):
    from evmbilling.domain.decisions import StoreQueueItem
    from evmbilling.domain.payments.finance import QueueItem, token_subject

    life.start()
    token = life.shop.token
    item = QueueItem(
        item_id=life.engine._ports.ids.new_id(),
        kind="token_halted",
        subject=token_subject(token.chain_id, token.token),
        reason="decimals",
        asset=token,
        amount=0,
        opened_at=START,
    )
    with life.engine._ports.storage.unit() as unit:
        unit.apply([StoreQueueItem(item)])
    life.go(35)
    assert (life.renewals(), life.held().status) == ([], "active")
    life.engine.finance(SYSTEM).acknowledge(item.item_id, note="looked")
    life.go(1)
    assert [o.period for o in life.renewals()] == [1]


def test_grace_widens_access_and_nothing_else(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"grace_days": 5}))
    due = life.held().next_charge_at
    life.until(due + 4 * DAY)
    access = life.engine.access("u1")
    assert (access.allowed, access.reason, access.until) == (True, "grace", due)
    assert life.held().paid_until == due
    assert [t["new_plan"] for t in life.told("plan.changed")] == ["life"]
    life.until(due + 5 * DAY)
    assert not life.engine.access("u1").allowed
    assert [(t["new_plan"], t["cause"]) for t in life.told("plan.changed")] == [("life", "payment"), (None, "end")]


def test_a_stub_after_a_change_of_zone_is_priced_by_the_second(memory_life):
    life = memory_life
    begun = life.start().anchor
    life.engine.change_zone(life.held().subscription_id, "Asia/Kathmandu")
    life.until(begun + 27 * DAY)
    (asked,) = life.renewals()
    table = life.held().table
    length, full = table.share(1)
    assert (length - full, asked.due_at) == (-20_700, table.start(1))
    assert asked.amount == 19_990_000 * length // full
    assert [line.kind for line in asked.lines] == ["plan", "proration"]


def test_a_stub_that_is_paid_ahead_costs_what_its_renewal_would(memory_life):
    life = memory_life
    life.start()
    life.engine.change_zone(life.held().subscription_id, "Asia/Kathmandu")
    length, full = life.held().table.share(1)
    order = life.checkout(idempotency_key="ahead").order
    assert (order.period, order.amount) == (1, 19_990_000 * length // full)
    life.pay(order)
    assert (life.held().paid_until, life.differences()) == (life.held().table.end(1), [])


def test_the_hosts_own_lines_are_part_of_a_renewal_and_their_failure_holds_it(memory_life):
    from evmbilling.domain.selling.orders import OrderLine

    life = memory_life
    broken = {"yes": False}

    def tax(_plan, _user, _quantity, lines):
        if broken["yes"]:
            return "nonsense"
        return [OrderLine(kind="tax", text="VAT", amount=sum(line.amount for line in lines) // 5)]

    life.start()
    life.engine._ports = attrs.evolve(life.engine._ports, extra_lines=tax)
    broken["yes"] = True
    life.go(26)
    assert life.renewals() == []
    broken["yes"] = False
    life.go(1)
    assert life.renewals()[0].amount == 19_990_000 + 3_998_000


def test_the_engines_policy_is_that_of_plans_which_say_nothing():
    from evmbilling.testing.merchant import simulated_merchant

    shop = simulated_merchant(dunning={"grace_days": 9, "steps": LADDER})
    plan = next(p for p in shop.engine.plans() if p.slug == "pro")
    assert (plan.dunning.grace_days, [s.name for s in plan.dunning.steps]) == (
        9,
        ["gone", "suspended", "blocked", "late"],
    )
    assert DunningPolicy().steps == ()


@pytest.mark.parametrize("covers", [True, False])
def test_who_gave_a_mandate_that_does_not_cover_a_period_is_reminded_before_it(memory_life, covers):
    life = memory_life
    life.start()
    life.mandate(amount=19_990_000 if covers else 19_989_999)
    life.until(life.held().paid_until - DAY)
    (asked,) = life.renewals()
    assert (asked.reminded_at == asked.due_at) is covers
    assert len(life.told("payment.due")) == (0 if covers else 1)
