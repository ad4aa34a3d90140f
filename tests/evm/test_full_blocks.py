"""Blocks full of ours are read from all their logs, as far as their headers prove those; else from their receipts."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from evm_servers import ScriptedNode
from test_ranges import behind, logs_of, scan

from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ChainMismatch
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.emitter import AS_CONTRACT, AS_TOKEN, Emitter

Lie = Callable[[str, Any], Any]
Logs = list[dict[str, Any]]
Edit = Callable[[Logs], Any]
"""Changes logs, or returns others."""
BLOCKS, TRANSACTIONS, LOGS = 4, 12, 2
"""Of the twelve transactions of a block, the last two are of accounts that sent others in it."""
A_BLOCK = TRANSACTIONS * LOGS
COMPARED = 2
"""So many transactions at the end are read from their receipts, too."""
OTHER = "0x" + "ee" * 32


class Crowd:
    """A chain full of ours, and a reader that knows that it is; what its node says from then on may be a lie."""

    def __init__(self, node: AnvilNode) -> None:
        self.node = node
        self.last = node.block_number - 1
        self.first = self.last - BLOCKS + 1
        self.lie: Lie = lambda _, result: result
        self.asked: list[Any] = []

    def answer(self, method: str, params: list[Any]) -> Any:
        self.asked = params
        return self.lie(method, self.node.rpc(method, *params))

    def end(self) -> Logs:
        """The receipts of the last transactions."""
        names = self.node.rpc("eth_getBlockByNumber", hex(self.last), False)["transactions"][-COMPARED:]
        return [self.node.rpc("eth_getTransactionReceipt", name) for name in names]

    def say_otherwise(self, edit: Edit) -> None:
        """Have the last transactions have other receipts."""

        def lie(method: str, result: Any) -> Any:
            if method != "eth_getTransactionReceipt":
                return result
            told = self.end()
            place = [receipt["transactionHash"] for receipt in told].index(self.asked[0])
            edited = edit(told)
            said = told if edited is None else edited
            return said[place] if place < len(said) else None

        self.lie = lie

    @contextlib.contextmanager
    def read(self) -> Iterator[tuple[EvmChainSource, ScriptedNode, list[ChainLog]]]:
        with behind(self.answer) as (source, node):
            found = logs_of(scan(source, self.first, self.last, AS_CONTRACT))
            assert len(found) == BLOCKS * A_BLOCK
            assert node.calls().count("eth_getTransactionReceipt") == COMPARED
            node.requests.clear()
            yield source, node, found

    def again(self, source: EvmChainSource) -> Sequence[ChainLog]:
        return logs_of(scan(source, self.first, self.last, AS_CONTRACT))


@pytest.fixture(scope="module")
def crowded() -> Iterator[AnvilNode]:
    with AnvilNode() as node:
        Emitter(node).mine(BLOCKS, transactions=TRANSACTIONS, logs=LOGS)
        node.mine()
        yield node


@pytest.fixture
def crowd(crowded: AnvilNode) -> Iterator[Crowd]:
    before = crowded.snapshot()
    yield Crowd(crowded)
    crowded.revert(before)


def test_all_logs_are_asked_for_and_the_end_is_compared_with_its_receipts(crowd: Crowd) -> None:
    with crowd.read() as (source, node, found):
        assert crowd.again(source) == found
        assert node.calls().count("eth_getLogs") == 1
        assert node.calls().count("eth_getTransactionReceipt") == COMPARED
        assert "eth_getBlockReceipts" not in node.calls()


@pytest.mark.fault("R07")
@pytest.mark.parametrize("cut", [0, LOGS])
def test_r07_transactions_without_logs_at_the_end_have_all_receipts_compared(crowd: Crowd, cut: int) -> None:
    """They do not tell where the logs of their block end."""
    plain = ["0x" + "aa" * 32, "0x" + "bb" * 32]

    def lie(method: str, result: Any) -> Any:
        if method == "eth_getBlockByNumber":
            return result | {"transactions": [*result["transactions"], *plain]}
        if method == "eth_getTransactionReceipt":
            return crowd.end()[-1] | {"transactionHash": crowd.asked[0], "logs": []}
        if method == "eth_getBlockReceipts":
            return [*result, *(result[-1] | {"transactionHash": name, "logs": []} for name in plain)]
        return result[: len(result) - cut] if method == "eth_getLogs" else result

    with crowd.read() as (source, node, found):
        crowd.lie = lie
        if cut:
            with pytest.raises(ChainMismatch, match="say something else than its logs"):
                crowd.again(source)
        else:
            assert crowd.again(source) == found
            assert node.calls().count("eth_getBlockReceipts") == 1


def test_transfers_of_a_treasury_are_found_as_receipts_tell_them(crowd: Crowd) -> None:
    with crowd.read() as (source, _, _), behind(crowd.answer) as (fresh, _):
        told = [logs_of(scan(source, crowd.first, crowd.last, AS_TOKEN)) for _ in range(2)]
        assert told[0] == told[1] == list(fresh.logs(fresh.headers(crowd.first, crowd.last), AS_TOKEN))


def test_transfers_of_nothing_are_told_from_others_of_the_same_parties(crowd: Crowd) -> None:
    """What is looked at in the data decides anew for each log, however often emitter and topics were seen."""
    nothing, short = "0x" + "00" * 32, "0x" + "00" * 31
    said = {0: nothing, 1: nothing, 2: nothing, 5: short, 6: nothing, 7: short}

    def edit(own: Logs) -> None:
        for index, data in said.items():
            own[index].update(data=data)

    def lie(method: str, result: Any) -> Any:
        return _of_first_block(result, edit) if method == "eth_getLogs" else result

    with crowd.read() as (source, _, _):
        logs_of(scan(source, crowd.first, crowd.last, AS_TOKEN))  # learns that blocks are full of ours
        crowd.lie = lie
        found = logs_of(scan(source, crowd.first, crowd.last, AS_TOKEN))
    told = [(log.log_index, log.ordinal) for log in found if log.block_number == crowd.first]
    assert told == [(index, index % LOGS) for index in range(A_BLOCK) if index not in (0, 1, 5, 6, 7)]
    assert len(found) == len(told) + (BLOCKS - 1) * A_BLOCK


def _of_first_block(logs: Logs, edit: Edit) -> Logs:
    """Edit what is said of the first block."""
    own, rest = logs[:A_BLOCK], logs[A_BLOCK:]
    edited = edit(own)
    return (own if edited is None else edited) + rest


def _count_through(own: Logs) -> Logs:
    return [log | {"logIndex": hex(index)} for index, log in enumerate(own)]


def _one_more(own: Logs) -> Logs:
    return [*own, copy.deepcopy(own[-1]) | {"logIndex": hex(A_BLOCK), "topics": [*own[-1]["topics"][:2], OTHER]}]


NOT_PROVED: dict[str, Edit] = {
    "a log left out in the middle": lambda own: own[:3] + own[4:],
    "the last transactions left out": lambda own: own[: -3 * LOGS],
    "every log left out": lambda own: [],
    "logs left out at both ends, and the others counted anew": lambda own: _count_through(own[LOGS : -3 * LOGS]),
    "a log that the bloom does not know": _one_more,
    "a log of a transaction that the block does not have": lambda own: own[-1].update(transactionHash=OTHER),
    "two transactions exchanged": lambda own: _count_through(own[LOGS : 2 * LOGS] + own[:LOGS] + own[2 * LOGS :]),
    "a log of another block": lambda own: own[0].update(blockHash=OTHER),
    "a log that was removed": lambda own: own[0].update(removed=True),
    "a log without a transaction": lambda own: own[0].update(transactionHash=None),
    "a malformed topic": lambda own: own[0].update(topics=["0xzz"]),
}


@pytest.mark.fault("R02", "R07")
@pytest.mark.parametrize("case", NOT_PROVED)
def test_r02_r07_what_a_header_does_not_prove_is_read_from_receipts(crowd: Crowd, case: str) -> None:
    def lie(method: str, result: Any) -> Any:
        return _of_first_block(result, NOT_PROVED[case]) if method == "eth_getLogs" else result

    with crowd.read() as (source, node, found):
        crowd.lie = lie
        assert crowd.again(source) == found
        assert node.calls().count("eth_getBlockReceipts") == 1


@pytest.mark.fault("R07")
def test_r07_an_answer_that_was_cut_contradicts_the_receipts_of_its_last_block(crowd: Crowd) -> None:
    with crowd.read() as (source, _, _):
        crowd.lie = lambda method, result: result[:-LOGS] if method == "eth_getLogs" else result
        with pytest.raises(ChainMismatch, match="say something else than its logs"):
            crowd.again(source)


def _first_log(receipts: Logs, **other: Any) -> None:
    receipts[0]["logs"][0].update(other)


def _exchange_logs(receipts: Logs) -> None:
    receipts[0]["logs"], receipts[1]["logs"] = receipts[1]["logs"], receipts[0]["logs"]


OTHERWISE: dict[str, Edit] = {
    "a transaction failed": lambda told: told[0].update(status="0x0"),
    "no status": lambda told: told[0].update(status=None),
    "of another block": lambda told: told[0].update(blockHash=OTHER),
    "of another height": lambda told: told[0].update(blockNumber="0x1"),
    "of another transaction": lambda told: told[0].update(transactionHash=OTHER),
    "a log says something else": lambda told: _first_log(told, data=OTHER),
    "a log is of another transaction": lambda told: _first_log(told, transactionHash=told[1]["transactionHash"]),
    "a log stands in another receipt": lambda told: told[1]["logs"].append(told[0]["logs"].pop()),
    "logs exchanged": _exchange_logs,
    "the receipt of the one after": lambda told: told[1:],
    "the receipt of the one before": lambda told: told[:1] * 2,
    "no receipt": lambda told: [],
}


@pytest.mark.fault("R07")
@pytest.mark.parametrize("case", OTHERWISE)
def test_r07_receipts_at_the_end_that_say_something_else_are_a_contradiction(crowd: Crowd, case: str) -> None:
    with crowd.read() as (source, _, _):
        crowd.say_otherwise(OTHERWISE[case])
        with pytest.raises(ChainMismatch):
            crowd.again(source)


def _in_capitals(told: Logs) -> None:
    for receipt in told:
        for log in receipt["logs"]:
            log.update(data="0x" + log["data"][2:].upper(), address="0x" + log["address"][2:].upper())


SAME: dict[str, Edit] = {
    "in other letters": _in_capitals,
    "logs in another order": lambda told: told[0]["logs"].reverse(),
    "a number with zeros": lambda told: told[0].update(status="0x01"),
}


@pytest.mark.parametrize("case", SAME)
def test_receipts_that_say_the_same_in_other_words_are_none(crowd: Crowd, case: str) -> None:
    with crowd.read() as (source, _, found):
        crowd.say_otherwise(SAME[case])
        assert crowd.again(source) == found


def test_a_bloom_that_is_full_proves_nothing(crowd: Crowd) -> None:
    def lie(method: str, result: Any) -> Any:
        return result | {"logsBloom": "0x" + "ff" * 256} if method == "eth_getBlockByNumber" else result

    with crowd.read() as (source, node, found):
        crowd.lie = lie
        assert crowd.again(source) == found
        assert node.calls().count("eth_getBlockReceipts") == BLOCKS
        node.requests.clear()
        # A chain like that is read from receipts from then on.
        assert crowd.again(source) == found
        assert "eth_getLogs" not in node.calls()


@pytest.mark.parametrize("text", ["please specify an address", "query returned more than 10 results"])
def test_a_node_that_answers_no_such_question_is_asked_for_receipts(crowd: Crowd, text: str) -> None:
    def lie(method: str, result: Any) -> Any:
        return ValueError(-32000, text) if method == "eth_getLogs" else result

    with crowd.read() as (source, node, found):
        crowd.lie = lie
        assert crowd.again(source) == found
        assert node.calls().count("eth_getBlockReceipts") == BLOCKS


def test_blocks_that_hold_nothing_of_ours_lead_back_to_what_is_watched_only(crowd: Crowd) -> None:
    crowd.node.mine(40)
    with crowd.read() as (source, node, _):
        top = crowd.node.block_number
        for _ in range(2):
            node.requests.clear()
            assert logs_of(scan(source, crowd.last + 1, top, AS_CONTRACT)) == []
        assert "eth_getBlockReceipts" not in node.calls()
