"""Where refunds in the coin meet what else a finance desk does."""

from __future__ import annotations

import pytest
from refunds_bench import BOSS, Desk
from test_coin_refunds import CoinDesk

from evmbilling.domain.states import RefundStatus
from evmbilling.errors import Conflict

NOWHERE = b"\xab" * 32


@pytest.fixture
def coin(memory_desk: Desk) -> CoinDesk:
    return CoinDesk(memory_desk)


def test_a_transaction_that_is_named_does_not_stand_in_for_a_second_person(coin: CoinDesk) -> None:
    """Naming one that is nowhere, and taking it back, would have let one person prepare what needs two."""
    coin.desk.policy(approval_above={"ETH": coin.paid.amount - 1})
    half = coin.paid.amount // 2
    other = coin.shop.checkout("user-3", asset="ETH")
    coin.shop.chain.pay(other.order)
    coin.shop.settle()
    theirs = coin.desk.prove(
        coin.ops.request(ledger_id=other.ledger_id, amount=half, reason="asked", via="transfer"), user_id="user-3"
    )
    coin.ops.prepare(theirs.refund_id)
    mine = coin.agreed(amount=half)
    with pytest.raises(Conflict) as refused:
        coin.ops.prepare(mine.refund_id)
    assert refused.value.details["reason"] == "above_limit"
    with pytest.raises(Conflict) as refused:
        coin.name(mine, NOWHERE)
    assert refused.value.details["reason"] == "above_limit"
    assert coin.now(mine).status is RefundStatus.APPROVED
    assert coin.ops.transactions(mine.refund_id) == []

    coin.engine.refunds(BOSS).approve(mine.refund_id)
    tx = coin.pay(mine)
    coin.name(mine, tx)
    coin.settle()
    assert coin.now(mine).status is RefundStatus.DONE


def test_what_the_treasury_sent_before_the_payment_is_not_its_refund(coin: CoinDesk) -> None:
    """It may have paid the same person as much before, for another reason."""
    first = coin.ready(amount=1000)
    old = coin.pay(first)
    coin.ops.cancel(first.refund_id, reason="not named, and so not known")
    coin.settle()
    later = coin.shop.checkout("user-3", asset="ETH")
    coin.shop.chain.pay(later.order)
    coin.settle()
    made = coin.ops.request(ledger_id=later.ledger_id, amount=1000, reason="asked", via="transfer")
    refund = coin.desk.prove(made, user_id="user-3")
    with pytest.raises(Conflict) as refused:
        coin.name(refund, old)
    assert refused.value.details["reason"] == "too_early"
    assert coin.now(refund).status is RefundStatus.APPROVED
    coin.ops.prepare(refund.refund_id)
    coin.name(refund, coin.pay(refund))
    coin.settle()
    assert coin.now(refund).status is RefundStatus.DONE


def test_what_was_given_up_is_named_for_another_refund_once_it_is_taken_back(coin: CoinDesk) -> None:
    first = coin.ready()
    tx = NOWHERE
    coin.name(first, tx)
    coin.ops.cancel(first.refund_id, reason="asked for anew")
    second = coin.ready()
    with pytest.raises(Conflict) as refused:
        coin.name(second, tx)
    assert refused.value.details["reason"] == "named_for_another"
    coin.ops.unname_transaction(first.refund_id, tx_hash="0x" + tx.hex())
    coin.name(second, tx)
    assert coin.proof(second).refund_id == second.refund_id
    assert coin.ops.transactions(first.refund_id) == []


def test_a_rescan_from_before_it_leaves_a_refund_and_its_books_alone(coin: CoinDesk) -> None:
    refund, _ = coin.done()
    before = coin.desk.books()
    for _ in range(3):
        coin.engine.rescan("local", 1)
        coin.settle(1, minutes=1)
        coin.settle(1)
        assert coin.now(refund).status is RefundStatus.DONE
    assert coin.desk.books() == before
    assert [d.code for d in coin.engine.verify().differences] == []
