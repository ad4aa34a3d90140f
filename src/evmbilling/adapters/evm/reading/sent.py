"""Transactions by their hashes: what was signed, and the canonical block, from three answers that agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import msgspec
from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import header_at
from evmbilling.adapters.evm.rpc.answers import BLOCK, decode_answer
from evmbilling.adapters.evm.rpc.hexes import read_address, read_bytes, read_hash, read_quantity, to_hex
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.reading.evidence import KnownTransaction
from evmbilling.errors import ChainMismatch, RpcRefused

_SUCCESS: Final = 1


class _TransactionAnswer(msgspec.Struct, rename="camel"):
    """A transaction; what is null has no block yet."""

    hash: str
    value: str
    input: str
    sender: str = msgspec.field(name="from")
    to: str | None = None
    chain_id: str | None = None
    block_hash: str | None = None
    block_number: str | None = None
    transaction_index: str | None = None


class _ReceiptAnswer(msgspec.Struct, rename="camel"):
    """How it went; whoever sent it to whom is said once more."""

    transaction_hash: str
    block_hash: str | None
    sender: str = msgspec.field(name="from")
    to: str | None = None
    status: str | None = None


_TRANSACTION: Final = msgspec.json.Decoder(_TransactionAnswer | None)
_RECEIPT: Final = msgspec.json.Decoder(_ReceiptAnswer | None)


def ask_sent(rpc: JsonRpc, hashes: Sequence[bytes]) -> Mapping[bytes, KnownTransaction]:
    """Ask for transactions; those that the node does not know are left out.

    A block counts when it is the canonical one at its height and the receipt names it, too. Else the transaction is on
    its way: the node changes its mind just now, or another one answered.

    Raises:
        ChainMismatch: an answer is malformed, is another transaction's, or is of another chain.

    """
    calls = [Call("eth_getTransactionByHash", (to_hex(tx_hash),)) for tx_hash in hashes]
    told = [decode_answer(_TRANSACTION, raw, "transaction") for raw in _results(rpc, calls)]
    known = {tx_hash: one for tx_hash, one in zip(hashes, told, strict=True) if one is not None}
    try:
        found = {tx_hash: _read(rpc.chain_id, tx_hash, one) for tx_hash, one in known.items()}
        return found | _placed(rpc, found, {h: one for h, one in known.items() if one.block_hash is not None})
    except ValueError:
        pass
    raise ChainMismatch("the node's transaction has a malformed field", chain_id=rpc.chain_id)


def _read(chain_id: int, tx_hash: bytes, told: _TransactionAnswer) -> KnownTransaction:
    if read_hash(told.hash) != tx_hash:
        raise ChainMismatch("the node answered another transaction", chain_id=chain_id)
    if told.chain_id is not None and read_quantity(told.chain_id) != chain_id:
        raise ChainMismatch("the node answered a transaction of another chain", chain_id=chain_id)
    return KnownTransaction(
        tx_hash=tx_hash,
        sender=read_address(told.sender),
        to=None if told.to is None else read_address(told.to),
        value=read_quantity(told.value),
        data=read_bytes(told.input),
    )


def _placed(
    rpc: JsonRpc, found: Mapping[bytes, KnownTransaction], mined: Mapping[bytes, _TransactionAnswer]
) -> dict[bytes, KnownTransaction]:
    """Return those that are in canonical blocks, with their blocks."""
    numbers = [read_quantity(told.block_number) for told in mined.values()]
    calls = [Call("eth_getTransactionReceipt", (to_hex(tx_hash),)) for tx_hash in mined]
    calls += [Call("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
    raws = _results(rpc, calls) if calls else []
    receipts, blocks = raws[: len(mined)], raws[len(mined) :]
    placed: dict[bytes, KnownTransaction] = {}
    for (tx_hash, told), number, raw, at in zip(mined.items(), numbers, receipts, blocks, strict=True):
        receipt = decode_answer(_RECEIPT, raw, "receipt")
        seen = header_at(number, decode_answer(BLOCK, at, "block"), rpc.chain_id)
        own = read_hash(told.block_hash)
        if receipt is None or seen is None or receipt.block_hash is None:
            continue
        if seen.header.hash != own or read_hash(receipt.block_hash) != own:
            continue
        _same(rpc.chain_id, found[tx_hash], receipt)
        placed[tx_hash] = attrs.evolve(
            found[tx_hash],
            block=seen.header,
            index=read_quantity(told.transaction_index),
            succeeded=receipt.status is not None and read_quantity(receipt.status) == _SUCCESS,
        )
    return placed


def _same(chain_id: int, sent: KnownTransaction, receipt: _ReceiptAnswer) -> None:
    to = None if receipt.to is None else read_address(receipt.to)
    said = (read_hash(receipt.transaction_hash), read_address(receipt.sender), to)
    if said != (sent.tx_hash, sent.sender, sent.to):
        raise ChainMismatch("a transaction and its receipt disagree", chain_id=chain_id)


def _results(rpc: JsonRpc, calls: Sequence[Call]) -> list[Raw]:
    results: list[Raw] = []
    for result in rpc.batch(calls):
        if isinstance(result, RpcRefused):
            raise result
        results.append(result)
    return results
