"""Where an order stands, folded from its receipts."""

from __future__ import annotations

import attrs
import pytest
from domain_records import at, order, receipt
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.payments.paying import completing_receipt
from evmbilling.domain.states import ORDER_MOVES, OrderStatus, ReceiptStatus, check_reachable
from evmbilling.domain.subscriptions.standing import order_standing
from evmbilling.errors import IllegalTransition

S, R = OrderStatus, ReceiptStatus
PAYABLE = [S.PENDING, S.PARTIALLY_PAID, S.CONFIRMING]


def receipts(*pairs):
    return [receipt(amount, status, number=n + 1) for n, (amount, status) in enumerate(pairs)]


# before, (amount, status) of receipts to an order of 100, after
TABLE = [
    (S.PENDING, [], S.PENDING),
    (S.PENDING, [(100, R.SEEN)], S.CONFIRMING),
    (S.PENDING, [(100, R.CREDITED)], S.CONFIRMED),
    (S.PENDING, [(100, R.FINAL)], S.FINAL),
    (S.PENDING, [(100, R.GONE)], S.PENDING),
    (S.PENDING, [(99, R.SEEN)], S.PARTIALLY_PAID),
    (S.PENDING, [(99, R.CREDITED)], S.PARTIALLY_PAID),
    (S.PENDING, [(101, R.CREDITED)], S.CONFIRMED),
    (S.PENDING, [(60, R.CREDITED), (40, R.SEEN)], S.CONFIRMING),
    (S.PENDING, [(60, R.CREDITED), (40, R.CREDITED)], S.CONFIRMED),
    (S.PENDING, [(60, R.FINAL), (40, R.CREDITED)], S.CONFIRMED),
    (S.PENDING, [(60, R.FINAL), (40, R.FINAL)], S.FINAL),
    (S.PENDING, [(100, R.FINAL), (100, R.CREDITED)], S.FINAL),
    (S.PENDING, [(60, R.GONE), (40, R.SEEN)], S.PARTIALLY_PAID),
    (S.CONFIRMING, [(100, R.SEEN)], S.CONFIRMING),
    (S.CONFIRMING, [(100, R.GONE)], S.PENDING),
    (S.CONFIRMING, [(60, R.SEEN), (40, R.GONE)], S.PARTIALLY_PAID),
    (S.CONFIRMING, [(100, R.CREDITED)], S.CONFIRMED),
    (S.CONFIRMING, [(100, R.FINAL)], S.FINAL),
    (S.PARTIALLY_PAID, [(60, R.CREDITED), (40, R.CREDITED)], S.CONFIRMED),
    (S.PARTIALLY_PAID, [(60, R.GONE)], S.PENDING),
    (S.PARTIALLY_PAID, [(60, R.REVERSED)], S.PENDING),
    (S.CONFIRMED, [(100, R.CREDITED)], S.CONFIRMED),
    (S.CONFIRMED, [(100, R.FINAL)], S.FINAL),
    (S.CONFIRMED, [(100, R.DISPUTED)], S.CONFIRMED),
    (S.CONFIRMED, [(100, R.REVERSED)], S.REVERSED),
    (S.CONFIRMED, [(60, R.CREDITED), (40, R.REVERSED)], S.REVERSED),
    (S.CONFIRMED, [(100, R.SEEN)], S.REVERSED),
    (S.FINAL, [(100, R.FINAL)], S.FINAL),
    (S.FINAL, [(100, R.DISPUTED)], S.FINAL),
    (S.FINAL, [(100, R.CREDITED)], S.FINAL),
    (S.FINAL, [(100, R.REVERSED)], S.REVERSED),
    (S.REVERSED, [(100, R.REVERSED)], S.REVERSED),
    (S.REVERSED, [(100, R.SEEN)], S.CONFIRMING),
    (S.REVERSED, [(100, R.CREDITED)], S.CONFIRMED),
    (S.REVERSED, [(40, R.SEEN)], S.REVERSED),
    (S.SUBMITTED, [], S.SUBMITTED),
    (S.CANCELLED, [], S.PENDING),
    (S.SUPERSEDED, [(40, R.CREDITED)], S.PARTIALLY_PAID),
    (S.SUBMITTED, [(100, R.SEEN)], S.CONFIRMING),
    (S.UNKNOWN, [], S.UNKNOWN),
    (S.UNKNOWN, [(100, R.CREDITED)], S.CONFIRMED),
    (S.FAILED, [], S.PENDING),
    (S.FAILED, [(100, R.SEEN)], S.CONFIRMING),
]


@pytest.mark.parametrize(("before", "paid", "after"), TABLE)
def test_an_order_stands_where_its_receipts_leave_it(before, paid, after):
    assert order_standing(order(status=before), receipts(*paid)).status is after


CLOSED = [S.EXPIRED, S.CANCELLED, S.SUPERSEDED]


@pytest.mark.parametrize("reason", CLOSED)
def test_a_closed_order_is_confirmed_by_late_money_and_closed_again_without_it(reason):
    closed = order_standing(order(closed_as=reason), [])
    assert closed.status is reason
    seen = order_standing(closed, receipts((100, R.SEEN)))
    assert seen.status is S.CONFIRMING
    assert order_standing(seen, receipts((100, R.GONE))).status is reason
    assert order_standing(closed, receipts((40, R.SEEN))).status is reason
    assert order_standing(closed, receipts((100, R.FINAL))).status is S.FINAL


@pytest.mark.parametrize("reason", CLOSED)
@pytest.mark.parametrize("paid", [S.CONFIRMED, S.FINAL])
def test_a_closed_order_that_was_paid_is_reversed_first(reason, paid):
    reversed_ = order_standing(order(status=paid, closed_as=reason), receipts((100, R.REVERSED)))
    assert reversed_.status is S.REVERSED
    later = order_standing(reversed_, receipts((100, R.REVERSED)))
    assert later.status is (S.EXPIRED if reason is S.EXPIRED else S.REVERSED)
    assert order_standing(later, receipts((100, R.CREDITED))).status is S.CONFIRMED


def test_a_reversed_order_expires_when_its_deadline_has_passed():
    gone = receipts((100, R.REVERSED))
    assert order_standing(order(status=S.REVERSED, closed_as=S.EXPIRED), gone).status is S.EXPIRED


@pytest.mark.fault("C05")
def test_c05_credit_is_taken_back_and_restored_without_end():
    now = order()
    steps = [(R.CREDITED, S.CONFIRMED), (R.REVERSED, S.REVERSED), (R.SEEN, S.CONFIRMING), (R.CREDITED, S.CONFIRMED)]
    for status, expected in [*steps, *steps[1:], (R.FINAL, S.FINAL)]:
        now = order_standing(now, receipts((100, status)))
        assert now.status is expected
        assert (now.completion is not None) == (expected in (S.CONFIRMED, S.FINAL))


@pytest.mark.fault("C01")
def test_c01_a_payment_that_was_never_deep_enough_leaves_nothing():
    seen = order_standing(order(), receipts((100, R.SEEN)))
    assert (seen.status, seen.completion) == (S.CONFIRMING, None)
    assert order_standing(seen, receipts((100, R.GONE))) == order()


@pytest.mark.fault("B01")
@pytest.mark.parametrize(("missing", "status"), [(1, S.PARTIALLY_PAID), (0, S.CONFIRMED), (-1, S.CONFIRMED)])
def test_b01_one_base_unit_less_is_partial(missing, status):
    price = 2**255
    paid = [receipt(price - missing)]
    assert order_standing(order(price), paid).status is status


@pytest.mark.parametrize("allocation", ["credit", "suspense"])
def test_money_that_is_not_the_orders_does_not_pay_it(allocation):
    assert order_standing(order(), [receipt(allocation=allocation)]).status is S.PENDING
    assert order_standing(order(), [receipt(ledger_id="another")]).status is S.PENDING


def test_a_free_order_waits_for_a_receipt():
    assert order_standing(order(0), []).status is S.PENDING


@pytest.mark.parametrize(("before", "paid"), [(S.SUBMITTED, [(40, R.SEEN)]), (S.UNKNOWN, [(40, R.SEEN)])])
def test_what_the_table_does_not_have_is_a_typed_error(before, paid):
    with pytest.raises(IllegalTransition):
        order_standing(order(status=before), receipts(*paid))


def test_the_completion_is_the_receipt_that_reached_the_amount_in_chain_order():
    first, second, third = receipts((60, R.CREDITED), (40, R.FINAL), (10, R.CREDITED))
    paid = order_standing(order(), [third, second, first])
    assert paid.completion.tx_hash == second.identity.tx_hash
    assert paid.completion.confirmed_at == second.evidence.block_time
    assert (paid.completion.block_number, paid.completion.log_index) == (102, 3)
    assert completing_receipt(order(), [first]) is None
    assert completing_receipt(order(), [receipt(100, R.SEEN)]) is None


@pytest.mark.fault("C03")
def test_c03_the_same_payment_in_another_block_is_one_credit_with_new_evidence():
    before = receipt()
    evidence = attrs.evolve(before.evidence, block_number=200, block_hash=b"\7" * 32, log_index=0, block_time=at(1))
    paid = order_standing(order(), [before])
    moved = order_standing(paid, [attrs.evolve(before, evidence=evidence)])
    assert (paid.status, moved.status) == (S.CONFIRMED, S.CONFIRMED)
    assert (moved.completion.block_number, moved.completion.log_index) == (200, 0)
    assert moved.completion.tx_hash == paid.completion.tx_hash


paid_statuses = st.lists(st.tuples(st.integers(0, 120), st.sampled_from(list(R))), max_size=6)


@pytest.mark.fault("B04")
@given(paid=paid_statuses, before=st.sampled_from([*PAYABLE, S.CONFIRMED, S.FINAL, S.REVERSED]), data=st.data())
def test_b04_the_order_of_receipts_never_matters(paid, before, data):
    facts = receipts(*paid)
    shuffled = data.draw(st.permutations(facts))
    assert order_standing(order(status=before), facts) == order_standing(order(status=before), shuffled)


@given(paid=paid_statuses, before=st.sampled_from([*PAYABLE, S.CONFIRMED, S.FINAL, S.REVERSED]))
def test_folding_again_settles_after_one_more_move(paid, before):
    facts = receipts(*paid)
    once = order_standing(order(status=before), facts)
    twice = order_standing(once, facts)
    assert order_standing(twice, facts) == twice
    if before not in (S.CONFIRMED, S.FINAL):
        assert twice == once


@given(history=st.lists(paid_statuses, max_size=8), closed=st.sampled_from([None, *CLOSED]))
def test_no_history_of_receipts_leaves_the_state_table(history, closed):
    now = order_standing(order(closed_as=closed), [])
    for paid in history:
        after = order_standing(now, receipts(*paid))
        check_reachable(ORDER_MOVES, now.status, after.status)
        assert (after.completion is not None) == (after.status in (S.CONFIRMED, S.FINAL))
        now = after


@given(paid=paid_statuses)
def test_an_order_is_paid_exactly_when_supporting_money_reaches_its_amount(paid):
    supporting = sum(amount for amount, status in paid if status in (R.CREDITED, R.FINAL, R.DISPUTED))
    assert (order_standing(order(), receipts(*paid)).status in (S.CONFIRMED, S.FINAL)) == (supporting >= 100)
