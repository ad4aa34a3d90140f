"""Money for terms that do not hold: it is the customer's credit, whoever says what it was for."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from life_bench import ADMIN, Life

from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.errors import Conflict
from evmbilling.testing.merchant import SIGNER_KEY, plan_fields, wallet_of

MINUTE = timedelta(minutes=1)
PRICES = (("small", "10", "month"), ("large", "30", "month"), ("year", "100", "year"))


def open_desk(life: Life, *, plan: str = "small", **misfits: object) -> str:
    """A monthly subscription that was just paid; there are a small plan, a larger one and a yearly one."""
    admin = life.engine.admin(ADMIN)
    if misfits:
        admin.update_gateway("main", version=1, misfits=misfits)
    for slug, price, interval in PRICES:
        fields = plan_fields(life.shop, slug, product="desk", interval=interval)
        fields["prices"][0]["display"] = price
        admin.create_plan(**fields)
    return life.start(plan=plan).subscription_id


def credit(life: Life) -> int:
    return sum(c.held for c in life.engine.refunds(ADMIN).credit("u1"))


def reasons(life: Life, order: object) -> list[str | None]:
    return [r.reason for r in life.engine.receipts(order.ledger_id)]


@pytest.mark.parametrize("renewed_first", [True, False])
def test_a_difference_that_is_paid_when_its_period_is_over_buys_nothing(life, renewed_first):
    """The last minutes of one month are not the price of the next."""
    name = open_desk(life, late="order")
    boundary = life.held().paid_until
    life.until(boundary - 3 * MINUTE)
    (renewal,) = life.renewals()
    order = life.engine.change_subscription(name, timing="now", plan="large").order.order
    assert order.amount < renewal.amount // 1000
    late = [renewal, order] if renewed_first else [order, renewal]
    life.until(boundary + MINUTE)
    for one in late:
        life.pay(one)
    assert life.held().plan_slug == "small"
    assert reasons(life, order) == ["change_replaced"]
    assert credit(life) == order.amount
    life.go(1)
    assert (life.held().plan_slug, life.held().paid_periods) == ("small", 2)
    assert life.differences() == []


def test_what_a_month_costs_does_not_buy_a_year(memory_life):
    """An offer for a month that was withdrawn when the months became years, and is paid all the same."""
    life = memory_life
    name = open_desk(life, late="order")
    life.go(20)
    sent = life.chain.pay(life.checkout(plan="small", idempotency_key="one").order)
    life.shop.settle()
    month = life.checkout(plan="small", idempotency_key="two").order
    assert month.period == 2
    life.chain.reorganise(3, keep=[])
    life.shop.settle()
    assert (life.chain.receipt(sent), life.held().paid_periods) == (None, 1)
    life.go(1)
    life.engine.change_subscription(name, timing="next_period", plan="year")
    life.until(life.held().paid_until - MINUTE)
    year = next(o for o in life.renewals() if o.period == 1 and o.closed_as is None)
    assert year.plan_slug == "year"
    life.pay(year)
    life.pay(month)
    assert reasons(life, month) == ["change_replaced"]
    assert (life.held().paid_periods, credit(life)) == (2, month.amount)
    assert life.differences() == []


def test_late_money_that_is_taken_does_not_pay_a_period_twice(life):
    """The policy `late: order` takes it for its order, as long as that still asks for something."""
    open_desk(life, late="order")
    life.go(20)
    old = life.checkout(plan="small", idempotency_key="old").order
    life.go(0.1)
    new = life.checkout(plan="small", idempotency_key="new").order
    assert (old.period, new.period, life.engine.order(old.ledger_id).status) == (1, 1, "expired")
    life.pay(new)
    life.pay(old)
    assert reasons(life, old) == ["period_paid"]
    assert (life.held().paid_periods, credit(life)) == (2, old.amount)
    assert life.differences() == []


def two_offers(life: Life) -> list:
    """Offers for the same terms; the second has taken the place of the first, and is paid."""
    name = open_desk(life)
    life.go(10)
    made = [life.engine.change_subscription(name, timing="now", quantity=q).order.order for q in (2, 5)]
    life.pay(made[1])
    assert life.held().quantity == 5
    return made


def stranger_money(life: Life, amount: int, *, treasury: str | None = None):
    """Money that nobody can explain, in suspense."""
    life.chain.transfer(life.shop.token.token, wallet_of("nobody"), treasury or life.shop.treasury, amount)
    life.shop.settle()
    return next(i for i in life.engine.finance(ADMIN).queue() if i.kind == "suspense" and i.state == "open")


def test_money_is_not_assigned_to_an_offer_that_lost(life):
    lost, _ = two_offers(life)
    item = stranger_money(life, lost.amount)
    desk = life.engine.finance(ADMIN)
    with pytest.raises(Conflict) as refused:
        desk.assign(item.item_id, lost.ledger_id)
    assert (refused.value.field, refused.value.details["reason"]) == ("ledger_id", "change_replaced")
    assert desk.item(item.item_id).state == "open"
    assert credit(life) == 0
    desk.credit(item.item_id, "u1")
    assert credit(life) == lost.amount
    assert life.differences() == []


def second_treasury(life: Life) -> str:
    """Another place of the merchant's that is watched."""
    name = wallet_of("second treasury")
    life.engine.admin(ADMIN).create_gateway(
        slug="second", networks=[life.shop.network], signer=SIGNER_KEY, treasuries={life.shop.network: name}
    )
    life.shop.settle(1)
    return name


def depth_of(life: Life, sent: bytes) -> int:
    return life.chain.head.number - life.chain.block_of(sent).number + 1


@pytest.mark.parametrize("elsewhere", [False, True])
def test_money_that_was_assigned_to_an_offer_is_credit_while_that_loses_and_counts_again(memory_life, elsewhere):
    """What a person decided is kept: also of money at another treasury than the order's."""
    life = memory_life
    name = open_desk(life)
    treasury = second_treasury(life) if elsewhere else None
    life.go(10)
    first, second = (life.engine.change_subscription(name, timing="now", quantity=q).order.order for q in (2, 5))
    item = stranger_money(life, first.amount, treasury=treasury)
    life.engine.finance(ADMIN).assign(item.item_id, first.ledger_id)
    assert (life.held().quantity, credit(life)) == (2, 0)
    # Another branch of the chain, where the second offer is paid before.
    (strange,) = {r.identity.tx_hash for r in life.engine.receipts(first.ledger_id)}
    life.chain.reorganise(depth_of(life, strange), keep=[])
    life.shop.settle(1)
    assert (life.held().quantity, life.differences()) == (1, [])
    earlier = life.chain.pay(second)
    life.chain.mine()
    life.chain.resend(strange)
    life.shop.settle()
    assert (life.held().quantity, reasons(life, first), credit(life)) == (5, ["assigned_replaced"], first.amount)
    assert life.differences() == []
    # And one more, without it.
    life.chain.reorganise(depth_of(life, earlier), keep=[strange])
    life.shop.settle()
    assert (life.held().quantity, reasons(life, first), credit(life)) == (2, ["assigned"], 0)
    assert life.differences() == []
    # Gone for good.
    life.chain.reorganise(depth_of(life, strange), keep=[])
    life.shop.settle()
    assert (life.held().quantity, reasons(life, first), credit(life)) == (1, ["assigned"], 0)
    assert life.differences() == []


def test_late_money_that_was_assigned_comes_back_for_its_order_partly_refunded(life):
    """Gone, and back in other blocks: the rules would have made credit of it."""
    open_desk(life)
    life.go(10)
    order = life.checkout(plan="small", idempotency_key="ahead").order
    life.go(0.1)
    life.engine.finance(ADMIN).assign(stranger_money(life, order.amount).item_id, order.ledger_id)
    assert (life.engine.order(order.ledger_id).status, life.held().paid_periods) == ("confirmed", 2)
    desk = life.engine.refunds(ADMIN)
    (strange,) = {r.identity.tx_hash for r in life.engine.receipts(order.ledger_id)}
    for amount in (None, 4_000_000):
        if amount is not None:
            refund = desk.request(ledger_id=order.ledger_id, amount=amount, reason="goodwill")
            assert life.differences() == []
        life.chain.reorganise(depth_of(life, strange), keep=[])
        life.shop.settle(1)
        assert (life.held().paid_periods, life.differences()) == (1, [])
        life.chain.resend(strange)
        life.shop.settle(5)
        assert (reasons(life, order), life.held().paid_periods, credit(life)) == (["assigned"], 2, 0)
        assert life.differences() == []
    desk.cancel(refund.refund_id, reason="kept")
    assert life.differences() == []


def test_an_offer_that_lost_is_not_marked_as_paid(life):
    lost, _ = two_offers(life)
    with pytest.raises(Conflict) as refused:
        life.engine.finance(ADMIN).mark_paid(lost.ledger_id, reason="cash")
    assert refused.value.details["reason"] == "change_replaced"
    assert life.engine.order(lost.ledger_id).status not in PAID_ORDERS
    assert life.held().quantity == 5


def test_a_mark_competes_from_when_it_was_made(life):
    name = open_desk(life)
    life.go(10)
    first, second = (life.engine.change_subscription(name, timing="now", quantity=q).order.order for q in (2, 5))
    life.engine.finance(ADMIN).mark_paid(first.ledger_id, reason="cash")
    assert life.held().quantity == 2
    life.pay(second)
    assert (life.held().quantity, reasons(life, second)) == (2, ["change_replaced"])
    assert credit(life) == second.amount
    assert life.differences() == []


def test_a_marked_offer_that_loses_is_shown_to_finance_until_it_holds_again(life):
    """The other offer was paid on chain before the mark was made, and nobody had read it yet."""
    name = open_desk(life)
    life.go(10)
    first, second = (life.engine.change_subscription(name, timing="now", quantity=q).order.order for q in (2, 5))
    desk = life.engine.finance(ADMIN)
    earlier = life.chain.pay(second)
    life.chain.mine()
    life.clock.set(life.chain.head.timestamp + MINUTE)
    desk.mark_paid(first.ledger_id, reason="cash")
    assert (life.held().quantity, desk.queue()) == (2, [])
    life.shop.settle()
    assert life.held().quantity == 5
    (item,) = desk.queue()
    assert (item.kind, item.subject, item.reason) == ("duplicate", f"order:{first.ledger_id}", "change_replaced")
    assert (item.amount, item.ledger_id, item.receipt_id) == (first.amount, first.ledger_id, None)
    assert life.differences() == []
    life.chain.reorganise(depth_of(life, earlier), keep=[])
    life.shop.settle()
    assert (life.held().quantity, desk.item(item.item_id).state, life.differences()) == (2, "withdrawn", [])


@pytest.mark.parametrize("marked_first", [True, False])
def test_an_order_that_is_marked_for_a_period_that_another_one_paid_is_shown_to_finance(memory_life, marked_first):
    life = memory_life
    open_desk(life)
    desk = life.engine.finance(ADMIN)
    by_hand, paid = (life.checkout(plan="small", idempotency_key=key).order for key in ("a", "b"))
    assert by_hand.period == paid.period == 1
    life.chain.pay(paid)
    if marked_first:
        life.chain.mine()
        life.clock.set(life.chain.head.timestamp + MINUTE)
        desk.mark_paid(by_hand.ledger_id, reason="cash")
        assert [i for i in desk.queue() if i.kind == "duplicate"] == []
    life.shop.settle()
    if not marked_first:
        desk.mark_paid(by_hand.ledger_id, reason="cash")
    (item,) = desk.queue()
    assert (item.subject, item.reason, life.held().paid_periods) == (f"order:{by_hand.ledger_id}", "period_paid", 2)
    subject = item.subject
    for state, named in (("withdrawn", [("queue_item_missing", subject, "period_paid")]), ("open", [])):
        stored = attrs.evolve(desk.item(item.item_id), state=state, version=desk.item(item.item_id).version + 1)
        with life.engine._ports.storage.unit() as unit:
            unit.apply([StoreQueueItem(stored)])
        assert life.differences() == named
    desk.acknowledge(item.item_id, note="given back in cash")
    assert (desk.queue(), life.differences()) == ([], [])


def test_terms_of_a_paid_period_wait_for_the_end_of_a_pause(life):
    """While it is paused no period begins, whatever its calendar says until it is resumed."""
    name = open_desk(life, plan="large")
    ends = life.held().paid_until
    life.until(ends - 3 * MINUTE)
    (renewal,) = life.renewals()
    life.chain.pay(renewal)
    # It costs nothing and holds at once; what is on its way by then pays the next period on the old terms.
    life.engine.change_subscription(name, timing="now", plan="small")
    life.engine.pause_subscription(name)
    life.shop.settle()
    assert (life.held().plan_slug, life.held().paid_periods) == ("small", 2)
    life.until(ends + timedelta(days=3))
    assert (life.held().status, life.held().plan_slug) == ("paused", "small")
    assert life.differences() == []
    life.engine.resume_subscription(name)
    assert (life.held().plan_slug, life.differences()) == ("small", [])
    life.go(1)
    assert (life.held().plan_slug, life.differences()) == ("large", [])


@pytest.mark.parametrize("is_over", [False, True])
def test_a_mark_takes_nothing_from_what_paid_its_period_before(memory_life, is_over):
    """Whenever other money had come for the order that bears it."""
    life = memory_life
    name = open_desk(life, late="suspense")
    life.go(20)
    old = life.checkout(plan="small", idempotency_key="old").order
    life.go(0.1)
    life.pay(old)
    new = life.checkout(plan="small", idempotency_key="new").order
    life.pay(new)
    if is_over:
        life.engine.cancel_subscription(name, when="now")
    desk = life.engine.finance(ADMIN)
    (late,) = desk.queue()
    desk.mark_paid(old.ledger_id, reason="cash")
    desk.credit(late.item_id, "u1")
    assert [(r.allocation, r.reason) for r in life.engine.receipts(new.ledger_id)] == [("order", None)]
    assert (credit(life), life.engine.order(new.ledger_id).status) == (old.amount, "confirmed")
    assert [(i.kind, i.reason, i.ledger_id) for i in desk.queue()] == [("duplicate", "period_paid", old.ledger_id)]
    assert life.differences() == []


def test_what_comes_after_a_mark_for_another_offer_of_its_period_is_credit(memory_life):
    life = memory_life
    open_desk(life, late="order")
    life.go(20)
    old = life.checkout(plan="small", idempotency_key="old").order
    life.go(0.1)
    new = life.checkout(plan="small", idempotency_key="new").order
    life.engine.finance(ADMIN).mark_paid(new.ledger_id, reason="cash")
    life.go(0.1)
    life.pay(old)
    assert reasons(life, old) == ["period_paid"]
    assert (life.held().paid_periods, credit(life)) == (2, old.amount)
    assert life.differences() == []


@pytest.mark.parametrize("mined_again", [False, True])
def test_money_that_names_an_order_stays_with_the_one_that_it_was_assigned_to(memory_life, mined_again):
    life = memory_life
    open_desk(life, late="suspense")
    life.go(20)
    old = life.checkout(plan="small", idempotency_key="old").order
    life.go(0.1)
    life.pay(old)
    new = life.checkout(plan="small", idempotency_key="new").order
    desk = life.engine.finance(ADMIN)
    (late,) = desk.queue()
    desk.assign(late.item_id, new.ledger_id)
    assert life.held().paid_periods == 2
    if mined_again:
        life.chain.reorganise(4, mode="reinclude")
    life.shop.settle(25)
    assert [(r.allocation, r.reason, str(r.status)) for r in life.engine.receipts(new.ledger_id)] == [
        ("order", "assigned", "final")
    ]
    assert (life.held().paid_periods, life.engine.order(new.ledger_id).status, [*desk.queue()]) == (2, "final", [])
    assert life.differences() == []
