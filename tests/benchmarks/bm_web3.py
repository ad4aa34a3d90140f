"""The peer: web3.py, used as its documentation shows, and SQLAlchemy Core for the rows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from eth_hash.auto import keccak
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling._imports import recursion_limit_kept
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.testing.emitter import EMITTER, RECEIVER

with recursion_limit_kept():
    from web3 import Web3

TRANSFER = {
    "type": "event",
    "name": "Transfer",
    "anonymous": False,
    "inputs": [
        {"name": "from", "type": "address", "indexed": True},
        {"name": "to", "type": "address", "indexed": True},
        {"name": "value", "type": "uint256", "indexed": False},
    ],
}
NOTE = {
    "type": "event",
    "name": "Note",
    "anonymous": False,
    "inputs": [
        {"name": "who", "type": "address", "indexed": True},
        {"name": "text", "type": "string", "indexed": False},
        {"name": "amounts", "type": "uint256[]", "indexed": False},
        {"name": "parties", "type": "address[]", "indexed": False},
        {"name": "blob", "type": "bytes", "indexed": False},
        {"name": "number", "type": "uint64", "indexed": False},
    ],
}
LOGS_AT_ONCE = 8_000
"""As many as our reader aims at in one answer."""
TABLES = build_tables(Names())
Row = tuple[int, bytes, int, str, str, int]


class Web3Reader:
    """A loop over ``get_logs``, ``process_log``, receipts and headers.

    Args:
        receipts: whether it asks for them. Without, it takes all logs, which are ours here, and counts where in its
            transaction each stands: nothing then says that the logs are all, or that their transactions succeeded.

    """

    def __init__(self, url: str, logs_a_block: int, *, receipts: bool = True) -> None:
        self._receipts = receipts
        self._web3 = Web3(Web3.HTTPProvider(url, request_kwargs={"timeout": 120}))
        self._event = self._web3.eth.contract(address=EMITTER, abi=[TRANSFER]).events.Transfer()
        self._blocks = max(1, LOGS_AT_ONCE // logs_a_block)
        self._filter = {
            "address": EMITTER,
            "topics": [
                "0x" + keccak(b"Transfer(address,address,uint256)").hex(),
                None,
                "0x" + RECEIVER[2:].lower().rjust(64, "0"),
            ],
        }

    def decoded(self, first: int, last: int) -> list[Row]:
        """Fetch and decode; return rows."""
        rows: list[Row] = []
        for at in range(first, last + 1, self._blocks):
            for log in self._logs(at, min(last, at + self._blocks - 1)):
                said = self._event.process_log(log)
                args = said["args"]
                place = (said["blockNumber"], bytes(said["transactionHash"]), said["logIndex"])
                rows.append((*place, args["from"], args["to"], args["value"]))
        return rows

    def written(self, engine: sa.Engine, first: int, last: int) -> None:
        """Write evidence: logs with time and ordinal, what the intake has to look at, the last header, the cursor."""
        for at in range(first, last + 1, self._blocks):
            end = min(last, at + self._blocks - 1)
            logs = self._logs(at, end) if self._receipts else self._web3.eth.get_logs({"fromBlock": at, "toBlock": end})
            headers = {number: self._web3.eth.get_block(number) for number in {log["blockNumber"] for log in logs}}
            ordinals = self._ordinals(headers) if self._receipts else _counted(logs)
            rows = [self._row(log, headers[log["blockNumber"]]["timestamp"], ordinals) for log in logs]
            self._write(engine, rows, self._web3.eth.get_block(end))

    def _logs(self, first: int, last: int) -> list[Any]:
        return self._web3.eth.get_logs(self._filter | {"fromBlock": first, "toBlock": last})

    def _ordinals(self, headers: dict[int, Any]) -> dict[tuple[int, int], int]:
        """Return the place of each log in its own successful receipt, by block and index."""
        found: dict[tuple[int, int], int] = {}
        for number in headers:
            for receipt in self._web3.eth.get_block_receipts(number):
                if receipt["status"] == 1:
                    for ordinal, log in enumerate(receipt["logs"]):
                        found[(number, log["logIndex"])] = ordinal
        return found

    def _row(self, log: Any, timestamp: int, ordinals: dict[tuple[int, int], int]) -> dict[str, Any]:
        return {
            "chain_id": 31337,
            "block_hash": bytes(log["blockHash"]),
            "log_index": log["logIndex"],
            "block_number": log["blockNumber"],
            "block_time": datetime.fromtimestamp(timestamp, UTC),
            "tx_hash": bytes(log["transactionHash"]),
            "ordinal": ordinals[(log["blockNumber"], log["logIndex"])],
            "address": log["address"],
            "topics": b"".join(bytes(topic) for topic in log["topics"]),
            "data": bytes(log["data"]),
            "canonical": True,
        }

    def _write(self, engine: sa.Engine, rows: list[dict[str, Any]], block: Any) -> None:
        insert: Any = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
        logs, items = TABLES["chain_logs"], TABLES["intake_items"]
        cursors, window = TABLES["cursors"], TABLES["block_window"]
        key = ("chain_id", "tx_hash", "ordinal")
        awake = {"wait": "now", "height": 0, "retry_at": None, "attempts": 0, "reason": None}
        header = {
            "chain_id": 31337,
            "number": block["number"],
            "hash": bytes(block["hash"]),
            "parent_hash": bytes(block["parentHash"]),
            "block_time": datetime.fromtimestamp(block["timestamp"], UTC),
        }
        with engine.begin() as connection:
            if rows:
                log, item = insert(logs), insert(items)
                connection.execute(
                    log.on_conflict_do_update(
                        index_elements=["chain_id", "block_hash", "log_index"],
                        set_={"canonical": log.excluded.canonical},
                    ),
                    rows,
                )
                connection.execute(
                    item.on_conflict_do_update(index_elements=list(key), set_={n: item.excluded[n] for n in awake}),
                    [{name: row[name] for name in key} | awake for row in rows],
                )
            connection.execute(sa.delete(window))
            connection.execute(sa.insert(window), header)
            moved = sa.update(cursors).values(block_number=block["number"], block_hash=header["hash"])
            connection.execute(moved.where(cursors.c.chain_id == 31337))


def _counted(logs: list[Any]) -> dict[tuple[int, int], int]:
    """Return the place of each log among those of its transaction, by block and index."""
    found: dict[tuple[int, int], int] = {}
    before: Counter[bytes] = Counter()
    for log in logs:
        found[(log["blockNumber"], log["logIndex"])] = before[log["transactionHash"]]
        before[log["transactionHash"]] += 1
    return found
