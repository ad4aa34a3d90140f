"""Ranges of blocks: split as nodes want them, believed only when they agree with something else."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import pytest
from attrs import frozen
from eth_hash.auto import keccak
from evm_bench import TREASURY, Shop
from evm_servers import ScriptedNode, each, open_source, scripted

from evmbilling.adapters.evm.abi.events import TRANSFER
from evmbilling.adapters.evm.reading import ahead
from evmbilling.adapters.evm.reading import ranges as module
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.addresses import checksum
from evmbilling.domain.reading.evidence import ChainLog, ScannedRange, WatchSet
from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.emitter import AS_CONTRACT, AS_TOKEN, EMITTER, Emitter
from sampling import EVERYTHING

ELSEWHERE = checksum(b"\x55" * 20)
Answer = Callable[[str, list[Any]], Any]


def scan(source: EvmChainSource, first: int, last: int, watch: WatchSet) -> list[ScannedRange]:
    with source.scan(first, last, watch) as ranges:
        return list(ranges)


def logs_of(ranges: Sequence[ScannedRange]) -> list[ChainLog]:
    return [log for found in ranges for log in found.logs]


@contextlib.contextmanager
def behind(answer: Answer) -> Iterator[tuple[EvmChainSource, ScriptedNode]]:
    with scripted(each(answer)) as node, contextlib.closing(open_source(node.url)) as source:
        yield source, node


def spans_asked(node: ScriptedNode) -> list[int]:
    """How many blocks each question for logs was about."""
    flat = [item for body in node.requests for item in (body if isinstance(body, list) else [body])]
    asked = [item["params"][0] for item in flat if item["method"] == "eth_getLogs"]
    return [int(a["toBlock"], 16) - int(a["fromBlock"], 16) + 1 if "toBlock" in a else 0 for a in asked]


def taken_in_turn(values: Sequence[Any], watches: Sequence[WatchSet]) -> list[tuple[Any, WatchSet]]:
    """Cross long chains with what is watched; the usual run takes each of both once."""
    return list(product(values, watches) if EVERYTHING else zip(values, watches, strict=True))


class _Interrupt(BaseException):
    """What a person does to the main thread."""


def _interrupt(*_: object) -> None:
    raise _Interrupt


class Street:
    """A chain with some logs, and what is on it as it was read block by block."""

    def __init__(self, node: AnvilNode) -> None:
        self.node = node
        emitter = Emitter(node)
        self.first = node.block_number + 1
        emitter.mine(3, transactions=2, logs=2)
        node.mine(20)
        emitter.mine(2, transactions=1, logs=3)
        node.mine(4)
        self.last = emitter.mine(1, transactions=12, logs=1)
        node.mine(5)
        with contextlib.closing(open_source(node.url)) as source:
            self.logs = list(source.logs(source.headers(self.first, self.last), AS_TOKEN))

    def honest(self, method: str, params: list[Any]) -> Any:
        return self.node.rpc(method, *params)


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    """It is only read."""
    with AnvilNode() as node:
        yield Street(node)


def test_a_range_is_what_its_blocks_are_one_by_one(street: Street) -> None:
    assert len(street.logs) == 30
    assert {log.ordinal for log in street.logs} == {0, 1, 2}
    for watch in (AS_TOKEN, AS_CONTRACT):
        with behind(street.honest) as (source, node):
            found = scan(source, street.first, street.last, watch)
            assert logs_of(found) == street.logs
            assert found[0].first.number == street.first
            assert found[-1].last == source.header(street.last)
            assert node.calls().count("eth_getLogs") == (2 if watch is AS_TOKEN else 1)


def test_nothing_to_look_for_still_gives_the_ends(street: Street) -> None:
    with behind(street.honest) as (source, node):
        (found,) = scan(source, street.first, street.last, WatchSet(addresses=(), topics=(), start_block=0))
        assert (found.first.number, found.last.number, found.logs) == (street.first, street.last, ())
        assert "eth_getLogs" not in node.calls()


@pytest.mark.fault("R04")
@pytest.mark.parametrize("cap", [1, 2, 7])
def test_r04_cap_that_the_node_names_is_kept_and_the_range_is_whole(street: Street, cap: int) -> None:
    def answer(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs":
            blocks = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            if blocks > cap:
                return ValueError(-32602, f"query exceeds max block range {cap}")
        return street.honest(method, params)

    with behind(answer) as (source, node):
        found = scan(source, street.first, street.last, AS_CONTRACT)
        assert logs_of(found) == street.logs
        refused, *rest = spans_asked(node)
        assert refused > cap
        assert max(rest) == cap
        for before, after in pairwise(found):
            assert after.first.parent_hash == before.last.hash


@pytest.mark.fault("R04")
@pytest.mark.parametrize("suggests", [True, False])
def test_r04_too_many_results_shrink_the_range_and_a_single_block_falls_back_to_receipts(
    street: Street, suggests: bool
) -> None:
    def answer(method: str, params: list[Any]) -> Any:
        result = street.honest(method, params)
        if method == "eth_getLogs" and len(result) > 6:
            first = int(params[0]["fromBlock"], 16)
            text = f"query exceeds max results 6, retry with the range {first}-{first + 1}"
            return ValueError(-32005, text if suggests else "query returned more than 6 results")
        return result

    with behind(answer) as (source, node):
        assert logs_of(scan(source, street.first, street.last, AS_CONTRACT)) == street.logs
        assert "eth_getBlockReceipts" in node.calls()  # the block of twelve logs cannot be asked for in any other way


@pytest.mark.parametrize("text", ["the method eth_getBlockReceipts does not exist", "Method not found"])
def test_a_node_without_receipts_of_blocks_is_asked_for_each_and_only_once_for_all(street: Street, text: str) -> None:
    def answer(method: str, params: list[Any]) -> Any:
        if method == "eth_getBlockReceipts":
            return ValueError(-32601, text)
        if method == "eth_getLogs" and params[0].get("toBlock") != params[0].get("fromBlock"):
            return ValueError(-32005, "query returned more than 1 results")
        if method == "eth_getLogs" and params[0]["fromBlock"] == hex(street.last):
            return ValueError(-32005, "query returned more than 1 results")
        return street.honest(method, params)

    with behind(answer) as (source, node):
        assert logs_of(scan(source, street.first, street.last, AS_CONTRACT)) == street.logs
        assert logs_of(scan(source, street.last, street.last, AS_CONTRACT)) == street.logs[-12:]
        assert node.calls().count("eth_getBlockReceipts") == 1


@pytest.mark.fault("R04")
def test_r04_answer_as_long_as_some_nodes_cut_theirs_is_asked_again_in_halves(anvil: AnvilNode) -> None:
    last = Emitter(anvil).mine(2, transactions=3, logs=250)
    anvil.mine()

    def cut(method: str, params: list[Any]) -> Any:
        result = anvil.rpc(method, *params)
        return result[:1000] if method == "eth_getLogs" else result

    with behind(cut) as (source, node):
        assert len(logs_of(scan(source, last - 1, last, AS_CONTRACT))) == 1500
        assert spans_asked(node) == [2, 1, 1]


@frozen
class LongStreet:
    """A chain with a log in each of 840 transactions, seven a block, which is only read."""

    node: AnvilNode
    first: int
    last: int


@pytest.fixture(scope="module")
def long_street() -> Iterator[LongStreet]:
    with AnvilNode() as node:
        first = node.block_number + 1
        last = Emitter(node).mine(120, transactions=7, logs=1)
        node.mine(4)
        yield LongStreet(node, first, last)


@pytest.mark.fault("R04")
@pytest.mark.parametrize(("count", "watch"), taken_in_turn([531, 777], [AS_CONTRACT, AS_TOKEN]))
def test_r04_answer_cut_at_any_count_behind_a_transaction_is_asked_for_again(
    long_street: LongStreet, watch: WatchSet, count: int
) -> None:
    with behind(cutting(long_street.node, count)) as (source, _):
        assert len(logs_of(scan(source, long_street.first, long_street.last + 3, watch))) == 840


@pytest.mark.fault("R04")
def test_r04_answer_cut_in_the_first_of_its_blocks_does_not_hide_the_others(anvil: AnvilNode) -> None:
    first = Emitter(anvil).mine(1, transactions=4, logs=150)
    last = Emitter(anvil).mine(3, transactions=2, logs=1)
    anvil.mine()
    with behind(cutting(anvil, 600)) as (source, node):
        assert len(logs_of(scan(source, first, last, AS_CONTRACT))) == 606
        assert spans_asked(node)[:2] == [2, 1]


SOLD = keccak(b"Sold()")
SHOP = checksum(b"\x66" * 20)
BESIDE_TRANSFERS = WatchSet(addresses=(EMITTER, SHOP), topics=(SOLD,), start_block=0, burning=(EMITTER,))
"""Burns are asked for with every other transfer of their contract, none of which is watched."""


def sell(node: AnvilNode) -> None:
    """Mine one watched event: log1(no data, SOLD)."""
    node.rpc("anvil_setCode", SHOP, "0x7f" + SOLD.hex() + "5f5fa100")
    node.rpc("eth_sendTransaction", {"from": node.accounts[0].address, "to": SHOP, "gas": hex(60_000)})
    node.mine()


@pytest.mark.fault("R04")
@pytest.mark.parametrize("blocks", [10, 20])  # the end of the long answer is asked for again, and cut again
def test_r04_answer_cut_among_logs_that_are_not_watched_hides_none_that_is(anvil: AnvilNode, blocks: int) -> None:
    first = anvil.block_number + 1
    Emitter(anvil).mine(blocks, transactions=5, logs=20)
    sell(anvil)
    sold = anvil.block_number
    anvil.mine(4)
    with behind(cutting(anvil, 777)) as (source, _):
        (log,) = logs_of(scan(source, first, sold + 2, BESIDE_TRANSFERS))
        assert (log.address, log.block_number) == (SHOP, sold)


@pytest.mark.fault("R04")
@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 5), (3, 0), (3, 5)])
@pytest.mark.parametrize("near", [True, False])
def test_r04_cut_behind_a_transaction_of_the_only_block_with_logs_is_found(
    anvil: AnvilNode, before: int, after: int, *, near: bool
) -> None:
    """Few transactions with many logs each: their receipts are asked for one by one, and tell of no other one."""
    anvil.mine()
    first = anvil.block_number + 1
    anvil.mine(before)
    last = Emitter(anvil).mine(1, transactions=4, logs=200) + after
    anvil.mine(after + 1)
    with behind(cutting(anvil, 600)) as (source, _):
        if near:
            found = source.logs(source.headers(first, last), AS_CONTRACT)
        else:
            found = logs_of(scan(source, first, last, AS_CONTRACT))
        assert len(found) == 800


@pytest.mark.fault("R04")
@pytest.mark.parametrize("refuses", [True, False])
def test_r04_block_whose_header_another_source_read_is_read_from_its_receipts_too(
    anvil: AnvilNode, *, refuses: bool
) -> None:
    """How many transactions it has is asked first."""
    last = Emitter(anvil).mine(1, transactions=4, logs=200)
    anvil.mine()
    cut = cutting(anvil, 600)

    def answer(method: str, params: list[Any]) -> Any:
        if refuses and method == "eth_getLogs":
            return ValueError(-32005, "query returned more than 100 results")
        return cut(method, params)

    with behind(answer) as (other, _), behind(answer) as (source, _):
        headers = other.headers(last, last)
        assert len(source.logs(headers, AS_CONTRACT)) == 800


@pytest.mark.fault("R04")
@pytest.mark.parametrize(("mined", "watch"), taken_in_turn([(30, 20), (3, 300)], [AS_TOKEN, AS_CONTRACT]))
def test_r04_answer_about_whole_blocks_that_is_cut_in_one_of_them_hides_nothing(
    anvil: AnvilNode, mined: tuple[int, int], watch: WatchSet
) -> None:
    """The few senders of a block have all paid before the cut: the bloom is made of what was told."""
    blocks, transactions = mined
    first = anvil.block_number + 1
    Emitter(anvil).mine(blocks, transactions=transactions, logs=1)
    anvil.mine(3)
    last = anvil.block_number
    anvil.mine()
    with behind(cutting(anvil, 531)) as (source, _):
        assert len(logs_of(scan(source, first, last, watch))) == blocks * transactions


@pytest.mark.fault("R04")
@pytest.mark.parametrize("count", [531, 777])
def test_r04_window_near_the_head_that_is_cut_at_any_count_is_asked_again(anvil: AnvilNode, count: int) -> None:
    """The cut is behind a transaction of the last block that may hold a log: no other block is silent."""
    first = anvil.block_number + 1
    Emitter(anvil).mine(7, transactions=1, logs=70)
    last = Emitter(anvil).mine(1, transactions=10, logs=count - 490)
    anvil.mine()
    with behind(cutting(anvil, count)) as (source, _):
        found = source.logs(source.headers(first, last), AS_CONTRACT)
        assert len(found) == 490 + 10 * (count - 490)


@pytest.mark.fault("R04")
def test_r04_node_that_refuses_what_a_long_answer_ends_with_is_asked_for_fewer_blocks(
    long_street: LongStreet,
) -> None:
    first, last = long_street.first, long_street.last
    long: list[int] = []

    def refuse(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs":
            if int(params[0]["fromBlock"], 16) > first and len(long) == 1:
                long.append(0)
                return ValueError(-32005, "query returned more than 10000 results")
            long.append(1)
        return long_street.node.rpc(method, *params)

    with behind(refuse) as (source, node):
        assert len(logs_of(scan(source, first, last, AS_CONTRACT))) == 840
        assert 0 in long
        assert spans_asked(node)[2] == spans_asked(node)[0] // 2


@pytest.mark.fault("R04")
def test_r04_single_block_whose_answer_may_be_cut_is_read_from_its_receipts(anvil: AnvilNode) -> None:
    last = Emitter(anvil).mine(1, transactions=5, logs=240)
    anvil.mine()

    def cut(method: str, params: list[Any]) -> Any:
        result = anvil.rpc(method, *params)
        return result[:1000] if method == "eth_getLogs" else result

    with behind(cut) as (source, _):
        found = logs_of(scan(source, last, last, AS_CONTRACT))
        assert [log.log_index for log in found] == list(range(1200))
        assert [log.ordinal for log in found] == list(range(240)) * 5


@pytest.mark.fault("R03")
def test_r03_node_that_has_not_come_so_far_is_not_asked(street: Street) -> None:
    def late(method: str, params: list[Any]) -> Any:
        return hex(street.last - 1) if method == "eth_blockNumber" else street.honest(method, params)

    with behind(late) as (source, node):
        with pytest.raises(RpcUnavailable):
            scan(source, street.first, street.last, AS_CONTRACT)
        assert "eth_getLogs" not in node.calls()
    with scripted(each(late)) as lagging, scripted(each(street.honest)) as good:
        rpc = JsonRpc(chain_id=31337, urls=[lagging.url, good.url], timeout=5, attempts=1)
        with contextlib.closing(EvmChainSource(rpc)) as source:
            assert logs_of(scan(source, street.first, street.last, AS_CONTRACT)) == street.logs
        assert "eth_getLogs" not in lagging.calls()


@pytest.mark.fault("R09")
def test_r09_node_that_says_it_lags_is_asked_again_and_the_range_stays_as_large(street: Street) -> None:
    left = [2]

    def answer(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs" and left[0]:
            left[0] -= 1
            return ValueError(-32000, "block range extends beyond current head block")
        return street.honest(method, params)

    with behind(answer) as (source, node):
        assert logs_of(scan(source, street.first, street.last, AS_CONTRACT)) == street.logs
        assert len(set(spans_asked(node))) == 1


LIES: dict[str, Callable[[Street, str, list[Any], Any], Any]] = {
    "a log of a stale fork": lambda s, m, p, r: [g | {"blockHash": "0x" + "12" * 32} for g in r] if m == "logs" else r,
    "a log outside": lambda s, m, p, r: [g | {"blockNumber": "0x1"} for g in r] if m == "logs" else r,
    "a log twice": lambda s, m, p, r: r * 2 if m == "logs" else r,
    "a removed log": lambda s, m, p, r: [g | {"removed": True} for g in r] if m == "logs" else r,
    "an invented amount": lambda s, m, p, r: [g | {"data": "0x" + "ff" * 32} for g in r] if m == "logs" else r,
    "no end": lambda s, m, p, r: None if m == "header" and p[0] == hex(s.last) else r,
    "another end": lambda s, m, p, r: r | {"number": "0x1"} if m == "header" and p[0] == hex(s.last) else r,
    "a bloom that denies": lambda s, m, p, r: r | {"logsBloom": "0x01" + "00" * 255} if m == "header" else r,
    "the last block left out": lambda s, m, p, r: (
        [g for g in r if g["blockNumber"] != hex(s.last)] if m == "logs" and "toBlock" in p[0] else r
    ),
    "a transaction left out of a block": lambda s, m, p, r: r[1:] if m == "receipts" else r,
    "a transaction that failed": lambda s, m, p, r: [x | {"status": "0x0"} for x in r] if m == "receipts" else r,
    "receipts of another block": lambda s, m, p, r: [x | {"blockNumber": "0x1"} for x in r] if m == "receipts" else r,
}
NAMES = {"eth_getLogs": "logs", "eth_getBlockByNumber": "header", "eth_getBlockReceipts": "receipts"}


@pytest.mark.fault("R02", "R07")
@pytest.mark.parametrize("case", LIES)
def test_r02_r07_answers_that_contradict_each_other_are_discarded(street: Street, case: str) -> None:
    def lie(method: str, params: list[Any]) -> Any:
        result = street.honest(method, params)
        return LIES[case](street, NAMES.get(method, method), params, result)

    left_out = case == "a transaction left out of a block"
    # What one answer leaves out, its receipt shows, asked for alone.
    expected: Any = contextlib.nullcontext() if left_out else pytest.raises(ChainMismatch)
    with behind(lie) as (source, _), expected:
        assert logs_of(scan(source, street.first, street.last, AS_CONTRACT)) == street.logs
    with scripted(each(lie)) as liar, scripted(each(street.honest)) as good:
        rpc = JsonRpc(chain_id=31337, urls=[liar.url, good.url], timeout=5, attempts=1)
        with contextlib.closing(EvmChainSource(rpc)) as source:
            assert logs_of(scan(source, street.first, street.last, AS_CONTRACT)) == street.logs


@pytest.mark.fault("R07")
def test_r07_true_logs_of_blocks_that_were_not_asked_for_are_discarded(street: Street) -> None:
    """What is beyond the range is not read yet: its place on the chain was not compared."""

    def more(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs":
            there = {"fromBlock": hex(street.first), "toBlock": hex(street.last)}
            params = [{k: v for k, v in params[0].items() if k not in ("blockHash", *there)} | there]
        return street.honest(method, params)

    before = street.last - 1
    with behind(more) as (source, _):
        with pytest.raises(ChainMismatch, match="names another block"):
            scan(source, street.first, before, AS_CONTRACT)
        with pytest.raises(ChainMismatch, match="names another block"):
            source.logs(source.headers(street.first, street.first), AS_CONTRACT)


def test_whole_blocks_are_complete_or_discarded(street: Street) -> None:
    def lie(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs":
            return ValueError(-32005, "query returned more than 1 results")
        result = street.honest(method, params)
        return result[1:] if method == "eth_getBlockReceipts" else result

    with behind(lie) as (source, _), pytest.raises(ChainMismatch, match="fewer receipts than transactions"):
        scan(source, street.last, street.last, AS_CONTRACT)


def test_receipts_are_asked_for_where_something_can_matter_only(shop: Shop) -> None:
    """An order of somebody else's and transfers of nothing cost no further call."""
    shop.approve(100)
    ours, theirs = shop.order(amount=20), shop.order(amount=30, reference=b"another!" + bytes(24), treasury=ELSEWHERE)
    shop.pay(ours)
    foreign = shop.pay(theirs)
    nothing = shop.call(shop.token, "transfer(address,uint256)", TREASURY, 0)
    shop.node.mine()
    watch = WatchSet(
        addresses=(shop.checkout,),
        topics=(keccak(b"Paid(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)"),),
        start_block=0,
        tokens=(shop.token,),
        parties=(TREASURY,),
        by_reference=True,
        reference_prefix=b"shop-one",
    )

    def honest(method: str, params: list[Any]) -> Any:
        return shop.node.rpc(method, *params)

    with behind(honest) as (source, node):
        found = logs_of(scan(source, 1, shop.node.block_number, watch))
        assert [log.address for log in found] == [shop.token, shop.checkout]
        flat = [item for body in node.requests for item in (body if isinstance(body, list) else [body])]
        asked = [item["params"][0] for item in flat if item["method"] == "eth_getTransactionReceipt"]
        assert asked == ["0x" + found[0].tx_hash.hex()]
        assert foreign["transactionHash"] not in asked
        assert nothing not in asked
        assert source.ignored == {"of_no_interest": 2}


def test_a_foreign_order_that_pays_our_treasury_is_seen_whole(shop: Shop) -> None:
    shop.approve(30)
    shop.pay(shop.order(amount=30, reference=b"another!" + bytes(24)))
    watch = WatchSet(
        addresses=(shop.checkout,),
        topics=shop.provider.watch([shop.contract]).topics,
        start_block=0,
        tokens=(shop.token,),
        parties=(TREASURY,),
        by_reference=True,
        reference_prefix=b"shop-one",
    )
    with contextlib.closing(open_source(shop.node.url)) as source:
        found = logs_of(scan(source, 1, shop.node.block_number, watch))
        assert [log.address for log in found] == [shop.token, shop.checkout]


def test_the_window_near_the_head_is_one_range_where_many_blocks_may_hold_a_log(street: Street) -> None:
    with behind(street.honest) as (source, node):
        headers = source.headers(street.first, street.last)
        node.requests.clear()
        assert list(source.logs(headers, AS_CONTRACT)) == street.logs
        assert spans_asked(node) == [street.last - street.first + 1]


@pytest.mark.fault("R02", "R03")
def test_r02_r03_window_whose_range_leaves_logs_out_is_asked_block_by_block(street: Street) -> None:
    def cut(method: str, params: list[Any]) -> Any:
        result = street.honest(method, params)
        return result[:-12] if method == "eth_getLogs" and "toBlock" in params[0] else result

    with behind(cut) as (source, node):
        headers = source.headers(street.first, street.last)
        assert list(source.logs(headers, AS_CONTRACT)) == street.logs
        # First those that may have been left out; then, as one was, all of them: who cuts may cut in a block.
        assert spans_asked(node) == [street.last - street.first + 1, 0, *[0] * 6]


def cutting(node: AnvilNode, count: int) -> Answer:
    """A node that ends its lists of logs without a word."""

    def cut(method: str, params: list[Any]) -> Any:
        result = node.rpc(method, *params)
        return result[:count] if method == "eth_getLogs" else result

    return cut


@pytest.mark.fault("R04")
@pytest.mark.parametrize(("blocks", "logs"), [(1, 250), (6, 125)])
def test_r04_answers_near_the_head_that_are_as_long_as_some_nodes_cut_theirs_are_none(
    anvil: AnvilNode, blocks: int, logs: int
) -> None:
    """Both cut between transactions: every log that was told has a receipt that fits."""
    first = anvil.block_number + 1
    last = Emitter(anvil).mine(blocks, transactions=5, logs=logs)
    anvil.mine()
    with behind(cutting(anvil, 1000)) as (source, _):
        found = source.logs(source.headers(first, last), AS_CONTRACT)
        assert len(found) == blocks * 5 * logs
        assert len({(log.block_number, log.log_index) for log in found}) == len(found)


@pytest.mark.fault("R04")
def test_r04_a_window_that_is_cut_in_a_block_is_asked_block_by_block(anvil: AnvilNode) -> None:
    first = anvil.block_number + 1
    last = Emitter(anvil).mine(6, transactions=4, logs=1)
    anvil.mine()
    with behind(cutting(anvil, 14)) as (source, _):
        assert len(source.logs(source.headers(first, last), AS_CONTRACT)) == 24


@pytest.mark.fault("R04")
def test_r04_receipts_of_a_block_show_what_a_cut_answer_about_it_left_out(anvil: AnvilNode) -> None:
    last = Emitter(anvil).mine(1, transactions=20, logs=1)
    anvil.mine()
    with behind(cutting(anvil, 13)) as (source, _), pytest.raises(ChainMismatch, match="left out"):
        source.logs(source.headers(last, last), AS_CONTRACT)


@pytest.mark.fault("R07")
def test_r07_window_with_a_log_of_another_block_is_discarded(street: Street) -> None:
    def stale(method: str, params: list[Any]) -> Any:
        result = street.honest(method, params)
        is_range = method == "eth_getLogs" and "toBlock" in params[0]
        return [log | {"blockHash": "0x" + "12" * 32} for log in result] if is_range else result

    with behind(stale) as (source, _):
        headers = source.headers(street.first, street.last)
        with pytest.raises(ChainMismatch):
            source.logs(headers, AS_CONTRACT)


class TestAhead:
    """What is asked for before it is taken."""

    def test_requests_overlap_and_come_in_order(self, street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first request of a second pair must be on its way before the first of it is answered."""
        monkeypatch.setattr(ahead, "START", 4)
        together = threading.Barrier(2, timeout=60)
        begun = threading.Event()

        def answer(method: str, params: list[Any]) -> Any:
            if method == "eth_getLogs" and begun.is_set():
                with contextlib.suppress(threading.BrokenBarrierError):
                    together.wait(60)
            return street.honest(method, params)

        with behind(answer) as (source, _):
            source._ranges._spans.of("node 1 of 1", module.Filter.of(AS_CONTRACT).shape)._size = 4
            with source.scan(street.first, street.last - 1, AS_CONTRACT) as ranges:
                first = next(ranges)
                begun.set()
                rest = list(ranges)
            assert not together.broken
            numbers = [n for f in (first, *rest) for n in range(f.first.number, f.last.number + 1)]
            assert numbers == list(range(street.first, street.last))

    def test_nothing_is_asked_for_beyond_the_buffer(self, street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ahead, "BUFFER", 1)
        with behind(street.honest) as (source, node):
            source._ranges._spans.of("node 1 of 1", module.Filter.of(AS_CONTRACT).shape)._size = 1
            with source.scan(street.first, street.last, AS_CONTRACT) as ranges:
                next(ranges)
                before = node.calls().count("eth_getLogs")
                assert before == 1

    @pytest.mark.parametrize(("logs", "octets"), [(5, 1 << 22), (8_000, 1)])
    def test_a_request_ends_when_its_answers_are_enough_and_the_rest_comes_in_order(
        self, street: Street, monkeypatch: pytest.MonkeyPatch, logs: int, octets: int
    ) -> None:
        monkeypatch.setattr(module, "TARGET_LOGS", logs)
        monkeypatch.setattr(module, "TARGET_BYTES", octets)
        watched = module.Filter.of(AS_CONTRACT)
        with behind(street.honest) as (source, _):
            span = source._ranges._spans.of("node 1 of 1", watched.shape)
            monkeypatch.setattr(span, "begin_with", lambda _: setattr(span, "_size", 2.0))
            pieces = list(source._ranges.read(street.first, street.last, watched, threading.Event()))
            assert pieces[-1].scanned.last.number < street.last - 20
        with behind(street.honest) as (source, _):
            span = source._ranges._spans.of("node 1 of 1", watched.shape)
            monkeypatch.setattr(span, "begin_with", lambda _: setattr(span, "_size", 2.0))
            found = scan(source, street.first, street.last, AS_CONTRACT)
            assert logs_of(found) == street.logs
            assert (found[0].first.number, found[-1].last.number) == (street.first, street.last)
            for before, after in pairwise(found):
                assert after.first.parent_hash == before.last.hash

    def test_leaving_early_stops_asking(self, street: Street) -> None:
        with behind(street.honest) as (source, node):
            source._ranges._spans.of("node 1 of 1", module.Filter.of(AS_CONTRACT).shape)._size = 1
            with source.scan(street.first, street.last, AS_CONTRACT) as ranges:
                next(ranges)
            asked = node.calls().count("eth_getLogs")
            assert asked <= 2 + ahead.AT_ONCE
            assert not [t for t in threading.enumerate() if t.name.startswith("evmbilling-reader")]

    def test_who_stops_waiting_does_not_wait_for_the_pieces_of_a_range(self, street: Street) -> None:
        """As when a person interrupts: a range of a node with a small cap is many questions."""
        asked: list[str] = []

        def answer(method: str, params: list[Any]) -> Any:
            if method == "eth_getLogs":
                if params[0].get("fromBlock") != params[0].get("toBlock"):
                    return ValueError(-32602, "exceed maximum block range: 1")
                asked.append(params[0].get("fromBlock", ""))
                if len(asked) == 3:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            return street.honest(method, params)

        before = signal.signal(signal.SIGUSR1, _interrupt)
        try:
            with behind(answer) as (source, _):
                with pytest.raises(_Interrupt), source.scan(street.first, street.last, AS_CONTRACT) as ranges:
                    list(ranges)
                assert len(set(asked)) < 10
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_a_failure_comes_where_it_happened(self, street: Street) -> None:
        def answer(method: str, params: list[Any]) -> Any:
            if method == "eth_getLogs" and int(params[0]["toBlock"], 16) >= street.last - 2:
                return ValueError(-32000, "something broke")
            return street.honest(method, params)

        with behind(answer) as (source, _):
            source._ranges._spans.of("node 1 of 1", module.Filter.of(AS_CONTRACT).shape)._size = 5
            taken: list[int] = []
            with source.scan(street.first, street.last, AS_CONTRACT) as ranges:
                with pytest.raises(RpcRefused):
                    taken.extend(found.last.number for found in ranges)
                assert 0 < len(taken) < street.last - street.first


def test_the_topic_of_the_emitter_is_a_transfer() -> None:
    assert keccak(b"Transfer(address,address,uint256)") == TRANSFER
    assert EMITTER.startswith("0xCc")
