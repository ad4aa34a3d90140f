"""Our own transactions on a real chain: sent once, followed to the end, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from relay_bench import BOB, RELAYER, Relay, both

from evmbilling.adapters.evm.transmitter import EvmTransmitter
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.testing.deploy import deploy_token
from evmbilling.testing.merchant import ADMIN, IRREVERSIBLE_DEPTH


def finish(relay: Relay) -> None:
    relay.node.mine(IRREVERSIBLE_DEPTH)
    relay.relay(seconds=3600)


def test_it_is_sent_mined_and_done_once_no_block_can_take_it_back(relay: Relay) -> None:
    before = relay.held()
    relay.errand(7)
    assert relay.relay().signed == 1
    assert relay.now(7).status is T.SUBMITTED
    relay.node.mine()
    relay.relay()
    assert relay.now(7).status is T.MINED
    relay.node.mine(IRREVERSIBLE_DEPTH - 2)
    relay.relay(seconds=3600)
    assert relay.now(7).status is T.MINED
    relay.node.mine()
    relay.relay(seconds=3600)
    done = relay.now(7)
    assert done.status is T.DONE
    assert done.mined is not None
    assert done.mined.gas_paid > 0
    assert relay.held() == before + 7
    assert relay.relay(seconds=3600).lanes == 0


def test_what_it_cost_is_in_the_books(relay: Relay) -> None:
    relay.errand()
    relay.relay()
    finish(relay)
    with relay.engine._ports.storage.unit(write=False) as unit:
        (entry,) = [e for e in unit.ledger_entries() if e.kind == "gas"]
    assert sum(line.amount for line in entry.lines if line.account == "gas") == relay.now().mined.gas_paid
    assert not [d for d in relay.engine.verify().differences if d.code != "unproved"]


def test_several_of_one_sender_get_nonces_in_a_row(relay: Relay) -> None:
    first = relay.chain_nonce()
    for number in range(1, 6):
        relay.errand(number)
    relay.relay()
    assert [relay.now(n).nonce for n in range(1, 6)] == [first + n for n in range(5)]
    before = relay.held()
    finish(relay)
    assert {relay.now(n).status for n in range(1, 6)} == {T.DONE}
    assert relay.held() - before == 15


@pytest.mark.fault("R19")
@pytest.mark.parametrize("reaches", [True, False])
def test_r19_a_reply_that_never_comes_leaves_it_unknown_and_never_sends_another(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, reaches: bool
) -> None:
    sends: list[bytes] = []
    send = EvmTransmitter.send

    def lossy(self: EvmTransmitter, raw: bytes) -> str:
        sends.append(raw)
        if len(sends) == 1:
            if reaches:
                send(self, raw)
            return "no_answer"
        return send(self, raw)

    monkeypatch.setattr(EvmTransmitter, "send", lossy)
    before = relay.held()
    relay.errand(9)
    relay.relay()
    unknown = relay.now(9)
    assert (unknown.status, unknown.failure_reason) == (T.UNKNOWN, "no_answer")
    relay.relay()
    relay.node.mine()
    finish(relay)
    assert relay.now(9).status is T.DONE
    assert relay.held() - before == 9
    assert len(set(sends)) == 1, "the same bytes each time"


def test_a_reorg_takes_it_back_and_it_is_sent_again(relay: Relay) -> None:
    before = relay.held()
    relay.errand(4)
    relay.relay()
    relay.node.mine(2)
    relay.relay()
    assert relay.now(4).status is T.MINED
    relay.node.reorg(2)
    assert relay.held() == before
    relay.relay(seconds=30)
    assert relay.now(4).status in {T.SUBMITTED, T.UNKNOWN}
    relay.relay(seconds=30)
    finish(relay)
    assert relay.now(4).status is T.DONE
    assert relay.held() - before == 4
    assert len(relay.versions(4)) == 1


@pytest.mark.fault("C10")
def test_c10_one_that_waits_too_long_is_replaced_by_one_that_pays_more(relay: Relay) -> None:
    relay.errand(3)
    relay.relay()
    before = relay.held()
    relay.relay(seconds=120)
    old, new = relay.versions(3)
    assert new.max_fee * 8 >= old.max_fee * 9
    assert new.priority_fee > old.priority_fee
    assert relay.now(3).status is T.SUBMITTED
    relay.node.mine()
    assert relay.node.receipt("0x" + old.tx_hash.hex()) is None
    finish(relay)
    done = relay.now(3)
    assert (done.status, done.mined.tx_hash) == (T.DONE, new.tx_hash)
    assert relay.held() - before == 3


def test_it_never_offers_more_than_the_ceiling(relay: Relay) -> None:
    fee = int(relay.node.block()["baseFeePerGas"], 16) + int(relay.node.rpc("eth_maxPriorityFeePerGas"), 16)
    relay.errand(1, gas_ceiling=21_000 * fee * 5 // 3)
    for _ in range(8):
        relay.relay(seconds=700)
    assert all(v.max_fee * 21_000 <= relay.now().gas_ceiling for v in relay.versions())
    assert relay.now().status is T.SUBMITTED


def test_one_that_cannot_be_paid_for_waits_and_then_fails_without_a_nonce(relay: Relay) -> None:
    relay.errand(1, gas_ceiling=1)
    relay.relay()
    assert (relay.now().status, relay.now().failure_reason) == (T.QUEUED, "gas_ceiling")
    relay.relay(seconds=7200)
    gone = relay.now()
    assert (gone.status, gone.failure_reason, gone.nonce) == (T.FAILED, "gas_ceiling", None)


def test_a_wallet_without_coins_waits_for_them(relay: Relay) -> None:
    relay.node.set_balance(RELAYER.address, 0)
    relay.errand()
    relay.relay()
    assert (relay.now().status, relay.now().failure_reason) == (T.QUEUED, "relayer_funds")
    relay.node.set_balance(RELAYER.address, 10**18)
    relay.relay(seconds=700)
    finish(relay)
    assert relay.now().status is T.DONE


def test_one_that_would_revert_fails_before_it_is_sent(relay: Relay) -> None:
    token = deploy_token(relay.node)
    relay.errand(1, to=token.address, value=0, data=b"\xde\xad\xbe\xef")
    relay.relay()
    assert (relay.now().status, relay.now().failure_reason) == (T.FAILED, "reverts")
    assert relay.versions() == []


def test_one_that_reverts_in_its_block_fails_for_ever_only_when_that_is_irreversible(relay: Relay) -> None:
    victim = "0x" + "11" * 20
    relay.errand(1, to="0x" + "11" * 20, gas=100_000)
    relay.relay()
    relay.node.set_code(victim, "0x60006000fd")  # what was a wallet when it was rehearsed reverts now
    relay.node.mine()
    relay.relay()
    assert (relay.now().status, relay.now().failure_reason) == (T.REVERTED, "reverted")
    finish(relay)
    assert (relay.now().status, relay.now().failure_reason) == (T.FAILED, "reverted")


def test_a_nonce_that_something_else_used_up_for_ever_ends_it(relay: Relay) -> None:
    relay.errand()
    relay.relay()
    relay.node.drop_all()
    relay.node.send({"from": RELAYER.address, "to": BOB.address, "value": "0x1"})
    relay.node.mine()
    relay.relay()
    assert relay.now().status is T.UNKNOWN
    finish(relay)
    assert relay.now().status is T.UNKNOWN, "what took it is not read yet"
    relay.shop.drain()
    relay.relay(seconds=3600)
    assert (relay.now().status, relay.now().failure_reason) == (T.FAILED, "nonce_taken")


def test_withdrawn_before_it_is_signed_it_never_happens(relay: Relay) -> None:
    relay.errand()
    relay.engine.sending(ADMIN).withdraw("0001")
    assert relay.now().status is T.CANCELLED
    assert relay.relay().lanes == 0


def test_withdrawn_on_its_way_its_nonce_is_used_up_and_what_waits_behind_it_goes_on(relay: Relay) -> None:
    before = relay.held()
    for number in (1, 2):
        relay.errand(number)
    relay.relay()
    relay.engine.sending(ADMIN).withdraw("0001")
    relay.relay(seconds=30)
    assert [v.kind for v in relay.versions()] == ["send", "cancel"]
    finish(relay)
    assert (relay.now().status, relay.now().failure_reason) == (T.FAILED, "withdrawn")
    assert relay.now(2).status is T.DONE
    assert relay.held() - before == 2


@both
def test_many_relayers_at_once_send_each_errand_once(open_relay: Callable[..., Relay]) -> None:
    relays = [open_relay() for _ in range(4)]
    before = relays[0].held()
    for number in range(1, 21):
        relays[0].errand(number)
    relays[0].pass_time()
    start = threading.Barrier(4)

    def work(relay: Relay) -> None:
        start.wait()
        for _ in range(5):
            relay.engine.relay(limit=5)

    threads = [threading.Thread(target=work, args=(relay,)) for relay in relays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    relays[0].relay()
    assert len({relays[0].now(n).nonce for n in range(1, 21)}) == 20
    finish(relays[0])
    finish(relays[0])
    assert {relays[0].now(n).status for n in range(1, 21)} == {T.DONE}
    assert relays[0].held() - before == sum(range(1, 21))
