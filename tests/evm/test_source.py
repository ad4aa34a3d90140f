"""The chain source: logs and their receipts, honest and not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from eth_hash.auto import keccak
from evm_bench import Shop, Wallet
from evm_servers import each, liar, open_source, scripted, tampered

from evmbilling.adapters.evm.abi.events import PAID
from evmbilling.adapters.evm.reading.bloom import admits
from evmbilling.domain.reading.evidence import ChainLog, WatchSet
from evmbilling.errors import ChainMismatch, RpcRefused
from evmbilling.testing.anvil import AnvilNode


def watch_of(address: str, topic: bytes) -> WatchSet:
    return WatchSet(addresses=(address,), topics=(topic,), start_block=0)


@pytest.mark.fault("C15")
def test_c15_several_payments_in_one_transaction_have_ordinals_of_their_receipt(shop: Shop) -> None:
    many = shop.deploy("Many")
    noise = shop.order(wallet=many, amount=1_000_000)
    orders = [shop.order(wallet=many, amount=amount) for amount in (5, 6, 7)]
    for amount, spender in ((1_000_000, many), (18, many)):
        shop.fund(shop.wallet.address, amount)
        shop.call(shop.token, "approve(address,uint256)", spender, 2_000_000, sender=shop.wallet.address)
    types = "(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64,uint64)"
    burst = f"burst(address,{types}[],bytes[])"

    def structs(group: list[Any]) -> list[tuple[Any, ...]]:
        messages = [shop.provider.typed_data(order)["message"] for order in group]
        return [
            tuple(
                bytes.fromhex(value[2:])
                if name in ("reference", "plan")
                else int(value)
                if str(value).isdigit()
                else value
                for name, value in message.items()
            )
            for message in messages
        ]

    for group in ([noise], orders):  # two transactions in one block: block-wide and own positions differ
        shop.call(
            many,
            burst,
            shop.checkout,
            structs(group),
            [order.signature for order in group],
            sender=shop.wallet.address,
            mine=False,
        )
    shop.node.mine()
    first, *logs = shop.logs()
    assert first.log_index == first.ordinal
    assert len({log.tx_hash for log in logs}) == 1
    assert [shop.provider.decode(log, shop.contract).reference for log in logs] == [o.reference for o in orders]
    receipt = shop.node.receipt("0x" + logs[0].tx_hash.hex())
    assert receipt is not None
    for log in logs:
        entry = receipt["logs"][log.ordinal]
        assert (int(entry["logIndex"], 16), entry["data"]) == (log.log_index, "0x" + log.data.hex())
        assert log.log_index - log.ordinal == int(receipt["logs"][0]["logIndex"], 16) > 0
    assert len({log.identity for log in logs}) == 3


def test_blocks_without_our_bloom_are_not_asked_for_logs(shop: Shop, paid: ChainLog) -> None:
    shop.node.mine(3)
    with scripted(tampered(shop.node, lambda _m, _p, result: result)) as server:
        source = open_source(server.url)
        with contextlib.closing(source):
            headers = source.headers(paid.block_number - 1, paid.block_number + 3)
            assert list(source.logs(headers, shop.provider.watch([shop.contract]))) == [paid]
            assert server.calls().count("eth_getLogs") == 1
            # headers from elsewhere (storage) carry no bloom: every block is asked then
            server.requests.clear()
            fresh = open_source(server.url)
            with contextlib.closing(fresh):
                assert list(fresh.logs(headers, shop.provider.watch([shop.contract]))) == [paid]
            assert server.calls().count("eth_getLogs") == len(headers)


def test_the_bloom_of_the_chain_admits_what_it_holds_and_little_else(shop: Shop, paid: ChainLog) -> None:
    block = shop.node.block(paid.block_number)
    assert block is not None
    bloom = bytes.fromhex(block["logsBloom"][2:])
    assert admits(bloom, watch_of(shop.checkout, PAID))
    strangers = [watch_of(shop.checkout, keccak(bytes([n]))) for n in range(100)]
    assert sum(admits(bloom, stranger) for stranger in strangers) < 5
    assert not admits(bytes(256), watch_of(shop.checkout, PAID))


def test_a_bloom_that_the_chain_does_not_fill_in_is_not_believed(shop: Shop, paid: ChainLog) -> None:
    def change(method: str, _: list[Any], result: Any) -> Any:
        return result | {"logsBloom": "0x" + "00" * 256} if method == "eth_getBlockByNumber" else result

    with liar(shop.node, change) as source:
        headers = source.headers(1, paid.block_number)
        assert list(source.logs(headers, shop.provider.watch([shop.contract]))) == [paid]


def test_blooms_are_kept_for_the_newest_headers_only(
    shop: Shop, paid: ChainLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evmbilling.adapters.evm.source._BLOOMS_KEPT", 2)
    shop.node.mine(4)
    headers = shop.source.headers(1, shop.node.block_number)
    assert list(shop.source._blooms) == [header.hash for header in headers[-2:]]
    assert list(shop.source.logs(headers, shop.provider.watch([shop.contract]))) == [paid]


def test_an_empty_watch_set_asks_for_nothing(shop: Shop, paid: ChainLog) -> None:
    with scripted(tampered(shop.node, lambda _m, _p, result: result)) as server:
        source = open_source(server.url)
        with contextlib.closing(source):
            headers = source.headers(1, paid.block_number)
            server.requests.clear()
            assert source.logs(headers, shop.provider.watch([])) == []
            assert source.logs(headers, WatchSet(addresses=(shop.checkout,), topics=(), start_block=0)) == []
            assert server.requests == []


def test_logs_of_an_orphaned_block_are_a_mismatch(shop: Shop, paid: ChainLog) -> None:
    headers = shop.source.headers(paid.block_number, paid.block_number)
    shop.node.reorg(1)
    with pytest.raises((ChainMismatch, RpcRefused)) as caught:
        shop.source.logs(headers, shop.provider.watch([shop.contract]))
    assert isinstance(caught.value, ChainMismatch)
    assert caught.value.retry_safe


def test_the_same_transaction_mined_again_has_the_same_identity_and_other_evidence(shop: Shop, paid: ChainLog) -> None:
    raw = shop.node.raw_transaction("0x" + paid.tx_hash.hex())
    other = Wallet(shop.node, shop.node.accounts[6].key)
    first = {"from": other.address, "to": shop.token, "data": "0xa9059cbb" + "11" * 32 + "00" * 32, "gas": "0x186a0"}
    shop.node.reorg(1, [(first, 0), (raw, 0)])
    (again,) = shop.logs()
    assert again.identity == paid.identity
    assert again.block_hash != paid.block_hash


CONTRADICTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "no receipt": ("eth_getTransactionReceipt", lambda _: None),
    "failed": ("eth_getTransactionReceipt", lambda r: r | {"status": "0x0"}),
    "no status": ("eth_getTransactionReceipt", lambda r: r | {"status": None}),
    "other block": ("eth_getTransactionReceipt", lambda r: r | {"blockHash": "0x" + "12" * 32}),
    "pending": ("eth_getTransactionReceipt", lambda r: r | {"blockHash": None, "blockNumber": None}),
    "other height": ("eth_getTransactionReceipt", lambda r: r | {"blockNumber": "0x1"}),
    "other transaction": ("eth_getTransactionReceipt", lambda r: r | {"transactionHash": "0x" + "12" * 32}),
    "no logs": ("eth_getTransactionReceipt", lambda r: r | {"logs": []}),
    "other data": (
        "eth_getTransactionReceipt",
        lambda r: r | {"logs": [log | {"data": log["data"][:-2] + "99"} for log in r["logs"]]},
    ),
    "other emitter": (
        "eth_getTransactionReceipt",
        lambda r: r | {"logs": [log | {"address": "0x" + "ab" * 20} for log in r["logs"]]},
    ),
    "one index twice": (
        "eth_getTransactionReceipt",
        lambda r: r | {"logs": [log | {"logIndex": "0x0"} for log in r["logs"]]},
    ),
    "no such receipt": ("eth_getTransactionReceipt", lambda r: "0x"),
    "log of another block": ("eth_getLogs", lambda logs: [log | {"blockHash": "0x" + "12" * 32} for log in logs]),
    "log of another height": ("eth_getLogs", lambda logs: [log | {"blockNumber": "0x1"} for log in logs]),
    "removed log": ("eth_getLogs", lambda logs: [log | {"removed": True} for log in logs]),
    "invented amount": ("eth_getLogs", lambda logs: [log | {"data": "0x" + "ff" * 192} for log in logs]),
    "doubled log": ("eth_getLogs", lambda logs: logs * 2),
    "no list": ("eth_getLogs", lambda _: None),
    "short topic": ("eth_getLogs", lambda logs: [log | {"topics": ["0x12"]} for log in logs]),
    "odd data": ("eth_getLogs", lambda logs: [log | {"data": "0xabc"} for log in logs]),
    "no index": ("eth_getLogs", lambda logs: [log | {"logIndex": None} for log in logs]),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_answers_that_contradict_each_other_are_a_mismatch(shop: Shop, paid: ChainLog, case: str) -> None:
    where, change = CONTRADICTIONS[case]
    with liar(shop.node, lambda method, _, result: change(result) if method == where else result) as source:
        headers = source.headers(paid.block_number, paid.block_number)
        with pytest.raises(ChainMismatch):
            source.logs(headers, shop.provider.watch([shop.contract]))


def test_a_log_that_the_list_left_out_is_noticed_by_its_receipt(shop: Shop) -> None:
    shop.approve(40)
    for _ in range(2):
        shop.wallet.send(shop.provider.payload(shop.order(amount=20)))
    shop.node.mine()
    assert len(shop.logs()) == 2
    with liar(shop.node, lambda m, _, r: r[1:] if m == "eth_getLogs" else r) as source:
        headers = source.headers(1, shop.node.block_number)
        # The two are of different transactions, so the receipt of the other one cannot tell.
        assert len(source.logs(headers, watch_of(shop.checkout, PAID))) == 1
    many = shop.deploy("Many")
    watch = watch_of(shop.token, keccak(b"Transfer(address,address,uint256)"))
    mint = bytes.fromhex("40c10f19") + bytes(12) + bytes.fromhex("ab" * 20) + (7).to_bytes(32, "big")
    shop.call(many, "multicall(address[],uint256[],bytes[])", [shop.token] * 2, [0, 0], [mint] * 2)
    headers = shop.source.headers(shop.node.block_number, shop.node.block_number)
    assert [log.ordinal for log in shop.source.logs(headers, watch)] == [0, 1]
    with (
        liar(shop.node, lambda m, _, r: r[1:] if m == "eth_getLogs" else r) as source,
        pytest.raises(ChainMismatch, match="other logs in its receipt"),
    ):
        source.logs(headers, watch)


def test_logs_that_nobody_asked_for_are_left_alone(shop: Shop, paid: ChainLog) -> None:
    def change(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        everything: Any = shop.node.rpc("eth_getLogs", {"blockHash": params[0]["blockHash"]})
        return everything

    with liar(shop.node, change) as source:
        headers = source.headers(1, paid.block_number)
        assert list(source.logs(headers, shop.provider.watch([shop.contract]))) == [paid]


@pytest.mark.fault("R09")
@pytest.mark.parametrize("text", ["transaction indexing is in progress", "node is still syncing", "header not found"])
def test_r09_node_that_does_not_have_it_yet_is_asked_again(shop: Shop, paid: ChainLog, text: str) -> None:
    def answer(method: str, params: list[Any]) -> Any:
        late = method == "eth_getTransactionReceipt"
        return ValueError(-32000, text) if late else shop.node.rpc(method, *params)

    with scripted(each(answer)) as node, contextlib.closing(open_source(node.url)) as source:
        headers = source.headers(1, paid.block_number)
        with pytest.raises(ChainMismatch) as caught:
            source.logs(headers, shop.provider.watch([shop.contract]))
        assert caught.value.retry_safe


def test_a_method_that_the_node_does_not_have_is_a_refusal(shop: Shop, paid: ChainLog) -> None:
    def answer(method: str, params: list[Any]) -> Any:
        missing = method == "eth_getLogs"
        return ValueError(-32601, f"the method {method} was not found") if missing else shop.node.rpc(method, *params)

    with scripted(each(answer)) as node, contextlib.closing(open_source(node.url)) as source:
        headers = source.headers(1, paid.block_number)
        with pytest.raises(RpcRefused):
            source.logs(headers, shop.provider.watch([shop.contract]))


@pytest.mark.fault("C19")
@pytest.mark.parametrize("tx_hash", [None, "0x" + "00" * 32, "0x"])
def test_c19_log_without_a_transaction_is_counted_and_passed_over(
    shop: Shop, paid: ChainLog, tx_hash: str | None
) -> None:
    def change(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [log | {"transactionHash": tx_hash, "logIndex": "0x9"} for log in result] + result

    with liar(shop.node, change) as source:
        headers = source.headers(1, paid.block_number)
        assert list(source.logs(headers, watch_of(shop.checkout, PAID))) == [paid]
        assert source.ignored == {"no_transaction": 1}


@pytest.mark.fault("C22", "S05")
def test_c22_s05_same_contract_on_two_chains_shares_nothing(anvil_pair: tuple[AnvilNode, AnvilNode]) -> None:
    one, other = (Shop(node) for node in anvil_pair)
    with contextlib.closing(one), contextlib.closing(other):
        assert (one.checkout, one.token) == (other.checkout, other.token)
        for shop in (one, other):
            shop.approve()
        order = one.order()
        assert one.pay(order)["status"] == "0x1"
        # The very same calldata, signature included, on the other chain.
        assert other.wallet.send(one.provider.payload(order), chainId=31338)
        other.node.mine()
        assert other.logs() == []
        (log,) = one.logs()
        assert log.chain_id == log.identity.chain_id == 31337
        assert one.provider.decode(log, one.contract) is not None
        assert one.provider.decode(log, other.contract) is None
        assert one.provider.decode(attrs.evolve(log, chain_id=31338), one.contract) is None
        mirrored = attrs.evolve(order, asset=other.asset())
        assert one.provider.sign(mirrored, one.gateway)[1] != order.signature


@pytest.mark.fault("C12")
def test_c12_transaction_for_another_chain_leaves_no_trace(shop: Shop) -> None:
    shop.approve()
    raw = shop.wallet.raw(shop.provider.payload(shop.order()), chainId=1)
    with contextlib.suppress(RpcRefused):
        shop.node.send_raw(raw)
    shop.node.mine(3)
    assert shop.logs() == []
