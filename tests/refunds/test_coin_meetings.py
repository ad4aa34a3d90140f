"""Where refunds in the coin meet what else a finance desk does."""

from __future__ import annotations

from datetime import timedelta

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
