"""A contract of a few bytes that emits as many ERC-20 transfers as it is asked for: chains full of logs, quickly."""

from __future__ import annotations

import json
from collections import defaultdict

import urllib3

from evmbilling.adapters.evm.events import TRANSFER
from evmbilling.domain.addresses import checksum
from evmbilling.domain.evidence import WatchSet
from evmbilling.testing.anvil import AnvilNode

EMITTER = checksum(b"\xcc" * 20)
RECEIVER = checksum(b"\x77" * 20)
AS_CONTRACT = WatchSet(addresses=(EMITTER,), topics=(TRANSFER,), start_block=0)
AS_TOKEN = WatchSet(addresses=(), topics=(), start_block=0, tokens=(EMITTER,), parties=(RECEIVER,))
NOT_ANSWERED = "the node refused a transaction"

_LOOP = 2
# n = calldata[0]; do { mem[0] = n; log3(mem[0:32], Transfer, caller, RECEIVER); n -= 1 } while (n)
_CODE = (
    bytes((0x5F, 0x35, 0x5B, 0x80, 0x5F, 0x52))
    + b"\x7f"
    + bytes.fromhex(RECEIVER[2:]).rjust(32, b"\0")
    + b"\x33\x7f"
    + TRANSFER
    + bytes((0x60, 0x20, 0x5F, 0xA3, 0x60, 1, 0x90, 0x03, 0x80, 0x60, _LOOP, 0x57, 0x00))
)


class Emitter:
    """The contract on a node, and the accounts that call it."""

    def __init__(self, node: AnvilNode) -> None:
        self.node = node
        self._http = urllib3.PoolManager()
        self._nonces: dict[str, int] = defaultdict(int)
        node.rpc("anvil_setCode", EMITTER, "0x" + _CODE.hex())
        for account in node.accounts:
            self._nonces[account.address] = int(node.rpc("eth_getTransactionCount", account.address, "latest"), 16)

    def mine(self, blocks: int, *, transactions: int, logs: int) -> int:
        """Mine blocks of so many transactions with so many logs each; return the height."""
        data = "0x" + logs.to_bytes(32).hex()
        gas = hex(30_000 + 3_000 * logs)
        for _ in range(blocks):
            calls = []
            for number in range(transactions):
                sender = self.node.accounts[number % len(self.node.accounts)].address
                nonce = self._nonces[sender]
                self._nonces[sender] += 1
                call = {"from": sender, "nonce": hex(nonce), "to": EMITTER, "data": data, "gas": gas}
                calls.append({"jsonrpc": "2.0", "id": number, "method": "eth_sendTransaction", "params": [call]})
            if calls:
                self._send(calls)
            self.node.mine()
        return self.node.block_number

    def _send(self, calls: list[dict[str, object]]) -> None:
        body = json.dumps(calls)
        reply = self._http.request("POST", self.node.url, body=body, headers={"content-type": "application/json"})
        assert all("result" in item for item in json.loads(reply.data)), NOT_ANSWERED
