"""Whether nodes show what another one told us: a log in its receipt and block, or the time of a block."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Raw

from evmbilling.adapters.evm.rpc.answers import BLOCK, RECEIPT, ReceiptAnswer, decode_answer, read_header, read_log
from evmbilling.adapters.evm.rpc.hexes import read_hash, read_quantity, to_hex
from evmbilling.adapters.evm.rpc.rpc import Asker, Call, JsonRpc, NodeSession
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog
from evmbilling.errors import ProviderError, RpcRefused
from evmbilling.ports.nodes import TimeVerdict

_SUCCESS = 1
_ENOUGH: Final = 2
"""So many nodes have to tell a time that our clocks contradict."""


def count_agreeing(rpc: JsonRpc, log: ChainLog, wanted: int) -> int:
    """Ask the nodes one after another until ``wanted`` of them show this log; return how many did.

    A node that does not answer, has not come so far, or is of another chain is no witness.
    """
    found = 0
    for node in rpc.each_node(head_at_least=log.block_number):
        found += shows(node, log)
        if found >= wanted:
            break
    return found


def witness_time(rpc: JsonRpc, number: int, block_hash: bytes, timestamp: datetime) -> TimeVerdict:
    """Ask the nodes for the time of a block that one of them told; see :class:`evmbilling.ports.nodes.TimeWitnesses`.

    A node that does not answer, or has not come so far, neither agrees nor contradicts. One that tells another time now
    than when it was read from is set aside as well: nobody tells that time any more, and it was the one in use.
    """
    alike: list[NodeSession] = []
    is_contradicted = False
    for node in rpc.each_node(head_at_least=number):
        told = _header_of(node, number)
        if told is None:
            continue
        if (told.number, told.hash, told.timestamp) != (number, block_hash, timestamp):
            is_contradicted = True
            continue
        alike.append(node)
        if len(alike) == _ENOUGH:
            return "agreed"
    if not is_contradicted:
        return "alone"
    reason = f"another node contradicts the time that it tells for block {number}"
    for node in alike:
        node.discredit(reason)
    if not alike:
        rpc.set_aside_current(reason)
    return "contradicted"


def _header_of(node: Asker, number: int) -> BlockHeader | None:
    try:
        seen = read_header(decode_answer(BLOCK, node.call("eth_getBlockByNumber", hex(number), False), "header"))
    except (ProviderError, ValueError):
        return None
    return None if seen is None else seen.header


def shows(node: Asker, log: ChainLog) -> bool:
    """Whether the block is the node's own at that height, and its successful receipt holds the log in its place."""
    calls = [
        Call("eth_getBlockByNumber", (hex(log.block_number), False)),
        Call("eth_getTransactionReceipt", (to_hex(log.tx_hash),)),
    ]
    try:
        block, receipt = node.batch(calls)
        return _is_block(block, log) and _holds(receipt, log)
    except (ProviderError, ValueError):
        return False


def _is_block(answer: Raw | RpcRefused, log: ChainLog) -> bool:
    if isinstance(answer, RpcRefused):
        return False
    seen = read_header(decode_answer(BLOCK, answer, "header"))
    if seen is None:
        return False
    header = seen.header
    # The time decides whether a payment was in time.
    return (header.number, header.hash, header.timestamp) == (log.block_number, log.block_hash, log.block_time)


def _holds(answer: Raw | RpcRefused, log: ChainLog) -> bool:
    if isinstance(answer, RpcRefused):
        return False
    receipt = decode_answer(RECEIPT, answer, "receipt")
    if receipt is None or not _is_about(receipt, log):
        return False
    held = sorted((read_log(entry) for entry in receipt.logs), key=lambda entry: entry.log_index)
    if log.ordinal >= len(held):
        return False
    seen = held[log.ordinal]
    said = (seen.address, seen.topics, seen.data, seen.log_index, seen.block_hash, seen.tx_hash)
    return said == (log.address, log.topics, log.data, log.log_index, log.block_hash, log.tx_hash)


def _is_about(receipt: ReceiptAnswer, log: ChainLog) -> bool:
    names = (read_hash(receipt.transaction_hash), read_hash(receipt.block_hash))
    return names == (log.tx_hash, log.block_hash) and read_quantity(receipt.status) == _SUCCESS
