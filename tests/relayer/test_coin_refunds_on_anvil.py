"""Refunds in the chain's own coin on a real chain: sent by hand and named, or sent by the relayer."""

from __future__ import annotations

import os
import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from coin_bench import (
    UNKNOWN,
    differences,
    name,
    name_before_it_is_mined,
    now,
    pay,
    prepared,
    rule_out,
    settle,
    told,
)
from relay_bench import BOB, RELAYER, Relay, both
from test_relayed_refunds import ALICE, OPS, paid_order, proved_refund
from test_relayer_restored import forgotten

import forks
from evmbilling import BillingEngine
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain import decisions as d
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import KnownTransaction
from evmbilling.domain.refunds.proofs import WHY, RefundProof, coin_log
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.sending.fences import is_fence
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.domain.states import RefundStatus
from evmbilling.errors import Conflict, InputError
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, IRREVERSIBLE_DEPTH, repeatable_secrets
from evmbilling.testing.wallet import Wallet
from refund_wallets import prove
from sampling import EVERYTHING

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def several(relay: Relay, count: int = 2) -> list[Refund]:
    """Refunds of parts of one order that are equal in all that a transfer shows."""
    desk, ledger_id = relay.engine.refunds(OPS), paid_order(relay)
    part = relay.engine.order(ledger_id).amount // count
    made = [
        desk.request(ledger_id=ledger_id, amount=part, reason="asked", via="transfer").refund_id for _ in range(count)
    ]
    for refund_id in made:
        prove(relay.engine, refund_id, ALICE)
        desk.prepare(refund_id)
    return [now(relay, refund_id) for refund_id in made]


def books(relay: Relay) -> dict[str, int]:
    """Every account of the coin that is not 0, credit positive, without what gas cost."""
    totals: dict[str, int] = {}
    with relay.engine._ports.storage.unit(write=False) as unit:
        for entry in unit.ledger_entries(limit=10_000):
            if entry.asset.token != NATIVE_COIN or entry.kind == "gas":
                continue
            for line in entry.lines:
                amount = line.amount if line.side == "credit" else -line.amount
                totals[str(line.account)] = totals.get(str(line.account), 0) + amount
    return {account: amount for account, amount in totals.items() if amount}


@both
@pytest.mark.fault("C05")
def test_c05_a_refund_that_a_wallet_sent_is_done_when_the_chain_says_so_and_undone_with_it(relay: Relay) -> None:
    refund = prepared(relay)
    before = books(relay)
    tx_hash = pay(relay, refund, mine=0)
    raw = relay.node.raw_transaction(tx_hash)
    proof = name(relay, refund, tx_hash)
    assert (proof.state, proof.reason, proof.named_by) == ("open", "not_mined", "ops")
    settle(relay, 1, seconds=20)
    assert now(relay, refund).status is RefundStatus.CONFIRMING  # seen, and not deep enough
    settle(relay)
    done = now(relay, refund)
    assert done.status is RefundStatus.DONE
    assert done.tx_hash == bytes.fromhex(tx_hash[2:])
    assert before.keys() - books(relay).keys() == {"treasury"}  # all of it went back
    assert told(relay) == ["refund.done"]
    assert differences(relay) == []

    relay.node.reorg(CREDIT_DEPTH + 1)
    settle(relay)
    assert (now(relay, refund).status, now(relay, refund).evidence) == (RefundStatus.CONFIRMING, None)
    assert books(relay) == before
    assert told(relay) == ["refund.done", "refund.reversed"]
    assert differences(relay) == []

    relay.node.send_raw(raw)
    settle(relay)
    settle(relay)
    assert now(relay, refund).status is RefundStatus.DONE
    assert told(relay) == ["refund.done", "refund.reversed", "refund.done"]
    settle(relay, IRREVERSIBLE_DEPTH + 1)
    settle(relay, 1)
    (proof,) = relay.engine.refunds(OPS).transactions(refund.refund_id)
    assert (proof.state, proof.reason) == ("settled", None)
    assert differences(relay) == []


@both
def test_the_relayer_names_what_it_sends_by_itself(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    relay.relay()
    (version,) = relay.engine.sending(OPS).versions(sent.transmission_id)
    (proof,) = relay.engine.refunds(OPS).transactions(refund_id)
    assert (proof.tx_hash, proof.named_by, proof.state) == (version.tx_hash, "relayer", "open")
    assert now(relay, refund_id).status is RefundStatus.SUBMITTED
    settle(relay)
    assert (now(relay, refund_id).status, now(relay, refund_id).tx_hash) == (RefundStatus.DONE, version.tx_hash)
    assert told(relay) == ["refund.done"]
    assert differences(relay) == []
    with pytest.raises(Conflict) as taken:
        relay.engine.refunds(OPS).unname_transaction(refund_id, tx_hash="0x" + version.tx_hash.hex())
    assert taken.value.field == "tx_hash"


@pytest.mark.fault("C10")
def test_c10_of_versions_that_pay_more_the_one_that_is_mined_counts(relay: Relay) -> None:
    refund_id = proved_refund(relay, paid_order(relay))
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    relay.relay()
    relay.relay(seconds=100)
    first, second = relay.engine.sending(OPS).versions(sent.transmission_id)
    settle(relay)
    assert now(relay, refund_id).tx_hash == second.tx_hash
    settle(relay, IRREVERSIBLE_DEPTH + 1)
    settle(relay, 1)
    proofs = {p.tx_hash: (p.state, p.reason) for p in relay.engine.refunds(OPS).transactions(refund_id)}
    assert proofs == {first.tx_hash: ("refused", "paid_by_another"), second.tx_hash: ("settled", None)}


WRONG = {
    "other_amount": lambda relay, refund: pay(relay, refund, value=refund.amount - 1),
    "other_receiver": lambda relay, refund: pay(relay, refund, to=BOB.address),
    "other_sender": lambda relay, refund: pay(relay, refund, key=BOB.key),
    "not_plain": lambda relay, refund: pay(relay, refund, data=b"\1"),
    "failed": lambda relay, refund: pay(relay, refund, gas=21_000, to=refund.address),
}


@both
@pytest.mark.fault("C13")
@pytest.mark.parametrize(
    ("reason", "mined_first"),
    [(reason, False) for reason in WRONG]
    # Both ways ask one rule.
    + [(reason, True) for reason in (WRONG if EVERYTHING else ("other_amount", "failed"))],
)
def test_c13_a_transaction_that_is_not_the_refund_changes_nothing(relay: Relay, reason: str, mined_first: bool) -> None:
    refund = prepared(relay)
    before = books(relay)
    if reason == "failed":  # the receiver is a contract that takes nothing by then
        relay.node.set_code(ALICE.address, "0x60006000fd")
    tx_hash = WRONG[reason](relay, refund)
    if mined_first:
        with pytest.raises(Conflict) as refused:
            name(relay, refund, tx_hash)
        assert (refused.value.field, refused.value.details["reason"], refused.value.message) == (
            "tx_hash",
            reason,
            WHY[reason],
        )
        assert relay.engine.refunds(OPS).transactions(refund.refund_id) == []
    else:
        rule_out(relay, name_before_it_is_mined(relay, refund, tx_hash))
        (proof,) = relay.engine.refunds(OPS).transactions(refund.refund_id)
        assert (proof.state, proof.reason) == ("refused", reason)
    settle(relay)
    assert (now(relay, refund).status, now(relay, refund).evidence) == (RefundStatus.PREPARED, None)
    assert books(relay) == before
    assert told(relay) == []
    # What is right is taken all the same.
    if reason == "failed":
        relay.node.set_code(ALICE.address, "0x")
    name(relay, refund, pay(relay, refund))
    settle(relay)
    assert now(relay, refund).status is RefundStatus.DONE


def test_what_is_no_hash_or_of_another_refund_is_refused_with_its_field(relay: Relay) -> None:
    refund, other = several(relay)
    for text in ("", "0x12", "ab" * 32, "0x" + "ab" * 31, "0x" + "zz" * 32, None, 5):
        with pytest.raises(InputError) as no_hash:
            name(relay, refund, text)
        assert no_hash.value.field == "tx_hash"
    assert (refund.amount, refund.address) == (other.amount, other.address)
    tx_hash = pay(relay, refund)
    assert name(relay, refund, tx_hash) == name(relay, refund, tx_hash)
    with pytest.raises(Conflict) as taken:
        name(relay, other, tx_hash)
    assert taken.value.details["reason"] == "named_for_another"
    settle(relay)
    assert [now(relay, r).status for r in (refund, other)] == [RefundStatus.DONE, RefundStatus.PREPARED]
    with pytest.raises(Conflict) as paid:
        name(relay, refund, UNKNOWN)
    assert paid.value.details["reason"] == "paid_by_another"
    # The treasury pays the other one, too: both are equal in all that a transfer shows, and each has its own.
    name(relay, other, pay(relay, other))
    settle(relay)
    assert now(relay, other).status is RefundStatus.DONE
    assert differences(relay) == []


def test_a_transaction_of_another_of_our_networks_is_refused_by_its_name(relay: Relay) -> None:
    refund = prepared(relay)
    payload = relay.engine.refunds(OPS).prepare(refund.refund_id)
    with AnvilNode(chain_id=31338) as elsewhere:
        relay.engine.admin(ADMIN).create_network(
            name="elsewhere", chain_id=31338, rpc_urls=[elsewhere.url], testnet=True
        )
        elsewhere.set_balance(RELAYER.address, 10**20)
        wallet = Wallet(RELAYER.key, elsewhere.url)
        tx_hash = wallet.send(attrs.evolve(payload, chain_id=31338)).hash
        elsewhere.mine(1)
        with pytest.raises(Conflict) as refused:
            name(relay, refund, tx_hash)
        assert (refused.value.field, refused.value.details["reason"]) == ("tx_hash", "other_network")
        assert "elsewhere" in refused.value.message
    assert relay.engine.refunds(OPS).transactions(refund.refund_id) == []
    # Where the other network does not answer, nobody knows: it is kept, and the refund's own network never shows it.
    assert name(relay, refund, tx_hash).state == "open"
    relay.node.mine(CREDIT_DEPTH)
    relay.pass_time(700)
    relay.engine.read_chain("local")
    relay.engine.run_intake(network="local")
    assert now(relay, refund).status is RefundStatus.PREPARED


@pytest.mark.fault("C12")
def test_c12_an_unknown_hash_is_kept_and_can_be_taken_back(relay: Relay) -> None:
    refund = prepared(relay)
    assert name(relay, refund, UNKNOWN).reason == "not_mined"
    settle(relay)
    (kept,) = relay.engine.refunds(OPS).transactions(refund.refund_id)
    assert (kept.state, kept.reason, kept.looks > 0) == ("open", "not_mined", True)
    with pytest.raises(Conflict) as named:
        relay.engine.sending(OPS).send_refund(refund.refund_id)
    assert named.value.details["reason"] == "named"
    desk = relay.engine.refunds(OPS)
    assert desk.unname_transaction(refund.refund_id, tx_hash=UNKNOWN).reason == "withdrawn"
    told_of = [e.action for e in relay.engine.admin(ADMIN).audit(object_=f"refund:{refund.refund_id}")]
    assert {"refund.transaction", "refund.transaction_withdrawn"} <= set(told_of)
    relay.engine.sending(OPS).send_refund(refund.refund_id)
    relay.relay()
    settle(relay)
    assert now(relay, refund).status is RefundStatus.DONE
    assert differences(relay) == []


@pytest.mark.both_databases
@both
@pytest.mark.fault("C14")
def test_c14_a_hash_that_two_name_at_once_is_of_one_refund(open_relay: Any) -> None:
    relay = open_relay()
    refunds = several(relay)
    tx_hash = pay(relay, refunds[0])
    start, results = threading.Barrier(4), []

    def race(beside: Relay, refund: Refund) -> None:
        start.wait(20)
        try:
            results.append(name(beside, refund, tx_hash).refund_id)
        except Conflict as lost:
            results.append(str(lost.details.get("reason")))

    threads = [threading.Thread(target=race, args=(open_relay(), refund)) for refund in refunds * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [result for result in results if result != "named_for_another"]
    assert (len(winners), len(set(winners))) == (2, 1)
    settle(relay)
    done = [r.refund_id for r in refunds if now(relay, r).status is RefundStatus.DONE]
    assert done == winners[:1]
    assert told(relay) == ["refund.done"]
    assert differences(relay) == []


def read_and_take(url: str, now_is: datetime) -> None:
    clock = FrozenClock(now_is)
    engine = BillingEngine(storage=SqlAlchemyStorage.open(url, clock=clock), clock=clock, secrets=repeatable_secrets())
    engine.read_chain("local")
    engine.run_intake()
    engine.close()


@both
@pytest.mark.fault("D16")
def test_d16_a_worker_that_is_killed_anywhere_ends_in_the_same_books(relay: Relay, url: str) -> None:
    refund = prepared(relay)
    before = books(relay)
    name(relay, refund, pay(relay, refund, mine=0))
    relay.node.mine(CREDIT_DEPTH)
    killed = 0
    places = [f"transaction.{side}_commit:{step}" for step in range(1, 9) for side in ("before", "after")]
    for place in places if EVERYTHING else places[:4:3] + places[5::4]:
        relay.pass_time(100)  # the lease of the killed one runs out
        ended = forks.run(read_and_take, url, relay.clock.now(), env={**os.environ, CRASH_VARIABLE: place})
        assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr
        killed += ended.returncode == -signal.SIGKILL
    assert killed > 4 if EVERYTHING else killed > 2
    settle(relay)
    assert now(relay, refund).status is RefundStatus.DONE
    assert told(relay) == ["refund.done"]
    assert before.keys() - books(relay).keys() == {"treasury"}
    assert differences(relay) == []


def planted(relay: Relay, refund: Refund, tx_hash: str, **changes: Any) -> None:
    """Write what nobody has seen into the database, as somebody could who can write there."""
    with relay.engine._ports.storage.unit() as unit:
        cursor = unit.cursor(relay.node.chain_id)
        assert cursor is not None
        assert refund.address is not None
        sent = KnownTransaction(
            tx_hash=bytes.fromhex(tx_hash[2:]),
            sender=refund.treasury,
            to=refund.address,
            value=refund.amount,
            block=cursor.block,
            succeeded=True,
        )
        log = coin_log(relay.node.chain_id, attrs.evolve(sent, **changes), cursor.block)
        stamp = relay.clock.now()
        proof = RefundProof(
            chain_id=log.chain_id,
            tx_hash=log.tx_hash,
            refund_id=refund.refund_id,
            state="settled",
            next_at=stamp,
            named_by="ops",
            named_at=stamp,
        )
        evidence = d.RecordEvidence(cursor=cursor, headers=(), logs=(log,), keep_from=0)
        unit.apply([d.StoreProof(proof), evidence])
    relay.engine.run_intake()


def test_verification_asks_the_chain_for_each_of_them(relay: Relay) -> None:
    refund, other, third = several(relay, 3)
    name(relay, refund, pay(relay, refund))
    settle(relay)
    assert relay.engine.verify().counts["coin_refunds"] == 1
    assert differences(relay) == []
    planted(relay, other, UNKNOWN)
    assert now(relay, other).tx_hash == bytes.fromhex(UNKNOWN[2:])
    assert differences(relay) == [("refund_evidence_differs", "not_on_chain")]
    planted(relay, third, pay(relay, third, value=1), index=1)
    assert sorted(differences(relay)) == [
        ("refund_evidence_differs", "content"),
        ("refund_evidence_differs", "not_on_chain"),
    ]


@pytest.mark.fault("D08")
@pytest.mark.parametrize("queued", [True, False])
def test_d08_after_a_restore_what_the_wallet_has_sent_is_looked_through_first(
    open_relay: Any, url: str, tmp_path: Path, queued: bool
) -> None:
    relay = open_relay()
    refund_id = proved_refund(relay, paid_order(relay))
    if queued:
        relay.engine.sending(OPS).send_refund(refund_id)
    left: list[bytes] = []

    def leaves(relay: Relay) -> None:
        if not queued:
            relay.engine.sending(OPS).send_refund(refund_id)
        relay.relay()
        (sent,) = relay.engine.sending(OPS).transmissions()
        (version,) = relay.engine.sending(OPS).versions(sent.transmission_id)
        left.append(version.tx_hash)
        relay.node.mine(CREDIT_DEPTH)

    restored = forgotten(open_relay, relay, url, tmp_path, leaves)
    paid = restored.chain_nonce()
    settle(restored)
    for _ in range(3):
        restored.relay(seconds=700)
        settle(restored, 1)
    assert restored.chain_nonce() == paid
    sending = restored.engine.sending(OPS)
    # What is sent since has higher numbers than what was forgotten, and explains none of it.
    restored.engine.sending(ADMIN).fence("main", "local", count=2)
    for _ in range(4):
        restored.relay(seconds=700)
        settle(restored, IRREVERSIBLE_DEPTH)
    paid += 2
    assert restored.chain_nonce() == paid
    if queued:
        (waits,) = [one for one in sending.transmissions() if not is_fence(one)]
        assert (waits.status, waits.failure_reason) == (T.QUEUED, "coin_not_looked_up")
    else:
        with pytest.raises(Conflict) as unseen:
            sending.send_refund(refund_id)
        assert (unseen.value.field, unseen.value.details["reason"]) == ("looked_up", "coin_not_looked_up")
    # Somebody looks, finds it and says so: also of a refund that the backup has as agreed to only.
    name(restored, now(restored, refund_id), "0x" + left[0].hex())
    restored.relay(seconds=700)
    settle(restored)
    assert now(restored, refund_id).status is RefundStatus.DONE
    restored.relay(seconds=3600)
    assert restored.chain_nonce() == paid
    assert {one.status for one in sending.transmissions() if not is_fence(one)} <= {T.FAILED}
    assert [code for code, _ in differences(restored) if code != "unproved"] == []


def test_after_a_restore_what_has_not_left_is_sent_once_somebody_has_looked(open_relay: Any) -> None:
    relay = open_relay()
    refund_id = proved_refund(relay, paid_order(relay))
    Wallet(RELAYER.key, relay.node.url).send(
        WalletPayload(chain_id=relay.node.chain_id, to=BOB.address, value=1, data=b"", gas=21_000)
    )
    relay.node.mine(1)
    settle(relay)
    with pytest.raises(Conflict):
        relay.engine.sending(OPS).send_refund(refund_id)
    for word in (None, 1, "yes"):
        with pytest.raises(InputError) as no_flag:
            relay.engine.sending(OPS).send_refund(refund_id, looked_up=word)
        assert no_flag.value.field == "looked_up"
    relay.engine.sending(OPS).send_refund(refund_id, looked_up=True)
    relay.relay()
    settle(relay)
    assert now(relay, refund_id).status is RefundStatus.DONE
    assert differences(relay) == []
