"""The chain in memory: blocks, receipts, forks, tags and faults."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from eth_abi.abi import decode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st
from kit_values import CONTRACT, START, TOKEN, TREASURY, WALLET, address

from evmbilling.contracts import artifact
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.reading.evidence import WatchSet
from evmbilling.errors import ChainMismatch, InputError, NotFound, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.ports.chain import ChainSource
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.paid_logs import PAID_TOPIC, TRANSFER_TOPIC, FakeLog, transfer_log

WATCH = WatchSet(addresses=(CONTRACT,), topics=(PAID_TOPIC,), start_block=0)
EVERYTHING = WatchSet(addresses=(CONTRACT, TOKEN), topics=(PAID_TOPIC, TRANSFER_TOPIC), start_block=0)


def read(chain, watch=WATCH):
    return chain.logs(chain.headers(0, chain.head.number), watch)


def assert_linked(chain):
    headers = chain.headers(0, chain.head.number)
    assert [h.number for h in headers] == list(range(len(headers)))
    assert [h.parent_hash for h in headers[1:]] == [h.hash for h in headers[:-1]]
    assert len({h.hash for h in headers}) == len(headers)


def test_it_has_the_whole_port():
    operations = {name for name in vars(ChainSource) if not name.startswith("_")}
    reads = {"tip", "header", "headers", "common_ancestor", "logs", "scan", "balance", "transactions"}
    assert operations == reads | {"chain_id", "check_chain", "close"}
    for name in operations - {"chain_id"}:
        wanted, given_ = (inspect.signature(getattr(c, name)) for c in (ChainSource, FakeChain))
        assert list(wanted.parameters) == list(given_.parameters)


def test_topics_are_those_of_the_published_abi():
    events = [entry for entry in artifact("Checkout").abi if entry.get("name") == "Paid"]
    signature = f"Paid({','.join(part['type'] for part in events[0]['inputs'])})"
    assert keccak(signature.encode()) == PAID_TOPIC
    assert TRANSFER_TOPIC.hex() == "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def test_blocks_link_up_and_keep_their_distance(chain):
    chain.mine(3)
    chain.mine(seconds=100)
    head = chain.mine(timestamp=START + timedelta(days=1))
    assert head.number == 5
    assert_linked(chain)
    seconds = [(h.timestamp - START).total_seconds() for h in chain.headers(0, 99)]
    assert seconds == [0, 12, 24, 36, 136, 86_400]


def test_a_payment_is_pending_until_it_is_mined(chain, make_order):
    paid = chain.pay(make_order())
    assert chain.pending == (paid,)
    assert chain.receipt(paid) is chain.block_of(paid) is None
    assert read(chain) == []
    chain.mine()
    assert chain.pending == ()
    assert chain.receipt(paid).status == 1
    assert chain.block_of(paid) == chain.head
    assert [log.tx_hash for log in read(chain)] == [paid]


def test_the_paid_log_says_what_the_contract_says(chain, make_order):
    order = make_order()
    chain.pay(order)
    chain.mine()
    transfer, log = read(chain, EVERYTHING)
    assert (log.address, log.log_index, log.ordinal) == (CONTRACT, 1, 1)
    assert (log.block_number, log.block_hash, log.block_time) == (1, chain.head.hash, chain.head.timestamp)
    assert log.topics[1] == order.reference
    assert int.from_bytes(log.topics[2]) == subscription_token(order.subscription_id)
    assert log.topics[3].hex() == WALLET[2:].lower().rjust(64, "0")
    types = [i["type"] for e in artifact("Checkout").abi if e.get("name") == "Paid" for i in e["inputs"]][3:]
    assert decode(types, log.data) == (
        WALLET.lower(),
        plan_digest("pro", 1),
        TOKEN.lower(),
        order.amount,
        TREASURY.lower(),
        int(order.member_until.timestamp()),
    )
    assert transfer.topics == transfer_log(TOKEN, WALLET, TREASURY, 1).topics
    assert int.from_bytes(transfer.data) == order.amount


def test_the_native_coin_leaves_no_transfer(chain, make_order):
    chain.pay(make_order(native=True))
    chain.mine()
    assert [log.ordinal for log in read(chain, EVERYTHING)] == [0]


def test_several_payments_in_one_transaction_have_their_own_ordinals(chain, make_order):
    orders = [make_order(), make_order()]
    noise = FakeLog(address(0xE), (bytes(32),))
    chain.send(noise, noise, noise)
    paid = chain.pay(*orders, before=[noise])
    chain.mine()
    logs = read(chain)
    assert [(log.ordinal, log.log_index, log.tx_hash) for log in logs] == [(2, 5, paid), (4, 7, paid)]
    assert [log.topics[1] for log in logs] == [order.reference for order in orders]


def test_only_watched_logs_are_returned(chain, make_order):
    order = make_order()
    chain.pay(order, contract=address(0xBAD))
    chain.send(FakeLog(CONTRACT, ()), FakeLog(CONTRACT, (b"\1" * 32,)))
    chain.mine()
    assert read(chain) == []


@pytest.mark.fault("T01")
def test_t01_a_failed_transaction_has_no_logs(chain):
    failed = chain.send(FakeLog(CONTRACT, (PAID_TOPIC,)), status=0)
    chain.mine()
    assert (chain.receipt(failed).status, chain.receipt(failed).logs) == (0, ())
    assert read(chain) == []


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({}, None),
        ({"payer": address(0xF)}, "WrongPayer"),
        ({"amount": 0}, "ZeroAmount"),
        ({"reference": b"used" * 8}, "ReferenceUsed"),
    ],
)
def test_enforced_payments_fail_like_the_contract(chain, make_order, change, failure):
    chain.pay(make_order(), reference=b"used" * 8, nonce=7)
    chain.mine()
    paid = chain.pay(make_order(), enforce=True, **change)
    chain.mine()
    receipt = chain.receipt(paid)
    assert (receipt.failure, receipt.status) == (failure, int(failure is None))
    assert bool(receipt.logs) is (failure is None)


@pytest.mark.fault("S18")
@pytest.mark.parametrize(("second", "status"), [(-1, 1), (0, 1), (1, 0)])
def test_s18_a_block_after_the_deadline_is_late(chain, make_order, second, status):
    order = make_order()
    paid = chain.pay(order, enforce=True)
    chain.mine(timestamp=order.deadline + timedelta(seconds=second))
    assert chain.receipt(paid).status == status


def test_a_reference_is_free_again_when_its_payment_is_reorganised_away(chain, make_order):
    order = make_order()
    chain.pay(order, enforce=True)
    chain.mine()
    again = chain.pay(order, enforce=True)
    chain.mine()
    assert chain.receipt(again).failure == "ReferenceUsed"
    chain.reorganise(2, keep=[again])
    assert chain.receipt(again).status == 1


def test_a_payment_that_is_mined_again_too_late_fails(chain, make_order):
    paid = chain.pay(make_order(ttl=60), enforce=True)
    chain.mine()
    chain.reorganise(1, mode="reinclude", delay=3600)
    assert chain.receipt(paid).failure == "OrderLate"


# -- pool


@pytest.mark.fault("C11")
def test_c11_a_dropped_transaction_is_not_mined_and_can_be_sent_again(chain, make_order):
    paid = chain.pay(make_order())
    chain.drop(paid)
    chain.mine()
    assert read(chain) == []
    assert chain.resend(paid) == paid
    chain.mine()
    assert [log.tx_hash for log in read(chain)] == [paid]


@pytest.mark.fault("C10")
def test_c10_a_replaced_transaction_can_never_be_mined(chain, make_order):
    order = make_order()
    paid = chain.pay(order)
    faster = chain.replace(paid, FakeLog(CONTRACT, (PAID_TOPIC,)))
    assert chain.pending == (faster,)
    chain.mine()
    chain.resend(paid)
    chain.mine()
    assert [log.tx_hash for log in read(chain)] == [faster]
    assert chain.receipt(paid) is None


def test_the_same_transaction_is_mined_once(chain, make_order):
    paid = chain.pay(make_order())
    chain.mine()
    chain.resend(paid)
    chain.mine()
    assert len(read(chain)) == 1


@pytest.mark.parametrize("call", ["drop", "replace", "resend"])
def test_unknown_transactions_are_refused(chain, call):
    with pytest.raises(NotFound):
        getattr(chain, call)(bytes(32))


def test_a_mined_transaction_cannot_be_dropped(chain, make_order):
    paid = chain.pay(make_order())
    chain.mine()
    with pytest.raises(NotFound):
        chain.drop(paid)


# -- forks


def test_a_reorg_changes_every_hash_even_of_empty_blocks(chain):
    chain.mine(3)
    before = chain.headers(0, 3)
    orphans = chain.reorganise(2)
    assert list(orphans) == before[2:]
    assert chain.headers(0, 3)[:2] == before[:2]
    assert not {h.hash for h in orphans} & {h.hash for h in chain.headers(0, 3)}
    assert_linked(chain)


def three_payments(chain, make_order):
    """Two in block 1, one in block 2."""
    hashes = [chain.pay(make_order(wallet=address(n))) for n in (1, 2)]
    chain.mine()
    hashes.append(chain.pay(make_order(wallet=address(3))))
    chain.mine()
    return hashes


@pytest.mark.parametrize(
    ("mode", "keep", "found"),
    [
        ("drop", (), []),
        ("drop", (1,), [(1, 1, 1)]),
        ("reinclude", (), [(0, 1, 1), (1, 1, 3), (2, 2, 1)]),
        ("reorder", (), [(2, 2, 1), (1, 2, 3), (0, 2, 5)]),
        ("double_spend", (), []),
    ],
)
def test_what_a_reorg_keeps(chain, make_order, mode, keep, found):
    hashes = three_payments(chain, make_order)
    before = {log.identity for log in read(chain)}
    chain.reorganise(2, mode=mode, keep=[hashes[n] for n in keep])
    logs = read(chain)
    assert [(hashes.index(log.tx_hash), log.block_number, log.log_index) for log in logs] == found
    assert {log.identity for log in logs} <= before
    assert chain.pending == ()
    assert_linked(chain)


@pytest.mark.fault("C04")
def test_c04_a_double_spent_payment_never_comes_back(chain, make_order):
    hashes = three_payments(chain, make_order)
    chain.reorganise(2, mode="double_spend")
    for tx_hash in hashes:
        chain.resend(tx_hash)
    chain.mine()
    assert read(chain) == []


@pytest.mark.fault("C02")
def test_c02_a_dropped_payment_comes_back_in_a_later_block(chain, make_order):
    paid = chain.pay(make_order())
    chain.mine()
    first = read(chain)[0]
    chain.reorganise(1)
    chain.mine(2)
    chain.resend(paid)
    chain.mine()
    second = read(chain)[0]
    assert (first.identity, first.block_number, second.block_number) == (second.identity, 1, 4)
    assert first.block_hash != second.block_hash


@pytest.mark.parametrize(("length", "height", "block"), [(None, 4, 2), (1, 2, 2), (9, 10, 2)])
def test_a_branch_may_be_shorter_or_longer(chain, make_order, length, height, block):
    chain.mine()
    chain.pay(make_order())
    chain.mine(3)
    chain.reorganise(3, mode="reinclude", length=length)
    assert chain.head.number == height
    assert [log.block_number for log in read(chain)] == [block]
    assert_linked(chain)


def test_logs_of_orphaned_blocks_are_refused(chain):
    chain.mine(2)
    stale = chain.headers(1, 2)
    chain.reorganise(1)
    with pytest.raises(ChainMismatch):
        chain.logs(stale, WATCH)
    chain.reorganise(2, length=1)
    with pytest.raises(ChainMismatch):
        chain.logs(stale, WATCH)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda chain: chain.reorganise(0),
        lambda chain: chain.reorganise(3),
        lambda chain: chain.reorganise(1, length=0),
        lambda chain: chain.mine(0),
        lambda chain: chain.mine(timestamp=START, seconds=1),
    ],
)
def test_impossible_moves_are_refused(chain, misuse):
    chain.mine(2)
    with pytest.raises(InputError):
        misuse(chain)


# -- tags and faults


def test_tags_follow_the_head_at_their_lag(chain):
    assert [chain.header(tag).number for tag in ("latest", "safe", "finalized")] == [0, 0, 0]
    chain.mine(10)
    assert [chain.header(tag).number for tag in ("latest", "safe", "finalized")] == [10, 9, 8]


def test_a_node_may_have_no_tags():
    chain = FakeChain(1, start=START)
    chain.mine(3)
    assert (chain.header("safe"), chain.header("finalized")) == (None, None)
    assert chain.header(4) is chain.header(-1) is None


@pytest.mark.fault("C07")
def test_c07_finality_can_stall(chain):
    chain.mine(10)
    chain.hold_tags(finalized=3)
    chain.mine(5)
    assert (chain.header("safe").number, chain.header("finalized").number) == (14, 3)
    chain.hold_tags()
    assert chain.header("finalized").number == 13


def scan(chain, first=0, last=0):
    with chain.scan(first, last, WATCH) as ranges:
        return list(ranges)


PORT_CALLS = {
    "check_chain": lambda chain: chain.check_chain(),
    "tip": lambda chain: chain.tip(0),
    "common_ancestor": lambda chain: chain.common_ancestor([], chain.head),
    "scan": scan,
    "header": lambda chain: chain.header("latest"),
    "headers": lambda chain: chain.headers(0, 1),
    "logs": lambda chain: chain.logs((), WATCH),
}


@pytest.mark.parametrize("name", PORT_CALLS)
def test_a_dead_node_answers_nothing_until_it_heals(chain, name):
    chain.fail()
    for _ in range(3):
        with pytest.raises(RpcUnavailable):
            PORT_CALLS[name](chain)
    chain.heal()
    PORT_CALLS[name](chain)
    assert chain.calls == [name] * 4


def test_a_scan_is_every_block_once_and_nothing_beyond_the_head(chain, make_order):
    chain.scan_blocks = 3
    order = make_order()
    chain.pay(order)
    head = chain.mine(10)
    found = scan(chain, 1, 10)
    assert [(r.first.number, r.last.number) for r in found] == [(1, 3), (4, 6), (7, 9), (10, 10)]
    assert [log.block_number for r in found for log in r.logs] == [1]
    assert found[-1].last == head
    with pytest.raises(RpcRefused):
        scan(chain, 8, 12)


def test_the_common_ancestor_is_the_highest_of_ours_on_the_chain_of_the_head(chain):
    chain.mine(9)
    held = chain.headers(2, 9)
    chain.reorganise(4)
    with pytest.raises(ChainMismatch):
        chain.common_ancestor(held, held[-1])
    assert chain.common_ancestor(held, chain.head) == held[3] == chain.header(5)
    assert chain.common_ancestor(held[5:], chain.head) is None


def test_a_node_can_fail_a_few_times(chain):
    chain.fail(times=2)
    for _ in range(2):
        with pytest.raises(RpcUnavailable):
            chain.header(0)
    assert chain.header(0).number == 0


def test_another_chain_behind_the_url_is_seen(chain):
    chain.check_chain()
    chain.wrong_chain(137)
    with pytest.raises(WrongChain):
        chain.check_chain()
    chain.heal()
    chain.check_chain()


def test_threads_lose_no_transaction(chain):
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda n: chain.send(transfer_log(TOKEN, WALLET, TREASURY, n)), range(400)))
    chain.mine()
    assert len(set(sent)) == 400
    assert {log.tx_hash for log in read(chain, EVERYTHING)} == set(sent)


# -- repeatable

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.integers(0, 3)),
        st.tuples(st.just("mine"), st.integers(1, 3)),
        st.tuples(st.just("drop"), st.integers(1, 3)),
        st.tuples(st.just("reinclude"), st.integers(1, 3)),
        st.tuples(st.just("reorder"), st.integers(1, 3)),
        st.tuples(st.just("double_spend"), st.integers(1, 3)),
    ),
    max_size=12,
)


def play(moves, seed):
    chain = FakeChain(1, start=START, seed=seed)
    for number, (move, value) in enumerate(moves):
        if move == "pay":
            chain.send(transfer_log(TOKEN, WALLET, TREASURY, number), sender=address(value + 1))
        elif move == "mine":
            chain.mine(value)
        elif value <= chain.head.number:
            chain.reorganise(value, mode=move)
    return chain


@given(MOVES)
def test_the_same_moves_give_the_same_bytes(moves):
    one, two, other = play(moves, 1), play(moves, 1), play(moves, 2)
    watch = WatchSet(addresses=(TOKEN,), topics=(TRANSFER_TOPIC,), start_block=0)
    assert one.headers(0, 99) == two.headers(0, 99)
    assert read(one, watch) == read(two, watch)
    assert one.head.hash != other.head.hash
    assert_linked(one)


@given(MOVES)
def test_no_nonce_is_mined_twice(moves):
    chain = play(moves, 1)
    mined = [chain.receipt(tx) for tx in {log.tx_hash for log in read(chain, EVERYTHING)}]
    nonces = [(e.transaction.sender, e.transaction.nonce) for e in mined]
    assert len(set(nonces)) == len(nonces)
