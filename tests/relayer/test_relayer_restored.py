"""A database that was restored from a backup: what was sent since the backup is not sent once more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from relay_bench import BOB, HOUR, RELAYER, Relay
from test_relayed_refunds import ALICE, OPS, proved_refund

from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.domain.states import RefundStatus
from evmbilling.testing.deploy import Deployed, calldata, transact
from evmbilling.testing.wallet import Wallet

PRICE = 19_990_000


def paid_in_token(relay: Relay) -> str:
    """An order that Alice has paid in the token: what goes back leaves a log."""
    wallet = Wallet(ALICE.key, relay.node.url)
    token = relay.shop.token.token
    mint = Deployed(name="TestToken", address=token, block=0), "mint"
    # The treasury holds other people's money, too: what stops a second refund must not be that there is none.
    for holder in (ALICE.address, RELAYER.address):
        transact(relay.node, *mint, holder, PRICE, sender=ALICE.address)
    offer = relay.shop.checkout("alice", wallet=ALICE.address, asset="tUSD")
    sent = wallet.pay(relay.engine.pay_instructions(offer.ledger_id))
    settle(relay)
    wallet.wait(sent)
    assert relay.engine.order(offer.ledger_id).status == "confirmed"
    return offer.ledger_id


def settle(relay: Relay) -> None:
    relay.node.mine(3)
    relay.pass_time(60)
    relay.shop.drain()


def returned(relay: Relay) -> int:
    """What Alice has got back, in base units."""
    call = {"to": relay.shop.token.token, "data": "0x" + calldata("TestToken", "balanceOf", ALICE.address).hex()}
    return int(relay.node.rpc("eth_call", call, "latest"), 16)


@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize("queued", [True, False])
@pytest.mark.parametrize("read_first", [True, False])
def test_a_refund_that_was_sent_after_the_backup_is_not_sent_again(open_relay, url, tmp_path, queued, read_first):
    """Whether the backup has it in the relayer's queue or only prepared, and whoever is first after the restore."""
    relay = open_relay()
    refund_id = proved_refund(relay, paid_in_token(relay))
    if queued:
        relay.engine.sending(OPS).send_refund(refund_id)
    else:
        relay.engine.refunds(OPS).prepare(refund_id)

    def leaves(relay: Relay) -> None:
        if not queued:
            relay.engine.sending(OPS).send_refund(refund_id)
        relay.relay()
        relay.node.mine(3)
        assert returned(relay) == PRICE

    restored = forgotten(open_relay, relay, url, tmp_path, leaves)
    if read_first:
        settle(restored)
    elif not queued:
        restored.engine.sending(OPS).send_refund(refund_id)
    for _ in range(3):
        restored.relay(seconds=3600)
        restored.node.mine(1)
    assert returned(restored) == PRICE
    settle(restored)
    restored.relay(seconds=3600)
    restored.node.mine(1)
    assert returned(restored) == PRICE
    assert restored.engine.refunds(OPS).refund(refund_id).status is RefundStatus.DONE
    assert {one.status for one in restored.engine.sending(OPS).transmissions()} <= {T.CANCELLED, T.FAILED}
    assert [d.code for d in restored.engine.verify().differences if d.code != "unproved"] == []


def test_what_the_wallet_sent_by_hand_holds_a_refund_up_until_it_is_read(open_relay):
    relay = open_relay()
    refund_id = proved_refund(relay, paid_in_token(relay))
    Wallet(RELAYER.key, relay.node.url).approve(
        token=relay.shop.token.token, spender=BOB.address, amount=1, chain_id=relay.node.chain_id
    )
    relay.node.mine(1)
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    relay.relay()
    waits = relay.engine.sending(OPS).transmission(sent.transmission_id)
    assert (waits.status, waits.failure_reason) == (T.QUEUED, "not_read")
    settle(relay)
    relay.relay(seconds=3600)
    relay.node.mine(1)
    assert returned(relay) == PRICE
    settle(relay)
    assert relay.engine.refunds(OPS).refund(refund_id).status is RefundStatus.DONE


def again(open_relay, shop) -> Relay:
    """Another process over the same database."""
    relay = open_relay()
    relay.shop = attrs.evolve(shop, engine=relay.engine)
    return relay


def forgotten(open_relay, relay: Relay, url: str, tmp_path: Path, leaves: Callable[[Relay], None]) -> Relay:
    """Let a process do something, restore the database of before, and return a process over that."""
    shop = relay.shop
    relay.close()
    file, backup = url.removeprefix("sqlite:///"), tmp_path / "backup.db"
    shutil.copy(file, backup)
    relay = again(open_relay, shop)
    leaves(relay)
    relay.close()
    shutil.copy(backup, file)
    return again(open_relay, shop)


def test_what_else_the_wallet_sends_after_a_restore_does_not_hide_what_it_had_sent(open_relay, url, tmp_path):
    """A transaction that is no refund gets a nonce first; the ones before it are still those nobody knows of."""
    relay = open_relay()
    refund_id = proved_refund(relay, paid_in_token(relay))
    relay.errand(0, value=1, not_after=relay.clock.now() + 24 * HOUR)  # by its id the first in the queue
    relay.engine.sending(OPS).send_refund(refund_id)

    def leaves(relay: Relay) -> None:
        relay.relay()
        relay.node.mine(3)
        assert returned(relay) == PRICE

    restored = forgotten(open_relay, relay, url, tmp_path, leaves)
    for _ in range(3):
        restored.relay(seconds=3600)
        restored.node.mine(1)
    assert returned(restored) == PRICE
    settle(restored)
    for _ in range(3):
        restored.relay(seconds=3600)
        restored.node.mine(1)
    assert returned(restored) == PRICE
    assert restored.engine.refunds(OPS).refund(refund_id).status is RefundStatus.DONE
    assert restored.now(0).status in {T.MINED, T.DONE}
