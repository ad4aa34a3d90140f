"""Whether a node shows a log that another one told us: the same receipt, in the same block of the same chain."""

from __future__ import annotations

from msgspec import Raw

from evmbilling.adapters.evm.rpc.answers import BLOCK, RECEIPT, ReceiptAnswer, decode_answer, read_header, read_log
from evmbilling.adapters.evm.rpc.hexes import read_hash, read_quantity, to_hex
from evmbilling.adapters.evm.rpc.rpc import Asker, Call, JsonRpc
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ProviderError, RpcRefused

_SUCCESS = 1


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
