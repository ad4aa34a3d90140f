"""A local EVM chain for tests and the demo: an Anvil process that this process owns.

Nothing is mined until it is asked for, ``safe`` is one block behind the head and ``finalized`` two, so a test
decides what the chain looks like at each moment::

    with AnvilNode() as node:
        payer, shop, *_ = node.accounts
        tx_hash = node.send({"from": payer.address, "to": shop.address, "value": "0x1"})
        node.mine()
        assert node.receipt(tx_hash)["status"] == "0x1"
"""

from __future__ import annotations

import json
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable
from evmbilling.testing._anvil_process import end, served_port, spawn
from evmbilling.testing._anvil_wire import AnvilWire
from evmbilling.testing._guard import Guard
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.tools import find_anvil

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

#: For :meth:`AnvilNode.reorg`: a signed transaction (``0x…``) or the fields of an unsigned one, and the
#: offset of the block that holds it, counted from the first block that is replaced.
ReorgTransaction: TypeAlias = "tuple[str | Mapping[str, Any], int]"

_RPC_SECONDS = 60
_STATES = 1_000_000
"""So many blocks are mined, those that were taken back among them, before the oldest state is forgotten."""


class AnvilNode:
    """One Anvil chain: started, driven and stopped from Python.

    A node is a context manager; entering it starts the process on a free port. Every method below that
    speaks to the node raises :class:`~evmbilling.errors.RpcRefused` when the node answers with an error
    (``details`` hold ``method``, ``rpc_code`` and ``data``) and
    :class:`~evmbilling.errors.RpcUnavailable` when it does not answer.

    The state after every block stays in memory: 150 megabytes for a chain of a thousand blocks, a gigabyte for one of
    three thousand. Left alone, Anvil moves older ones to the disk; of a node that has mined a thousand blocks, those
    that :meth:`revert` took back among them, states may come back from there without contracts, and a reorg then
    loses what was deployed.

    Args:
        chain_id: what ``eth_chainId`` answers.
        timestamp: Unix seconds of the genesis block; the present when it is None.
        hardfork: a hard fork by name (``cancun``, ``prague``, ``osaka`` …); Anvil's default when None.
        arguments: more arguments for the command line.

    """

    accounts: Final = DEV_ACCOUNTS

    def __init__(
        self,
        *,
        chain_id: int = 31337,
        timestamp: int | None = None,
        hardfork: str | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.chain_id = chain_id
        self._arguments = [
            *("--no-mining", "--slots-in-an-epoch", "1", "--chain-id", str(chain_id)),
            *(("--timestamp", str(timestamp)) if timestamp is not None else ()),
            *(("--hardfork", hardfork) if hardfork is not None else ()),
            *(("--prune-history", str(_STATES)) if "--prune-history" not in arguments else ()),
            *arguments,
        ]
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: AnvilWire | None = None
        self._finalizer: weakref.finalize[[subprocess.Popen[bytes], Guard], AnvilNode] | None = None
        self._snapshots: dict[str, tuple[int, str]] = {}

    def __repr__(self) -> str:
        state = self.url if self.running else "stopped"
        return f"<AnvilNode chain_id={self.chain_id} {state}>"

    # -- the process

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the process."""
        if self._process is None:
            raise RpcUnavailable("this Anvil node is not started")
        return self._process.pid

    @property
    def url(self) -> str:
        """Where the node answers HTTP; the same port again after a stop and a start."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the process and wait until it serves; does nothing when it runs.

        The port is taken from the process's own words, so another node that happens to answer on it can
        never be mistaken for this one.

        Raises:
            MissingTool: there is no Anvil, or it does not run on this machine.
            RpcUnavailable: it ended before it served.

        """
        if self.running:
            return self
        command = [str(find_anvil()), "--port", str(self._port), *self._arguments]
        with tempfile.TemporaryDirectory(prefix="evmbilling-anvil-") as scratch:
            words = Path(scratch) / "output"
            with words.open("wb") as output:
                process = spawn(command, output.fileno())
            self._process = process
            self._finalizer = weakref.finalize(self, end, process, Guard(process.pid))
            try:
                self._port = served_port(process, words)
            except BaseException:
                self.stop()
                raise
        self._wire = AnvilWire(self._port, seconds=_RPC_SECONDS)
        self._snapshots.clear()
        self.rpc("anvil_setLoggingEnabled", False)
        return self

    def stop(self) -> None:
        """End the process; does nothing when there is none. The chain is gone."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = None
        self._process = None

    def rpc(self, method: str, *params: Any) -> Any:
        """The ``result`` of one JSON-RPC call, as the node sent it."""
        if self._wire is None:
            raise RpcUnavailable("this Anvil node is not started", method=method)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            answer = json.loads(self._wire.post(body.encode()))
        except OSError as error:
            raise RpcUnavailable(f"Anvil does not answer: {error}", method=method) from error
        if "error" in answer:
            refusal = answer["error"]
            raise RpcRefused(
                f"{method}: {refusal['message']}",
                method=method,
                rpc_code=refusal["code"],
                data=refusal.get("data"),
            )
        return answer["result"]

    # -- what is on the chain

    @property
    def block_number(self) -> int:
        """The height of the head."""
        return int(self.rpc("eth_blockNumber"), 16)

    def block(self, at: int | str = "latest", *, full: bool = False) -> dict[str, Any] | None:
        """A block by height or tag, as the node sends it; with whole transactions when ``full``."""
        block: dict[str, Any] | None = self.rpc("eth_getBlockByNumber", _height(at), full)
        return block

    def block_hash(self, at: int | str = "latest") -> str:
        """The hash of the block at a height or tag; refuses a height above the head."""
        block = self.block(at)
        if block is None:
            raise ChainMismatch(f"there is no block {at} on this chain")
        return str(block["hash"])

    def receipt(self, tx_hash: str) -> dict[str, Any] | None:
        """The receipt of a transaction, or None while no canonical block holds it."""
        receipt: dict[str, Any] | None = self.rpc("eth_getTransactionReceipt", tx_hash)
        return receipt

    def raw_transaction(self, tx_hash: str) -> str:
        """The signed bytes (``0x…``) of a known transaction; read them before a reorg that drops it."""
        raw = self.rpc("debug_getRawTransaction", tx_hash)
        if not raw or raw == "0x":
            raise ChainMismatch(f"this chain does not know the transaction {tx_hash}")
        return str(raw)

    # -- transactions

    def send(self, transaction: Mapping[str, Any]) -> str:
        """Put a transaction from an unlocked account into the pool; answers its hash."""
        return str(self.rpc("eth_sendTransaction", dict(transaction)))

    def send_raw(self, raw: str) -> str:
        """Put a signed transaction (``0x…``) into the pool; answers its hash."""
        return str(self.rpc("eth_sendRawTransaction", raw))

    def drop(self, tx_hash: str) -> None:
        """Forget a transaction of the pool."""
        if self.rpc("anvil_dropTransaction", tx_hash) is None:
            raise ChainMismatch(f"the pool does not hold {tx_hash}")

    def drop_all(self) -> None:
        """Empty the pool."""
        self.rpc("anvil_dropAllTransactions")

    # -- blocks and time

    def mine(self, blocks: int = 1, *, timestamp: int | None = None) -> int:
        """Mine blocks, the first with all of the pool that fits; answers the new height.

        ``timestamp`` is the first block's time in Unix seconds. Jump in time instead of mining years:
        Anvil makes about 80 blocks a second.
        """
        if timestamp is not None:
            self.set_next_timestamp(timestamp)
        self.rpc("anvil_mine", hex(blocks))
        return self.block_number

    def set_next_timestamp(self, timestamp: int) -> None:
        """Set the time of the next block in Unix seconds; not before the head's."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def increase_time(self, seconds: int) -> None:
        """Let the next block be so many seconds later than it would have been."""
        self.rpc("evm_increaseTime", seconds)

    def snapshot(self) -> str:
        """Remember the chain as it is; give the answer to :meth:`revert`."""
        head = self.block_number
        token = str(self.rpc("evm_snapshot"))
        self._snapshots[token] = (head, self.block_hash(head))
        return token

    def revert(self, snapshot: str) -> None:
        """Go back to a snapshot, which this consumes, with those taken after it; the pool is emptied.

        Raises:
            ChainMismatch: the snapshot was used before, or blocks below it have been replaced since.

        """
        height, block_hash = self._snapshots.pop(snapshot, (0, ""))
        self.drop_all()
        if self.rpc("evm_revert", snapshot) is not True:
            raise ChainMismatch("a snapshot can be reverted to once: this one is used or unknown")
        self._snapshots = {key: at for key, at in self._snapshots.items() if int(key, 16) < int(snapshot, 16)}
        head = self.block()
        if head is None or (int(head["number"], 16), head["hash"]) != (height, block_hash):
            raise ChainMismatch("blocks below the snapshot were replaced: this chain cannot go back")

    def reorg(self, depth: int, transactions: Sequence[ReorgTransaction] = ()) -> list[str]:
        """Replace the last ``depth`` blocks by as many others, which hold only these transactions.

        What the old blocks held is dropped, not put back into the pool. Blocks of equal content would get
        equal hashes and nothing would have been reorganised, so the new ones have a fee recipient of
        their own.

        Returns:
            The hashes of the blocks that were replaced, lowest first.

        Raises:
            ChainMismatch: a live snapshot would be cut off; or the hashes did not change; or the node left
                a transaction out (for instance, because of a nonce gap), which it does without a word.

        """
        head = self.block_number
        first = head - depth + 1
        floor = max((height for height, _ in self._snapshots.values()), default=0)
        if depth < 1 or first <= floor:
            raise ChainMismatch(f"a reorg of depth {depth} at height {head} would reach below block {floor}")
        replaced = [self.block_hash(height) for height in range(first, head + 1)]
        recipient = self.rpc("eth_coinbase")
        self.rpc("anvil_setCoinbase", replaced[0][:42])
        try:
            self.rpc("anvil_reorg", depth, [list(item) for item in transactions])
        finally:
            self.rpc("anvil_setCoinbase", recipient)
        blocks = [self.block(height) for height in range(first, head + 1)]
        included = sum(len(block["transactions"]) for block in blocks if block is not None)
        if blocks[0] is None or blocks[0]["hash"] == replaced[0]:
            raise ChainMismatch("the reorg rebuilt the same blocks")
        if included < len(transactions):
            raise ChainMismatch(f"the new branch holds {included} of {len(transactions)} transactions")
        return replaced

    # -- state

    def set_balance(self, address: str, wei: int) -> None:
        """Set the native balance of an address."""
        self.rpc("anvil_setBalance", address, hex(wei))

    def set_code(self, address: str, code: str) -> None:
        """Set the runtime code (``0x…``) at an address."""
        self.rpc("anvil_setCode", address, code)

    def set_storage(self, address: str, slot: int, value: int) -> None:
        """Set one 32-byte storage word of a contract."""
        self.rpc("anvil_setStorageAt", address, hex(slot), f"0x{value:064x}")

    def set_chain_id(self, chain_id: int) -> None:
        """Let the node answer with another chain id, as if another chain were behind its URL."""
        self.rpc("anvil_setChainId", chain_id)

    def impersonate(self, address: str) -> None:
        """Let :meth:`send` send from this address, whatever it is, until the node stops."""
        self.rpc("anvil_impersonateAccount", address)


def _height(at: int | str) -> str:
    return hex(at) if isinstance(at, int) else at
