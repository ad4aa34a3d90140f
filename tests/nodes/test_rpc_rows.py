"""A merchant whose nodes lie, lag and fail: what is read is right in the end, and nothing wrong is read meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from stall import Asked, Stall, open_stall

from evmbilling.adapters.evm.rpc.refusals import refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.states import OrderStatus
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.rpc_breaks import Close, Deep, Drip, Hang, HttpStatus, Huge, LoseReply, html
from evmbilling.testing.rpc_lies import (
    Cap,
    Censor,
    ChangeLogs,
    DropLogs,
    Duplicate,
    FreezeTag,
    Lag,
    Null,
    OldState,
    RangeCap,
    Reply,
    RpcError,
    no_transaction,
    removed,
    stale_block_hash,
)
from evmbilling.testing.rpc_proxy import RpcProxy

MakeStall = Callable[..., Stall]
FAILED = {OrderStatus.FAILED, OrderStatus.EXPIRED, OrderStatus.CANCELLED}


def reorgs(stall: Stall) -> int:
    return stall.counts.total["reorgs"]


@pytest.mark.fault("R01")
def test_r01_a_head_that_jumps_back_is_no_reorg(make_stall: MakeStall) -> None:
    """One url, two nodes behind it, one of them late: numbers go back and forth."""
    stall = make_stall(5)
    (node,) = stall.nodes
    node.add(Lag(7), probability=0.4)
    offers = [stall.checkout(f"user-{n}") for n in range(4)]
    cursors = []
    for offer in offers:
        stall.pay(offer)
        for _ in range(6):
            stall.read()
            cursors.append(stall.cursor)
    node.heal()
    stall.settle()
    assert {stall.status(offer) for offer in offers} == {"confirmed"}
    assert cursors == sorted(cursors)
    assert (reorgs(stall), len(stall.receipts())) == (0, 4)


@pytest.mark.fault("R01")
@pytest.mark.parametrize("blocks", [1, 5, 20])
def test_r01_a_whole_answer_of_a_node_that_is_behind_takes_nothing_back(make_stall: MakeStall, blocks: int) -> None:
    """Its head is a block of ours, and ours is not there: it has not come so far, and nothing has changed."""
    stall = make_stall(0)
    stall.settle(20)
    offer = stall.checkout()
    stall.pay(offer)
    stall.settle(0)
    read = stall.cursor
    late = stall.nodes[0].add(Lag(blocks))
    assert stall.settle(0, passes=3) == ["behind"] * 3
    assert (stall.cursor, reorgs(stall)) == (read, 0)
    stall.nodes[0].remove(late)
    stall.settle()
    assert stall.status(offer) == "confirmed"
    assert (reorgs(stall), len(stall.receipts())) == (0, 1)


@pytest.mark.fault("R03")
def test_r03_blocks_beyond_the_nodes_head_are_not_taken_for_empty_ones(make_stall: MakeStall) -> None:
    """Anvil and old nodes answer ``[]`` for a range that they do not have yet."""
    stall = make_stall(0)
    (node,) = stall.nodes
    offer = stall.checkout()
    stall.pay(offer)
    stall.anvil.mine()
    beyond = {"fromBlock": hex(stall.anvil.block_number), "toBlock": hex(stall.anvil.block_number + 9)}
    assert stall.anvil.rpc("eth_getLogs", beyond) == []
    late = node.add(Lag(2))
    stall.settle(5, passes=3)
    assert stall.cursor == stall.anvil.block_number - 2
    assert stall.status(offer) == "confirmed"
    other = stall.checkout("user-2")
    stall.pay(other)
    stall.settle(0, passes=3)
    assert stall.status(other) == "pending"
    node.remove(late)
    # The head is told by a fresh node and logs by a late one.
    node.add(Lag(2), methods=["eth_getLogs", "eth_getTransactionReceipt"])
    stall.settle(1, passes=3)
    assert stall.status(other) == "pending"
    assert stall.cursor < stall.anvil.block_number - 1
    node.heal()
    stall.settle()
    assert stall.status(other) == "confirmed"


NO_FIT = pytest.mark.parametrize(
    ("lie", "methods"),
    [
        (removed(), []),
        (stale_block_hash(), []),
        (Duplicate(), []),
        (Null(), ["eth_getTransactionReceipt"]),
        (RpcError(-32000, "transaction indexing is in progress"), ["eth_getTransactionReceipt"]),
        (Null(), ["eth_getLogs"]),
        (ChangeLogs(lambda log: log | {"data": log["data"][:-2] + "99"}), []),
        (ChangeLogs(lambda log: log | {"logIndex": "0x7f"}), []),
    ],
    ids=["removed", "stale fork", "twice", "no receipt", "indexing", "no list", "other data", "other index"],
)


@pytest.mark.fault("R06")
@pytest.mark.fault("R07")
@pytest.mark.fault("R09")
@NO_FIT
def test_r06_r07_r09_what_does_not_fit_is_not_read_until_it_does(
    make_stall: MakeStall, lie: Any, methods: Sequence[str]
) -> None:
    stall = make_stall(0)
    offer = stall.checkout()
    stall.pay(offer)
    paid_in = stall.anvil.block_number
    stall.nodes[0].add(lie, methods=methods)
    outcomes = stall.settle(passes=3)
    assert set(outcomes) == {"chain_mismatch"}
    assert stall.cursor < paid_in
    assert stall.status(offer) == "pending"  # and never "failed"
    stall.nodes[0].heal()
    stall.settle(0)
    assert stall.status(offer) == "confirmed"
    assert (reorgs(stall), len(stall.receipts())) == (0, 1)


@pytest.mark.fault("R06")
@pytest.mark.fault("R07")
@pytest.mark.fault("R09")
@NO_FIT
def test_r06_r07_r09_another_node_is_read_in_place_of_one_that_contradicts_itself(
    make_stall: MakeStall, lie: Any, methods: Sequence[str]
) -> None:
    stall = make_stall(0, 1)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(lie, methods=methods)
    stall.settle(passes=3)
    assert stall.status(offer) == "confirmed"
    (health,) = stall.engine.networks_health()
    assert [node.state for node in health.nodes] == ["set_aside", "ready"]
    assert (reorgs(stall), len(stall.receipts())) == (0, 1)
    assert stall.counts.total["rpc_set_aside"] == 1


@pytest.mark.fault("R09")
def test_r09_an_order_is_not_given_up_while_its_receipt_is_missing(make_stall: MakeStall) -> None:
    stall = make_stall(0)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(Null(), methods=["eth_getTransactionReceipt"])
    stall.anvil.increase_time(7200)
    stall.settle()
    stall.clock.advance(hours=3)
    stall.settle(1)
    assert stall.status(offer) not in FAILED
    stall.nodes[0].heal()
    stall.settle(0)
    assert stall.status(offer) == "confirmed"


@pytest.mark.fault("R12")
def test_r12_a_network_that_hangs_delays_no_other(make_stall: MakeStall) -> None:
    stall = make_stall(0)
    offer = stall.checkout()
    stall.pay(offer)
    (node,) = stall.nodes
    admin = stall.engine.admin(ADMIN)
    with AnvilNode(chain_id=31399) as silent, RpcProxy(silent.url) as proxy:
        proxy.add(Hang())
        admin.create_network(
            name="silent",
            chain_id=31399,
            rpc_urls=[proxy.url],
            testnet=True,
            rpc_retries=1,
            rpc_timeout=60,
            start_block=0,
        )
        began = time.monotonic()
        assert [stall.engine.read_chain("local").outcome for _ in range(2)] == ["read", "idle"]
        assert time.monotonic() - began < 30  # the other one's silence is not waited for
        stall.settle()
    assert stall.status(offer) == "confirmed"
    assert node.asked


@pytest.mark.fault("R11")
@pytest.mark.fault("R12")
@pytest.mark.fault("R13")
@pytest.mark.parametrize(
    "fault",
    [HttpStatus(403), html(402), HttpStatus(429), html(200), Hang(), Close(), Drip(0.3), Deep(), Huge()],
    ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'status', '')}",
)
def test_r11_r12_r13_payments_are_read_from_the_next_node(make_stall: MakeStall, fault: Any) -> None:
    stall = make_stall(0, 1, rpc_timeout=1)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(fault)
    stall.settle(passes=3)
    assert stall.status(offer) == "confirmed"
    (health,) = stall.engine.networks_health()
    first, second = health.nodes
    assert first.state != "ready"
    assert first.failed >= 1
    assert (second.state, health.behind) == ("ready", 0)


@pytest.mark.fault("R16")
def test_r16_calls_are_pinned_to_a_block_so_that_a_late_node_says_so(make_stall: MakeStall) -> None:
    """Behind one url a fresh node tells the head and a late one answers calls."""
    stall = make_stall(0)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(Lag(1), methods=["eth_call", "eth_getBalance", "eth_getCode"])
    told = stall.engine.pay_instructions(offer.ledger_id)
    assert [problem.code for problem in told.problems] == ["rpc_unknown"]  # and never "not paid yet"
    stall.nodes[0].heal()
    told = stall.engine.pay_instructions(offer.ledger_id)
    assert [problem.code for problem in told.problems] == ["reference_used"]
    pinned = [call.params[1] for call in stall.nodes[0].asked if call.method in ("eth_call", "eth_getCode")]
    assert pinned
    assert set(pinned) == {hex(stall.anvil.block_number)}


@pytest.mark.fault("R16")
def test_r16_another_node_answers_in_place_of_the_late_one(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(Lag(1), methods=["eth_call", "eth_getBalance", "eth_getCode"])
    told = stall.engine.pay_instructions(offer.ledger_id)
    assert [problem.code for problem in told.problems] == ["reference_used"]


@pytest.mark.fault("R16")
def test_r16_a_balance_of_an_old_state_is_found_out_by_another_node(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    stall.pay(stall.checkout())
    stall.settle()
    assert stall.engine.verify().differences == ()
    old = stall.nodes[0].add(OldState(1))
    assert stall.engine.verify().differences == ()  # the second node is asked
    stall.nodes[1].add(OldState(1))
    assert {found.code for found in stall.engine.verify().differences} == {"unexplained_delta"}
    stall.nodes[0].remove(old)
    stall.nodes[1].heal()
    assert stall.engine.verify().differences == ()


@pytest.mark.fault("R17")
def test_r17_a_payment_that_a_node_hides_is_named_by_another(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    seen, hidden = stall.checkout("user-1"), stall.checkout("user-2")
    stall.pay(seen)
    stall.settle()
    stall.nodes[0].add(Censor(stall.payer("user-2")))
    tx_hash = stall.pay(hidden)
    stall.settle(passes=3)
    assert (stall.status(seen), stall.status(hidden)) == ("confirmed", "pending")
    assert stall.cursor == stall.anvil.block_number  # nothing in the first node's answers gives it away
    delta, named = stall.engine.verify().differences
    treasury = f"treasury:31337:{stall.merchant.treasury}:{stall.merchant.token.token}"
    assert (delta.code, delta.subject) == ("unexplained_delta", treasury)
    assert int(delta.found) - int(delta.expected) == hidden.order.amount
    assert (named.code, named.subject) == ("transfer_not_read", f"transaction:31337:{tx_hash}")
    assert named.found == str(hidden.order.amount)


@pytest.mark.fault("R17")
def test_r17_a_censor_that_is_the_only_node_is_found_by_the_balance_alone(make_stall: MakeStall) -> None:
    stall = make_stall(0)
    stall.nodes[0].add(Censor(stall.payer("user-2")))
    stall.pay(stall.checkout("user-2"))
    stall.settle(passes=3)
    assert [found.code for found in stall.engine.verify().differences] == ["unexplained_delta"]


@pytest.mark.fault("R19")
def test_r19_a_transaction_whose_answer_was_lost_is_sent_again_and_mined_once(
    make_stall: MakeStall, make_rpc_proxy: Callable[..., RpcProxy]
) -> None:
    stall = make_stall(0)
    offer = stall.checkout()
    stall.pay(offer)
    raw = stall.anvil.raw_transaction(stall.anvil.block(full=False)["transactions"][0])
    stall.anvil.reorg(1)
    lossy = make_rpc_proxy()
    lossy.add(LoseReply(), methods=["eth_sendRawTransaction"], first=1)
    rpc = JsonRpc(chain_id=31337, urls=[lossy.url], timeout=2, attempts=2)
    (refused,) = rpc.batch([_send(raw)])
    assert _kind(refused) == "known"
    stall.anvil.mine()
    (again,) = rpc.batch([_send(raw)])
    assert _kind(again) in ("nonce_used", "known")
    rpc.close()
    stall.settle()
    assert stall.status(offer) == "confirmed"
    assert len(stall.receipts()) == 1


def _send(raw: str) -> Call:
    return Call("eth_sendRawTransaction", (raw,))


def _kind(refused: Any) -> str:
    return refusal_of(refused).kind.value


@pytest.mark.fault("R21")
@pytest.mark.fault("R22")
def test_r21_r22_reading_holds_nothing_at_the_node_and_survives_its_restart(tmp_path: Any) -> None:
    """No filter that a restart forgets, no subscription that falls silent: blocks are asked for, again and again."""
    state = tmp_path / "state.json"
    with AnvilNode(arguments=("--state", str(state))) as anvil, RpcProxy(anvil.url) as proxy:
        with open_stall(anvil, [proxy]) as stall:
            first, second = stall.checkout("user-1"), stall.checkout("user-2")
            stall.pay(first)
            stall.settle()
            anvil.stop()
            assert stall.read() == "rpc_unknown"
            anvil.start()
            stall.pay(second)
            stall.settle()
            assert [stall.status(offer) for offer in (first, second)] == ["confirmed", "confirmed"]
        assert not [name for name in proxy.methods() if "ilter" in name or "subscribe" in name]


# -- finality


@pytest.mark.fault("C07")
def test_c07_while_finality_stands_still_money_waits_and_the_lag_is_told(make_stall: MakeStall) -> None:
    stall = make_stall(0, credit_after="finalized", irreversible_after="finalized")
    stall.settle(3)
    stuck = stall.nodes[0].add(FreezeTag("finalized", stall.anvil.block_number - 2))
    offer = stall.checkout()
    stall.pay(offer)
    lags = []
    for _ in range(3):
        stall.settle(10, passes=2)
        (health,) = stall.engine.networks_health()
        lags.append(health.finality_lag)
    assert lags == sorted(lags)
    assert lags[-1] >= 30
    stall.anvil.increase_time(7200)
    stall.settle(2, passes=2)
    stall.clock.advance(days=3)
    stall.settle(2, passes=2)
    assert stall.status(offer) == "confirming"  # held, and neither failed nor expired
    stall.nodes[0].remove(stuck)
    stall.settle(1)
    assert stall.status(offer) == "final"
    (health,) = stall.engine.networks_health()
    assert health.finality_lag == 2


class SystemLog(Asked):
    """Every list of logs begins with one that no transaction made, of the watched contract."""

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Any) -> Reply:
        if method != "eth_getLogs" or not reply.get("result"):
            return reply
        mark = no_transaction("0x" + "00" * 32).function(reply["result"][0])
        return {"result": [mark, *reply["result"]]}


@pytest.mark.fault("C19")
def test_c19_logs_without_a_transaction_stop_nothing(make_stall: MakeStall) -> None:
    stall = make_stall(0)
    stall.nodes[0].add(SystemLog())
    offer = stall.checkout()
    stall.pay(offer)
    assert "chain_mismatch" not in stall.settle()
    assert stall.status(offer) == "confirmed"
    assert len(stall.receipts()) == 1


@pytest.mark.fault("C21")
def test_c21_an_unsafe_head_credits_nothing_and_its_reorg_takes_nothing_back(make_stall: MakeStall) -> None:
    """A second layer: the sequencer's head runs ahead of what its first layer holds."""
    stall = make_stall(0, credit_after="safe", irreversible_after="finalized")
    stall.settle(4)
    safe = stall.anvil.block_number - 2
    stall.nodes[0].add(FreezeTag("safe", safe))
    stall.nodes[0].add(FreezeTag("finalized", safe - 1))
    offer = stall.checkout()
    stall.pay(offer)
    stall.settle(20, passes=3)
    assert stall.status(offer) == "confirming"
    assert not stall.engine.access("user-1").allowed
    stall.anvil.reorg(stall.anvil.block_number - safe)
    stall.settle(1, passes=3)
    assert stall.status(offer) == "pending"
    assert not [event for event in stall.events() if "order.paid" in event or "reversed" in event]
    assert stall.engine.verify().differences == ()


@pytest.mark.fault("R02")
@pytest.mark.parametrize("nodes", [1, 2])
def test_r02_logs_that_are_missing_at_the_head_are_read_elsewhere_or_later(make_stall: MakeStall, nodes: int) -> None:
    """The bloom of the block says that there may be logs, and the node says that there are none."""
    stall = make_stall(*range(nodes))
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(DropLogs())
    stall.settle(passes=3)
    assert stall.status(offer) == ("confirmed" if nodes > 1 else "pending")
    assert nodes > 1 or stall.cursor < stall.anvil.block_number - 3
    stall.nodes[0].heal()
    stall.settle(0)
    assert stall.status(offer) == "confirmed"


@pytest.mark.fault("R04")
@pytest.mark.parametrize(
    "lie",
    [
        Cap(1, RpcError(-32005, "query returned more than 1 results")),
        RangeCap(1, "You can make eth_getLogs requests with up to a {} block range"),
        Cap(0, RpcError(-32602, "query exceeds max results 0, retry with the range 0-1")),
    ],
    ids=["results", "range", "nothing"],
)
def test_r04_caps_cost_requests_and_no_payment(make_stall: MakeStall, lie: Any) -> None:
    stall = make_stall(0, 1)
    offers = [stall.checkout(f"user-{n}") for n in range(3)]
    for offer in offers:
        stall.pay(offer, mine=0)
    stall.anvil.mine(40)
    stall.nodes[0].add(lie)
    stall.settle()
    assert {stall.status(offer) for offer in offers} == {"final"}
    assert stall.engine.verify().differences == ()
