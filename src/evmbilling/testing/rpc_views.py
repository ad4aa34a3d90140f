"""A chain as it looked at a height, or with other logs in it: what :mod:`evmbilling.testing.rpc_lies` is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evmbilling._keccak import keccak

_STATE_METHODS = ("eth_call", "eth_getBalance", "eth_getCode", "eth_getTransactionCount", "eth_estimateGas")
_BLOOM_BYTES = 256
_TAGS = ("safe", "finalized")

Ask = Callable[..., Any]
Log = dict[str, Any]


def is_logs(method: str, reply: Mapping[str, Any]) -> bool:
    """Whether an answer is a list of logs."""
    return method == "eth_getLogs" and isinstance(reply.get("result"), list)


def block_of(name: str, ask: Ask) -> int:
    """Return the height behind a block's number or tag."""
    if name.startswith("0x"):
        return int(name, 16)
    return 0 if name == "earliest" else int(ask("eth_getBlockByNumber", name, False)["number"], 16)


def as_of(head: int, method: str, params: Sequence[Any], reply: dict[str, Any], ask: Ask) -> dict[str, Any]:
    """Return an answer as a node gives it whose head is at a height."""
    if method == "eth_blockNumber":
        return {"result": hex(head)}
    if method == "eth_getBlockByNumber":
        return {"result": _block_as_of(head, params, ask)}
    if method == "eth_getLogs":
        return _logs_as_of(head, params, reply, ask)
    if method in _STATE_METHODS and len(params) > 1:
        return _state_as_of(head, method, params, ask)
    result = reply.get("result")
    shown = isinstance(result, Mapping) and result.get("blockNumber", result.get("number"))
    return {"result": None} if shown and int(shown, 16) > head else reply


def _block_as_of(head: int, params: Sequence[Any], ask: Ask) -> Any:
    name = params[0]
    if name in _TAGS:
        name = hex(min(block_of(name, ask), head))
    elif not name.startswith("0x") and name != "earliest":
        name = hex(head)
    return None if name.startswith("0x") and int(name, 16) > head else ask("eth_getBlockByNumber", name, *params[1:])


def _logs_as_of(head: int, params: Sequence[Any], reply: dict[str, Any], ask: Ask) -> dict[str, Any]:
    wanted = params[0].get("blockHash")
    if wanted is not None:
        block = ask("eth_getBlockByHash", wanted, False)
        if block is None or int(block["number"], 16) > head:
            return {"error": {"code": -32000, "message": "unknown block"}}
        return reply
    logs = reply.get("result", [])
    return {"result": [log for log in logs if int(log["blockNumber"], 16) <= head]}


def _state_as_of(head: int, method: str, params: Sequence[Any], ask: Ask) -> dict[str, Any]:
    name = params[1] if isinstance(params[1], str) else "latest"
    if name.startswith("0x") and int(name, 16) > head:
        return {"error": {"code": -32000, "message": "header not found"}}
    return {"result": ask(method, params[0], name if name.startswith("0x") else hex(head))}


def with_logs(
    choose: Callable[[list[Log]], list[Log]], method: str, params: Sequence[Any], reply: dict[str, Any], ask: Ask
) -> dict[str, Any]:
    """Return an answer in which only the chosen logs ever were; blooms of blocks fit them."""
    result = reply.get("result")
    if is_logs(method, reply):
        return {"result": choose(reply["result"])}
    if method == "eth_getTransactionReceipt" and result:
        return {"result": result | {"logs": choose(result["logs"])}}
    if method == "eth_getBlockReceipts" and result:
        return {"result": [receipt | {"logs": choose(receipt["logs"])} for receipt in result]}
    if method.startswith("eth_getBlockBy") and result and result.get("hash"):
        logs = choose(ask("eth_getLogs", {"blockHash": result["hash"]}))
        return {"result": result | {"logsBloom": "0x" + bloom_of(logs).hex()}}
    del params
    return reply


def bloom_of(logs: Sequence[Log]) -> bytes:
    """Return the bloom of some logs (yellow paper, 4.3.1)."""
    bits = 0
    for log in logs:
        for value in (log["address"], *log["topics"]):
            digest = keccak(bytes.fromhex(value[2:]))
            for at in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return bits.to_bytes(_BLOOM_BYTES, "big")


def matches(log: Log, asked: Mapping[str, Any], block: Mapping[str, Any], head: int) -> bool:
    """Whether a filter of ``eth_getLogs`` asks for a log of a block."""
    if "blockHash" in asked:
        if asked["blockHash"].lower() != block["hash"]:
            return False
    else:
        first, last = (_height(asked.get(side, "latest"), head) for side in ("fromBlock", "toBlock"))
        if not first <= int(block["number"], 16) <= last:
            return False
    addresses = asked.get("address") or []
    wanted = [addresses] if isinstance(addresses, str) else addresses
    if wanted and log["address"] not in [address.lower() for address in wanted]:
        return False
    return all(_fits(topic, log["topics"][at : at + 1]) for at, topic in enumerate(asked.get("topics") or []))


def _height(name: str, head: int) -> int:
    return int(name, 16) if name.startswith("0x") else head


def _fits(wanted: Any, topic: Sequence[str]) -> bool:
    if wanted is None or wanted == []:
        return True
    choices = [wanted] if isinstance(wanted, str) else wanted
    return bool(topic) and topic[0].lower() in [choice.lower() for choice in choices]
