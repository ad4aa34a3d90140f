"""What a node says that is not so, for :class:`evmbilling.testing.rpc_proxy.RpcProxy`: one answer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from attrs import frozen

from evmbilling.testing.rpc_views import as_of, block_of, is_logs, matches, with_logs

Reply: TypeAlias = dict[str, Any]
"""``{"result": …}`` or ``{"error": {"code": …, "message": …}}``."""
Ask: TypeAlias = Callable[..., Any]
"""``ask(method, *params)``: what the node behind says."""


@runtime_checkable
class Lie(Protocol):
    """A fault of one answer."""

    def instead(self, method: str, params: Sequence[Any]) -> Reply | None:
        """Return an answer in place of the node's, which is not asked then; None to ask it."""
        ...

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Return what is told instead of the node's answer."""
        ...


class _Answer:
    """What most of them share: the node is asked, and its answer passes."""

    def instead(self, method: str, params: Sequence[Any]) -> Reply | None:
        """Ask the node."""
        del method, params
        return None

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Let it pass."""
        del method, params, ask
        return reply


@frozen
class RpcError(_Answer):
    """Refuse; the node behind is not asked."""

    code: int = -32000
    message: str = "internal error"
    data: Any = None

    def reply(self) -> Reply:
        """Return the error object."""
        return {
            "error": {"code": self.code, "message": self.message} | ({} if self.data is None else {"data": self.data})
        }

    def instead(self, method: str, params: Sequence[Any]) -> Reply | None:
        """Refuse."""
        del method, params
        return self.reply()


@frozen
class Null(_Answer):
    """Know nothing: the result is null."""

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Say null."""
        del method, params, reply, ask
        return {"result": None}


@frozen
class WrongChain(_Answer):
    """Serve another chain."""

    chain_id: int

    def instead(self, method: str, params: Sequence[Any]) -> Reply | None:
        """Tell the other id."""
        del params
        told = {"eth_chainId": hex(self.chain_id), "net_version": str(self.chain_id)}
        return {"result": told[method]} if method in told else None


@frozen
class Lag(_Answer):
    """Be so many blocks behind: later blocks, their logs and receipts are not there yet.

    Ranges that end later are cut without a word, as old nodes do; a block hash that is later is unknown.
    """

    blocks: int

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Tell what was so at that height."""
        head = max(int(ask("eth_blockNumber"), 16) - self.blocks, 0)
        return as_of(head, method, params, reply, ask)


@frozen
class OldState(_Answer):
    """Answer calls and balances from one old block, whatever block was asked about."""

    block: int

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Ask about the old block."""
        if method in ("eth_call", "eth_getBalance", "eth_getCode", "eth_getTransactionCount"):
            return {"result": ask(method, params[0], hex(self.block))}
        return reply


@frozen
class PoolCount(_Answer):
    """Tell that so many more transactions of everybody wait to be mined than are there; fewer when it is negative."""

    more: int

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Add to what is told of the pool."""
        del ask
        if method != "eth_getTransactionCount" or params[1] != "pending" or "result" not in reply:
            return reply
        return {"result": hex(max(int(reply["result"], 16) + self.more, 0))}


@frozen
class PoolUncounted(_Answer):
    """Tell what is mined where it is asked what waits to be mined, too, as many providers do."""

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Tell the count of the latest block."""
        if method != "eth_getTransactionCount" or params[1] != "pending":
            return reply
        return {"result": ask(method, params[0], "latest")}


@frozen
class FreezeTag(_Answer):
    """Let a tag stand still at a block."""

    tag: Literal["latest", "safe", "finalized"]
    block: int

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Tell the frozen block."""
        if method == "eth_getBlockByNumber" and params[0] == self.tag:
            return {"result": ask(method, hex(self.block), *params[1:])}
        return {"result": hex(self.block)} if method == "eth_blockNumber" and self.tag == "latest" else reply


@frozen
class ChangeLogs(_Answer):
    """Pass every log of ``eth_getLogs`` through a function; None leaves it out."""

    function: Callable[[dict[str, Any]], dict[str, Any] | None]

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Change them."""
        del params, ask
        if not is_logs(method, reply):
            return reply
        return {"result": [log for log in map(self.function, reply["result"]) if log is not None]}


@frozen
class DropLogs(_Answer):
    """Leave logs out of ``eth_getLogs``: all of them, or those of the last blocks only."""

    last_blocks: int | None = None

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Leave them out."""
        del params
        if not is_logs(method, reply):
            return reply
        if self.last_blocks is None:
            return {"result": []}
        last = int(ask("eth_blockNumber"), 16) - self.last_blocks
        return {"result": [log for log in reply["result"] if int(log["blockNumber"], 16) <= last]}


@frozen
class Cap(_Answer):
    """Return so many logs at most: the rest is missing without a word, or the request is refused."""

    results: int
    error: RpcError | None = None

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Cut the answer, or refuse."""
        del params, ask
        if not is_logs(method, reply) or len(reply["result"]) <= self.results:
            return reply
        return {"result": reply["result"][: self.results]} if self.error is None else self.error.reply()


@frozen
class RangeCap(_Answer):
    """Refuse ranges of more than so many blocks; ``{}`` in the message becomes the number."""

    blocks: int
    message: str = "exceed maximum block range: {}"
    code: int = -32602

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Refuse."""
        if method != "eth_getLogs" or "blockHash" in params[0]:
            return reply
        first, last = (block_of(params[0].get(side, "latest"), ask) for side in ("fromBlock", "toBlock"))
        too_many = last - first + 1 > self.blocks
        return RpcError(self.code, self.message.format(self.blocks)).reply() if too_many else reply


@frozen
class Truncate(_Answer):
    """Leave out the last logs of a list, so many of them, without a word."""

    logs: int = 1

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Cut the list."""
        del params, ask
        return {"result": reply["result"][: -self.logs]} if is_logs(method, reply) else reply


@frozen
class Duplicate(_Answer):
    """Return every log twice."""

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Repeat the list."""
        del params, ask
        return {"result": reply["result"] * 2} if is_logs(method, reply) else reply


def removed() -> ChangeLogs:
    """Return a lie that calls every log removed."""
    return ChangeLogs(lambda log: log | {"removed": True})


def stale_block_hash(block_hash: str = "0x" + "5a" * 32) -> ChangeLogs:
    """Return a lie that lets every log be of a block of another fork."""
    return ChangeLogs(lambda log: log | {"blockHash": block_hash})


def no_transaction(tx_hash: str | None = None) -> ChangeLogs:
    """Return a lie that takes the transaction from every log, as system logs of some chains have none."""
    return ChangeLogs(lambda log: log | {"transactionHash": tx_hash})


@frozen
class Censor(_Answer):
    """Hide every log of, from or to an address, everywhere: lists, receipts, blooms. No answer contradicts another."""

    address: str

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Hide them."""
        word = self.address[2:].lower()

        def is_shown(log: Mapping[str, Any]) -> bool:
            return word not in log["address"].lower() and not any(topic.endswith(word) for topic in log["topics"][1:])

        return with_logs(lambda logs: [log for log in logs if is_shown(log)], method, params, reply, ask)


@frozen
class InventLog(_Answer):
    """Tell of a log that is on no chain, with a receipt that goes with it, in a block that exists.

    Attributes:
        block: its height.
        address, topics, data: of the log, as JSON-RPC writes them.
        tx_hash: of the transaction that never was.

    """

    block: int
    address: str
    topics: tuple[str, ...]
    data: str
    tx_hash: str = "0x" + "1e" * 32
    sender: str = "0x" + "1d" * 20

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Tell of it wherever it has to appear."""
        block = ask("eth_getBlockByNumber", hex(self.block), False)
        if block is None:
            return reply
        if method == "eth_getTransactionReceipt" and params[0].lower() == self.tx_hash:
            return {"result": self._receipt(block)}
        if method == "eth_getLogs":
            log = self._log(block)
            asked = matches(log, params[0], block, int(ask("eth_blockNumber"), 16))
            return {"result": [*reply.get("result", ()), log]} if asked else reply
        shown = reply.get("result")
        if method.startswith("eth_getBlockBy") and shown and shown.get("hash") == block["hash"]:
            return {"result": shown | {"logsBloom": "0x" + "ff" * 256}}
        return reply

    def _log(self, block: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "address": self.address.lower(),
            "topics": list(self.topics),
            "data": self.data,
            "blockNumber": block["number"],
            "blockHash": block["hash"],
            "transactionHash": self.tx_hash,
            "transactionIndex": "0x63",
            "logIndex": "0x63",
            "removed": False,
        }

    def _receipt(self, block: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "transactionHash": self.tx_hash,
            "transactionIndex": "0x63",
            "blockHash": block["hash"],
            "blockNumber": block["number"],
            "from": self.sender,
            "to": self.address.lower(),
            "status": "0x1",
            "logs": [self._log(block)],
        }
