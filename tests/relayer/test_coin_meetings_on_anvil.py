"""Refunds in the coin that a person and the relayer see to at the same time."""

from __future__ import annotations

from coin_bench import UNKNOWN, differences, name, now, pay, settle
from relay_bench import Relay
from test_relayed_refunds import OPS, paid_order, proved_refund

from evmbilling.domain.states import RefundStatus


def test_a_refund_whose_transaction_is_named_while_it_waits_to_be_sent_stays_prepared(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    tx_hash = pay(relay, now(relay, refund_id), mine=0)
    name(relay, now(relay, refund_id), tx_hash)
    relay.relay()
    relay.relay(seconds=700)
    assert relay.engine.sending(OPS).transmission(sent.transmission_id).nonce is None
    assert now(relay, refund_id).status is RefundStatus.PREPARED
    relay.node.mine(1)
    settle(relay)
    assert now(relay, refund_id).status is RefundStatus.DONE
    relay.relay(seconds=700)
    assert differences(relay) == []


def test_one_that_was_named_by_mistake_can_be_sent_after_all(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    relay.engine.sending(OPS).send_refund(refund_id)
    name(relay, now(relay, refund_id), UNKNOWN)
    relay.relay()
    relay.engine.refunds(OPS).unname_transaction(refund_id, tx_hash=UNKNOWN)
    relay.engine.sending(OPS).send_refund(refund_id)
    relay.relay(seconds=700)
    settle(relay)
    assert now(relay, refund_id).status is RefundStatus.DONE
    assert differences(relay) == []
