"""Several nodes of one chain: who is asked, who is not, and what is remembered of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from node_time import Open, Time

from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.errors import RpcRefused, RpcUnavailable, WrongChain
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.rpc_breaks import Close, Deep, Drip, Hang, HttpStatus, Huge, html
from evmbilling.testing.rpc_lies import FreezeTag, Lag, Null, RpcError
from evmbilling.testing.rpc_lies import WrongChain as OtherChain
from evmbilling.testing.rpc_proxy import Delay, RpcProxy

Make = Callable[..., RpcProxy]


def head_of(rpc: JsonRpc) -> int:
    return int(json.loads(bytes(rpc.call("eth_blockNumber"))), 16)


def states(rpc: JsonRpc) -> list[str]:
    return [node.state for node in rpc.health()]


def gas(rpc: JsonRpc) -> Any:
    """Ask something that says nothing about the head."""
    return json.loads(bytes(rpc.call("eth_gasPrice")))


# -- fail-over


@pytest.mark.fault("R11")
@pytest.mark.parametrize(
    ("fault", "known"),
    [
        (HttpStatus(403), ("set_aside", "closed", 1)),
        (html(402), ("set_aside", "closed", 1)),
        (HttpStatus(401, b'{"error":{"code":-32600,"message":"Must be authenticated!"}}'), ("set_aside", "closed", 1)),
        (HttpStatus(429), ("limited", "rate", 1)),
        (html(200), ("doubtful", "no_rpc", 1)),
        (html(503), ("doubtful", "http_status", 1)),
        (HttpStatus(200, b"not found"), ("doubtful", "no_rpc", 1)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_r11_a_plan_that_ended_fails_over_and_is_left_alone_for_a_while(
    make_rpc_proxy: Make, open_rpc: Open, time_: Time, fault: Any, known: Any
) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(fault)
    rpc = open_rpc(one, other)
    assert gas(rpc)
    assert gas(rpc)
    assert len(one.asked) == 1  # not asked again in vain
    (first, second) = rpc.health()
    assert (first.state, first.reason, first.failed) == known
    assert (second.state, second.failed) == ("ready", 0)
    one.heal()
    time_.now += 61
    other.forget()
    assert gas(rpc)
    assert other.methods() == []
    assert states(rpc) == ["ready", "ready"]


@pytest.mark.fault("R11")
def test_r11_one_dead_fallback_does_not_stop_the_start(make_rpc_proxy: Make, open_rpc: Open) -> None:
    good, dead, wrong = make_rpc_proxy(), make_rpc_proxy(), make_rpc_proxy()
    wrong.add(OtherChain(137))
    dead.stop()
    for order in ([good, dead, wrong], [dead, wrong, good], [wrong, dead, good]):
        rpc = open_rpc(*order)
        rpc.check_chain()
        assert gas(rpc)


@pytest.mark.fault("R11")
@pytest.mark.fault("R12")
@pytest.mark.fault("R13")
@pytest.mark.parametrize(
    "fault", [Hang(), Close(), Close(midway=True), Drip(0.2), Deep(), Huge(), Huge(declared=True)], ids=repr
)
def test_r11_r12_r13_what_is_no_answer_goes_to_the_next_node(make_rpc_proxy: Make, open_rpc: Open, fault: Any) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(fault)
    rpc = open_rpc(one, other, timeout=0.4, max_bytes=4 << 20)
    assert gas(rpc)
    assert states(rpc) == ["doubtful", "ready"]


@pytest.mark.fault("R12")
def test_r12_a_node_that_hangs_costs_its_share_of_time_and_then_nothing(
    make_rpc_proxy: Make, open_rpc: Open, time_: Time
) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(Hang())
    rpc = open_rpc(one, other, timeout=0.2)
    asked = []
    for _ in range(60):
        gas(rpc)
        asked.append(len(one.asked))
        time_.now += 1
    # Asked at 0, and again when its pauses of 1, 2, 4, 8, 16 and 32 seconds were over, by its chain id alone.
    assert asked[-1] == 6
    assert set(one.methods()) == {"eth_chainId"}
    assert states(rpc) == ["open", "ready"]


def test_an_open_circuit_fails_fast_and_one_trial_closes_it(make_rpc_proxy: Make, open_rpc: Open, time_: Time) -> None:
    node = make_rpc_proxy()
    node.add(HttpStatus(500))
    rpc = open_rpc(node, attempts=2)
    for _ in range(3):
        with pytest.raises(RpcUnavailable):
            gas(rpc)
    assert len(node.asked) == 5  # the sixth is not made
    assert states(rpc) == ["open"]
    with pytest.raises(RpcUnavailable, match="left alone"):
        gas(rpc)
    assert len(node.asked) == 5
    node.heal()
    time_.now += 61
    assert gas(rpc)
    assert states(rpc) == ["ready"]


def test_a_batch_is_all_from_one_node(make_rpc_proxy: Make, open_rpc: Open) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(Close(), methods=["eth_getBalance"])
    rpc = open_rpc(one, other)
    calls = [Call("eth_gasPrice"), Call("eth_getBalance", ("0x" + "11" * 20, "latest"))]
    assert len(rpc.batch(calls)) == 2
    assert other.methods() == ["eth_chainId", "eth_gasPrice", "eth_getBalance"]


@pytest.mark.parametrize(
    ("error", "asks_other"),
    [
        (RpcError(-32603, "Internal error"), True),
        (RpcError(-32000, "header not found"), True),
        (RpcError(3, "execution reverted: no"), False),
        (RpcError(-32005, "query returned more than 10000 results"), False),
        (RpcError(-32602, "exceed maximum block range: 50"), False),
        (RpcError(-32000, "nonce too low"), False),
        (RpcError(-32000, "already known"), False),
    ],
    ids=lambda value: getattr(value, "message", None),
)
def test_a_refusal_is_asked_elsewhere_when_others_may_know_better(
    make_rpc_proxy: Make, open_rpc: Open, error: RpcError, asks_other: bool
) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(error, methods=["eth_gasPrice"])
    rpc = open_rpc(one, other)
    if asks_other:
        assert gas(rpc)
    else:
        with pytest.raises(RpcRefused, match=error.message):
            gas(rpc)
        assert other.asked == ()
    other.add(RpcError(-1, "something else"), methods=["eth_gasPrice"])
    with pytest.raises(RpcRefused, match=error.message):  # nobody knows better: the first one is believed
        gas(rpc)


def test_a_tag_that_a_chain_does_not_have_is_asked_of_one_node(make_rpc_proxy: Make, open_rpc: Open) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(RpcError(-32602, "finalized block not supported"), methods=["eth_getBlockByNumber"])
    rpc = open_rpc(one, other)
    with pytest.raises(RpcRefused):
        rpc.call("eth_getBlockByNumber", "finalized", False)
    assert other.asked == ()
    assert rpc.call("eth_getBlockByNumber", "0x0", False)
    assert "eth_getBlockByNumber" in other.methods()


# -- rates


def test_a_busy_node_is_waited_for_as_long_as_it_says(make_rpc_proxy: Make, open_rpc: Open, time_: Time) -> None:
    node = make_rpc_proxy()
    node.add(HttpStatus(429, headers={"retry-after": "2"}), methods=["eth_gasPrice"], first=1)
    rpc = open_rpc(node, attempts=2)
    assert gas(rpc)
    assert time_.slept == [2.0]
    node.add(HttpStatus(429, headers={"retry-after": "90"}), methods=["eth_gasPrice"], first=1)
    with pytest.raises(RpcUnavailable) as busy:
        gas(rpc)
    assert busy.value.details["retry_after"] == pytest.approx(90, abs=1)
    assert states(rpc) == ["limited"]
    asked = len(node.asked)
    with pytest.raises(RpcUnavailable):
        gas(rpc)
    assert len(node.asked) == asked
    time_.now += 90
    assert gas(rpc)


def test_a_date_in_retry_after_is_read_by_the_nodes_own_clock(make_rpc_proxy: Make, open_rpc: Open) -> None:
    node = make_rpc_proxy()
    headers = {"date": "Wed, 01 Jan 2020 00:00:00 GMT", "retry-after": "Wed, 01 Jan 2020 00:00:40 GMT"}
    node.add(HttpStatus(429, headers=headers))
    rpc = open_rpc(node)
    with pytest.raises(RpcUnavailable) as busy:
        gas(rpc)
    assert busy.value.details["retry_after"] == 40


@pytest.mark.parametrize("header", ["", "soon", "-3", "Wed, 99 Foo", "1e5", "٣"])
def test_nonsense_in_retry_after_is_no_trouble(make_rpc_proxy: Make, open_rpc: Open, header: str) -> None:
    node = make_rpc_proxy()
    node.add(HttpStatus(429, headers={"retry-after": header.encode().decode("latin-1")}), first=1)
    rpc = open_rpc(node)
    with pytest.raises(RpcUnavailable):
        gas(rpc)
    (health,) = rpc.health()
    assert (health.state, health.waits) == ("limited", 1)


def test_a_learned_rate_is_kept_to(make_rpc_proxy: Make, open_rpc: Open, time_: Time) -> None:
    node = make_rpc_proxy()
    rpc = open_rpc(node, attempts=3)
    for _ in range(20):
        gas(rpc)
        time_.now += 0.1
    node.add(RpcError(-32005, "too many requests"), methods=["eth_gasPrice"], first=1)
    gas(rpc)
    node.forget()
    began = time_.now
    for _ in range(40):
        gas(rpc)
    assert len(node.asked) / (time_.now - began) < 10
    assert sum(node.faults != () for node in node.asked) == 0


def test_one_refused_item_makes_the_whole_batch_wait(make_rpc_proxy: Make, open_rpc: Open) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(RpcError(429, "compute units exceeded"), methods=["eth_gasPrice"])
    rpc = open_rpc(one, other)
    results = rpc.batch([Call("eth_chainId"), Call("eth_gasPrice")])
    assert not any(isinstance(result, RpcRefused) for result in results)
    assert states(rpc) == ["limited", "ready"]


# -- the chain id


@pytest.mark.fault("R10")
def test_r10_node_of_another_chain_is_passed_over_and_named(make_rpc_proxy: Make, open_rpc: Open, time_: Time) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(OtherChain(137))
    rpc = open_rpc(one, other)
    assert gas(rpc)
    assert states(rpc) == ["wrong_chain", "ready"]
    assert one.methods() == ["eth_chainId"]
    other.stop()
    with pytest.raises(WrongChain, match="node 1 of 2 serves chain 137"):
        gas(rpc)
    other.start()
    time_.now += 61
    one.heal()
    assert gas(rpc)
    assert states(rpc)[0] == "ready"


@pytest.mark.fault("R10")
def test_r10_the_chain_is_compared_on_each_switch_and_every_minute(
    make_rpc_proxy: Make, open_rpc: Open, time_: Time
) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other)
    gas(rpc)
    rule = one.add(HttpStatus(502))
    gas(rpc)
    assert other.methods() == ["eth_chainId", "eth_gasPrice"]
    one.remove(rule)
    one.forget()
    time_.now += 30
    gas(rpc)
    assert one.methods() == ["eth_chainId", "eth_gasPrice"]  # it was away
    one.add(HttpStatus(502))
    other.forget()
    gas(rpc)
    assert other.methods() == ["eth_chainId", "eth_gasPrice"]  # it had only been checked half a minute ago
    other.forget()
    for _ in range(3):
        time_.now += 0.1
        gas(rpc)
    assert "eth_chainId" not in other.methods()
    one.heal()
    time_.now += 59
    gas(rpc)
    one.forget()
    time_.now += 61
    gas(rpc)
    assert one.methods() == ["eth_chainId", "eth_gasPrice"]


# -- heads


@pytest.mark.fault("R01")
def test_r01_a_node_behind_what_was_seen_is_not_used_for_the_head(
    anvil: AnvilNode, make_rpc_proxy: Make, open_rpc: Open
) -> None:
    anvil.mine(30)
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other)
    assert head_of(rpc) == anvil.block_number
    with rpc.session(other_than=["node 1 of 2"]) as second:
        assert second.head == anvil.block_number
    lag = one.add(Lag(20))
    assert head_of(rpc) == anvil.block_number
    with rpc.session() as node:
        assert node.name == "node 2 of 2"  # far behind: others first
    health = rpc.health()
    assert (health[0].lag, health[1].lag) == (20, 0)
    one.remove(lag)
    assert head_of(rpc) == anvil.block_number


@pytest.mark.fault("R01")
def test_r01_when_all_are_behind_the_best_of_them_is_told(
    anvil: AnvilNode, make_rpc_proxy: Make, open_rpc: Open
) -> None:
    anvil.mine(30)
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other)
    for node in rpc.each_node():
        assert node.head == anvil.block_number
    one.add(Lag(7))
    other.add(Lag(3))
    assert head_of(rpc) == anvil.block_number - 3


@pytest.mark.fault("R01")
def test_r01_a_front_node_that_stands_still_is_found_by_looking_at_the_others(
    anvil: AnvilNode, make_rpc_proxy: Make, open_rpc: Open, time_: Time
) -> None:
    anvil.mine(3)
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other)
    stuck = anvil.block_number
    one.add(FreezeTag("latest", stuck))
    anvil.mine(10)
    assert head_of(rpc) == stuck
    assert other.asked == ()
    time_.now += 31
    assert head_of(rpc) == anvil.block_number
    assert rpc.health()[0].lag == 10


def test_a_session_stays_with_one_node_that_has_come_far_enough(
    anvil: AnvilNode, make_rpc_proxy: Make, open_rpc: Open
) -> None:
    anvil.mine(10)
    head = anvil.block_number
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(Lag(2))
    rpc = open_rpc(one, other)
    with rpc.session(head_at_least=head - 2) as node:
        assert (node.name, node.head) == ("node 1 of 2", head - 2)
    with rpc.session(head_at_least=head - 1) as node:
        assert (node.name, node.head) == ("node 2 of 2", head)
        one.forget()
        other.forget()
        for _ in range(3):
            node.call("eth_gasPrice")
        node.batch([Call("eth_gasPrice")] * 3)
        assert (len(one.asked), len(other.asked)) == (0, 6)
    with pytest.raises(RpcUnavailable, match="it has not come so far"), rpc.session(head_at_least=head + 1):
        pass


def test_a_session_whose_node_fails_says_so_and_asks_nobody_else(make_rpc_proxy: Make, open_rpc: Open) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other, attempts=3)
    with rpc.session() as node:
        one.stop()
        with pytest.raises(RpcUnavailable, match="node 1 of 2: no connection"):
            node.call("eth_gasPrice")
    assert other.asked == ()
    with rpc.session() as node:
        assert node.name == "node 2 of 2"


def test_a_session_gets_refusals_as_they_are_and_waits_for_a_busy_node(
    make_rpc_proxy: Make, open_rpc: Open, time_: Time
) -> None:
    one = make_rpc_proxy()
    one.add(RpcError(-32005, "query returned more than 10000 results"), methods=["eth_getLogs"])
    one.add(HttpStatus(429, headers={"retry-after": "1"}), methods=["eth_gasPrice"], first=1)
    rpc = open_rpc(one, attempts=2)
    with rpc.session() as node:
        (refused,) = node.batch([Call("eth_getLogs", ({},))])
        assert isinstance(refused, RpcRefused)
        assert refusal_of(refused).kind is RefusalKind.TOO_MUCH
        with pytest.raises(RpcRefused):
            node.call("eth_getLogs", {})
        assert node.call("eth_gasPrice")
        assert time_.slept == [1.0]


def test_a_second_opinion_comes_from_another_node(make_rpc_proxy: Make, open_rpc: Open) -> None:
    nodes = [make_rpc_proxy() for _ in range(3)]
    rpc = open_rpc(*nodes)
    gas(rpc)
    with rpc.session() as first, rpc.session(other_than=[first.name]) as second:
        assert (first.name, second.name) == ("node 1 of 3", "node 2 of 3")
        with rpc.session(other_than=[first.name, second.name]) as third:
            assert third.name == "node 3 of 3"
    nodes[0].forget()
    elsewhere = rpc.elsewhere()
    gas(elsewhere)
    assert nodes[0].asked == ()
    gas(rpc)
    assert nodes[0].methods() == ["eth_gasPrice"]  # the home of the others did not change by it
    nodes[1].add(HttpStatus(500))
    nodes[2].add(HttpStatus(500))
    with pytest.raises(RpcUnavailable):
        gas(elsewhere)
    alone = open_rpc(nodes[0])
    assert alone.elsewhere() is alone


def test_one_url_given_twice_is_one_node(make_rpc_proxy: Make, open_rpc: Open) -> None:
    node = make_rpc_proxy()
    rpc = open_rpc(node, node)
    assert [known.node for known in rpc.health()] == ["node 1 of 1"]
    assert len(list(rpc.each_node())) == 1


# -- contradictions


def test_a_discredited_node_is_asked_last_for_some_minutes(make_rpc_proxy: Make, open_rpc: Open, time_: Time) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other)
    with rpc.session() as node:
        node.discredit("a log of block 7 names another block")
    (first, _) = rpc.health()
    assert (first.state, first.reason, first.waits) == ("set_aside", "a log of block 7 names another block", 300)
    with rpc.session() as node:
        assert node.name == "node 2 of 2"
    other.stop()
    time_.now += 2
    with rpc.session() as node:  # better than nobody: each of its answers is checked all the same
        assert node.name == "node 1 of 2"
    other.start()
    time_.now += 301
    with rpc.session() as node:
        assert node.name == "node 1 of 2"


def test_a_discredited_node_does_not_say_where_the_head_is(
    anvil: AnvilNode, make_rpc_proxy: Make, open_rpc: Open
) -> None:
    anvil.mine(3)
    one, other = make_rpc_proxy(), make_rpc_proxy()
    one.add(RpcError(), methods=["eth_getBlockByNumber"])
    rpc = open_rpc(one, other)
    one.add(Null(), methods=["nothing"])
    with rpc.session() as node:
        one.add(FreezeTag("latest", 10**9))
        assert int(json.loads(bytes(node.call("eth_blockNumber"))), 16) == 10**9
        assert rpc.best_head == 10**9
        node.discredit("it invents a head")
    assert head_of(rpc) == anvil.block_number
    assert rpc.best_head == anvil.block_number


# -- reserve


def test_reserve_nodes_are_looked_up_and_asked_when_nobody_else_answers(
    make_rpc_proxy: Make, open_rpc: Open, time_: Time
) -> None:
    one, spare = make_rpc_proxy(), make_rpc_proxy()
    looked_up: list[float] = []
    urls = [spare.url]

    def reserve() -> list[str]:
        looked_up.append(time_.now)
        return urls

    rpc = open_rpc(one, reserve=reserve)
    gas(rpc)
    assert looked_up == []
    one.stop()
    for _ in range(3):
        assert gas(rpc)
    assert len(looked_up) == 1  # not for every call
    assert [node.node for node in rpc.health()] == ["node 1 of 1", "reserve 1"]
    with rpc.session() as node:
        assert node.reserve
    assert list(rpc.each_node()) == []  # it is no witness
    one.start()
    time_.now += 61
    spare.forget()
    gas(rpc)
    assert spare.asked == ()
    one.stop()
    urls[:] = [one.url]  # known already: it is no reserve
    time_.now += 11
    with pytest.raises(RpcUnavailable):
        gas(rpc)
    assert [node.node for node in rpc.health()] == ["node 1 of 1"]


# -- what is told


def test_what_happens_is_told_in_bounded_words(make_rpc_proxy: Make, open_rpc: Open, time_: Time) -> None:
    told: list[tuple[str, str, str]] = []
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other, tell=lambda *what: told.append(what))
    gas(rpc)
    assert told == []
    one.add(HttpStatus(500))
    gas(rpc)
    assert told == [
        ("rpc_failed", "node 1 of 2", "http_status"),
        ("rpc_switched", "node 2 of 2", "node 1 of 2"),
    ]
    for _ in range(4):
        time_.now += 61
        gas(rpc)
    assert told[-1] == ("rpc_circuit_opened", "node 1 of 2", "http_status")
    other.add(HttpStatus(429))
    with pytest.raises(RpcUnavailable):
        gas(rpc)
    assert ("rpc_limited", "node 2 of 2", "rate") in told


def test_latency_is_a_moving_average(make_rpc_proxy: Make, time_: Time) -> None:
    node = make_rpc_proxy()
    rpc = JsonRpc(chain_id=31337, urls=[node.url], timeout=2, attempts=1)
    node.add(Delay(0.1))
    gas(rpc)
    (slow,) = rpc.health()
    assert slow.latency_ms is not None
    assert slow.latency_ms >= 100
    node.heal()
    for _ in range(30):
        gas(rpc)
    (fast,) = rpc.health()
    assert fast.latency_ms is not None
    assert fast.latency_ms < slow.latency_ms
    assert fast.asked == 32
    rpc.close()


def test_threads_that_lose_a_node_all_find_the_other(make_rpc_proxy: Make, open_rpc: Open) -> None:
    one, other = make_rpc_proxy(), make_rpc_proxy()
    rpc = open_rpc(one, other)
    gas(rpc)
    one.add(Close(), probability=0.5)
    answers: list[Any] = []
    lock = threading.Lock()

    def ask() -> None:
        for _ in range(10):
            answer = gas(rpc)
            with lock:
                answers.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 60
