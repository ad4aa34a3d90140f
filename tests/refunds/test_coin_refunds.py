"""Refunds in the coin over each storage: the fold of a token's, whatever happens to chain, reader and people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from refunds_bench import ALICE, BOSS, OPS, Desk

from evmbilling.domain import decisions as d
from evmbilling.domain.actors import Actor
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.refunds.proofs import COIN_PLACE, RefundProof, coin_log, is_coin_log
from evmbilling.domain.states import RefundStatus
from evmbilling.errors import Conflict, NotFound, PermissionDenied
from evmbilling.testing.merchant import ADMIN
from sampling import EVERYTHING

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


class CoinDesk:
    """A desk whose customer has paid an order in the coin."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.shop, self.engine = desk, desk.shop, desk.engine
        self.ops = self.engine.refunds(OPS)
        offer = self.shop.checkout("user-2", asset="ETH")
        self.shop.chain.pay(offer.order)
        self.shop.settle()
        self.paid = self.engine.order(offer.ledger_id)

    def agreed(self, **asked: Any) -> Refund:
        wish = {"ledger_id": self.paid.ledger_id, "reason": "asked", "via": "transfer"} | asked
        return self.desk.prove(self.ops.request(**wish), user_id="user-2")

    def ready(self, **asked: Any) -> Refund:
        refund = self.agreed(**asked)
        self.ops.prepare(refund.refund_id)
        return self.now(refund)

    def pay(self, refund: Refund, **changes: Any) -> bytes:
        """Send it as the treasury's wallet does."""
        payload = self.engine._ports.provider("evm").refund_payload(refund, None)
        status = changes.pop("status", 1)
        return self.shop.chain.call(attrs.evolve(payload, **changes), sender=refund.treasury, status=status)

    def name(self, refund: Refund, tx: bytes) -> RefundProof:
        return self.ops.name_transaction(refund.refund_id, tx_hash="0x" + tx.hex())

    def now(self, refund: Refund) -> Refund:
        return self.ops.refund(refund.refund_id)

    def proof(self, refund: Refund) -> RefundProof:
        return self.ops.transactions(refund.refund_id)[-1]

    def settle(self, blocks: int = 3, minutes: int = 11) -> None:
        self.shop.clock.advance(timedelta(minutes=minutes))
        self.shop.settle(blocks)

    def look(self, minutes: int) -> None:
        """Look at the network without a new block."""
        self.shop.clock.advance(timedelta(minutes=minutes))
        self.engine.read_chain(self.shop.network)

    def done(self, **asked: Any) -> tuple[Refund, bytes]:
        refund = self.ready(**asked)
        tx = self.pay(refund)
        self.name(refund, tx)
        self.settle()
        assert self.now(refund).status is RefundStatus.DONE
        return self.now(refund), tx


@pytest.fixture
def coin(desk: Desk) -> CoinDesk:
    return CoinDesk(desk)


@pytest.fixture
def memory_coin(memory_desk: Desk) -> CoinDesk:
    return CoinDesk(memory_desk)


def test_what_was_named_is_a_movement_with_the_entries_of_a_refund(coin: CoinDesk) -> None:
    refund, tx = coin.done()
    identity = refund.identity
    assert identity is not None
    assert (identity.tx_hash, identity.ordinal) == (tx, COIN_PLACE)
    with coin.engine._ports.storage.unit(write=False) as unit:
        (movement,) = unit.movements([identity]).values()
        entries = [entry for entry in unit.ledger_entries(limit=100) if entry.kind == "refunded"]
    assert (movement.kind, movement.direction, movement.refund_id) == ("refund", "out", refund.refund_id)
    assert (movement.treasury, movement.counterparty, movement.amount) == (
        refund.treasury,
        refund.address,
        refund.amount,
    )
    (entry,) = entries
    assert (entry.identity, entry.ledger_id) == (identity, coin.paid.ledger_id)
    assert "refund.done" in coin.desk.told()
    assert coin.desk.balanced()
    (delta,) = coin.engine.verify().coins
    assert delta.delta == 0


def test_blocks_that_are_read_again_leave_it_where_it_is(coin: CoinDesk) -> None:
    refund, _ = coin.done()
    coin.settle(3)
    coin.engine.rescan("local", 1)
    coin.settle(1)
    assert coin.now(refund).status is RefundStatus.DONE
    (status,) = coin.engine.reader(ADMIN).status()
    assert status.contested is None
    assert coin.desk.balanced()


def test_a_block_that_was_called_irreversible_and_goes_is_undone_and_found_again(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund, tx = coin.done()
    coin.settle(60)
    coin.settle(1)
    assert coin.proof(refund).state == "settled"
    chain = coin.shop.chain
    block = chain.block_of(tx)
    assert block is not None
    chain.reorganise(chain.head.number - block.number + 1, keep=[h for h in coin.desk.mined() if h != tx])
    coin.settle(1)
    reader = coin.engine.reader(ADMIN)
    (status,) = reader.status()
    assert status.contested is not None
    there = chain.header(status.contested.number)
    assert there is not None
    reader.resume("local", accept="0x" + there.hash.hex())
    coin.settle(3)
    assert (coin.now(refund).status, coin.now(refund).evidence) == (RefundStatus.CONFIRMING, None)
    assert (coin.proof(refund).state, coin.proof(refund).reason) == ("open", "not_mined")
    chain.resend(tx)
    coin.settle(3)
    assert coin.now(refund).status is RefundStatus.DONE
    assert coin.desk.balanced()


def test_a_refund_that_nobody_prepared_counts_as_prepared_when_its_transaction_is_named(coin: CoinDesk) -> None:
    refund = coin.agreed()
    tx = coin.pay(refund)
    coin.name(refund, tx)
    assert coin.now(refund).status is RefundStatus.PREPARED
    entries = coin.engine.admin(ADMIN).audit(object_=f"refund:{refund.refund_id}")
    told = {entry.action: entry for entry in entries}
    assert told["refund.transaction"].actor == "ops"
    assert told["refund.transaction"].changes["tx_hash"] == "0x" + tx.hex()
    assert "refund.prepare" in told
    assert coin.desk.balanced()
    coin.settle()
    assert coin.now(refund).status is RefundStatus.DONE
    assert coin.desk.balanced()


def test_one_that_was_given_up_and_left_all_the_same_is_accounted_for(coin: CoinDesk) -> None:
    refund = coin.ready()
    coin.ops.cancel(refund.refund_id, reason="not asked for")
    coin.name(refund, coin.pay(refund))
    coin.settle()
    assert coin.now(refund).status is RefundStatus.DONE
    assert coin.desk.balanced()


def test_the_membership_ends_with_it_as_with_any_refund(coin: CoinDesk) -> None:
    refund, _ = coin.done(end_membership=True)
    assert not coin.engine.access("user-2").allowed
    assert coin.now(refund).burn is not None
    assert coin.now(refund).burn.status == "due"  # type: ignore[union-attr]  # said above
    assert "membership.ended" in coin.desk.told()


def test_credit_in_the_coin_goes_back_in_the_same_way(coin: CoinDesk) -> None:
    coin.shop.chain.pay(coin.paid.order)
    coin.settle()
    (held,) = coin.ops.credit("user-2")
    asked = coin.ops.request_credit("user-2", asset="ETH", network="local", reason="paid twice")
    refund = coin.desk.prove(asked, user_id="user-2")
    coin.ops.prepare(refund.refund_id)
    coin.name(refund, coin.pay(coin.now(refund)))
    coin.settle()
    assert coin.now(refund).status is RefundStatus.DONE
    assert (held.held, coin.ops.credit("user-2")) == (coin.paid.amount, [])
    assert coin.desk.balanced()


def test_a_transaction_that_failed_may_yet_succeed_until_its_block_is_irreversible(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund = coin.ready()
    tx = coin.pay(refund, status=0)
    coin.name(refund, tx)
    coin.settle()
    assert (coin.proof(refund).state, coin.proof(refund).reason) == ("open", "failed")
    coin.settle(60)
    coin.settle(1)
    assert (coin.proof(refund).state, coin.proof(refund).reason) == ("refused", "failed")
    with pytest.raises(Conflict) as failed:
        coin.name(refund, tx)
    assert failed.value.details["reason"] == "failed"
    assert coin.now(refund).status is RefundStatus.PREPARED


@pytest.mark.fault("C12")
def test_c12_what_nobody_mines_is_asked_for_ever_more_rarely_told_once_and_found_all_the_same(coin: CoinDesk) -> None:
    refund = coin.ready()
    tx = coin.pay(refund)
    chain = coin.shop.chain
    chain.drop(tx)
    coin.name(refund, tx)
    looks = []
    for day in range(30):
        before = coin.proof(refund).looks
        hours = 6 if day and not EVERYTHING else 1
        for _ in range(0, 24, hours):
            coin.look(minutes=60 * hours)
        looks.append(coin.proof(refund).looks - before)
    assert (looks[0] > 20, looks[-1]) == (True, 1)
    (told,) = coin.engine.admin(ADMIN).events(type_="billing.refund.not_mined.v1")
    assert (told.data["refund_id"], told.data["tx_hash"]) == (refund.refund_id, "0x" + tx.hex())
    assert (coin.proof(refund).state, coin.proof(refund).reason) == ("open", "missing")
    chain.resend(tx)
    coin.settle(3, minutes=1)
    assert coin.now(refund).status is RefundStatus.PREPARED
    again = coin.name(refund, tx)
    assert again.next_at == coin.shop.clock.now()
    assert coin.name(refund, tx) == again
    coin.settle(1, minutes=1)
    assert coin.now(refund).status is RefundStatus.DONE
    assert coin.desk.balanced()


def test_a_second_transaction_of_one_refund_is_not_this_refund(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund = coin.ready()
    first, second = coin.pay(refund), coin.pay(refund)
    for tx in (first, second):
        coin.name(refund, tx)
    coin.settle()
    coin.settle(60)
    coin.settle(1)
    states = sorted((p.state, p.reason) for p in coin.ops.transactions(refund.refund_id))
    assert states == [("refused", "paid_by_another"), ("settled", None)]
    assert coin.desk.told().count("refund.done") == 1
    assert coin.desk.balanced()
    (delta,) = coin.engine.verify().coins
    assert delta.delta == -refund.amount  # what the treasury paid twice is reported


def test_who_may_name_and_what_cannot_be_named(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund = coin.agreed(amount=1000)
    tx = coin.pay(refund)
    with pytest.raises(PermissionDenied):
        coin.engine.refunds(Actor("user-2", frozenset())).name_transaction(refund.refund_id, tx_hash="0x" + tx.hex())
    with pytest.raises(NotFound):
        coin.ops.name_transaction("nobody", tx_hash="0x" + tx.hex())
    with pytest.raises(NotFound) as unnamed:
        coin.ops.unname_transaction(refund.refund_id, tx_hash="0x" + tx.hex())
    assert unnamed.value.field == "tx_hash"
    token = coin.desk.ready(amount=5)
    unproved = coin.ops.request(ledger_id=coin.paid.ledger_id, amount=5, reason="asked", via="transfer")
    for one, field in ((token, "refund_id"), (unproved, "address")):
        with pytest.raises(Conflict) as refused:
            coin.name(one, tx)
        assert refused.value.field == field
    coin.desk.policy(approval_above={"ETH": 1})
    waits = coin.desk.prove(
        coin.ops.request(ledger_id=coin.paid.ledger_id, amount=7, reason="asked", via="transfer"), user_id="user-2"
    )
    with pytest.raises(Conflict) as waiting:
        coin.name(waits, tx)
    assert waiting.value.details["reason"] == "requested"
    assert coin.engine.refunds(BOSS).transactions(waits.refund_id) == []


def test_a_node_that_is_silent_leaves_it_for_the_next_reading(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund = coin.ready()
    tx = coin.pay(refund)
    coin.shop.chain.mine(3)
    coin.shop.chain.fail(1)
    assert coin.name(refund, tx).state == "open"
    coin.settle()
    assert coin.now(refund).status is RefundStatus.DONE


def test_a_transaction_in_the_books_as_something_else_is_refused(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund = coin.ready()
    tx = coin.pay(refund)
    coin.shop.chain.mine(1)
    coin.settle()
    with coin.engine._ports.storage.unit() as unit:
        cursor = unit.cursor(31337)
        assert cursor is not None
        sent = coin.shop.chain.transactions([tx])[tx]
        made = coin_log(31337, sent, cursor.block)
        log = attrs.evolve(made, ordinal=0, log_index=0, address=coin.shop.token.token)
        unit.apply([d.RecordEvidence(cursor=cursor, headers=(), logs=(log,), keep_from=0)])
    with pytest.raises(Conflict) as counted:
        coin.name(refund, tx)
    assert counted.value.details["reason"] == "counted"
    assert is_coin_log(made)
    assert not is_coin_log(log)


def test_a_proof_that_somebody_turned_to_another_refund_is_named_by_verification(memory_coin: CoinDesk) -> None:
    coin = memory_coin
    refund, tx = coin.done(amount=1000)
    other = coin.ready(amount=1000)
    with coin.engine._ports.storage.unit() as unit:
        (proof,) = unit.proofs(31337, [tx])
        unit.apply([d.StoreProof(attrs.evolve(proof, refund_id=other.refund_id, version=proof.version + 1))])
    found = [(one.code, one.subject, one.reason) for one in coin.engine.verify().differences]
    assert found == [("refund_evidence_differs", f"refund:{refund.refund_id}", "content")]
    assert ALICE.address == refund.address
