"""What is told about nodes, and what never is: their urls."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stall import Asked, Stall

from evmbilling.adapters.evm.nodes import EvmNodes
from evmbilling.adapters.evm.reading.witness import count_agreeing
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.aio import AsyncBillingEngine
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import BillingError, ConfigurationError, ProviderError, StorageError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import ADMIN, simulated_merchant
from evmbilling.testing.rpc_breaks import Hang, HttpStatus
from evmbilling.testing.rpc_lies import ChangeLogs, Lag, Null, RpcError, WrongChain, removed
from evmbilling.testing.rpc_proxy import RpcProxy

MakeStall = Callable[..., Stall]
CANARY = "c4n4ry-k3y"


def leaks(text: str) -> bool:
    return "c4n4ry" in text.lower() or "k3y" in text.lower()


def everything(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        report = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=False)
        yield from (str(error), repr(error), repr(getattr(error, "details", "")), "".join(report.format()))
        error = error.__cause__ or error.__context__


# -- urls


@pytest.mark.fault("R20")
@pytest.mark.fault("G01")
def test_r20_g01_nothing_that_is_told_of_nodes_holds_their_urls(
    make_stall: MakeStall, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stall = make_stall(0, 1, rpc_timeout=1)
    one, other = stall.nodes
    urls = [f"{node.url}v3/{CANARY}?token={CANARY}" for node in stall.nodes]
    stall.change(rpc_urls=urls)
    texts: list[str] = []
    for fault in (
        HttpStatus(429),
        HttpStatus(500, CANARY.encode()),
        RpcError(-32000, f"no such key {CANARY} at /v3/{CANARY}"),
        RpcError(-32005, f"rate limit of {CANARY}"),
        WrongChain(137),
        Hang(),
    ):
        rules = [node.add(fault) for node in (one, other)]
        stall.pay(stall.checkout(f"user-{len(texts)}"), mine=0)
        for work in (
            lambda: stall.engine.read_chain(stall.name),
            lambda: stall.rpc.call("eth_gasPrice"),
            lambda: list(stall.rpc.each_node()),
            lambda: stall.rpc.session().__enter__(),
        ):
            try:
                texts.append(repr(work()))
            except BillingError as error:
                texts += everything(error)
        texts.append(repr(stall.engine.networks_health()))
        for node, rule in zip((one, other), rules, strict=True):
            node.remove(rule)
        stall.clock.advance(hours=1)
    with_session = []
    stall.engine._ports.providers["evm"].close()
    with stall.rpc.session() as node:
        node.discredit("it contradicts itself")
        with_session = [repr(node), repr(vars(node)), node.name]
    pool: Any = stall.rpc._pool
    parts = [repr(stall.rpc), repr(vars(stall.rpc)), repr(pool), repr(vars(pool)), repr(vars(pool.current))]
    told = [*texts, *with_session, *parts, *stall.counts.labels, caplog.text, repr(stall.network)]
    assert len(told) > 40
    assert [text for text in told if leaks(text)] == []


@pytest.mark.fault("R20")
def test_r20_urls_of_the_reserve_are_secrets_too(
    make_stall: MakeStall, make_rpc_proxy: Callable[..., RpcProxy]
) -> None:
    stall = make_stall(0)
    spare = make_rpc_proxy()
    bind_fallback(stall, f"{spare.url}v3/{CANARY}")
    spare.add(RpcError(-32000, f"no such key {CANARY}"))
    stall.nodes[0].stop()
    with pytest.raises(ProviderError) as caught:
        stall.engine.read_chain(stall.name)
    told = [*everything(caught.value), repr(stall.engine.networks_health()), *stall.counts.labels]
    (contract,) = stall.engine.admin(ADMIN).contracts()
    assert [text for text in (*told, repr(contract)) if leaks(text)] == []
    assert "reserve 1" in repr(stall.engine.networks_health())


# -- health


def test_the_health_of_a_network_says_how_far_it_is_and_how_its_nodes_are(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    (fresh,) = stall.engine.networks_health()
    assert (fresh.network, fresh.chain_id, fresh.head, fresh.read, fresh.halted) == ("local", 31337, None, None, None)
    assert [(node.node, node.state, node.asked) for node in fresh.nodes] == [
        ("node 1 of 2", "ready", 0),
        ("node 2 of 2", "ready", 0),
    ]
    stall.settle(5)
    (read,) = stall.engine.networks_health()
    head = stall.anvil.block_number
    assert (read.head, read.read, read.behind, read.finality_lag) == (head, head, 0, 2)
    assert read.read_at == stall.clock.now()
    assert read.read_time is not None
    assert read.nodes[0].latency_ms is not None
    stall.nodes[0].add(HttpStatus(503))
    stall.anvil.mine(4)
    stall.rpc.call("eth_blockNumber")
    (behind,) = stall.engine.networks_health()
    assert (behind.head, behind.behind) == (head + 4, 4)
    assert (behind.nodes[0].state, behind.nodes[0].reason) == ("doubtful", "http_status")
    assert stall.counts.total["rpc_failed"] == 1


def test_networks_that_are_archived_or_without_nodes_are_no_trouble(make_stall: MakeStall) -> None:
    stall = make_stall(0)
    admin = stall.engine.admin(ADMIN)
    gone = admin.create_network(name="gone", chain_id=5, rpc_urls=["env:NOT_SET"], testnet=True)
    assert {known.network: known.nodes for known in stall.engine.networks_health()}["gone"] == ()
    admin.archive_network("gone", version=gone.version)
    assert [known.network for known in stall.engine.networks_health()] == ["local"]
    shop = simulated_merchant()
    shop.buy()
    (simulated,) = shop.engine.networks_health()
    assert (simulated.nodes, simulated.head, simulated.read) == ((), None, shop.chain.head.number)


def test_health_is_there_for_async_hosts_too(make_stall: MakeStall) -> None:
    stall = make_stall(0)

    async def ask() -> str:
        (known,) = await AsyncBillingEngine(stall.engine).networks_health()
        return known.network

    assert asyncio.run(ask()) == "local"


# -- fallback_rpc


def bind_fallback(stall: Stall, *urls: str) -> None:
    admin = stall.engine.admin(ADMIN)
    (contract,) = admin.contracts()
    admin.update_contract(contract.slug, contract.network, version=contract.version, fallback_rpc=list(urls))


def test_the_nodes_of_a_contract_are_asked_when_its_networks_do_not_answer(
    make_stall: MakeStall, make_rpc_proxy: Callable[..., RpcProxy]
) -> None:
    stall = make_stall(0)
    spare = make_rpc_proxy()
    bind_fallback(stall, spare.url)
    offer = stall.checkout()
    assert stall.engine.pay_instructions(offer.ledger_id).payload is not None
    assert spare.asked == ()
    stall.nodes[0].stop()
    told = stall.engine.pay_instructions(offer.ledger_id)
    assert [problem.code for problem in told.problems] == ["balance", "allowance"]  # and not rpc_unknown
    stall.pay(offer)
    stall.settle()
    assert stall.status(offer) == "confirmed"
    assert stall.engine.verify().differences == ()
    (health,) = stall.engine.networks_health()
    assert [(node.node, node.state) for node in health.nodes][1] == ("reserve 1", "ready")


def test_a_fallback_node_is_checked_like_any_other(
    make_stall: MakeStall, make_rpc_proxy: Callable[..., RpcProxy]
) -> None:
    stall = make_stall(0)
    spare = make_rpc_proxy()
    spare.add(WrongChain(137))
    bind_fallback(stall, spare.url)
    stall.nodes[0].stop()
    assert stall.read() == "wrong_chain"
    assert set(spare.methods()) == {"eth_chainId"}


def test_a_fallback_is_no_witness_for_large_amounts(
    make_stall: MakeStall, make_rpc_proxy: Callable[..., RpcProxy]
) -> None:
    """Whoever binds a contract names these nodes: they are there to read on, not to vouch."""
    stall = make_stall(0, 1, agreement_above={"tUSD": 1})
    bind_fallback(stall, make_rpc_proxy().url)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[1].stop()
    stall.settle(passes=3)
    assert stall.status(offer) == "pending"


@pytest.mark.parametrize("value", ["http://x", [7], ["ftp://x"], ["http://x", "http://x"], [""]])
def test_fallbacks_that_cannot_be_used_are_refused_when_they_are_saved(make_stall: MakeStall, value: Any) -> None:
    stall = make_stall(0)
    admin = stall.engine.admin(ADMIN)
    (contract,) = admin.contracts()
    with pytest.raises(BillingError) as refused:
        admin.update_contract(contract.slug, contract.network, version=contract.version, fallback_rpc=value)
    assert refused.value.field == "fallback_rpc"


def test_a_reserve_that_cannot_be_looked_up_is_no_further_trouble(make_stall: MakeStall) -> None:
    stall = make_stall(0)

    def broken(_: Any) -> list[SecretRef]:
        raise StorageError("no database")

    def reveal(ref: SecretRef) -> str:
        if ref.locator == "HERE":
            return stall.nodes[0].url
        raise ConfigurationError("not set")

    stall.nodes[0].stop()
    for reserve in (broken, lambda _: [SecretRef("env", "GONE")]):
        nodes = EvmNodes(reveal=lambda _: stall.nodes[0].url, reserve=reserve)
        with pytest.raises(ProviderError):
            nodes.chain(stall.network).header("latest")
        nodes.close()
    nodes = EvmNodes(reveal=reveal, reserve=lambda _: [SecretRef("env", "GONE"), SecretRef("env", "HERE")])
    assert nodes._reserve_urls(stall.network) == [stall.nodes[0].url]


# -- witnesses


@pytest.fixture
def seen(make_stall: MakeStall) -> tuple[Stall, ChainLog]:
    stall = make_stall(0, 1)
    stall.pay(stall.checkout())
    source: Any = stall.engine._ports.providers["evm"].chain(stall.network)
    at = stall.anvil.block_number
    (contract,) = stall.engine.admin(ADMIN).contracts()
    watch = stall.engine._ports.providers["evm"].watch([contract])
    (log,) = source.logs(source.headers(at, at), watch)
    return stall, log


@pytest.mark.fault("R15")
@pytest.mark.parametrize(
    ("lie", "methods"),
    [
        (Null(), ["eth_getTransactionReceipt"]),
        (Null(), ["eth_getBlockByNumber"]),
        (RpcError(), ["eth_getTransactionReceipt"]),
        (RpcError(), ["eth_getBlockByNumber"]),
        (Lag(1), []),
        (WrongChain(5), []),
        (HttpStatus(500), []),
    ],
    ids=repr,
)
def test_r15_a_node_that_does_not_show_it_is_no_witness(
    seen: tuple[Stall, ChainLog], lie: Any, methods: list[str]
) -> None:
    stall, log = seen
    stall.nodes[1].add(lie, methods=methods)
    assert count_agreeing(stall.rpc, log, 2) == 1


@pytest.mark.fault("R15")
def test_r15_nodes_are_asked_until_enough_agree(seen: tuple[Stall, ChainLog]) -> None:
    stall, log = seen
    assert count_agreeing(stall.rpc, log, 2) == 2
    stall.nodes[1].forget()
    assert count_agreeing(stall.rpc, log, 1) == 1
    assert stall.nodes[1].asked == ()


RECEIPTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another block": lambda r: r | {"blockHash": "0x" + "12" * 32},
    "another transaction": lambda r: r | {"transactionHash": "0x" + "12" * 32},
    "failed": lambda r: r | {"status": "0x0"},
    "no status": lambda r: r | {"status": None},
    "no logs": lambda r: r | {"logs": []},
    "one log less": lambda r: r | {"logs": r["logs"][:-1]},
    "other data": lambda r: r | {"logs": [log | {"data": "0x" + "ff" * 32} for log in r["logs"]]},
    "other emitter": lambda r: r | {"logs": [log | {"address": "0x" + "ab" * 20} for log in r["logs"]]},
    "malformed": lambda r: r | {"logs": [log | {"logIndex": "x"} for log in r["logs"]]},
    "no receipt": lambda _: {"transactionHash": 7},
}


class Receipt(Asked):
    """Every receipt is passed through a function."""

    def __init__(self, function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._function = function

    def change(self, method: str, params: Any, reply: dict[str, Any], ask: Any) -> dict[str, Any]:
        return {"result": self._function(reply["result"])} if method == "eth_getTransactionReceipt" else reply


@pytest.mark.fault("R15")
@pytest.mark.parametrize("case", RECEIPTS)
def test_r15_a_receipt_that_differs_is_no_agreement(seen: tuple[Stall, ChainLog], case: str) -> None:
    stall, log = seen
    stall.nodes[1].add(Receipt(RECEIPTS[case]))
    assert count_agreeing(stall.rpc, log, 2) == 1


@pytest.mark.fault("R15")
def test_r15_another_branch_is_no_agreement(seen: tuple[Stall, ChainLog]) -> None:
    stall, log = seen
    stall.anvil.reorg(1)
    assert count_agreeing(stall.rpc, log, 2) == 0


def test_a_source_without_nodes_is_one_witness() -> None:
    shop = simulated_merchant()
    offer = shop.checkout()
    paid = shop.chain.pay(offer.order)
    shop.chain.mine()
    block = shop.chain.block_of(paid)
    provider: Any = shop.engine._ports.providers["evm"]
    (network,) = shop.engine.admin(ADMIN).networks()
    (contract,) = shop.engine.admin(ADMIN).contracts()
    (log,) = shop.chain.logs([block], provider.watch([contract]))
    assert provider.agreeing(network, log, wanted=2) == 1
    assert provider.elsewhere(network) is provider.chain(network)
    shop.chain.reorganise(1)
    assert provider.agreeing(network, log, wanted=2) == 0


def test_lies_about_lists_do_not_touch_receipts(anvil: AnvilNode, seen: tuple[Stall, ChainLog]) -> None:
    stall, log = seen
    stall.nodes[1].add(removed())
    stall.nodes[1].add(ChangeLogs(lambda _: None))
    assert count_agreeing(stall.rpc, log, 2) == 2
    assert isinstance(stall.rpc, JsonRpc)
    assert EvmChainSource(stall.rpc).chain_id == anvil.chain_id
