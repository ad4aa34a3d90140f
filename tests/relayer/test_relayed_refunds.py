"""Refunds that the relayer sends from the treasury that is its own wallet."""

from __future__ import annotations

import pytest
from relay_bench import RELAYER, Relay

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.domain.states import RefundStatus
from evmbilling.errors import ConfigurationError, Conflict, NotFound, PermissionDenied
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.wallet import Wallet
from refund_wallets import prove

ALICE = DEV_ACCOUNTS[1]
OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))


def paid_order(relay: Relay) -> str:
    wallet = Wallet(ALICE.key, relay.node.url)
    offer = relay.shop.checkout("alice", wallet=ALICE.address, asset="ETH")
    sent = wallet.send(offer.payload)
    relay.node.mine(3)
    assert wallet.wait(sent)["status"] == "0x1"
    relay.pass_time(60)
    relay.shop.drain()
    return offer.ledger_id


def proved_refund(relay: Relay, ledger_id: str) -> str:
    refund = relay.engine.refunds(OPS).request(ledger_id=ledger_id, reason="asked", via="transfer")
    prove(relay.engine, refund.refund_id, ALICE)
    return refund.refund_id


def test_a_refund_is_sent_found_on_chain_and_done(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    refunds, sending = relay.engine.refunds(OPS), relay.engine.sending(OPS)
    sent = sending.send_refund(refund_id)
    assert sent.sender == RELAYER.address
    with pytest.raises(Conflict):
        sending.send_refund(refund_id)
    relay.relay()
    assert refunds.refund(refund_id).status is RefundStatus.SUBMITTED
    relay.node.mine(25)
    relay.pass_time(60)
    relay.shop.drain()
    relay.relay(seconds=3600)
    assert sending.transmission(sent.transmission_id).status is T.DONE


def test_a_refund_that_is_cancelled_takes_what_waits_to_be_sent_with_it(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    refunds, sending = relay.engine.refunds(OPS), relay.engine.sending(OPS)
    queued = sending.send_refund(refund_id)
    refunds.cancel(refund_id, reason="not asked for any more")
    withdrawn = sending.transmission(queued.transmission_id)
    assert (withdrawn.status, withdrawn.nonce) == (T.CANCELLED, None)
    told = [e.action for e in relay.engine.admin(ADMIN).audit(object_=f"transmission:{queued.transmission_id}")]
    assert sorted(told) == ["transmission.queue", "transmission.withdraw"]
    before = relay.chain_nonce()
    relay.relay()
    assert (relay.chain_nonce(), sending.versions(queued.transmission_id)) == (before, [])


def test_who_may_send_and_what_is_refused(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    with pytest.raises(PermissionDenied):
        relay.engine.sending(Actor("alice", frozenset())).send_refund(refund_id)
    with pytest.raises(NotFound):
        relay.engine.sending(OPS).send_refund("nobody")
    relay.engine.admin(ADMIN).update_gateway("main", version=2, relayer=DEV_ACCOUNTS[7].key)
    with pytest.raises(Conflict) as other_wallet:
        relay.engine.sending(OPS).send_refund(refund_id)
    assert other_wallet.value.field == "treasury"
    relay.engine.admin(ADMIN).update_gateway("main", version=3, relayer=None)
    with pytest.raises(ConfigurationError) as none:
        relay.engine.sending(OPS).send_refund(refund_id)
    assert none.value.field == "relayer"
