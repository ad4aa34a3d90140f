"""Looking at the chain and at the database with other eyes than the engine's: plain JSON-RPC, plain SQL."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from eth_abi.abi import decode
from eth_keys.main import KeyAPI

from evmbilling._keccak import keccak
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.errors import RpcRefused
from evmbilling.testing.deploy import abi_entry, calldata
from evmbilling.testing.reverts import read_revert
from evmbilling.testing.rpc import JsonRpc

_FIRST_V = 27


class ChainEyes:
    """Raw reads of one node."""

    def __init__(self, url: str) -> None:
        self.rpc = JsonRpc(url)

    def is_artefact(self, name: str, address: str) -> bool:
        """Whether the code at an address is the packaged contract's."""
        return artifact(name).matches(_bytes(self.rpc.call("eth_getCode", address, "latest")))

    def view(self, name: str, address: str, function: str, *arguments: Any) -> int:
        """Return the number that a view function of a packaged contract answers now."""
        data = "0x" + calldata(name, function, *arguments).hex()
        return int(self.rpc.call("eth_call", {"to": address, "data": data}, "latest"), 16)

    def balance(self, token: str, owner: str) -> int:
        """Return a token balance."""
        return self.view("TestToken", token, "balanceOf", owner)

    def height(self) -> int:
        """Return the number of the head."""
        return self.rpc.number("eth_blockNumber")

    def confirmations(self, tx_hash: str) -> int:
        """Return how many blocks there are from the transaction's to the head, both counted; 0 when in no block."""
        receipt = self.receipt(tx_hash)
        return self.height() - int(receipt["blockNumber"], 16) + 1 if receipt else 0

    def receipt(self, tx_hash: str) -> dict[str, Any] | None:
        """Return a receipt as the node sends it."""
        found: dict[str, Any] | None = self.rpc.call("eth_getTransactionReceipt", tx_hash)
        return found

    def transaction(self, tx_hash: str) -> dict[str, Any]:
        """Return a transaction as the node sends it."""
        return dict(self.rpc.call("eth_getTransactionByHash", tx_hash))

    def block_time(self, number: str) -> int:
        """Return a block's timestamp in Unix seconds."""
        return int(self.rpc.call("eth_getBlockByNumber", number, False)["timestamp"], 16)

    def paid_events(self, tx_hash: str) -> list[dict[str, Any]]:
        """Return the ``Paid`` events of a transaction, read with the ABI of the packaged artefact.

        Each has the event's members by name, ``emitter``, ``logIndex`` and ``ordinal`` in its receipt.
        """
        entry = abi_entry("Checkout", "event", "Paid")
        types = [part["type"] for part in entry["inputs"]]
        topic = "0x" + keccak(f"Paid({','.join(types)})".encode()).hex()
        receipt = self.receipt(tx_hash) or {"logs": []}
        return [
            _event(entry["inputs"], log) | {"ordinal": ordinal}
            for ordinal, log in enumerate(receipt["logs"])
            if log["topics"] and log["topics"][0] == topic
        ]

    def refusal(self, tx_hash: str) -> str:
        """Return the name of the error with which a failed transaction was refused, by calling it again."""
        sent, receipt = self.transaction(tx_hash), self.receipt(tx_hash)
        call = {"from": sent["from"], "to": sent["to"], "data": sent["input"], "value": sent["value"]}
        try:
            self.rpc.call("eth_call", call, (receipt or {}).get("blockNumber", "latest"))
        except RpcRefused as refused:
            return read_revert(refused.details.get("data")).name
        return "none"

    def order_signer(self, contract: str, payload: bytes) -> str:
        """Return who signed the order inside a ``pay`` payload, over the digest that the contract itself computes."""
        entry = abi_entry("Checkout", "function", "pay")
        kinds = ",".join(part["type"] for part in entry["inputs"][0]["components"])
        order, signature = decode([f"({kinds})", "bytes"], payload[4:])
        data = "0x" + calldata("Checkout", "orderHash", order).hex()
        digest = _bytes(self.rpc.call("eth_call", {"to": contract, "data": data}, "latest"))
        parsed = KeyAPI.Signature(signature[:64] + bytes((signature[64] - _FIRST_V,)))
        return str(parsed.recover_public_key_from_msg_hash(digest).to_checksum_address())


class DatabaseEyes:
    """Plain SQL on a SQLite file; every read opens a connection of its own, which can only read."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix

    def rows(self, table: str, **where: object) -> list[dict[str, Any]]:
        """Return the rows of one of our tables whose columns equal the values, in the order of their making.

        Bytes come back as ``0x…``; the rest as SQLite holds it.
        """
        condition = " AND ".join(f"{name} = ?" for name in where) or "1"
        values = [_bound(value) for value in where.values()]
        # The names are ours, from this package; the values are bound.
        statement = f"SELECT * FROM {self._prefix}{table} WHERE {condition} ORDER BY rowid"  # noqa: S608  - see above
        return self.query(statement, *values)

    def row(self, table: str, **where: object) -> dict[str, Any]:
        """Return the only such row; an empty one when there is none or more than one."""
        found = self.rows(table, **where)
        return found[0] if len(found) == 1 else {}

    def query(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [
                {name: _shown(row[name]) for name in row.keys()}  # noqa: SIM118  - iterating a Row gives values
                for row in connection.execute(statement, values)
            ]

    def events(self, user_id: str, type_: str) -> list[dict[str, Any]]:
        """Return a customer's events of one type, oldest first, with their data."""
        rows = self.rows("outbox", aggregate=f"customer:{user_id}", type=type_)
        return [row | {"data": json.loads(row["data"])} for row in sorted(rows, key=lambda row: row["seq"])]


def _event(inputs: list[dict[str, Any]], log: dict[str, Any]) -> dict[str, Any]:
    indexed = [part for part in inputs if part["indexed"]]
    plain = [part for part in inputs if not part["indexed"]]
    words = zip(indexed, log["topics"][1:], strict=True)
    values = {part["name"]: _read([part["type"]], word)[0] for part, word in words}
    values |= dict(zip([p["name"] for p in plain], _read([p["type"] for p in plain], log["data"]), strict=True))
    emitter = checksum(_bytes(log["address"]))
    return values | {"emitter": emitter, "logIndex": int(log["logIndex"], 16)}


def _read(types: list[str], data: str) -> list[object]:
    kinds = zip(types, decode(types, _bytes(data)), strict=True)
    return [checksum(_bytes(v)) if t == "address" else _shown(v) for t, v in kinds]


def _shown(value: object) -> object:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _bound(value: object) -> object:
    """Return a value as SQLite compares it: 32 bytes in hex are a BLOB there."""
    is_hash = isinstance(value, str) and value.startswith("0x") and len(value) == 66  # noqa: PLR2004  - digits
    return _bytes(str(value)) if is_hash else value
