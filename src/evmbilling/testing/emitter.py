"""A contract of a few bytes that emits as many ERC-20 transfers as it is asked for: a chain full of logs, quickly.

::

    emitter = Emitter(node)
    height = emitter.mine(10, transactions=20, logs=50)     # ten thousand transfers to RECEIVER
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Final

import urllib3

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes, checksum
from evmbilling.domain.reading.evidence import WatchSet
from evmbilling.errors import RpcRefused
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.paid_logs import TRANSFER_TOPIC

EMITTER: Final = checksum(b"\xcc" * 20)
"""Where the contract is, a token of six decimals; a call emits ``Transfer(caller, RECEIVER, amount)``, each with an
amount of its own."""
RECEIVER: Final = checksum(b"\x77" * 20)
AS_CONTRACT: Final = WatchSet(addresses=(EMITTER,), topics=(TRANSFER_TOPIC,), start_block=0)
AS_TOKEN: Final = WatchSet(addresses=(), topics=(), start_block=0, tokens=(EMITTER,), parties=(RECEIVER,))

_LOOP: Final = 18
_GAS_OF_A_CALL: Final = 30_000
_GAS_OF_A_LOG: Final = 3_000
# if (calldata.length <= 4) return 6, as decimals() is asked;
# n = calldata[0]; do { mem[0] = n + calldata[32]; log3(mem[0:32], Transfer, caller, RECEIVER); n -= 1 } while (n)
_CODE: Final = (
    bytes((0x60, 4, 0x36, 0x11, 0x60, 15, 0x57, 0x60, 6, 0x5F, 0x52, 0x60, 0x20, 0x5F, 0xF3, 0x5B))
    + bytes((0x5F, 0x35, 0x5B, 0x80, 0x60, 0x20, 0x35, 0x01, 0x5F, 0x52))
    + b"\x7f"
    + address_bytes(RECEIVER).rjust(32, b"\0")
    + b"\x33\x7f"
    + keccak(b"Transfer(address,address,uint256)")
    + bytes((0x60, 0x20, 0x5F, 0xA3, 0x60, 1, 0x90, 0x03, 0x80, 0x60, _LOOP, 0x57, 0x00))
)


class Emitter:
    """The contract on a node, called by the node's own accounts; the node's gas limit has to be high enough."""

    def __init__(self, node: AnvilNode) -> None:
        self._node = node
        self._http = urllib3.PoolManager()
        self._nonces: dict[str, int] = defaultdict(int)
        self._emitted = 0
        node.rpc("anvil_setCode", EMITTER, "0x" + _CODE.hex())
        for account in node.accounts:
            self._nonces[account.address] = int(node.rpc("eth_getTransactionCount", account.address, "latest"), 16)

    def mine(self, blocks: int, *, transactions: int, logs: int) -> int:
        """Mine blocks of so many transactions with so many logs each; return the height.

        Raises:
            RpcRefused: the node refused a transaction.

        """
        gas = hex(_GAS_OF_A_CALL + _GAS_OF_A_LOG * logs)
        for _ in range(blocks):
            calls = []
            for number in range(transactions):
                sender = self._node.accounts[number % len(self._node.accounts)].address
                data = "0x" + logs.to_bytes(32).hex() + self._emitted.to_bytes(32).hex()
                self._emitted += logs
                call = {"from": sender, "nonce": hex(self._nonces[sender]), "to": EMITTER, "data": data, "gas": gas}
                self._nonces[sender] += 1
                calls.append({"jsonrpc": "2.0", "id": number, "method": "eth_sendTransaction", "params": [call]})
            if calls:
                self._send(calls)
            self._node.mine()
        return self._node.block_number

    def _send(self, calls: list[dict[str, object]]) -> None:
        headers = {"content-type": "application/json"}
        reply = self._http.request("POST", self._node.url, body=json.dumps(calls), headers=headers)
        refused = [item["error"] for item in json.loads(reply.data) if "result" not in item]
        if refused:
            raise RpcRefused(f"the node refused a transaction: {refused[0].get('message')}")
