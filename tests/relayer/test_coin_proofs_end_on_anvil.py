"""What the relayer named for a refund in the coin that failed for ever: closed once the chain has ruled it out."""

from __future__ import annotations

from datetime import UTC, datetime

from coin_bench import differences, name_before_it_is_mined, now, pay, prepared, rule_out, settle, told
from relay_bench import Relay, both
from test_relayed_refunds import ALICE, OPS, paid_order, proved_refund

from evmbilling.domain.refunds.proofs import RefundProof
from evmbilling.domain.sending.transmissions import SignedTransaction
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.domain.states import RefundStatus
from evmbilling.testing.merchant import ADMIN, IRREVERSIBLE_DEPTH

EVER = datetime(9999, 1, 1, tzinfo=UTC)


def withdrawn(relay: Relay) -> tuple[str, SignedTransaction]:
    """A refund whose number was used up by a transaction that does nothing; return it and what was signed for it."""
    refund_id = proved_refund(relay, paid_order(relay))
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    relay.relay()
    relay.engine.sending(OPS).withdraw(sent.transmission_id)
    relay.relay(seconds=30)
    first, cancel = relay.engine.sending(OPS).versions(sent.transmission_id)
    assert (first.kind, cancel.kind) == ("send", "cancel")
    relay.node.mine(IRREVERSIBLE_DEPTH + 1)
    relay.relay(seconds=3600)
    assert relay.engine.sending(OPS).transmission(sent.transmission_id).status is T.FAILED
    assert now(relay, refund_id).status is RefundStatus.FAILED
    return refund_id, first


def proof_of(relay: Relay, refund_id: str) -> RefundProof:
    (proof,) = relay.engine.refunds(OPS).transactions(refund_id)
    return proof


def asked_for(relay: Relay) -> int:
    with relay.engine._ports.storage.unit(write=False) as unit:
        return len(unit.due_proofs(relay.node.chain_id, EVER, 100))


def let_go_on(relay: Relay) -> None:
    """A person accepts the branch that stands there now."""
    desk = relay.engine.reader(ADMIN)
    (status,) = desk.status()
    assert status.contested is not None
    number = hex(status.contested.number)
    desk.resume("local", accept=relay.node.rpc("eth_getBlockByNumber", number, False)["hash"])


@both
def test_what_can_never_be_mined_is_not_asked_for_any_more(relay: Relay) -> None:
    refund_id, _ = withdrawn(relay)
    assert (proof_of(relay, refund_id).state, asked_for(relay)) == ("open", 1)
    settle(relay)
    settle(relay)
    assert (proof_of(relay, refund_id).state, proof_of(relay, refund_id).reason) == ("refused", "nonce_used")
    assert asked_for(relay) == 0
    assert differences(relay) == []


@both
def test_what_was_ruled_out_by_a_block_that_goes_is_found_when_it_is_mined_after_all(relay: Relay) -> None:
    """A branch that was called irreversible goes, and somebody sends again what had been signed."""
    refund_id, first = withdrawn(relay)
    settle(relay)
    settle(relay)
    assert proof_of(relay, refund_id).state == "refused"
    relay.node.reorg(IRREVERSIBLE_DEPTH + 2 + 2 * 3)
    relay.node.drop_all()
    relay.node.mine(8)
    settle(relay)
    let_go_on(relay)
    assert proof_of(relay, refund_id).state == "open"
    settle(relay)
    assert (proof_of(relay, refund_id).state, proof_of(relay, refund_id).reason) == ("open", "not_mined")
    relay.node.send_raw("0x" + first.raw.hex())
    settle(relay)
    settle(relay)
    assert (now(relay, refund_id).status, now(relay, refund_id).tx_hash) == (RefundStatus.DONE, first.tx_hash)
    assert told(relay) == ["refund.done"]


@both
def test_what_a_person_named_and_a_block_failed_that_goes_is_found_when_it_succeeds(relay: Relay) -> None:
    """Nobody but that person has to do with it: the relayer signed nothing for this refund."""
    refund = prepared(relay)
    relay.node.set_code(ALICE.address, "0x60006000fd")
    tx_hash = pay(relay, refund)
    raw = name_before_it_is_mined(relay, refund, tx_hash)
    rule_out(relay, raw)
    assert (proof_of(relay, refund.refund_id).state, proof_of(relay, refund.refund_id).reason) == ("refused", "failed")
    relay.node.reorg(IRREVERSIBLE_DEPTH + 6)
    relay.node.drop_all()
    relay.node.set_code(ALICE.address, "0x")
    relay.node.mine(10)
    settle(relay)
    let_go_on(relay)
    assert (proof_of(relay, refund.refund_id).state, proof_of(relay, refund.refund_id).reason) == ("open", "not_mined")
    relay.node.send_raw(raw)
    settle(relay)
    settle(relay)
    assert now(relay, refund).status is RefundStatus.DONE
    assert differences(relay) == []


def test_the_word_of_the_relayer_alone_closes_nothing(relay: Relay) -> None:
    """It saw a branch that the reader never did, and that is gone."""
    refund_id, first = withdrawn(relay)
    relay.node.reorg(IRREVERSIBLE_DEPTH + 2)
    relay.node.drop_all()
    settle(relay)
    assert (proof_of(relay, refund_id).state, proof_of(relay, refund_id).reason) == ("open", "not_mined")
    relay.node.send_raw("0x" + first.raw.hex())
    settle(relay)
    settle(relay)
    assert now(relay, refund_id).status is RefundStatus.DONE


def test_a_version_that_lost_is_looked_for_again_with_the_one_that_won(relay: Relay) -> None:
    """Of one number one transaction is mined: when the chain takes the dearer one back, the cheaper one may be it."""
    refund_id = proved_refund(relay, paid_order(relay))
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    relay.relay()
    relay.relay(seconds=100)
    cheap, dear = relay.engine.sending(OPS).versions(sent.transmission_id)
    settle(relay)
    settle(relay, IRREVERSIBLE_DEPTH + 1)
    settle(relay, 1)
    proofs = {p.tx_hash: p.state for p in relay.engine.refunds(OPS).transactions(refund_id)}
    assert proofs == {dear.tx_hash: "settled", cheap.tx_hash: "refused"}
    relay.node.reorg(IRREVERSIBLE_DEPTH + 6)
    relay.node.drop_all()
    relay.node.mine(10)
    settle(relay)
    let_go_on(relay)
    settle(relay)
    relay.node.send_raw("0x" + cheap.raw.hex())
    settle(relay)
    settle(relay)
    assert (now(relay, refund_id).status, now(relay, refund_id).tx_hash) == (RefundStatus.DONE, cheap.tx_hash)
    assert told(relay) == ["refund.done", "refund.reversed", "refund.done"]
