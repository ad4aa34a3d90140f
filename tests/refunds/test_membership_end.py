"""Memberships that end with a refund: by policy or by choice, with us in the decision that the refund is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from eth_hash.auto import keccak
from refunds_bench import ALICE, BOSS, Desk

from evmbilling.adapters.evm.abi.events import TRANSFER, decode_burned
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.identity import subscription_token
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.engine.intake import intake
from evmbilling.engine.refunds.routes import membership_of
from evmbilling.errors import Conflict, InputError
from evmbilling.testing.merchant import ADMIN, plan_fields

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PRICE = 19_990_000


def status(desk: Desk, user_id: str = "user-1") -> str:
    (subscription,) = desk.engine.subscriptions(user_id)
    return str(subscription.status)


@pytest.mark.both_databases
def test_a_full_refund_ends_the_membership_where_the_policy_says_so(desk: Desk):
    desk.policy(on_refund="burn")
    refund = desk.ready()
    assert refund.burn is not None
    assert (refund.burn.status, status(desk)) == ("planned", "active")
    sent = desk.send(refund)
    desk.settle(2)
    assert desk.engine.access("user-1").allowed  # the money has not come back yet
    with pytest.raises(Conflict):
        desk.ops.prepare_burn(refund.refund_id)
    desk.settle(1)
    done = desk.ops.refund(refund.refund_id)
    assert (done.status, done.burn.status, status(desk)) == ("done", "due", "ended")
    assert desk.engine.access("user-1").reason == "ended"
    over = ["subscription.moved", "subscription.ended", "plan.changed"]
    assert desk.told()[-5:] == ["refund.done", *over, "membership.ended"]
    payload = desk.ops.prepare_burn(refund.refund_id)
    token_id = subscription_token(desk.paid.order.subscription_id)
    assert (payload.to, payload.value) == (desk.shop.contract, 0)
    assert payload.data == keccak(b"burn(uint256)")[:4] + token_id.to_bytes(32)
    assert desk.balanced()

    burn = desk.burn(done)
    desk.settle(1)
    assert desk.ops.refund(refund.refund_id).burn.status == "confirming"
    desk.settle(2)
    burned = desk.ops.refund(refund.refund_id)
    assert (burned.burn.status, burned.burn.identity.tx_hash) == ("done", burn)
    assert desk.told()[-1] == "membership.burned"
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    assert (desk.ops.refund(refund.refund_id).burn.status, status(desk)) == ("due", "ended")
    assert desk.told()[-1] == "membership.burn_reversed"
    desk.shop.chain.resend(burn)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).burn.status == "done"
    assert desk.told().count("membership.ended") == 1
    assert desk.kinds() == ["refund"]
    assert sent in desk.mined()
    assert desk.balanced()


@pytest.mark.parametrize(
    ("policy", "asked", "ends"),
    [
        ("keep", {}, False),
        ("burn", {}, True),
        ("burn", {"amount": PRICE - 1}, False),
        ("burn", {"end_membership": False}, False),
        ("keep", {"end_membership": True}, True),
        ("keep", {"end_membership": True, "amount": 1}, True),
    ],
)
def test_what_ends_a_membership(memory_desk: Desk, policy, asked, ends):
    memory_desk.policy(on_refund=policy)
    refund = memory_desk.ready(**asked)
    assert (refund.burn is not None) is ends
    memory_desk.send(refund)
    memory_desk.settle()
    assert status(memory_desk) == ("ended" if ends else "active")
    assert memory_desk.engine.access("user-1").allowed is not ends
    assert memory_desk.balanced()


def test_only_the_period_that_was_paid_last_ends_it_by_policy(memory_desk: Desk):
    desk = memory_desk
    desk.policy(on_refund="burn")
    second = desk.shop.buy("user-1")
    assert second.order.period == 1
    assert desk.ops.request(ledger_id=second.ledger_id, amount=5, reason="a part").burn is None
    ahead = desk.ops.request(ledger_id=second.ledger_id, reason="it has not begun, and the first month runs")
    assert ahead.burn is None
    desk.ops.cancel(ahead.refund_id, reason="wait")
    (held,) = desk.engine.subscriptions("user-1")
    desk.shop.advance(held.table.start(1) - desk.shop.clock.now())
    assert desk.ops.request(ledger_id=second.ledger_id, reason="the rest of it").burn is not None
    assert desk.ops.request(ledger_id=desk.paid.ledger_id, reason="a month that is over").burn is None


@pytest.mark.parametrize("ahead_first", [True, False])
def test_who_gets_every_paid_month_back_keeps_none(memory_desk: Desk, ahead_first):
    desk = memory_desk
    desk.policy(on_refund="burn")
    orders = [desk.paid.ledger_id, desk.shop.buy("user-1").ledger_id]
    one, last = reversed(orders) if ahead_first else orders
    assert desk.ops.request(ledger_id=one, reason="a month is left").burn is None
    assert desk.ops.request(ledger_id=last, reason="none is left").burn is not None


def give_back(desk: Desk, order, **asked) -> bytes:
    """Give an order's money back, to the end."""
    return desk.send(desk.ready(ledger_id=order.ledger_id, via="transfer", **asked))


def ahead(desk: Desk, months: int) -> list:
    desk.policy(on_refund="burn")
    return [desk.paid, *(desk.shop.buy("user-1") for _ in range(months))]


def test_a_month_ahead_that_was_given_back_is_not_used(desk: Desk):
    """The membership ends where the last month ends that was kept."""
    _, second = ahead(desk, 1)
    (held,) = desk.engine.subscriptions("user-1")
    ends, sent = held.table.start(1), give_back(desk, second)
    assert desk.engine.access("user-1").until == held.paid_until  # it has not come back yet
    desk.settle()
    (held,) = desk.engine.subscriptions("user-1")
    assert (desk.engine.access("user-1").until, held.paid_until, held.cancel_at_period_end) == (ends, ends, True)
    assert (held.next_charge_at, held.status) == (None, "active")
    assert desk.told()[-2:] == ["refund.done", "subscription.cancel_scheduled"]
    for refused in (
        lambda: desk.engine.undo_cancel(held.subscription_id),
        lambda: desk.shop.checkout("user-1", idempotency_key="the-next"),
    ):
        with pytest.raises(Conflict) as caught:
            refused()
        assert caught.value.details["reason"] == "given_back"
    assert desk.balanced()
    desk.lose(sent)
    (held,) = desk.engine.subscriptions("user-1")
    assert (held.paid_until, held.cancel_at_period_end, desk.told()[-1]) == (
        held.table.end(1),
        False,
        "subscription.cancel_undone",
    )
    assert desk.balanced()
    desk.shop.chain.resend(sent)
    desk.settle()
    desk.shop.advance(ends - desk.shop.clock.now() + timedelta(seconds=60))
    assert (desk.engine.access("user-1").reason, status(desk)) == ("ended", "ended")
    assert desk.balanced()
    anew = desk.shop.buy("user-1", idempotency_key="anew")
    assert desk.engine.access("user-1").subscription_id == anew.order.subscription_id


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_months_that_were_given_back_shorten_it_from_its_end(memory_desk: Desk, order):
    desk = memory_desk
    paid = ahead(desk, 3)
    (held,) = desk.engine.subscriptions("user-1")
    gone: set[int] = set()
    for period in order:
        give_back(desk, paid[period])
        desk.settle()
        gone.add(period)
        kept = max({0, 1, 2, 3} - gone)
        assert desk.engine.access("user-1").until == held.table.end(kept)
        assert desk.balanced()
    desk.engine.rescan(desk.shop.network, 0)
    desk.settle()
    assert (desk.engine.access("user-1").until, desk.balanced()) == (held.table.end(0), True)


@pytest.mark.parametrize("rest_first", [True, False])
def test_a_month_that_comes_back_in_parts_is_not_used_once_all_of_it_is_back(memory_desk: Desk, rest_first):
    """Whichever part is done last, and whichever the chain takes back."""
    desk = memory_desk
    _, second = ahead(desk, 1)
    (held,) = desk.engine.subscriptions("user-1")
    asked = [{"ledger_id": second.ledger_id, "via": "transfer", "amount": amount} for amount in (1_000_000, None)]
    parts = [desk.ready(**one) for one in asked]
    sent = []
    for part in reversed(parts) if rest_first else parts:
        assert desk.engine.access("user-1").until == held.table.end(1)
        sent.append(desk.send(part))
        desk.settle()
    assert (desk.engine.access("user-1").until, desk.balanced()) == (held.table.end(0), True)
    for tx in sent:
        desk.lose(tx)
        assert (desk.engine.access("user-1").until, desk.balanced()) == (held.table.end(1), True)
        desk.shop.chain.resend(tx)
        desk.settle()
        assert desk.engine.access("user-1").until == held.table.end(0)


def test_a_month_that_may_be_used_all_the_same_stays_when_another_one_comes_back(memory_desk: Desk):
    desk = memory_desk
    _, second, third = ahead(desk, 2)
    (held,) = desk.engine.subscriptions("user-1")
    give_back(desk, third, end_membership=False)
    give_back(desk, second)
    desk.settle()
    assert (desk.engine.access("user-1").until, desk.balanced()) == (held.table.end(2), True)


@pytest.mark.parametrize("seen_before", [True, False])
def test_money_for_a_month_behind_those_that_came_back_brings_none_of_them_back(memory_desk: Desk, seen_before):
    desk = memory_desk
    paid = ahead(desk, 2)
    (held,) = desk.engine.subscriptions("user-1")
    later = desk.shop.checkout("user-1", idempotency_key="one-more").order
    sent = [give_back(desk, order) for order in paid[1:]]
    desk.settle(2)
    if seen_before:
        desk.shop.chain.pay(later)
    desk.settle(1)
    assert desk.engine.access("user-1").until == held.table.end(0)
    if not seen_before:
        desk.shop.chain.pay(later)
    desk.settle()
    assert [(r.allocation, r.reason) for r in desk.engine.receipts(later.ledger_id)] == [("credit", "change_replaced")]
    assert (later.period, desk.engine.access("user-1").until, desk.balanced()) == (3, held.table.end(0), True)
    desk.engine.rescan(desk.shop.network, 0)
    desk.shop.drain()
    assert (desk.engine.access("user-1").until, desk.balanced()) == (held.table.end(0), True)
    desk.lose(*sent)
    assert (desk.engine.access("user-1").until >= held.table.end(2), desk.balanced()) == (True, True)


def test_several_months_that_come_back_in_one_batch(memory_desk: Desk):
    desk = memory_desk
    paid = ahead(desk, 2)
    for order in paid[1:]:
        give_back(desk, order)
    desk.settle()
    (held,) = desk.engine.subscriptions("user-1")
    assert (held.paid_until, desk.balanced()) == (held.table.end(0), True)


def test_a_month_that_has_begun_by_the_time_it_comes_back_ends_it_at_once(memory_desk: Desk):
    desk = memory_desk
    _, second = ahead(desk, 1)
    refund = desk.ready(ledger_id=second.ledger_id, via="transfer")
    (held,) = desk.engine.subscriptions("user-1")
    desk.shop.advance(held.table.start(1) - desk.shop.clock.now() + timedelta(days=3))
    assert desk.engine.access("user-1").allowed
    desk.send(refund)
    desk.settle()
    assert (status(desk), desk.balanced()) == ("ended", True)


@pytest.mark.parametrize("choice", [True, False])
def test_whether_a_month_ahead_is_used_may_be_chosen(memory_desk: Desk, choice):
    desk = memory_desk
    _, second = ahead(desk, 1)
    (held,) = desk.engine.subscriptions("user-1")
    give_back(desk, second, end_membership=choice)
    desk.settle()
    assert status(desk) == ("ended" if choice else "active")
    if not choice:
        assert desk.engine.access("user-1").until == held.paid_until
    assert desk.balanced()


def test_who_had_cancelled_leaves_at_the_end_of_what_is_paid_when_a_refund_disappears(memory_desk: Desk):
    desk = memory_desk
    _, second = ahead(desk, 1)
    (held,) = desk.engine.subscriptions("user-1")
    desk.engine.cancel_subscription(held.subscription_id)
    sent = give_back(desk, second)
    desk.settle()
    assert desk.engine.access("user-1").until == held.table.end(0)
    desk.lose(sent)
    (held,) = desk.engine.subscriptions("user-1")
    assert (held.paid_until, held.cancel_at_period_end, desk.balanced()) == (held.table.end(1), True, True)


def test_in_a_pause_the_month_that_waits_has_not_begun(memory_desk: Desk):
    desk = memory_desk
    desk.policy(on_refund="burn")
    second = desk.shop.buy("user-1")
    (held,) = desk.engine.subscriptions("user-1")
    desk.shop.advance(timedelta(days=2))
    desk.engine.pause_subscription(held.subscription_id, user_id="user-1", reason="holiday")
    desk.shop.advance(timedelta(days=40))
    assert desk.ops.request(ledger_id=second.ledger_id, reason="the first month goes on later").burn is None


@pytest.mark.parametrize("choice", [True, False, None])
def test_who_agrees_may_choose(memory_desk: Desk, choice):
    desk = memory_desk
    desk.limit(1)
    for asked in (True, False):
        refund = desk.ops.request(ledger_id=desk.paid.ledger_id, end_membership=asked, reason="asked")
        agreed = desk.engine.refunds(BOSS).approve(refund.refund_id, end_membership=choice)
        assert (agreed.burn is not None) is (asked if choice is None else choice)
        desk.ops.cancel(refund.refund_id, reason="the next one")
    changes = [e.changes for e in desk.engine.admin(ADMIN).audit(limit=1000) if e.action == "refund.approve"]
    assert [c.get("membership") for c in changes][-1] == ("planned" if choice else None)


def test_what_gives_no_membership_ends_none(memory_desk: Desk):
    desk = memory_desk
    pack = desk.shop.buy("user-1", plan="pack")
    with pytest.raises(Conflict) as refused:
        desk.ops.request(ledger_id=pack.ledger_id, end_membership=True, reason="asked")
    assert refused.value.field == "end_membership"
    desk.policy(on_refund="burn")
    assert desk.ops.request(ledger_id=pack.ledger_id, reason="asked").burn is None
    desk.pay_again()
    double = next(r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")
    with pytest.raises(InputError) as wrong:
        desk.ops.request(receipt_id=double.receipt_id, end_membership=True, reason="asked")
    assert wrong.value.field == "end_membership"
    with pytest.raises(Conflict):
        desk.ops.prepare_burn(desk.ops.request_credit("user-1", reason="asked").refund_id)


def test_a_plain_transfer_gave_no_token_and_its_subscription_ends_all_the_same(memory_desk: Desk):
    desk = memory_desk
    shop, admin = desk.shop, desk.engine.admin(ADMIN)
    admin.create_contract(slug="direct", network=shop.network, address=shop.token.token, kind="erc20")
    admin.create_plan(**plan_fields(shop, "plain", product="plain", contract_slug="direct") | {"prices": desk.prices()})
    challenge = desk.engine.wallet_challenge(
        user_id="user-1", wallet=ALICE.address, network=shop.network, domain="shop.example", uri="https://shop.example/"
    )
    desk.engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=desk.sign(challenge.message))
    offer = shop.checkout("user-1", plan="plain", asset="tUSD", wallet=ALICE.address, idempotency_key="plain")
    shop.chain.transfer(shop.token.token, ALICE.address, shop.treasury, offer.amount)
    desk.settle()
    assert desk.engine.access("user-1", product="plain").allowed
    refund = desk.ending(ledger_id=offer.ledger_id)
    assert refund.burn.status == "ended"
    assert not desk.engine.access("user-1", product="plain").allowed
    (event,) = desk.engine.admin(ADMIN).events(type_="billing.membership.ended.v1")
    assert (event.data["contract"], event.data["token_id"], event.data["burn"]) == (None, None, "ended")
    with pytest.raises(Conflict):
        desk.ops.prepare_burn(refund.refund_id)
    assert desk.engine.access("user-1", product="api").allowed
    assert desk.balanced()


def test_a_month_that_a_person_marked_as_paid_gave_no_token(memory_desk: Desk):
    desk = memory_desk
    offer = desk.shop.checkout("user-2", idempotency_key="k")
    desk.engine.finance(BOSS).mark_paid(offer.ledger_id, reason="in cash")
    desk.shop.chain.pay(
        desk.shop.checkout("user-2", idempotency_key="k2").order
    )  # the second month, through the contract
    desk.settle()
    second = desk.engine.orders("user-2")[0]
    refund = desk.ops.request(ledger_id=second.ledger_id, end_membership=True, reason="asked")
    desk.prove(refund, user_id="user-2")
    desk.ops.prepare(refund.refund_id)
    desk.send(desk.ops.refund(refund.refund_id))
    desk.settle()
    # The token was minted with the first payment through the contract, whichever month that was for.
    assert desk.ops.refund(refund.refund_id).burn.status == "due"
    assert desk.ops.prepare_burn(refund.refund_id).to == second.contract
    third = desk.engine.order(offer.ledger_id).order
    with desk.engine._ports.storage.unit(write=False) as unit:
        assert membership_of(unit, third) == second
        assert membership_of(unit, desk.shop.buy("user-3", plan="pack").order) is None


@pytest.mark.both_databases
def test_a_token_that_its_holder_burned_first_is_burned(desk: Desk):
    refund = desk.ready(end_membership=True)
    desk.burn(refund)
    desk.settle()
    assert (desk.ops.refund(refund.refund_id).burn.status, status(desk)) == ("planned", "active")
    desk.send(refund)
    desk.settle()
    assert (desk.ops.refund(refund.refund_id).burn.status, status(desk)) == ("done", "ended")
    assert desk.told()[-2:] == ["membership.ended", "membership.burned"]


@pytest.mark.both_databases
def test_a_burn_just_before_the_refund_is_done_waits_for_its_own_depth(desk: Desk):
    refund = desk.ready(end_membership=True)
    desk.send(refund)
    desk.settle(1)
    desk.burn(refund)
    desk.settle(1)
    desk.settle(1)
    assert desk.ops.refund(refund.refund_id).burn.status == "confirming"
    desk.settle(1)
    assert desk.ops.refund(refund.refund_id).burn.status == "done"


def test_other_burns_are_nobodys_business(memory_desk: Desk):
    desk = memory_desk
    other = desk.shop.buy("user-2")
    done = desk.ending()
    desk.burn(token_id=subscription_token(other.order.subscription_id))
    desk.burn(token_id=7)
    desk.burn(token_id=2**200)
    desk.burn(done, contract=desk.shop.treasury)
    desk.settle()
    assert desk.ops.refund(done.refund_id).burn.status == "due"
    assert desk.engine.access("user-2").allowed
    assert desk.balanced()


def test_a_membership_that_was_minted_leaves_no_row(memory_desk: Desk):
    desk = memory_desk
    token = subscription_token(desk.paid.order.subscription_id).to_bytes(32)
    desk.mint(token)
    desk.settle(1)
    with desk.engine._ports.storage.unit(write=False) as unit:
        logs = unit.logs_of_transactions(31337, desk.mined())
    assert [log.address for log in logs] == [desk.shop.token.token, desk.shop.contract]  # the payment alone


def test_a_refund_that_is_given_up_ends_nothing(memory_desk: Desk):
    desk = memory_desk
    refund = desk.ready(end_membership=True)
    desk.ops.cancel(refund.refund_id, reason="they stay")
    desk.settle(3)
    assert status(desk) == "active"
    desk.burn(refund)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).burn.evidence is None


@pytest.mark.both_databases
def test_a_refund_that_the_chain_takes_back_leaves_the_end_as_it_is(desk: Desk):
    refund = desk.ready(end_membership=True)
    tx = desk.send(refund)
    desk.settle()
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    undone = desk.ops.refund(refund.refund_id)
    assert (undone.status, undone.burn.status, status(desk)) == ("confirming", "due", "ended")
    assert desk.balanced()
    desk.shop.chain.resend(tx)
    desk.settle()
    assert desk.told().count("membership.ended") == 1
    assert desk.ops.refund(refund.refund_id).burn.status == "due"
    assert desk.balanced()


def test_a_payment_beside_the_refund_in_one_block_disturbs_nothing(memory_desk: Desk, monkeypatch):
    """Both number the customer's events: the end waits for the next batch, and the batch need not be taken apart."""
    desk = memory_desk
    apart: list[object] = []
    monkeypatch.setattr(intake, "_one_by_one", lambda *given: apart.append(given) or intake.IntakeReport())
    refund = desk.ready(end_membership=True)
    offer = desk.shop.checkout("user-1", plan="pack", idempotency_key="beside")
    desk.send(refund)
    desk.shop.chain.pay(offer.order)
    desk.settle()
    assert desk.engine.order(offer.ledger_id).status == "confirmed"
    assert (desk.ops.refund(refund.refund_id).burn.status, status(desk)) == ("due", "ended")
    assert desk.kinds() == ["refund"]
    assert apart == []
    seqs = [e.seq for e in desk.engine.admin(ADMIN).events(aggregate="customer:user-1", limit=100)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert desk.balanced()


def test_what_is_offered_when_it_ends_is_withdrawn(memory_desk: Desk):
    desk = memory_desk
    refund = desk.ready(end_membership=True)
    offer = desk.shop.checkout("user-1", idempotency_key="next-month")
    desk.send(refund)
    desk.settle()
    assert desk.engine.order(offer.ledger_id).status == "cancelled"
    assert "order.cancelled" in desk.told()
    again = desk.shop.checkout("user-1", idempotency_key="anew")
    assert again.order.subscription_id != offer.order.subscription_id
    assert desk.balanced()


def test_a_contract_that_burns_nothing_is_named(memory_desk: Desk):
    desk = memory_desk
    done = desk.ending()
    admin = desk.engine.admin(ADMIN)
    admin.update_contract("checkout", desk.shop.network, version=1, burn_method="cancelSubscription")
    assert desk.ops.prepare_burn(done.refund_id).data[:4] == keccak(b"cancelSubscription(uint256)")[:4]
    admin.update_contract("checkout", desk.shop.network, version=2, burn_method=None)
    with pytest.raises(Conflict) as refused:
        desk.ops.prepare_burn(done.refund_id)
    assert refused.value.field == "burn_method"
    with pytest.raises(InputError):
        admin.update_contract("checkout", desk.shop.network, version=3, burn_method="transferOwnership")


HOLDER, NOBODY, TOKEN_ID = bytes(12) + b"\1" * 20, bytes(32), (5).to_bytes(32)
CHECKOUT = PaymentContract(slug="shop", network="local", chain_id=31337, address="0x" + "C" * 40)
BURN = ChainLog(
    chain_id=31337,
    block_number=1,
    block_hash=b"\1" * 32,
    block_time=datetime(2026, 1, 31, tzinfo=UTC),
    tx_hash=b"\2" * 32,
    log_index=0,
    ordinal=0,
    address=CHECKOUT.address,
    topics=(TRANSFER, HOLDER, NOBODY, TOKEN_ID),
    data=b"",
)


def test_a_burn_is_read():
    burn = decode_burned(BURN, CHECKOUT)
    assert burn is not None
    assert (burn.kind, burn.contract, burn.subscription) == ("burn", CHECKOUT.address, 5)
    assert (burn.payer.lower(), burn.amount) == ("0x" + "01" * 20, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "0x" + "D" * 40},
        {"chain_id": 1},
        {"topics": (TRANSFER, HOLDER, HOLDER, TOKEN_ID)},
        {"topics": (TRANSFER, NOBODY, HOLDER, TOKEN_ID)},
        {"topics": (TRANSFER, HOLDER, NOBODY), "data": TOKEN_ID},
        {"topics": (TRANSFER, b"\1" * 32, NOBODY, TOKEN_ID)},
        {"topics": (keccak(b"Burned(address,address,uint256)"), HOLDER, NOBODY, TOKEN_ID)},
        {"topics": ()},
        {"data": b"\0"},
    ],
    ids=["other contract", "other chain", "moved", "minted", "coin", "no address", "other event", "empty", "data"],
)
def test_what_only_looks_like_a_burn_is_none(changes):
    assert decode_burned(attrs.evolve(BURN, **changes), CHECKOUT) is None


def test_a_membership_that_ends_owing_something_writes_it_off_and_says_that_it_is_over(desk: Desk):
    desk.policy(on_refund="burn")
    desk.shop.advance(days=40)
    assert status(desk) == "past_due"
    desk.send(desk.ready())
    desk.settle()
    assert status(desk) == "ended"
    (owed,) = [o for o in desk.engine.orders("user-1") if o.origin == "renewal"]
    assert (owed.claim, owed.status, desk.engine.subscriptions("user-1")[0].debt) == ("forgiven", "cancelled", 0)
    assert [name for name in desk.told() if name in {"order.forgiven", "subscription.ended"}] == [
        "order.forgiven",
        "subscription.ended",
    ]
    assert desk.balanced()
