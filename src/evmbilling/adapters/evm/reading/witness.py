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


def agree_on_time(rpc: JsonRpc, number: int, block_hash: bytes, timestamp: datetime) -> bool:
    """Whether two nodes tell this block with this time; those that do are set aside when only others contradict them.

    A node that does not answer, or has not come so far, neither agrees nor contradicts.
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
            return True
    if is_contradicted:
        for node in alike:
            node.discredit(f"another node contradicts the time that it tells for block {number}")
    return False


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
    return seen is not None and (seen.header.number, seen.header.hash) == (log.block_number, log.block_hash)


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
